#!/usr/bin/env bash
# Learns qwen-0.5b.plan.gguf anew: distil.sh TOLLGATE DATA [option of distil.py…]. Hours on two cores for much text; what is
# learnt replaces the plan in the repository.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
tollgate=$1 data=$2
shift 2
source "$here/../../router/training/venv.sh"
training_venv "$here/distil.txt"
cache=${TOLLGATE_CACHE:-$HOME/.cache/tollgate}
work=$cache/training/work
mkdir -p "$work"
dense=$cache/models/qwen2.5-coder-0.5b-instruct-q4_k_m.gguf
larger=$cache/models/qwen2.5-coder-1.5b-instruct-q4_k_m.gguf
"$tollgate" models make-moe qwen-0.5b-moe --dense-control --out "$work/qwen-0.5b-stored.gguf"
[[ -s $work/moe-text.jsonl ]] ||
    "$python" "$here/text.py" --tollgate "$tollgate" --dense "$dense" --larger "$larger" \
        --prompts "$data/train/natural_labels.jsonl" --out "$work/moe-text.jsonl"
"$python" "$here/distil.py" --dense "$dense" --stored "$work/qwen-0.5b-stored.gguf" --plan "$here/qwen-0.5b.plan.gguf" \
    --text "$work/moe-text.jsonl" --active 4 6 --out "$work/qwen-0.5b.plan.gguf" "$@"
mv "$work/qwen-0.5b.plan.gguf" "$here/qwen-0.5b.plan.gguf"
