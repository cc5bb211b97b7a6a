//! What the self-test tries.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::symlink;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use memmap2::MmapMut;
use nix::sched::CloneFlags;
use nix::sys::ptrace;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use rustix::net::{AddressFamily, Protocol, SocketType, ipproto, socket};
use rustix::process::{chroot, getppid, test_kill_process};

use crate::role::Role::{self, Egress, Supervisor};
use crate::selftest::abstract_name;

/// One thing that is tried.
pub(crate) struct Attempt {
    /// What it is.
    pub(crate) name: &'static str,
    /// Roles that do this for a living, within their rules.
    pub(crate) belongs_to: &'static [Role],
    /// How it is tried.
    pub(crate) carry_out: fn(&Bait) -> io::Result<()>,
}

/// What is reached for; facts that the sandbox would hide are gathered before.
pub(crate) struct Bait {
    dir: PathBuf,
    port: u16,
    program: PathBuf,
}

impl Bait {
    /// What lies in a directory and behind a port, and a program that exists.
    pub(crate) fn new(dir: PathBuf, port: u16, program: PathBuf) -> Self {
        Self { dir, port, program }
    }

    /// The directory that the process may write to.
    pub(crate) fn state(&self) -> PathBuf {
        self.dir.join("state")
    }

    fn foreign(&self) -> PathBuf {
        self.dir.join("foreign")
    }

    fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }
}

/// Shorthand for what no role may do.
const NOBODY: &[Role] = &[];

/// All attempts.
pub(crate) const ATTEMPTS: &[Attempt] = &[
    Attempt { name: "read a foreign file", belongs_to: NOBODY, carry_out: read_foreign },
    Attempt {
        name: "read a foreign file through a link in its state",
        belongs_to: NOBODY,
        carry_out: read_link,
    },
    Attempt { name: "list the root directory", belongs_to: NOBODY, carry_out: |_| File::open("/").map(drop) },
    Attempt {
        name: "read its own memory map",
        belongs_to: NOBODY,
        carry_out: |_| File::open("/proc/self/maps").map(drop),
    },
    Attempt { name: "write outside its state directory", belongs_to: NOBODY, carry_out: write_outside },
    Attempt { name: "overwrite a foreign file", belongs_to: NOBODY, carry_out: overwrite },
    Attempt {
        name: "remove a foreign file",
        belongs_to: NOBODY,
        carry_out: |bait| fs::remove_file(bait.foreign()),
    },
    Attempt { name: "move a foreign file into its state", belongs_to: NOBODY, carry_out: take },
    Attempt {
        name: "connect out by TCP",
        belongs_to: NOBODY,
        carry_out: |bait| TcpStream::connect(bait.address()).map(drop),
    },
    Attempt {
        name: "bind a TCP port",
        belongs_to: NOBODY,
        carry_out: |_| TcpListener::bind("127.0.0.1:0").map(drop),
    },
    Attempt { name: "send by UDP", belongs_to: &[Egress, Supervisor], carry_out: send_datagram },
    Attempt {
        name: "connect to a Unix socket",
        belongs_to: &[Supervisor],
        carry_out: |bait| UnixStream::connect(bait.dir.join("socket")).map(drop),
    },
    Attempt { name: "connect to an abstract Unix socket", belongs_to: NOBODY, carry_out: connect_abstract },
    Attempt {
        name: "open a raw socket",
        belongs_to: NOBODY,
        carry_out: |_| open(AddressFamily::INET, Some(ipproto::ICMP)),
    },
    Attempt {
        name: "open a packet socket",
        belongs_to: NOBODY,
        carry_out: |_| open(AddressFamily::PACKET, None),
    },
    Attempt { name: "ask netlink", belongs_to: NOBODY, carry_out: |_| open(AddressFamily::NETLINK, None) },
    Attempt { name: "start a program", belongs_to: NOBODY, carry_out: start },
    Attempt { name: "become another program", belongs_to: NOBODY, carry_out: become_program },
    Attempt { name: "make memory executable", belongs_to: &[Supervisor], carry_out: make_executable },
    Attempt { name: "trace another process", belongs_to: NOBODY, carry_out: trace },
    Attempt { name: "signal another process", belongs_to: NOBODY, carry_out: signal },
    Attempt {
        name: "make a user namespace",
        belongs_to: NOBODY,
        carry_out: |_| Ok(nix::sched::unshare(CloneFlags::CLONE_NEWUSER)?),
    },
    Attempt { name: "mount a file system", belongs_to: NOBODY, carry_out: mount_over },
    Attempt {
        name: "change its root directory",
        belongs_to: NOBODY,
        carry_out: |bait| Ok(chroot(bait.state())?),
    },
];

fn read_foreign(bait: &Bait) -> io::Result<()> {
    fs::read(bait.foreign()).map(drop)
}

fn read_link(bait: &Bait) -> io::Result<()> {
    let link = bait.state().join("link");
    match symlink(bait.foreign(), &link) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => fs::read(link).map(drop),
    }
}

fn write_outside(bait: &Bait) -> io::Result<()> {
    fs::write(bait.dir.join("outside"), b"x")
}

fn overwrite(bait: &Bait) -> io::Result<()> {
    OpenOptions::new().write(true).truncate(true).open(bait.foreign()).map(drop)
}

fn take(bait: &Bait) -> io::Result<()> {
    match fs::rename(bait.foreign(), bait.state().join("taken")) {
        // How Landlock refuses a move that would change what may be done with the file.
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
            Err(io::Error::from_raw_os_error(libc::EACCES))
        }
        moved => moved,
    }
}

fn send_datagram(bait: &Bait) -> io::Result<()> {
    UdpSocket::bind("127.0.0.1:0")?.send_to(b"x", bait.address()).map(drop)
}

fn connect_abstract(bait: &Bait) -> io::Result<()> {
    let address = UnixAddr::from_abstract_name(abstract_name(bait.port))?;
    UnixStream::connect_addr(&address).map(drop)
}

fn open(family: AddressFamily, protocol: Option<Protocol>) -> io::Result<()> {
    Ok(socket(family, SocketType::RAW, protocol).map(drop)?)
}

fn start(bait: &Bait) -> io::Result<()> {
    let mut command = Command::new(&bait.program);
    command.arg("--version").stdin(Stdio::inherit()).stdout(Stdio::inherit()).status().map(drop)
}

fn become_program(bait: &Bait) -> io::Result<()> {
    Err(Command::new(&bait.program).arg("--version").exec())
}

fn make_executable(_: &Bait) -> io::Result<()> {
    MmapMut::map_anon(4_096)?.make_exec().map(drop)
}

fn trace(_: &Bait) -> io::Result<()> {
    let parent = nix::unistd::getppid();
    Ok(ptrace::seize(parent, ptrace::Options::empty())?)
}

fn signal(_: &Bait) -> io::Result<()> {
    let parent = getppid().ok_or_else(|| io::Error::other("the parent is outside the namespace"))?;
    Ok(test_kill_process(parent)?)
}

fn mount_over(bait: &Bait) -> io::Result<()> {
    mount("none", bait.state(), "tmpfs", MountFlags::empty(), None)?;
    Ok(unmount(bait.state(), UnmountFlags::DETACH)?)
}
