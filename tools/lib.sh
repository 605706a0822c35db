# Sourced by the scripts beside it: how they speak, how they stop, and how they become root.
# shellcheck shell=bash
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() {
        printf '%s\n' "--- $*"
}

die() {
        printf '%s: %s\n' "$(basename "$0")" "$*" >&2
        exit 1
}

# as_root REASON COMMAND...: runs the command as root, by sudo where needed, saying why.
as_root() {
        local reason=$1
        shift
        if [ "$(id -u)" = 0 ]; then
                "$@"
        elif command -v sudo >/dev/null; then
                say "sudo: $reason"
                sudo "$@"
        else
                die "$reason, which needs root, and there is no sudo here: run this as root"
        fi
}

# packages_of SECTION: the names in that section of tools/packages.
packages_of() {
        grep -q "^\[$1\]$" tools/packages || die "tools/packages has no section [$1]"
        awk -v section="[$1]" '/^\[/ {in_it = $1 == section; next} in_it && NF && $1 !~ /^#/ {print $1}' tools/packages
}

# archive NAME: the first address that ends with NAME (debian, debian-security) among those that this machine installs from.
archive() {
        cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources 2>/dev/null |
                awk '$1 == "URIs:" {print $2} $1 == "deb" {print $2 ~ /^\[/ ? $3 : $2}' | grep -E "/$1/?$" | head -n 1 || true
}

# ready_build DIR MESON_OPTION...: configures DIR once and compiles what changed. JOBS limits the compilers, TARGETS what is
# compiled.
ready_build() {
        local dir=$1
        shift
        if [ ! -e "$dir/build.ninja" ]; then
                say "configuring $dir"
                if ! meson setup "$dir" "$@" >"$dir.log" 2>&1; then
                        cat "$dir.log" >&2
                        rm -f "$dir.log"
                        die "cannot configure $dir: see above"
                fi
                rm -f "$dir.log"
        fi
        say "compiling in $dir"
        # shellcheck disable=SC2086
        ninja -C "$dir" ${JOBS:+-j "$JOBS"} --quiet ${TARGETS:-} || die "cannot compile in $dir: see above"
}
