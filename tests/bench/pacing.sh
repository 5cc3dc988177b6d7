#!/usr/bin/env bash
# Replays days of traffic through paced budgets and hard cut-offs, and writes the table and the chart of docs/budgets.md.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
. "$root/router/training/venv.sh"
training_venv "$root/router/training/bench-requirements.txt"
cd "$root"
echo '==> replaying'
cargo bench --locked --quiet -p tollgate --bench pacing | MPLBACKEND=Agg "$python" tests/bench/pacing.py --docs docs
