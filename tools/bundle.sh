#!/usr/bin/env bash
# Bundles a page's script or style with Debian's Bootstrap 5 into one minified file, so that pages load nothing from
# elsewhere. `import "bootstrap/js/bootstrap.bundle.min.js"` and `@import "bootstrap/css/bootstrap.min.css"` find it.
#   tools/bundle.sh INPUT.js|INPUT.css OUTPUT [NOVNC]
# `import "novnc/core/rfb.js"` finds noVNC in NOVNC, a directory with its core/ (default: Debian's /usr/share/novnc).
set -euo pipefail

die() {
        printf 'bundle.sh: %s\n' "$*" >&2
        exit 1
}

[ $# = 2 ] || [ $# = 3 ] || { sed -n '2,5s/^# \{0,1\}//p' "$0"; exit 2; }
command -v esbuild >/dev/null || die "esbuild is missing: tools/install-packages build"
for bootstrap in /usr/share/bootstrap-html /usr/share/javascript/bootstrap5 /usr/share/nodejs/bootstrap/dist ''; do
        [ ! -e "$bootstrap/css/bootstrap.min.css" ] || break
done
[ -n "$bootstrap" ] || die "Bootstrap 5 is missing: tools/install-packages build"
novnc=${3:-/usr/share/novnc}
# Nothing imports noVNC but the desktop's page: its licence goes with it, and it is a module (newer ones need that).
words=(--target=es2020)
if grep -q '"novnc/' "$1"; then
        [ -e "$novnc/core/rfb.js" ] || die "there is no noVNC in $novnc: tools/install-packages build"
        words=(--target=es2022 --format=esm
                --banner:js='/*! Holds noVNC, Copyright (C) The noVNC Authors, MPL 2.0: https://github.com/novnc/noVNC; pako, MIT. */')
fi
modules=$(mktemp -d)
trap 'rm -r "$modules"' EXIT
ln -s "$bootstrap" "$modules/bootstrap"
ln -s "$novnc" "$modules/novnc"
NODE_PATH=$modules:/usr/share/nodejs esbuild --bundle --minify --charset=utf8 --legal-comments=eof "${words[@]}" --log-level=warning \
        --preserve-symlinks --outfile="$2" "$1"
