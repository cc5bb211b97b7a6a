#!/bin/sh
# The AppArmor profile: the parser takes it, and it grants what Motte needs and not what it must not have. The kernel is
# not asked.
set -eu
cd "$(dirname "$0")/../apparmor"

command -v apparmor_parser >/dev/null || {
    echo "apparmor.sh: apparmor_parser is missing: install the Debian package apparmor" >&2
    exit 2
}

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failed=0
fail() {
    echo "FAILED  $*" >&2
    failed=1
}

profile=usr.bin.motte
features=/etc/apparmor.d/abi/3.0
[ -e "$features" ] || {
    echo "apparmor.sh: $features is missing: install the Debian package apparmor" >&2
    exit 2
}
# -Q: do not load; -K: no cache; -M: for a kernel that enforces every rule, which this one need not be.
parse() { apparmor_parser -Q -K -M "$features" "$@"; }
parse --warn=all "$profile" >"$scratch/parse" 2>&1 || {
    cat "$scratch/parse" >&2
    fail "$profile is not taken"
    exit 1
}
grep -v '^Cache read/write disabled: interface file missing' "$scratch/parse" | grep . >&2 && fail "the parser warns"
parse -S "$profile" 2>/dev/null >"$scratch/compiled"
[ -s "$scratch/compiled" ] || fail "$profile compiles to nothing"
apparmor_parser -N "$profile" 2>/dev/null | grep -qx motte || fail "the profile is not called motte"

# A profile with a fault must not pass, else the parser is not asked at all.
sed 's/deny ptrace,/deny ptrac,/' "$profile" >"$scratch/broken"
parse "$scratch/broken" >/dev/null 2>&1 && fail "the parser takes a broken profile"

rules=$(sed 's/#.*//' "$profile")
has() { printf '%s\n' "$rules" | grep -q -E "$1" || fail "no rule $1"; }
lacks() { printf '%s\n' "$rules" | grep -v '^ *deny ' | grep -E "$1" >&2 && fail "a rule $1" || true; }
has '^ *deny capability,'
has '^ *deny ptrace,'
has '^ *deny mount,'
has '^ *@\{MOTTE\} ix,'
# Nothing is run but itself, nothing is run unconfined, and configuration is not written.
lacks '[^ ]* [rwmk]*[uUpPcC]+x,'
lacks '^ */(\{,?usr/,?\})?(bin|sbin|usr)[^ ]* [rmwk]*ix'
lacks '/etc/[^ ]* [rmk]*w'
lacks 'capability'

[ "$failed" = 0 ] && echo "apparmor: in order"
exit "$failed"
