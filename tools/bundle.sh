#!/usr/bin/env bash
# Bundles a page's script or style with Debian's Bootstrap 5 into one minified file, so that pages load nothing from
# elsewhere. `import "bootstrap/js/bootstrap.bundle.min.js"` and `@import "bootstrap/css/bootstrap.min.css"` find it.
#   tools/bundle.sh INPUT.js|INPUT.css OUTPUT
set -euo pipefail

die() {
        printf 'bundle.sh: %s\n' "$*" >&2
        exit 1
}

[ $# = 2 ] || { sed -n '2,4s/^# \{0,1\}//p' "$0"; exit 2; }
command -v esbuild >/dev/null || die "esbuild is missing: tools/install-packages build"
for bootstrap in /usr/share/bootstrap-html /usr/share/javascript/bootstrap5 /usr/share/nodejs/bootstrap/dist ''; do
        [ ! -e "$bootstrap/css/bootstrap.min.css" ] || break
done
[ -n "$bootstrap" ] || die "Bootstrap 5 is missing: tools/install-packages build"
modules=$(mktemp -d)
trap 'rm -r "$modules"' EXIT
ln -s "$bootstrap" "$modules/bootstrap"
NODE_PATH=$modules:/usr/share/nodejs esbuild --bundle --minify --charset=utf8 --legal-comments=eof --target=es2020 --log-level=warning \
        --preserve-symlinks --outfile="$2" "$1"
