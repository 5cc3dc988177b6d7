#!/usr/bin/env bash
# Measures the shipped graph: bench.sh DATA, where DATA holds train/ and dev/. Writes docs/router-bench.md and its chart.
# Builds the router crate alone; ONNX Runtime's library comes from the pinned Python package.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
data=$(cd "${1:?usage: bench.sh DATA}" && pwd)
[[ -d $data/dev && -d $data/train ]] || { echo "bench: $data has no dev/ and train/: name the data folder with DATA=" >&2; exit 1; }
. "$here/venv.sh"
training_venv "$here/requirements.txt" "$here/bench-requirements.txt"
if [[ -z ${TOLLGATE_ONNXRUNTIME:-} ]]; then
    export TOLLGATE_ONNXRUNTIME
    capi=$("$python" -c 'import importlib.util as u; print(u.find_spec("onnxruntime").submodule_search_locations[0])')/capi
    TOLLGATE_ONNXRUNTIME=$(ls "$capi"/libonnxruntime.so.* | head -1)
fi
cd "$root"
echo '==> building the router'
cargo build --release --locked --quiet -p tollgate-router
cargo bench --locked --quiet --no-run -p tollgate-router --bench router
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 PYTHONHASHSEED=0 PYTHONDONTWRITEBYTECODE=1 MPLBACKEND=Agg
"$python" "$here/bench.py" "$data" --docs "$root/docs" "${@:2}"
