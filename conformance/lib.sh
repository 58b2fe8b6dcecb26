# Shared by the scripts here: where things are, and what the machine must have.

me=${0##*/}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
top=$(dirname "$here")
build=${UNDERSTUDY_CONFORMANCE_BUILD:-$top/conformance-build}

die() {
    echo "$me: $*" >&2
    exit 2
}

# need PROGRAM=PACKAGE...: install the Debian package of each program (or file,
# if there is a slash in its name) that is missing.
need() {
    local pair missing=()
    for pair in "$@"; do
        local what=${pair%%=*} package=${pair#*=}
        case $what in
            */*) [ -e "$what" ] || missing+=("$package") ;;
            *) command -v "$what" >/dev/null || missing+=("$package") ;;
        esac
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    echo "$me: installing ${missing[*]}"
    local sudo=
    [ "$(id -u)" = 0 ] || sudo=sudo
    { $sudo apt-get -q update && $sudo env DEBIAN_FRONTEND=noninteractive \
        apt-get -q -y --no-install-recommends install "${missing[@]}"; } \
        || die "could not install the Debian packages ${missing[*]}"
}
