//! A deliberate hole: a PUBLISH to a certain topic makes the worker that parses it try what an attacker would try there.
//!
//! Compiled with `RUSTFLAGS="--cfg motte_hole"` alone, which the test in `interop/tests/interop/hole.rs` does in a target
//! directory of its own: it is no feature, so no combination of features brings it into a release. What comes of each
//! attempt is published below `$SYS/hole/`.

use std::fs::{File, OpenOptions, read_dir, write};
use std::io::{self, IoSliceMut};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::symlink;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixListener, UnixStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use memmap2::MmapMut;
use motte_access::Principal;
use motte_broker::{Input, Sender, StoredPublication};
use motte_roles::{KeyClient, KeyError, OutwardClient, OutwardError, SetId, Unanswered};
use motte_seal::SecretBytes;
use motte_seal::envelope::{DataKey, KEY_BYTES};
use motte_seal::keyring::{KeyEncryptionKey, Slot};
use motte_topic::TopicName;
use motte_wire::{ControlPacket, QoS};
use nix::sched::CloneFlags;
use nix::sys::ptrace;
use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use rustix::fs::{FileType, MemfdFlags, Mode, memfd_create, mknodat};
use rustix::mount::{MountFlags, mount};
use rustix::net::{AddressFamily, SocketType, ipproto, socket};
use rustix::process::{
    DumpableBehavior, Pid, PidfdFlags, PidfdGetfdFlags, Resource, Rlimit, Signal, Uid, chroot, getrlimit,
    kill_process, pidfd_getfd, pidfd_open, set_dumpable_behavior, setrlimit,
};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities, set_thread_uid};

use crate::system_topics::SystemTopics;
use crate::worker::Worker;

/// The last level of the topic that leads into the hole.
const LEVEL: &str = "/motte-hole";

/// What the attacker knows, from the payload: lines of `name=value`.
struct Known<'p>(&'p str);

impl Known<'_> {
    fn word(&self, name: &str) -> &str {
        let mut lines = self.0.lines().filter_map(|line| line.split_once('='));
        lines.find(|(key, _)| *key == name).map_or("", |(_, value)| value)
    }

    fn path(&self, name: &str) -> PathBuf {
        PathBuf::from(self.word(name))
    }

    /// A file in the directory that lies outside.
    fn outside(&self, name: &str) -> PathBuf {
        self.path("outside").join(name)
    }

    /// A file in the store.
    fn store(&self, name: &str) -> PathBuf {
        self.path("store").join(name)
    }

    fn process(&self, role: &str) -> io::Result<Pid> {
        self.word(role).parse().ok().and_then(Pid::from_raw).ok_or_else(|| io::Error::other("no process"))
    }

    fn traced(&self, role: &str) -> io::Result<nix::unistd::Pid> {
        self.process(role).map(|pid| nix::unistd::Pid::from_raw(pid.as_raw_nonzero().get()))
    }

    /// A file of another process.
    fn of(&self, role: &str, file: &str) -> io::Result<()> {
        File::open(Path::new("/proc").join(self.word(role)).join(file)).map(drop)
    }
}

type Attempt = (&'static str, fn(&Known<'_>) -> io::Result<()>);

/// Files.
const FILES: &[Attempt] = &[
    ("write to its own store", |known| write(known.store("hole"), b"x")),
    ("read passwd", |_| File::open("/etc/passwd").map(drop)),
    ("read the server key", |known| File::open(known.path("key")).map(drop)),
    ("read the key of the authority", |known| File::open(known.path("ca")).map(drop)),
    ("read the policy", |known| File::open(known.path("policy")).map(drop)),
    ("list the root directory", |_| read_dir("/").map(drop)),
    ("read a key through a link in its store", |known| {
        let link = known.store("link");
        match symlink(known.path("key"), &link) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => File::open(link).map(drop),
        }
    }),
    ("write outside its store", |known| write(known.outside("new"), b"x")),
    ("overwrite a foreign file", |known| {
        OpenOptions::new().write(true).truncate(true).open(known.outside("foreign")).map(drop)
    }),
    ("remove a foreign file", |known| std::fs::remove_file(known.outside("removable"))),
    ("make a device", |known| {
        let store = File::open(known.path("store"))?;
        Ok(mknodat(store, "device", FileType::CharacterDevice, Mode::RUSR, rustix::fs::makedev(1, 3))?)
    }),
    ("read its own memory as a file", |_| File::open("/proc/self/mem").map(drop)),
    ("read the memory of keyd", |known| known.of("keyd", "mem")),
    ("read the memory of the supervisor", |known| known.of("supervisor", "mem")),
    ("read the memory of admin", |known| known.of("admin", "mem")),
    ("read the memory of egress", |known| known.of("egress", "mem")),
    ("read the environment of the supervisor", |known| known.of("supervisor", "environ")),
];

/// Ways out of the machine.
const NETWORK: &[Attempt] = &[
    ("connect out by TCP", |known| TcpStream::connect(("127.0.0.1", port(known))).map(drop)),
    ("bind a TCP port", |_| TcpListener::bind("127.0.0.1:0").map(drop)),
    ("send by UDP", |known| {
        UdpSocket::bind("127.0.0.1:0")?.send_to(b"x", ("127.0.0.1", port(known))).map(drop)
    }),
    ("connect to a Unix socket", |known| UnixStream::connect(known.outside("socket")).map(drop)),
    ("connect to a Unix socket in its store", |known| UnixStream::connect(known.store("socket")).map(drop)),
    ("connect to the control socket", |known| UnixStream::connect(known.store("control.sock")).map(drop)),
    ("bind a Unix socket in its store", |known| UnixListener::bind(known.store("own-socket")).map(drop)),
    ("connect to an abstract Unix socket", |known| {
        let address = UnixAddr::from_abstract_name(known.word("abstract"))?;
        UnixStream::connect_addr(&address).map(drop)
    }),
    ("make a pair of sockets", |_| UnixStream::pair().map(drop)),
    ("open a raw socket", |_| {
        Ok(socket(AddressFamily::INET, SocketType::RAW, Some(ipproto::ICMP)).map(drop)?)
    }),
    ("open a packet socket", |_| Ok(socket(AddressFamily::PACKET, SocketType::RAW, None).map(drop)?)),
    ("ask netlink", |_| Ok(socket(AddressFamily::NETLINK, SocketType::RAW, None).map(drop)?)),
];

/// Other processes, code and privileges.
const SYSTEM: &[Attempt] = &[
    ("start a program", |_| Command::new("/bin/true").stdin(Stdio::inherit()).status().map(drop)),
    // With a user named, the standard library forks instead of asking for a new process with a program in one call.
    ("fork", |_| {
        let own = rustix::process::getuid().as_raw();
        Command::new("/bin/true").uid(own).stdin(Stdio::inherit()).status().map(drop)
    }),
    ("copy memory of keyd", |known| {
        let mut bytes = [0; 16];
        let remote = [RemoteIoVec { base: 0x1000, len: bytes.len() }];
        Ok(process_vm_readv(known.traced("keyd")?, &mut [IoSliceMut::new(&mut bytes)], &remote).map(drop)?)
    }),
    ("take a descriptor of keyd", |known| {
        let keyd = pidfd_open(known.process("keyd")?, PidfdFlags::empty())?;
        Ok(pidfd_getfd(keyd, 0, PidfdGetfdFlags::empty()).map(drop)?)
    }),
    ("signal keyd", |known| Ok(kill_process(known.process("keyd")?, Signal::CONT)?)),
    ("signal admin", |known| Ok(kill_process(known.process("admin")?, Signal::CONT)?)),
    ("signal egress", |known| Ok(kill_process(known.process("egress")?, Signal::CONT)?)),
    ("signal the supervisor", |known| Ok(kill_process(known.process("supervisor")?, Signal::CONT)?)),
    ("make memory executable", |_| MmapMut::map_anon(4_096)?.make_exec().map(drop)),
    ("make a file of memory", |_| Ok(memfd_create("hole", MemfdFlags::empty()).map(drop)?)),
    ("take capabilities", |_| {
        let all = CapabilitySet::all();
        Ok(set_capabilities(None, CapabilitySets { effective: all, permitted: all, inheritable: all })?)
    }),
    ("let itself be dumped", |_| Ok(set_dumpable_behavior(DumpableBehavior::Dumpable)?)),
    ("set a limit", |_| {
        let limit = getrlimit(Resource::Nofile);
        Ok(setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?)
    }),
];

/// A scheme of TLS, by its number.
const ECDSA_P256_SHA256: u16 = 0x0403;

/// What other roles are asked for, by the connections to them that the core has.
const ROLES: &[Attempt] = &[
    ("have keyd sign a document", |_| {
        let keyd = keyd()?;
        let known = keyd.public_keys().map_err(io::Error::other)?;
        let key = known.iter().find_map(|entry| Some(entry.outcome.as_ref().ok()?.id));
        let key = key.ok_or_else(|| io::Error::other("no key"))?;
        match keyd.sign(key, ECDSA_P256_SHA256, b"a document") {
            Ok(_) => Ok(()),
            Err(KeyError::Refused(_)) => Err(refusal()),
            Err(error) => Err(io::Error::other(error)),
        }
    }),
    ("have keyd open a foreign vault", |_| {
        let foreign = KeyEncryptionKey::from_key_file(&SecretBytes::new(vec![7; KEY_BYTES]));
        let foreign = foreign.map_err(io::Error::other)?;
        let master = DataKey::generate().map_err(io::Error::other)?;
        let slot = Slot::wrap(&foreign, "foreign", &master).map_err(io::Error::other)?;
        match keyd()?.unwrap_vault(&[slot]) {
            Ok(_) => Ok(()),
            Err(cause) if cause == KeyError::Silent.to_string() => Err(io::Error::other(cause)),
            Err(_) => Err(refusal()),
        }
    }),
    ("have egress connect to what is not configured", |_| {
        let ways = WAYS.get().and_then(|(_, egress)| egress.as_ref());
        let egress = ways.ok_or_else(|| io::Error::other("no egress"))?;
        match egress.ask(SetId::default(), 60, b"", Duration::from_secs(5)) {
            Ok(_) => Ok(()),
            Err(OutwardError::Unanswered { cause: Unanswered::NoSource, .. }) => Err(refusal()),
            Err(error) => Err(io::Error::other(error)),
        }
    }),
];

/// The ways to other roles that the core has.
static WAYS: OnceLock<(Option<KeyClient>, Option<OutwardClient>)> = OnceLock::new();

/// Notes the ways to other roles, which whoever is in the process finds.
pub(crate) fn note(keyd: Option<&KeyClient>, egress: Option<&OutwardClient>) {
    // The first broker of a process is the only one.
    let _ = WAYS.set((keyd.cloned(), egress.cloned()));
}

fn keyd() -> io::Result<&'static KeyClient> {
    WAYS.get().and_then(|(keyd, _)| keyd.as_ref()).ok_or_else(|| io::Error::other("no keyd"))
}

/// What another role says no by.
fn refusal() -> io::Error {
    io::Error::from_raw_os_error(libc::EACCES)
}

/// What would end or spoil the broker and the machine around it, should it succeed: tried when the payload asks for it.
const RUINOUS: &[Attempt] = &[
    ("trace keyd", |known| Ok(ptrace::seize(known.traced("keyd")?, ptrace::Options::empty())?)),
    ("trace admin", |known| Ok(ptrace::seize(known.traced("admin")?, ptrace::Options::empty())?)),
    ("trace egress", |known| Ok(ptrace::seize(known.traced("egress")?, ptrace::Options::empty())?)),
    ("trace the supervisor", |known| {
        Ok(ptrace::seize(known.traced("supervisor")?, ptrace::Options::empty())?)
    }),
    ("make a user namespace", |_| Ok(nix::sched::unshare(CloneFlags::CLONE_NEWUSER)?)),
    ("make a mount namespace", |_| Ok(nix::sched::unshare(CloneFlags::CLONE_NEWNS)?)),
    ("mount a file system", |known| {
        Ok(mount("none", known.path("store"), "tmpfs", MountFlags::empty(), None)?)
    }),
    ("change its root directory", |known| Ok(chroot(known.path("store"))?)),
    ("become root", |_| Ok(set_thread_uid(Uid::ROOT)?)),
    ("become another program", |_| Err(Command::new("/bin/true").exec())),
];

fn port(known: &Known<'_>) -> u16 {
    known.word("port").parse().unwrap_or(1)
}

impl Worker {
    /// Tries everything when the topic is the one, and publishes what came of it.
    pub(crate) fn fall_into_hole(&mut self, packet: &ControlPacket<'_>) {
        let ControlPacket::Publish(publish) = packet else { return };
        if !publish.topic.is_some_and(|topic| topic.as_str().ends_with(LEVEL)) {
            return;
        }
        let known = Known(std::str::from_utf8(publish.payload).unwrap_or_default());
        let mut tried = 0_u32;
        let ruinous = if known.word("ruinous") == "yes" { RUINOUS } else { &[] };
        for (name, attempt) in [FILES, NETWORK, SYSTEM, ROLES, ruinous].into_iter().flatten() {
            let outcome = attempt(&known);
            self.tell(&format!("$SYS/hole/tried/{name}"), &said(&outcome));
            tried += 1;
        }
        self.tell("$SYS/hole/end", &tried.to_string());
    }

    fn tell(&mut self, topic: &str, text: &str) {
        let Ok(topic) = TopicName::parse(topic) else { return };
        let publication = StoredPublication {
            topic,
            payload: text.as_bytes().into(),
            qos: QoS::AtMostOnce,
            retain: true,
            forwarded: Box::default(),
            expires_ms: None,
            source: Arc::new(Principal::System),
            sender: Sender::default(),
        };
        let (by, principal) = SystemTopics::sender();
        self.input(Input::Inject { by, principal, publication });
    }
}

/// `refused` is what a sandbox says; every other error is a door that was only locked by chance.
fn said(outcome: &io::Result<()>) -> String {
    match outcome {
        Ok(()) => "it succeeded".to_owned(),
        Err(error) => match error.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => "refused".to_owned(),
            _ => format!("not refused: {error}"),
        },
    }
}
