#!/bin/sh
# The SELinux module: it builds, it links into Debian's policy, and the parts of Motte have the rights they should have
# there and no others. The policy is made in a temporary directory; that of this machine is not touched.
set -eu
cd "$(dirname "$0")/../selinux"

need() { # TOOL-OR-FILE PACKAGE
    command -v "$1" >/dev/null || [ -e "$1" ] || {
        echo "selinux.sh: $1 is missing: install the Debian package $2" >&2
        exit 2
    }
}
need /usr/share/selinux/devel/Makefile selinux-policy-dev
need /usr/share/selinux/default/base.pp.bz2 selinux-policy-default
need /var/lib/selinux/default/active selinux-policy-default
need semodule policycoreutils
need sesearch setools
need make make
need m4 m4
need gawk gawk

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failed=0
fail() {
    echo "FAILED  $*" >&2
    failed=1
}

mkdir "$scratch/build"
cp motte.te motte.fc motte.if Makefile "$scratch/build/"
make -C "$scratch/build" >"$scratch/make" 2>&1 || {
    cat "$scratch/make" >&2
    fail "the module does not build"
    exit 1
}
grep -i -E 'warning|error' "$scratch/make" && fail "the module builds with a complaint"

# A store of its own, into which the module is linked with everything that Debian's policy says about all domains.
root=$scratch/root
mkdir -p "$root/var/lib/selinux" "$root/etc/selinux/default"
cp -a /var/lib/selinux/default "$root/var/lib/selinux/"
cp -a /etc/selinux/default/. "$root/etc/selinux/default/"
cp /etc/selinux/semanage.conf "$root/etc/selinux/"
semodule --path="$root" --store=default --noreload --install="$scratch/build/motte.pp"
policy=$(find "$root/etc/selinux/default/policy" -name 'policy.*' | sort | tail -n 1)

# Rules of one domain; booleans count as they are by default unless the words say otherwise.
rules() { sesearch --allow "$@" "$policy"; }
none() { # WHAT WORDS…
    what=$1
    shift
    found=$(rules "$@")
    [ -z "$found" ] || fail "$what: $found"
}
some() { # WHAT WORDS…
    what=$1
    shift
    [ -n "$(rules "$@")" ] || fail "$what: no rule"
}

# The core reads what strangers send.
for right in name_connect name_bind; do
    none "core has $right" --source motte_core_t --perm $right
done
for right in execmem execstack execheap setexec dyntransition ptrace setcurrent; do
    none "core has $right" --source motte_core_t --class process --perm $right
done
# Debian's policy lets every domain relocate the libraries that it has labelled for it; they are not Motte's.
rules --source motte_core_t --class file --perm execmod | grep -v ' textrel_shlib_t:file ' &&
    fail "core writes what it can run"
none "core runs programs" --source motte_core_t --class file --perm execute_no_trans
none "core leaves its domain" --source motte_core_t --class process --perm transition
for class in tcp_socket udp_socket rawip_socket packet_socket netlink_route_socket; do
    none "core makes a $class" --source motte_core_t --class $class --perm create
done
none "core has capabilities" --source motte_core_t --class capability
none "core has capabilities" --source motte_core_t --class capability2
none "core reads keys" --source motte_core_t --target motte_key_t --class file --perm open,read,write
none "core writes its configuration" --source motte_core_t --target motte_etc_t --class file --perm write,append
none "core reads passwords of the system" --source motte_core_t --target shadow_t --class file
some "core serves connections" --source motte_core_t --target motte_t --class tcp_socket --perm accept
some "core keeps Sessions" --source motte_core_t --target motte_var_lib_t --class file --perm create

# The keys.
for right in name_connect name_bind; do
    none "keyd has $right" --source motte_keyd_t --perm $right
done
for class in tcp_socket udp_socket netlink_route_socket; do
    none "keyd makes a $class" --source motte_keyd_t --class $class --perm create
done
none "keyd has execmem" --source motte_keyd_t --class process --perm execmem
none "keyd runs programs" --source motte_keyd_t --class file --perm execute_no_trans
none "keyd writes keys" --source motte_keyd_t --target motte_key_t --class file --perm write,append,create,unlink
some "keyd reads keys" --source motte_keyd_t --target motte_key_t --class file --perm read

# The operators.
for right in name_connect name_bind; do
    none "admin has $right" --source motte_admin_t --perm $right
done
for class in tcp_socket udp_socket netlink_route_socket; do
    none "admin makes a $class" --source motte_admin_t --class $class --perm create
done
none "admin has execmem" --source motte_admin_t --class process --perm execmem
none "admin runs programs" --source motte_admin_t --class file --perm execute_no_trans
for type in motte_key_t motte_etc_t motte_var_lib_t; do
    none "admin reads $type" --source motte_admin_t --target $type --class file --perm open,read,write
done
for part in keyd admin egress; do
    some "$part tells what is in force" --source motte_${part}_t --target motte_report_t --class file --perm write
    none "$part makes files" --source motte_${part}_t --target motte_report_t --class file --perm create,unlink,rename
    none "$part names files in the state" --source motte_${part}_t --target motte_var_lib_t --class dir --perm add_name,write
done
some "admin serves operators" --source motte_admin_t --target motte_t --class unix_stream_socket --perm accept

# The way out.
some "egress connects to brokers" --source motte_egress_t --target motte_port_t --perm name_connect
none "egress listens" --source motte_egress_t --class tcp_socket --perm listen
none "egress reads keys" --source motte_egress_t --target motte_key_t --class file --perm read
none "egress reads the state" --source motte_egress_t --target motte_var_lib_t --class file --perm read
none "egress runs programs" --source motte_egress_t --class file --perm execute_no_trans
some "the boolean opens egress" --source motte_egress_t --target port_type --perm name_connect -b motte_egress_connect_any

# The supervisor, which is the whole broker while it is one process.
none "motte has name_connect" --source motte_t --perm name_connect
none "motte has execmem" --source motte_t --class process --perm execmem
none "motte has capabilities" --source motte_t --class capability
some "motte binds the ports of MQTT" --source motte_t --target motte_port_t --perm name_bind
some "the boolean opens ports" --source motte_t --target unreserved_port_type --perm name_bind -b motte_bind_any_port
none "motte changes its domain without exec" --source motte_t --class process --perm dyntransition,setcurrent

# What it may run: its own file alone.
rules --source motte_t --class file --perm execute_no_trans | grep -v ' motte_exec_t:file ' &&
    fail "motte runs more than itself"
# The ways into the parts: exec of Motte's file, from the supervisor, also under NoNewPrivileges.
for part in motte_core_t motte_keyd_t motte_admin_t motte_egress_t; do
    some "motte asks for $part" --source motte_t --target motte_t --class process --perm setexec
    some "motte enters $part" --source motte_t --target $part --class process --perm transition
    some "motte enters $part with NoNewPrivileges" --source motte_t --target $part --class process2 --perm nnp_transition
    some "$part begins with Motte's file" --source $part --target motte_exec_t --class file --perm entrypoint
    rules --source $part --class file --perm entrypoint | grep -v ' motte_exec_t:file ' &&
        fail "$part begins with another file"
done
some "init starts motte" --source init_t --target motte_t --class process --perm transition
some "init starts motte with NoNewPrivileges" --source init_t --target motte_t --class process2 --perm nnp_transition
some "init opens its sockets" --source init_t --target motte_port_t --perm name_bind
sesearch --type_trans --source init_t --target motte_exec_t "$policy" | grep -q 'motte_t;' ||
    fail "no type_transition from init"

# What files are called.
contexts=$root/etc/selinux/default/contexts/files/file_contexts
need matchpathcon selinux-utils
label() { # PATH TYPE
    found=$(matchpathcon -n -m file -f "$contexts" "$1" | cut -d: -f3)
    [ "$found" = "$2" ] || fail "$1 is $found, not $2"
}
label /usr/bin/motte motte_exec_t
label /etc/motte/motte.toml motte_etc_t
label /etc/motte/tls/server.key motte_key_t
label /var/lib/motte/ca.key motte_key_t
label /var/lib/motte/server.key motte_key_t
label /var/lib/motte/identities/device-1/key.pem motte_key_t
label /var/lib/motte/identities/device-1/cert.pem motte_var_lib_t
label /var/lib/motte/store/sessions.snapshot motte_var_lib_t
label /run/motte/motte.sock motte_runtime_t
label /var/lib/motte/store.key motte_key_t
label /var/lib/motte/store/sandbox-keyd.json motte_report_t
label /run/motte/control.sock motte_runtime_t

[ "$failed" = 0 ] && echo "selinux: in order"
exit "$failed"
