#!/usr/bin/env bash
# Installs what building and testing Tollgate needs on a bare Debian-like machine.
# Idempotent: looks for each command first, and installs only what is missing.
#   scripts/setup.sh build   a C++ toolchain for llama.cpp
#   scripts/setup.sh test    the same, promtool for the alert rules, and PostgreSQL's programs for ledgers in it
#   scripts/setup.sh bench   the same, and wrk for load
#   scripts/setup.sh clients     the same, and Node and virtual environments for client libraries
#   scripts/setup.sh dashboards  the same as for clients
set -euo pipefail

purpose=${1:-build}
cache=${TOLLGATE_CACHE:-$HOME/.cache/tollgate}
tools=$cache/tools

step() { printf '==> %s\n' "$*"; }
fail() { printf 'setup: %s\n' "$*" >&2; exit 1; }

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"
  elif command -v sudo >/dev/null; then sudo "$@"
  else fail "needs root to install packages: run as root, install sudo, or install by hand: ${missing[*]}"
  fi
}

# wanted: command → Debian package that brings it
declare -A package=([cmake]=cmake [g++]=g++ [make]=make [clang]=clang [ccache]=ccache [python3]=python3)
[ "$purpose" = bench ] && package[wrk]=wrk
case $purpose in clients | dashboards) package[node]=nodejs package[npm]=npm ;; esac

missing=()
for command in "${!package[@]}"; do
  command -v "$command" >/dev/null || missing+=("${package[$command]}")
done
# Debian splits the virtual environments off Python.
case $purpose in
  clients | dashboards) python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=("python3-venv") ;;
esac
# Debian keeps PostgreSQL's server out of PATH. Tests start clusters of their own; one that the package starts is not used.
if [ "$purpose" = test ] && ! command -v initdb >/dev/null && ! ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1; then
  missing+=("postgresql")
fi
# bindgen reads llama.cpp's headers through libclang, which can be absent although clang is there
if ! ldconfig -p 2>/dev/null | grep -q 'libclang[-.]' && ! ls /usr/lib/llvm-*/lib/libclang*.so* >/dev/null 2>&1; then
  missing+=("libclang-dev")
fi
command -v cargo >/dev/null || fail "needs Rust: install rustup (https://rustup.rs), then run this again"

apt_update_once() {
  [ -n "${apt_updated:-}" ] && return
  step "reading the package lists"
  as_root apt-get -qq update
  apt_updated=1
}

if [ ${#missing[@]} -gt 0 ]; then
  command -v apt-get >/dev/null || fail "please install with your package manager, then run this again: ${missing[*]}"
  apt_update_once
  step "installing Debian packages: ${missing[*]}"
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "${missing[@]}" >/dev/null
fi

# promtool comes inside Debian's prometheus package; unpacked, not installed, so that no daemon is started.
if [ "$purpose" != build ] && ! command -v promtool >/dev/null && [ ! -x "$tools/prometheus/usr/bin/promtool" ]; then
  command -v apt-get >/dev/null || fail "needs promtool (from Prometheus) in PATH"
  apt_update_once
  step "unpacking promtool into $tools/prometheus"
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  (cd "$work" && apt-get -qq download prometheus && mkdir -p unpacked && dpkg-deb -x prometheus_*.deb unpacked)
  mkdir -p "$tools"
  rm -rf "$tools/prometheus"
  mv "$work/unpacked" "$tools/prometheus"
fi

step "ready to $purpose"
