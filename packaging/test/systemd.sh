#!/bin/sh
# The unit files: well-formed, and as closed as they promise to be. Nothing is started.
set -eu
cd "$(dirname "$0")/../systemd"

command -v systemd-analyze >/dev/null || {
    echo "systemd.sh: systemd-analyze is missing: install the Debian package systemd" >&2
    exit 2
}

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failed=0
fail() {
    echo "FAILED  $*" >&2
    failed=1
}

# The exposure that a unit may have, in tenths of a point.
exposure() {
    if systemd-analyze security --no-pager --offline=yes --threshold="$2" "$1" >"$scratch/report"; then
        sed -n 's/^→ //p' "$scratch/report"
    else
        grep -E '✗|→' "$scratch/report" >&2 || cat "$scratch/report" >&2
        fail "$1 is more exposed than $2 tenths"
    fi
}
exposure motte.service 10
exposure motte-sealed.service 5

# The units of a system in which the binary is installed: `verify` looks for it.
mkdir -p "$scratch/etc/systemd/system" "$scratch/usr/bin" "$scratch/bin"
cp motte.service motte.socket motte-sealed.service motte-sealed.socket "$scratch/etc/systemd/system/"
for name in usr/bin/motte bin/kill; do
    printf '#!/bin/sh\n' >"$scratch/$name"
    chmod 755 "$scratch/$name"
done
for unit in /usr/lib/systemd/system /lib/systemd/system; do
    [ -d "$unit" ] && mkdir -p "$scratch$unit" && cp -r "$unit/." "$scratch$unit/"
done
for unit in motte.service motte.socket motte-sealed.service motte-sealed.socket; do
    systemd-analyze verify --man=no --root="$scratch" "$unit" >"$scratch/verify" 2>&1 || true
    # Units of the system itself may lack what a container has not; ours may not.
    if grep -E "^(.*/)?motte[^ ]*(:|\.(service|socket):)" "$scratch/verify"; then
        fail "systemd-analyze verify $unit"
    fi
done

# What motte-sealed promises beyond a figure.
for line in PrivateNetwork=yes RestrictAddressFamilies=none IPAddressDeny=any SocketBindDeny=any; do
    grep -qx "$line" motte-sealed.service || fail "motte-sealed.service without $line"
done

# The two services may differ in what is about the network, in nothing else.
body() {
    sed -e '/^\[Unit\]/,/^# A broker that cannot start/d' -e '/^# --- the network/,$d' "$1"
}
body motte.service >"$scratch/one"
body motte-sealed.service >"$scratch/other"
diff "$scratch/one" "$scratch/other" || fail "motte.service and motte-sealed.service have come apart"

# Motte confines itself: what that takes must pass the filter.
for call in landlock_create_ruleset landlock_add_rule landlock_restrict_self seccomp; do
    grep -q "^SystemCallFilter=.*\b$call\b" motte.service || fail "motte.service forbids $call"
done

[ "$failed" = 0 ] && echo "systemd: in order"
exit "$failed"
