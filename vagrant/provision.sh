#!/usr/bin/env bash
# Makes a lab machine of a Debian or Ubuntu, and may be run again at any time:
#   sudo vagrant/provision.sh [--in-box]
# --in-box: a box is being built, and the kernel that runs is not the one that the machine will have.
#   KINTRO_GO=1      Go as well
#   KINTRO_LAB_USER  whose ~/labs is filled; without it who called sudo, else vagrant
#   KINTRO_WHEELS    a folder of wheels; where it exists, pip asks no index. A lab box has it
# shellcheck source=script/lib.sh
. "$(dirname "$0")/../script/lib.sh"

[ "$(id -u)" = 0 ] || die "vagrant/provision.sh needs root. Run: sudo vagrant/provision.sh"
in_box=
case ${1-} in
'') ;;
--in-box) in_box=yes ;;
*) die "usage: vagrant/provision.sh [--in-box]" ;;
esac

group=kintro-lab
wheels=${KINTRO_WHEELS:-/usr/local/share/kintro/wheels}
user=${KINTRO_LAB_USER:-${SUDO_USER:-vagrant}}
[ "$user" != root ] || user=vagrant

if [ -d "$wheels" ]; then
    export PIP_NO_INDEX=1 PIP_FIND_LINKS=$wheels
fi

if [ -z "$in_box" ] && [ ! -e /sys/kernel/btf/vmlinux ]; then
    grep -q '^ID=ubuntu' /etc/os-release && kernel=linux-image-generic ||
        kernel=linux-image-$(dpkg --print-architecture)
    install_package "$kernel" || die "the kernel has no BTF, and $kernel cannot be installed"
    die "this kernel has no BTF; the distribution's is installed now. Start it: vagrant reload --provision"
fi

lessons=(strace "$(perf_package)" bpftrace gcc libc6-dev)
[ "${KINTRO_GO:-0}" != 1 ] || lessons+=(golang-go)
wanted=()
for package in python3-venv python3-bpfcc "${lessons[@]}"; do
    installed "$package" || wanted+=("$package")
done
if [ ${#wanted[@]} != 0 ]; then # all at once: one by one takes several times as long
    say "installing ${wanted[*]}"
    apt-get -qq update || say "apt-get update failed"
    apt_install "${wanted[@]}" >/dev/null || say "not all of these can be had: trying one by one"
fi
install_optional lessons "${lessons[@]}"
bash "$repo/script/install"

# Whoever is in the group may see what root may see, and with kintro's --as-root do what root may do. So this
# belongs on a machine that is there to be thrown away.
getent group "$group" >/dev/null || groupadd --system "$group"
rule=$(mktemp)
trap 'rm -f "$rule"' EXIT
echo "%$group ALL=(root) NOPASSWD: /usr/local/bin/kintro" >"$rule"
visudo -cqf "$rule" || die "sudo does not understand its rule"
install -m 440 "$rule" /etc/sudoers.d/kintro-lab

if id "$user" >/dev/null 2>&1; then
    usermod -aG "$group" "$user"
    home=$(getent passwd "$user" | cut -d: -f6)
    labs=$home/labs
    # As that user, who may have put a link there: root would follow it, and give away where it leads.
    as_user=(runuser -u "$user" -- env HOME="$home")
    "${as_user[@]}" mkdir -p "$labs"
    "${as_user[@]}" ln -sfn "$repo/docs" "$labs/docs"
    "${as_user[@]}" /usr/local/bin/kintro lab sheet -o "$labs/sheets.md"
fi

[ -n "$in_box" ] || /usr/local/bin/kintro doctor
