#!/bin/bash
# The broker under what its units leave it: their filter of system calls and address families, another user without
# capabilities, /proc reduced to processes and, for motte-sealed, an empty network with its one socket handed over. It has
# to start fully confined, serve, reload, lose its key process and stop. Needs root, and no systemd that runs.
#
#   filter.sh [BINARY]    without one, cargo builds it
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
units=$here/../systemd

need() { # TOOL PACKAGE
    command -v "$1" >/dev/null || {
        echo "filter.sh: $1 is missing: install the Debian package $2" >&2
        exit 2
    }
}
need systemd-analyze systemd
need unshare util-linux
need /usr/bin/python3 python3
[ -e /usr/lib/*/libseccomp.so.2 ] 2>/dev/null || ldconfig -p | grep -q libseccomp.so.2 || {
    echo "filter.sh: libseccomp is missing: install the Debian package libseccomp2" >&2
    exit 2
}
[ "$(id -u)" = 0 ] || {
    echo "filter.sh: another user and namespaces need root" >&2
    exit 2
}

scratch=$(mktemp -d)
child=
trap '[ -z "$child" ] || kill -KILL "$child" 2>/dev/null || true; rm -rf "$scratch"' EXIT
motte=${1:-}
if [ -z "$motte" ]; then
    (cd "$here/../.." && cargo build --quiet --package motte)
    motte=$(cd "$here/../.." && cargo metadata --no-deps --format-version 1 | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/debug/motte
fi
# Where another user reaches it, whatever the way to the original is.
install -m 755 "$motte" "$scratch/motte"
chmod 755 "$scratch"
install -d -o nobody "$scratch/state"
as_nobody="setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps=-all --bounding-set=-all"

fail() {
    echo "FAILED  $*" >&2
    cat "$scratch/log" >&2
    exit 1
}
wait_for() { # WHAT PATTERN
    for _ in $(seq 200); do
        grep -q "$2" "$scratch/log" && return
        kill -0 "$child" 2>/dev/null || fail "$1: it ended"
        # A condition with a deadline: a shell has no other way to wait for a line.
        read -r -t 0.1 <> <(:) || true
    done
    fail "$1: it never came"
}

$as_nobody "$scratch/motte" init --state "$scratch/state" >/dev/null
install -o nobody -m 600 "$here/../../crates/motte/src/policy.toml" "$scratch/state/policy.toml"

for unit in motte motte-sealed; do
    # A free port: the kernel's choice of a moment ago.
    port=$(/usr/bin/python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')
    cat >"$scratch/motte.toml" <<CONFIG
state_dir = "$scratch/state/store"
log.format = "json"
sandbox.mode = "required"
policy.files = ["$scratch/state/policy.toml"]
control.socket = "$scratch/state/control.sock"
[[listener]]
name = "tls"
kind = "tls"
bind = ["127.0.0.1:$port"]
[listener.tls]
certificates = [{ chain = "$scratch/state/server.pem", key = "$scratch/state/server.key" }]
client_certificates = "optional"
client_ca = ["$scratch/state/ca.pem"]
crl = ["$scratch/state/crl.pem"]
CONFIG
    network= given= roles="supervisor core keyd admin"
    if [ "$unit" = motte ]; then
        # Something to connect to, where nobody is: the process that would has to be there.
        roles="$roles egress"
        cat >>"$scratch/motte.toml" <<CONFIG
[listener.auth]
methods = ["certificate", "http"]
[auth.http]
url = "https://localhost:1/"
ca = ["$scratch/state/ca.pem"]
CONFIG
    else
        network=-n
        given="/usr/bin/python3 $here/activate.py tls 127.0.0.1:$port,$scratch/state/control.sock"
    fi
    : >"$scratch/log"
    # shellcheck disable=SC2086
    $given unshare -m $network sh -ec "
        mount -t proc -o subset=pid,hidepid=invisible proc /proc
        exec $as_nobody --no-new-privs /usr/bin/python3 $here/filter.py $units/$unit.service \
            $scratch/motte serve --config $scratch/motte.toml" 2>"$scratch/log" &
    child=$!
    wait_for "$unit starts" life.listening
    grep -q life.confined "$scratch/log" || fail "$unit: not fully confined"
    grep -q life.confinement_incomplete "$scratch/log" && fail "$unit: not fully confined"
    publish() {
        timeout 20 "$scratch/motte" pub --state "$scratch/state" --as device-1 -p "$port" -t "devices/device-1/$1" -m x -q 1 ||
            fail "$unit: no message gets through ($1)"
    }
    publish first
    kill -HUP "$child"
    wait_for "$unit reloads" life.reloaded
    # By its number, which is in its parent's list.
    for process in $(cat "/proc/$child/task/$child/children"); do
        tr '\0' ' ' <"/proc/$process/cmdline" | grep -q ' role keyd ' && kill -KILL "$process"
    done
    wait_for "$unit starts its key process again" life.keys_ready
    publish second
    # As root, who asks from outside; the parts are hidden from each other, but told of.
    timeout 20 "$scratch/motte" status --socket "$scratch/state/control.sock" >"$scratch/status" || fail "$unit: no status"
    for role in $roles; do
        grep -q "^$role .* full" "$scratch/status" || { cat "$scratch/status" >&2; fail "$unit: $role is not there, or not confined"; }
    done
    timeout 60 "$scratch/motte" reload --socket "$scratch/state/control.sock" >/dev/null || fail "$unit: no reload by an operator"
    timeout 60 "$scratch/motte" stop --socket "$scratch/state/control.sock" >/dev/null || fail "$unit: no stop by an operator"
    rm -f "$scratch/state/control.sock"
    wait "$child" || fail "$unit: no clean stop"
    child=
    echo "$unit: serves under its filter"
done
