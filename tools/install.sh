#!/bin/sh
# Installs the project into ./.venv: `sh tools/install.sh`, or `sh tools/install.sh dev` for the test tools too.
# The second run sees in a moment that nothing has changed. PYTHON names the Python that makes a new .venv.
set -eu
cd "$(dirname "$0")/.."

extra=${1:-}
venv=.venv
python=$venv/bin/python
room_gib=8 # what torch with its GPU libraries, and everything else, need while they are unpacked

say() { printf 'install: %s\n' "$*" >&2; }
fail() { say "$@"; exit 1; }

is_new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

# A Python that the user names is taken or refused; the default may be too old beside a newer one.
find_python() {
    asked=${PYTHON:-python3}
    others="python3.13 python3.12 python3.11"
    [ "$asked" = python3 ] || others=
    for name in "$asked" $others; do
        if is_new_enough "$name"; then
            echo "$name"
            return
        fi
    done
    found=$("$asked" --version 2>&1) || found="it does not run"
    fail "needs Python 3.11 or newer, but $asked: $found." \
        "Install one and name it: make test PYTHON=/path/to/python3.12"
}

make_venv() {
    base=$(find_python)
    say "making $venv with $("$base" --version 2>&1)"
    rm -rf "$venv"
    if ! "$base" -m venv "$venv" || ! "$python" -m pip --version >/dev/null; then
        rm -rf "$venv"
        fail "$base could not make a virtual environment (see above)." \
            "On Debian and Ubuntu it needs a package: apt install python3-venv. Else look for a full disk."
    fi
    pwd >"$venv/made-in"
}

# A virtual environment that was moved with its folder, or whose Python has gone, does not run.
is_usable() {
    "$python" -m pip --version >/dev/null 2>&1 || return 1
    is_new_enough "$python" || return 1
    [ ! -e "$venv/made-in" ] || [ "$(cat "$venv/made-in")" = "$(pwd)" ]
}

warn_of_little_room() {
    free_kib=$(df -Pk . | awk 'NR == 2 { print $4 }')
    if [ "${free_kib:-0}" -gt 0 ] && [ "$free_kib" -lt $((room_gib * 1024 * 1024)) ]; then
        say "only $((free_kib / 1024 / 1024)) GiB free here; the packages may need $room_gib GiB"
    fi
}

pip_install() {
    target=.
    [ -z "$extra" ] || target=".[$extra]"
    say "installing $target into $venv; torch is large, so the first time takes some minutes"
    quiet=--quiet
    [ ! -t 2 ] || quiet=
    # shellcheck disable=SC2086 # an empty $quiet must vanish
    "$python" -m pip install $quiet --disable-pip-version-check --no-input --editable "$target" ||
        fail "pip could not install the packages: its own message is above. No network: try again once there is one." \
            "No space left: free $room_gib GiB here, and set TMPDIR to a folder with room if /tmp is small."
}

is_usable || make_venv
stamp=$venv/installed-with-${extra:-nothing}
wanted="$(cksum <pyproject.toml) $("$python" --version) in $(pwd)"
all=$venv/installed-with-dev # which has what the bare one has
[ -z "$extra" ] || all=$stamp
for done_before in "$stamp" "$all"; do
    if [ -e "$done_before" ] && [ "$(cat "$done_before")" = "$wanted" ]; then
        exit 0
    fi
done
warn_of_little_room
pip_install
echo "$wanted" >"$stamp"
