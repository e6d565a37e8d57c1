# Shared by the scripts of this folder; sourced, not run.
root=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)

fail() {
    echo "error: $*" >&2
    exit 2
}

# Python is run with -I where it is given no file: else it imports from the current folder, which may be anyone's.

# Whether a virtual environment is active; conda's base is not one to install into.
environment_active() {
    [[ -n "${VIRTUAL_ENV:-}" || (-n "${CONDA_PREFIX:-}" && "${CONDA_DEFAULT_ENV:-base}" != base) ]]
}

# The Python to run: the active virtual environment's, else .venv's beside the project, else the system's.
find_python() {
    if environment_active; then
        echo python
    elif [[ -x "$root/.venv/bin/python" ]]; then
        echo "$root/.venv/bin/python"
    else
        echo python3
    fi
}

# is_number TEXT [DIGITS]: whether TEXT is a whole number of at most DIGITS (15) digits; 08 is none: bash reads octal.
is_number() {
    local LC_ALL=C
    [[ $1 =~ ^(0|[1-9][0-9]*)$ ]] && ((${#1} <= ${2:-15}))
}

# A system Python that MindSpore supports.
supported_python() {
    local name
    for name in python3.11 python3.12 python3.10 python3.9 python3; do
        if command -v "$name" >/dev/null &&
            "$name" -I -c 'import sys; sys.exit(not (3, 9) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null; then
            echo "$name"
            return
        fi
    done
    return 1
}

# prepare_environment REQUIREMENTS...: makes .venv when no environment is active, and installs once per requirement set.
prepare_environment() {
    local file stamp base
    local -a files=()
    for file in "$@"; do files+=(-r "$root/$file"); done
    if ! environment_active && [[ ! -x "$root/.venv/bin/pip" ]]; then
        base=$(supported_python) || fail "no Python from 3.9 to 3.12 found: install one, for example python3.11"
        echo "making a virtual environment in $root/.venv with $base"
        "$base" -I -m venv "$root/.venv" || fail "$base cannot make a virtual environment: install its venv package"
    fi
    python=$(find_python)
    stamp=$(cd "$root" && cat "$@" | sha256sum | cut -c1-16)
    stamp=$("$python" -I -c "import sys; print(sys.prefix)")/.delf-$stamp
    if [[ ! -e "$stamp" ]]; then
        echo "installing $*"
        "$python" -I -m pip install --quiet --disable-pip-version-check "${files[@]}" ||
            fail "the installation failed: see pip's message above, then run this script again"
        touch "$stamp"
    fi
}

# split_arguments "$@": fills `positional` with the arguments before the first option, `options` with the rest.
split_arguments() {
    positional=() options=()
    while (($#)) && [[ $1 != -* ]]; do
        positional+=("$1")
        shift
    done
    options=("$@")
    [[ ${1:-} != -h && ${1:-} != --help && ${1:-} != --help_all ]] || { show_usage "$0"; exit 0; }
}

# stage_options: takes `stage` and the checkpoint from `positional` and adds them to `options`.
stage_options() {
    stage=${positional[0]:-}
    [[ $stage =~ ^(tuning|attn|joint|global|delg|regional_attention|how)$ ]] || { show_usage "$0" >&2; fail "the stage is tuning, attn, joint, global, delg, regional_attention or how"; }
    ((${#positional[@]} <= 2)) || fail "too many arguments: ${positional[*]:2}"
    options+=(--train_state "$stage")
    [[ -z "${positional[1]:-}" ]] || options+=(--checkpoint_path "${positional[1]}")
}

# show_usage FILE: the comment at the top of a script.
show_usage() {
    sed -n '2,/^[^#]/{/^#/s/^# \{0,1\}//p}' "$1"
}
