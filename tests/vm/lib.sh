# shellcheck shell=bash
# What the tests in machines share: steps with a limit of time, and what is told when one fails. It is sourced.
# shellcheck source=script/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../../script/lib.sh"
export PATH=$PATH:/usr/sbin:/sbin # libvirtd, sfdisk, mkfs are there, and an ordinary user's PATH ends before
cache=${KINTRO_VM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/kintro-vm}
console=
work=${work-} # the scripts make it
in_all=${KINTRO_VM_SECONDS:-86400}
trap interrupted HUP INT TERM

# A step is not waited for then: it may take half an hour, and is in a process group that no terminal signals.
# Bash knows it from the moment that it is there, which a variable does not. Its group is signalled, since timeout
# does not pass on a signal that meets it within its fork; before it has made the group, it has no child.
interrupted() {
    local under_way
    under_way=$(jobs -rp)
    [ -z "$under_way" ] || { kill -- "-$under_way" || kill "$under_way"; wait "$under_way"; } 2>/dev/null || true
    exit 130
}

# What has to be there and is not the project's: there is no verdict, and the exit code is EX_UNAVAILABLE.
unavailable() {
    say "not run: $*"
    exit 69
}

# QEMU may execute the breakpoint by which a kernel has exchanged an instruction (a tracepoint's jump, as programs
# are attached) after it is gone again: the kernel then ends, with what no CPU does.
emulation_failed() {
    grep -aq 'int3: 0000 \[#1\]' "$console" 2>/dev/null || return 0
    unavailable "$1: QEMU's emulation met a breakpoint that was gone, and the machine's kernel ended. Run it again"
}

# Arguments: a name, a limit in seconds, a command. Its output is kept, and shown only if it fails.
step() {
    local name=$1 limit=$2 begun=$SECONDS code=0
    shift 2
    [ $((SECONDS + limit)) -le "$in_all" ] || limit=$((in_all > SECONDS ? in_all - SECONDS : 1))
    timeout --kill-after=20 "$limit" "$@" </dev/null >"$work/step.log" 2>&1 &
    wait $! || code=$?
    cat "$work/step.log" >>"$work/all.log"
    if [ "$code" = 0 ]; then
        say "$name: passed in $((SECONDS - begun)) s"
        return
    fi
    [ "$SECONDS" -lt "$in_all" ] || unavailable "$name, and what comes after: $in_all s are over"
    tail -n 60 "$work/step.log" >&2
    if [ -n "$console" ] && [ -s "$console" ]; then
        say "the last lines of the machine's console:"
        tail -n 40 "$console" | tr -cd '\n\t -~' >&2
    fi
    emulation_failed "$name"
    [ "$code" != 124 ] || die "$name: not done after $limit s"
    die "$name: failed"
}

# Arguments: folders and files. Prints a name for what is made from them.
key() { fingerprint "$@" | cut -c 1-16; }

# Arguments: a folder of the cache, its key. Only the one of this key is kept.
forget_others() {
    local old
    for old in "$cache/$1"-*; do
        [ ! -e "$old" ] || [ "$old" = "$cache/$1-$2" ] || rm -rf "$old"
    done
}
