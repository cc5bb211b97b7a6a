//! The kernel calls each role keeps. What is not here is refused.
//!
//! Found by running the product under `strace` (start, TLS, publish and subscribe, reload, shutdown) and by what the C
//! library, mimalloc and Rust's standard library do on their own: threads, stacks, panics, randomness, time. Kept narrow by
//! arguments where a call does more than one thing. Nobody but the supervisor starts programs; nobody mounts, traces,
//! loads BPF or modules, uses io_uring, opens raw sockets, or makes memory executable once running.

use crate::role::Role::{self, Admin, Core, Egress, Keyd, Supervisor};
use crate::table::{Call, Declined, Group, bits, calls, is, null, own};

const EVERYONE: &[Role] = &[Core, Keyd, Egress, Admin, Supervisor];
/// Those that start no other program.
const LEAVES: &[Role] = &[Core, Keyd, Egress, Admin];

/// `prot` of mmap and mprotect without PROT_EXEC.
const NOT_EXECUTABLE: crate::table::Test = bits(2, libc::PROT_EXEC.cast_unsigned(), 0);
/// A clone that makes a new namespace.
const NAMESPACES: u32 = 0x7e02_0000;
const THREAD: u32 = libc::CLONE_THREAD.cast_unsigned();
/// A send that connects. Landlock up to ABI 9 does not look at it.
const FAST_OPEN: u32 = libc::MSG_FASTOPEN.cast_unsigned();
/// The part of a socket's type that is no flag.
const TYPE: u32 = 0xf;
const STREAM: u32 = libc::SOCK_STREAM.cast_unsigned();
const DATAGRAM: u32 = libc::SOCK_DGRAM.cast_unsigned();
const INET: u32 = libc::AF_INET.cast_unsigned();
const INET6: u32 = libc::AF_INET6.cast_unsigned();
const UNIX: u32 = libc::AF_UNIX.cast_unsigned();
const TCP: u32 = libc::IPPROTO_TCP.cast_unsigned();
const UDP: u32 = libc::IPPROTO_UDP.cast_unsigned();

/// Every group. A call in two groups of one role is permitted by either.
pub(crate) const GROUPS: &[Group] = &[
    Group {
        // Memory.
        roles: EVERYONE,
        calls: calls![SYS_brk, SYS_madvise, SYS_membarrier, SYS_mremap, SYS_munmap],
    },
    Group {
        // A page is written or run, never both, and none becomes runnable: injected code stays data.
        // Memory without code.
        roles: LEAVES,
        calls: calls![SYS_mmap if [[NOT_EXECUTABLE]], SYS_mprotect if [[NOT_EXECUTABLE]]],
    },
    Group {
        // Its children load their libraries under the filter they inherit.
        // Memory with code.
        roles: &[Supervisor],
        calls: calls![SYS_mmap, SYS_mprotect],
    },
    Group {
        // Keys must not reach the swap.
        // Locked memory.
        roles: &[Keyd, Supervisor],
        calls: calls![SYS_mlock, SYS_mlock2, SYS_munlock],
    },
    Group {
        // Threads.
        roles: EVERYONE,
        calls: calls![
            SYS_exit,
            SYS_exit_group,
            SYS_futex,
            SYS_gettid,
            SYS_rseq,
            SYS_sched_getaffinity,
            SYS_sched_yield,
            SYS_set_robust_list,
            // A thread lowers its own priority; raising one takes a capability that nobody has.
            SYS_setpriority if [[is(0, PRIO_PROCESS), is(1, 0)]],
        ],
    },
    Group {
        // New threads, no new processes.
        roles: LEAVES,
        calls: calls![SYS_clone if [[bits(0, THREAD | NAMESPACES, THREAD)]]],
    },
    Group {
        // Signals.
        roles: EVERYONE,
        calls: calls![
            SYS_restart_syscall,
            SYS_rt_sigaction,
            SYS_rt_sigprocmask,
            SYS_rt_sigreturn,
            SYS_sigaltstack,
            // abort() and raise(): to itself alone.
            SYS_tgkill if [[own(0)]],
        ],
    },
    Group {
        // Mostly answered without the kernel; not on every machine.
        // Time.
        roles: EVERYONE,
        calls: calls![
            SYS_clock_getres,
            SYS_clock_gettime,
            SYS_clock_nanosleep,
            SYS_gettimeofday,
            SYS_nanosleep
        ],
    },
    Group {
        // Facts.
        roles: EVERYONE,
        calls: calls![
            SYS_getcpu,
            SYS_getegid,
            SYS_geteuid,
            SYS_getgid,
            SYS_getpid,
            SYS_getppid,
            SYS_getrandom,
            SYS_getrusage,
            SYS_getuid,
            SYS_sysinfo,
            SYS_uname,
            // Reading a limit: no new value.
            SYS_prlimit64 if [[is(0, 0), null(2)]],
            SYS_prctl if [
                [is(0, libc::PR_SET_NAME.cast_unsigned())],
                [is(0, libc::PR_GET_NAME.cast_unsigned())],
                [is(0, libc::PR_GET_DUMPABLE.cast_unsigned())],
                [is(0, libc::PR_SET_VMA.cast_unsigned())],
            ],
        ],
    },
    Group {
        // Descriptors.
        roles: EVERYONE,
        calls: calls![
            SYS_close,
            SYS_fcntl if [
                [is(1, libc::F_DUPFD_CLOEXEC.cast_unsigned())],
                [is(1, libc::F_GETFD.cast_unsigned())],
                [is(1, libc::F_SETFD.cast_unsigned())],
                [is(1, libc::F_GETFL.cast_unsigned())],
                [is(1, libc::F_SETFL.cast_unsigned())],
            ],
            SYS_fstat,
            SYS_ioctl if [[is(1, FIONBIO)], [is(1, FIOCLEX)], [is(1, FIONREAD)], [is(1, TCGETS)]],
            SYS_lseek,
            SYS_pread64,
            SYS_pwrite64,
            SYS_read,
            SYS_readv,
            SYS_write,
            SYS_writev,
        ],
    },
    Group {
        // Waiting.
        roles: EVERYONE,
        calls: calls![
            SYS_epoll_create1,
            SYS_epoll_ctl,
            SYS_epoll_pwait,
            SYS_epoll_pwait2,
            SYS_eventfd2,
            SYS_ppoll,
        ],
    },
    Group {
        // Which files is a matter for Landlock.
        // Reading files.
        roles: EVERYONE,
        calls: calls![
            SYS_faccessat,
            SYS_faccessat2,
            SYS_fadvise64,
            SYS_getcwd,
            SYS_getdents64,
            SYS_newfstatat,
            SYS_openat,
            SYS_readlinkat,
            SYS_statx,
        ],
    },
    Group {
        // Writing files.
        roles: EVERYONE,
        calls: calls![
            SYS_fallocate,
            SYS_fdatasync,
            SYS_flock,
            SYS_fsync,
            SYS_ftruncate,
            SYS_mkdirat,
            SYS_renameat,
            SYS_renameat2,
            SYS_unlinkat,
        ],
    },
    Group {
        // Connected sockets.
        roles: EVERYONE,
        calls: calls![
            SYS_getpeername,
            SYS_getsockname,
            SYS_getsockopt,
            SYS_recvfrom,
            SYS_recvmsg,
            SYS_sendmsg if [[bits(2, FAST_OPEN, 0)]],
            SYS_sendto if [[bits(3, FAST_OPEN, 0)]],
            SYS_setsockopt,
            SYS_shutdown,
        ],
    },
    Group {
        // On listeners the process was given: none of these can make one.
        // Accepting.
        roles: &[Core, Admin, Supervisor],
        calls: calls![SYS_accept4],
    },
    Group {
        // Protocols by name: MPTCP and SCTP would pass Landlock's rules for TCP.
        // Sockets that go out.
        roles: &[Egress, Supervisor],
        calls: calls![
            SYS_connect,
            SYS_sendmmsg if [[bits(3, FAST_OPEN, 0)]],
            SYS_socket if [
                [is(0, INET), bits(1, TYPE, STREAM), is(2, 0)],
                [is(0, INET), bits(1, TYPE, STREAM), is(2, TCP)],
                [is(0, INET), bits(1, TYPE, DATAGRAM), is(2, 0)],
                [is(0, INET), bits(1, TYPE, DATAGRAM), is(2, UDP)],
                [is(0, INET6), bits(1, TYPE, STREAM), is(2, 0)],
                [is(0, INET6), bits(1, TYPE, STREAM), is(2, TCP)],
                [is(0, INET6), bits(1, TYPE, DATAGRAM), is(2, 0)],
                [is(0, INET6), bits(1, TYPE, DATAGRAM), is(2, UDP)],
            ],
        ],
    },
    Group {
        // Listening.
        roles: &[Supervisor],
        calls: calls![
            SYS_bind,
            SYS_listen,
            SYS_socket if [[is(0, UNIX), bits(1, TYPE, STREAM), is(2, 0)], [is(0, UNIX), bits(1, TYPE, DATAGRAM), is(2, 0)]],
            SYS_socketpair if [[is(0, UNIX)]],
        ],
    },
    Group {
        // Children.
        roles: &[Supervisor],
        calls: calls![
            SYS_chdir,
            SYS_clone if [[bits(0, NAMESPACES, 0)]],
            SYS_close_range,
            SYS_dup3,
            SYS_execve,
            SYS_fchdir,
            SYS_kill,
            SYS_pidfd_open,
            SYS_pidfd_send_signal,
            SYS_pipe2,
            SYS_rt_sigtimedwait,
            SYS_set_tid_address,
            SYS_setpgid,
            SYS_setsid,
            SYS_tgkill,
            SYS_umask,
            SYS_wait4,
            SYS_waitid,
        ],
    },
    Group {
        // What a child does to become who it is and to confine itself.
        // Narrowing oneself.
        roles: &[Supervisor],
        calls: calls![
            SYS_capget,
            SYS_capset,
            SYS_landlock_add_rule,
            SYS_landlock_create_ruleset,
            SYS_landlock_restrict_self,
            SYS_prctl,
            SYS_prlimit64,
            SYS_seccomp,
            SYS_setgid,
            SYS_setgroups,
            SYS_setresgid,
            SYS_setresuid,
            SYS_setuid,
        ],
    },
    Group { roles: EVERYONE, calls: OLDER },
    Group { roles: &[Supervisor], calls: OLDER_CHILDREN },
];

/// Forms that only x86-64 has; C libraries and mimalloc still use some there.
#[cfg(target_arch = "x86_64")]
const OLDER: &[Call] = calls![
    SYS_access,
    SYS_epoll_wait,
    SYS_lstat,
    SYS_mkdir,
    SYS_open,
    SYS_poll,
    SYS_readlink,
    SYS_rename,
    SYS_rmdir,
    SYS_stat,
    SYS_unlink,
];
#[cfg(not(target_arch = "x86_64"))]
const OLDER: &[Call] = &[];

#[cfg(target_arch = "x86_64")]
const OLDER_CHILDREN: &[Call] = calls![SYS_arch_prctl, SYS_dup2, SYS_vfork];
#[cfg(not(target_arch = "x86_64"))]
const OLDER_CHILDREN: &[Call] = &[];

/// Of setpriority; libc gives it another type for each C library.
const PRIO_PROCESS: u32 = 0;
/// Requests of ioctl; libc gives them the type of its C library.
const TCGETS: u32 = 0x5401;
const FIONREAD: u32 = 0x541b;
const FIONBIO: u32 = 0x5421;
const FIOCLEX: u32 = 0x5451;

/// Calls that are tried and survived. A library must not end the process by asking.
pub(crate) const DECLINED: &[Declined] = &[
    Declined {
        // The flags of clone3 lie in memory, where no filter can look; the C library falls back to clone. The others
        // move bytes between descriptors; the standard library falls back to reading and writing.
        errno: libc::ENOSYS,
        roles: EVERYONE,
        calls: calls![SYS_clone3, SYS_copy_file_range, SYS_sendfile, SYS_splice],
    },
    Declined {
        // The resolver asks netlink for addresses and nscd over a Unix socket, and goes on without.
        errno: libc::EAFNOSUPPORT,
        roles: &[Egress],
        calls: calls![SYS_socket if [
            [is(0, libc::AF_NETLINK.cast_unsigned())],
            [is(0, UNIX)],
        ]],
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    fn has(role: Role, number: i64) -> bool {
        GROUPS
            .iter()
            .any(|group| group.roles.contains(&role) && group.calls.iter().any(|call| call.number == number))
    }

    #[test]
    fn no_role_has_a_call_that_leads_out() {
        let never = calls![
            SYS_add_key,
            SYS_bpf,
            SYS_chroot,
            SYS_delete_module,
            SYS_finit_module,
            SYS_init_module,
            SYS_io_uring_setup,
            SYS_kexec_load,
            SYS_keyctl,
            SYS_memfd_create,
            SYS_mount,
            SYS_move_mount,
            SYS_open_by_handle_at,
            SYS_open_tree,
            SYS_perf_event_open,
            SYS_pidfd_getfd,
            SYS_pivot_root,
            SYS_pkey_mprotect,
            SYS_process_madvise,
            SYS_process_vm_readv,
            SYS_process_vm_writev,
            SYS_ptrace,
            SYS_reboot,
            SYS_request_key,
            SYS_setns,
            SYS_shmat,
            SYS_swapon,
            SYS_umount2,
            SYS_unshare,
            SYS_userfaultfd,
        ];
        for call in never {
            let having: Vec<_> = EVERYONE.iter().filter(|role| has(**role, call.number)).collect();
            assert!(having.is_empty(), "{}: {having:?}", call.name);
        }
    }

    #[test]
    fn core_makes_no_socket_and_none_but_the_supervisor_starts_programs() {
        for call in calls![SYS_socket, SYS_socketpair, SYS_connect, SYS_bind, SYS_listen] {
            assert!(!has(Core, call.number) && !has(Keyd, call.number), "{}", call.name);
        }
        for call in calls![SYS_execve, SYS_execveat, SYS_kill, SYS_setuid, SYS_seccomp] {
            let having = LEAVES.iter().any(|role| has(*role, call.number));
            assert!(!having, "{}", call.name);
        }
        assert!(!has(Keyd, libc::SYS_accept4) && !has(Egress, libc::SYS_accept4));
    }

    #[test]
    fn what_makes_memory_executable_is_conditional_in_every_leaf() {
        for role in LEAVES {
            for group in GROUPS.iter().filter(|group| group.roles.contains(role)) {
                for call in group
                    .calls
                    .iter()
                    .filter(|call| [libc::SYS_mmap, libc::SYS_mprotect].contains(&call.number))
                {
                    assert_eq!(call.given, [[NOT_EXECUTABLE]], "{role} {}", call.name);
                }
            }
        }
    }
}
