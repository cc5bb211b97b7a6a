#!/bin/bash
# The Debian package in a system of its own: installed, started, upgraded, removed and purged, with messages through the
# broker and a look at what is there after each step.
#
#   deb.sh [PACKAGE]    without a package, `cargo xtask package` makes one
#
# MOTTE_DEB_TREE=DIRECTORY takes a tree that `debootstrap --variant=minbase --include=adduser` has made, and copies it.
# Everything happens in a temporary directory and, once the tree is there, in namespaces that end with this script.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

need() { # TOOL PACKAGE
    command -v "$1" >/dev/null || {
        echo "deb.sh: $1 is missing: install the Debian package $2" >&2
        exit 2
    }
}
need dpkg-deb dpkg
need unshare util-linux
need ip iproute2
[ "$(id -u)" = 0 ] || {
    echo "deb.sh: a chroot needs root" >&2
    exit 2
}

if [ "${1:-}" != --inside ]; then
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    package=${1:-}
    if [ -z "$package" ]; then
        (cd "$here/../.." && cargo xtask package) | tee "$scratch/made"
        package=$(tail -n 1 "$scratch/made")
    fi
    cp "$package" "$scratch/first.deb"
    if [ -n "${MOTTE_DEB_TREE:-}" ]; then
        cp -a "$MOTTE_DEB_TREE" "$scratch/tree"
    else
        need debootstrap debootstrap
        # The mirror that this machine uses, from either form of its list.
        mirror=$(sed -n -e 's/^URIs: *\([^ ]*\).*/\1/p' -e 's/^deb \(\[[^]]*\] \)\?\([^ ]*\) .*/\2/p' \
            /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list 2>/dev/null | head -n 1 || true)
        [ -n "$mirror" ] || {
            echo "deb.sh: no mirror in the lists of apt" >&2
            exit 2
        }
        debootstrap --variant=minbase --include=adduser bookworm "$scratch/tree" "$mirror" >"$scratch/log" 2>&1 || {
            tail -n 20 "$scratch/log" >&2
            exit 1
        }
    fi
    unshare --mount --net --pid --fork --kill-child "$0" --inside "$scratch"
    exit
fi

# --- inside: no network but loopback, nobody else's processes, mounts that vanish
scratch=$2
tree=$scratch/tree
ip link set lo up
mount -t proc proc "$tree/proc"
# What an installer writes and debootstrap does not.
echo '127.0.0.1 localhost' >"$tree/etc/hosts"
for device in null zero urandom random; do
    [ -e "$tree/dev/$device" ] || touch "$tree/dev/$device"
    mount --bind "/dev/$device" "$tree/dev/$device"
done

fail() {
    echo "FAILED  $*" >&2
    [ ! -e "$scratch/serve.log" ] || tail -n 20 "$scratch/serve.log" >&2
    exit 1
}
in_tree() { chroot "$tree" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C DEBIAN_FRONTEND=noninteractive "$@"; }
# As systemd would: the user, its one group, no environment, the umask of the unit.
as_motte() { (umask 0077 && exec chroot --userspec=motte:motte --groups=motte "$tree" /usr/bin/env -i PATH=/usr/bin "$@"); }
is() { # PATH OWNER:GROUP MODE
    found=$(in_tree stat -c '%U:%G %a' "$1" 2>&1) || fail "$1: $found"
    [ "$found" = "$2 $3" ] || fail "$1 is $found, not $2 $3"
}
gone() { [ ! -e "$tree$1" ] || fail "$1 is still there"; }
# Waits until a line is in a file, for half a minute at most.
line() { # FILE TEXT
    for _ in $(seq 300); do
        grep -q -e "$2" "$1" && return
        sleep 0.1
    done
    fail "no \`$2\` in $1: $(cat "$1")"
}

broker=
start() { # as the unit does: what is missing is made, then it serves
    : >"$scratch/serve.log"
    as_motte /usr/bin/motte init --state /var/lib/motte >"$scratch/init.log" 2>&1 || fail "init: $(cat "$scratch/init.log")"
    install -d -m 755 -o "$(in_tree id -u motte)" -g "$(in_tree id -g motte)" "$tree/run/motte"
    # Not by as_motte: the shell of the function would be the process whose id is kept.
    (umask 0077 && exec chroot --userspec=motte:motte --groups=motte "$tree" /usr/bin/env -i PATH=/usr/bin \
        /usr/bin/motte serve --config /etc/motte/motte.toml) >>"$scratch/serve.log" 2>&1 &
    broker=$!
    line "$scratch/serve.log" life.listening
}
stop() {
    kill -TERM "$broker"
    wait "$broker" || fail "the broker ended with $?"
    grep -q life.stopped "$scratch/serve.log" || fail "the broker did not stop cleanly"
    broker=
}
publish() { in_tree motte pub --state /var/lib/motte --as device-1 "$@"; }
through() { # TEXT: what device-1 publishes reaches the operator
    : >"$scratch/sub.log"
    in_tree motte sub --state /var/lib/motte --as operator -v -t 'devices/#' --retain-handling 2 --count 1 --timeout 20 \
        >"$scratch/sub.log" 2>&1 &
    subscriber=$!
    line "$scratch/sub.log" 'subscribed to'
    publish -t devices/device-1/hello -q 1 -m "$1"
    wait "$subscriber" || fail "the subscriber ended with $?: $(cat "$scratch/sub.log")"
    grep -qx "devices/device-1/hello $1" "$scratch/sub.log" || fail "no \`$1\`: $(cat "$scratch/sub.log")"
}

echo "== nothing secret in the package"
dpkg-deb -R "$scratch/first.deb" "$scratch/opened"
if grep -r -l -I -e '-----BEGIN' "$scratch/opened" --include='*' | grep -v '/usr/share/doc/'; then
    fail "the package carries key material"
fi
[ ! -e "$scratch/opened/var" ] || fail "the package carries state"

echo "== install"
cp "$scratch/first.deb" "$tree/tmp/"
in_tree dpkg -i /tmp/first.deb
first=$(in_tree dpkg-query -W -f '${Version}' motte)
[ "$(in_tree dpkg-query -W -f '${Status}' motte)" = "install ok installed" ] || fail "not installed"
is /usr/bin/motte root:root 755
is /etc/motte root:motte 750
is /etc/motte/motte.toml root:motte 640
is /etc/motte/policy.toml root:motte 640
is /var/lib/motte motte:motte 700
for unit in motte.service motte.socket motte-sealed.service motte-sealed.socket; do
    is "/usr/lib/systemd/system/$unit" root:root 644
done
[ -z "$(ls -A "$tree/var/lib/motte")" ] || fail "the state is not empty before the first start"
entry=$(in_tree getent passwd motte)
[[ $entry == motte:x:*:*:/var/lib/motte:/usr/sbin/nologin ]] || fail "the user is $entry"
uid=$(cut -d: -f3 <<<"$entry")
[ "$uid" -ge 100 ] && [ "$uid" -lt 1000 ] || fail "$uid is no number of a system user"
in_tree getent shadow motte | grep -q '^motte:[!*]' || fail "the user has a password"
in_tree dpkg --verify motte
[ -L "$tree/etc/systemd/system/multi-user.target.wants/motte.service" ] || fail "the service is not enabled"
for unit in motte-sealed.service motte.socket motte-sealed.socket; do
    [ -z "$(find "$tree/etc/systemd/system" -name "$unit")" ] || fail "$unit is enabled"
done

echo "== first start"
start
in_tree motte check --config /etc/motte/motte.toml
for secret in ca.key server.key identities/device-1/key.pem identities/operator/key.pem passwords store.key; do
    is "/var/lib/motte/$secret" motte:motte 600
done
uids=$(awk '/^Uid:/ { print $2, $3, $4, $5 }' "$tree/proc/$broker/status")
[ "$uids" = "$uid $uid $uid $uid" ] || fail "the broker runs as $uids"
line "$scratch/serve.log" life.admin_ready
as_motte /usr/bin/motte status --socket /run/motte/control.sock >"$scratch/status" 2>&1 || fail "no status: $(cat "$scratch/status")"
through first
publish -t devices/device-1/kept -q 1 -r -m kept
publish -t devices/device-2/no -q 1 -m no >"$scratch/denied" 2>&1 && fail "the policy does not hold"
grep -q 'Not authorized' "$scratch/denied" || fail "denied otherwise: $(cat "$scratch/denied")"
# What it may write is its state, and its configuration is not.
as_motte sh -c 'echo >>/etc/motte/policy.toml' 2>/dev/null && fail "the broker's user writes the policy"
ss_listening=$(awk 'NR > 1 && $4 == "0A" { print $2 }' "$tree/proc/net/tcp" "$tree/proc/net/tcp6" | sort -u)
[ "$ss_listening" = "0100007F:22B3" ] || fail "listens on $ss_listening, not on 127.0.0.1:8883 alone"

echo "== upgrade, with an edited configuration"
printf '\n[sys]\ninterval_s = 0\n' >>"$tree/etc/motte/motte.toml"
kill -HUP "$broker"
# Owner and mode are the administrator's from the first installation on.
chmod 0644 "$tree/etc/motte/policy.toml"
authority=$(sha256sum <"$tree/var/lib/motte/ca.pem")
vault=$(sha256sum <"$tree/var/lib/motte/store.key")
echo "# a newer default" >>"$scratch/opened/etc/motte/motte.toml"
second=$first+upgrade1
sed -i "s/^Version: .*/Version: $second/" "$scratch/opened/DEBIAN/control"
(cd "$scratch/opened" && find . -type f ! -path './DEBIAN/*' -printf '%P\0' | xargs -0 md5sum >DEBIAN/md5sums)
dpkg-deb --root-owner-group -b "$scratch/opened" "$tree/tmp/second.deb" >/dev/null
in_tree dpkg -i --force-confdef --force-confold /tmp/second.deb
[ "$(in_tree dpkg-query -W -f '${Version}' motte)" = "$second" ] || fail "not upgraded"
kill -0 "$broker" || fail "the upgrade ended a broker that nobody asked to end"
grep -q 'interval_s = 0' "$tree/etc/motte/motte.toml" || fail "the edited configuration is lost"
grep -q 'a newer default' "$tree/etc/motte/motte.toml.dpkg-dist" || fail "the newer default is not beside it"
is /etc/motte/motte.toml root:motte 640
is /etc/motte/policy.toml root:motte 644
stop
start
[ -s "$scratch/init.log" ] && fail "the second start made something anew: $(cat "$scratch/init.log")"
[ "$authority" = "$(sha256sum <"$tree/var/lib/motte/ca.pem")" ] || fail "another authority after the upgrade"
through second
in_tree motte sub --state /var/lib/motte --as operator -v -t devices/device-1/kept --count 1 --timeout 20 |
    grep -qx 'devices/device-1/kept kept' || fail "the Retained Message did not outlive the upgrade"
stop

echo "== remove"
in_tree dpkg -r motte
gone /usr/bin/motte
gone /usr/lib/systemd/system/motte.service
[ -e "$tree/etc/motte/motte.toml" ] || fail "removing took the configuration"
[ -e "$tree/var/lib/motte/ca.key" ] || fail "removing took the state"
[ "$vault" = "$(sha256sum <"$tree/var/lib/motte/store.key")" ] || fail "removing took the key of the vault"
in_tree getent passwd motte >/dev/null || fail "removing took the user"

echo "== install again over what was left"
in_tree dpkg -i --force-confdef --force-confold /tmp/second.deb
start
[ "$authority" = "$(sha256sum <"$tree/var/lib/motte/ca.pem")" ] || fail "another authority after a new installation"
through third
stop

echo "== purge"
# A file of the administrator's own in the folder of the configuration.
echo mine >"$tree/etc/motte/mine"
in_tree dpkg -P motte
for path in /usr/bin/motte /var/lib/motte /etc/motte/motte.toml /etc/motte/policy.toml /etc/motte/motte.toml.dpkg-dist \
    /usr/share/doc/motte /usr/lib/sysusers.d/motte.conf; do
    gone "$path"
done
[ -e "$tree/etc/motte/mine" ] || fail "the purge took a file that is not the package's"
left=$(find "$tree/etc/systemd" "$tree/var/lib/systemd" "$tree/usr" -name '*motte*' 2>/dev/null || true)
[ -z "$left" ] || fail "left: $left"
in_tree getent passwd motte >/dev/null || fail "the purge took the user"
[ -z "$(in_tree dpkg-query -W -f '${Status}' motte 2>/dev/null || true)" ] || fail "dpkg still knows the package"

echo "deb: in order"
