# Sourced by train.sh and bench.sh: `training_venv FILE…` makes the virtual environment in the cache if need be,
# brings in what each requirements file pins, and sets $python.
training_venv() {
    export ORT_DISABLE_TELEMETRY=1
    local cache=${TOLLGATE_CACHE:-$HOME/.cache/tollgate}/training file how
    mkdir -p "$cache"
    [[ -x $cache/venv/bin/pip ]] || python3 -m venv "$cache/venv"
    for file in "$@"; do
        cmp -s "$file" "$cache/venv/${file##*/}" && continue
        echo "==> installing the packages of ${file##*/}"
        # requirements.txt names all that is needed; what its packages ask for beyond that (torch) is not.
        how=()
        [[ ${file##*/} == requirements.txt ]] && how=(--no-deps)
        "$cache/venv/bin/pip" install --quiet --disable-pip-version-check "${how[@]}" -r "$file"
        cp "$file" "$cache/venv/${file##*/}"
    done
    python=$cache/venv/bin/python
}
