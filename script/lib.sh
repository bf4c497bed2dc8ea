# shellcheck shell=bash
# What the scripts here share. It is sourced, not run.
set -euo pipefail
umask 022 # what root installs is for everyone, also where root's own umask is 077

repo=$(realpath "$(dirname "${BASH_SOURCE[0]}")/..")
venv=$repo/.venv
# The distribution's, not the first on PATH: bcc comes from the distribution, and root runs it.
python=${KINTRO_PYTHON:-${PYTHON:-/usr/bin/python3}}

say() { printf 'kintro: %s\n' "$*" >&2; }

die() {
    say "$*"
    exit 1
}

need_root() {
    [ "$(id -u)" = 0 ] || die "script/${0##*/} needs root. Run: sudo script/${0##*/}"
}

apt_install() {
    DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=120 -o Dpkg::Use-Pty=0 \
        install --no-install-recommends "$@" </dev/null
}

# A package that another one suggests is known to dpkg without being there.
installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

# The package lists of a fresh system are empty or old: only a failed first try says so.
install_package() {
    ! installed "$1" || return 0
    say "installing the package $1"
    apt_install "$1" >/dev/null 2>&1 && return
    if [ -z "${lists_updated-}" ]; then
        lists_updated=yes
        apt-get -qq update || say "apt-get update failed"
    fi
    apt_install "$1" >/dev/null
}

# bcc needs no kernel headers here, so none are installed.
install_packages() {
    if ! command -v apt-get >/dev/null; then
        say "no apt-get here: Python's venv module and bcc for Python must be installed already"
        return
    fi
    local package
    for package in ca-certificates python3-venv python3-bpfcc; do
        install_package "$package" || die "cannot install $package"
    done
}

# Prints the name of the package that has perf for this distribution.
perf_package() {
    if grep -q '^ID=ubuntu' /etc/os-release; then
        echo "linux-tools-$(uname -r)" # Ubuntu's perf runs only on the kernel it was built for
    else
        echo linux-perf
    fi
}

# Arguments: why the packages are wanted, then the packages. One that does not exist is not fatal.
install_optional() {
    local wanted_for=$1 package
    shift
    command -v apt-get >/dev/null || return 0
    for package in "$@"; do
        install_package "$package" || say "no package $package here: $wanted_for that need it are skipped"
    done
}

# Prints a hash of the Python and of the files named, relative to the checkout.
fingerprint() {
    (
        cd "$repo"
        echo "$python"
        "$python" -VV
        find "$@" -type f -not -name '*.pyc' -print0 | LC_ALL=C sort -z | xargs -0 sha256sum
    ) | sha256sum
}

# The developers' environment: this checkout, editable, with what tests and lint need.
make_venv() {
    local stamp
    stamp="$repo $(fingerprint pyproject.toml)"
    [ "$(cat "$venv/stamp" 2>/dev/null)" != "$stamp" ] || return 0
    [ ! -e "$venv" ] || [ -w "$venv" ] || die "$venv is out of date and another user's. Remove it, then try again"
    say "making $venv with $("$python" --version)"
    rm -rf "$venv"
    "$python" -I -m venv "$venv" || die "cannot make $venv. Debian and Ubuntu: apt-get install python3-venv"
    "$venv/bin/python" -I -m pip install -q --disable-pip-version-check -e "${repo}[perfetto,test,lint]"
    echo "$stamp" >"$venv/stamp"
}

# After sudo, what root wrote into somebody's checkout (.venv, caches) belongs to them again.
give_back() { chown -R --from=root --reference="$repo" "$repo" || true; }
