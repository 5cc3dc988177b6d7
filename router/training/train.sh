#!/usr/bin/env bash
# Makes router/model/ anew: train.sh DATA, where DATA holds train/ and dev/ (or the training files).
# Needs python3 with venv; packages go to a virtual environment in the cache, pinned by requirements.txt.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
data=${1:?usage: train.sh DATA}
[[ -d $data/train ]] && data=$data/train
cache=${TOLLGATE_CACHE:-$HOME/.cache/tollgate}/training
. "$here/venv.sh"
training_venv "$here/requirements.txt"
root=$(cd "$here/../.." && pwd)
# The library embeds the graph at compile time; any file will do while features are extracted.
mkdir -p "$root/router/model"
touch -a "$root/router/model/router.onnx" "$root/router/model/router.table"
(cd "$root" && cargo build --release --locked --quiet -p tollgate-router --bin router-features)
target=${CARGO_TARGET_DIR:-$root/target}
# One thread: sums in one order, so that the graph comes out the same.
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 PYTHONHASHSEED=0 PYTHONDONTWRITEBYTECODE=1
nice -n 10 "$python" "$here/train.py" "$data" --features "$target/release/router-features" --work "$cache/work" --model "$root/router/model" "${@:2}"
