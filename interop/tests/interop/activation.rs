//! Listening sockets that were open before the broker started, as a service manager hands them over.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Stdio};

use motte_testkit::{Broker, binary, finish};

use crate::site::{CONFIG, Site};

/// `motte serve`, by way of a shell that puts the sockets where a service manager has them and says so. `before` is a
/// command that becomes the one behind it.
fn activated(names: &str, sockets: Vec<OwnedFd>, before: &str) -> Command {
    let count = sockets.len();
    counted(count, names, sockets, before)
}

/// The same, with a word of its own on how many there are.
fn counted(count: usize, names: &str, sockets: Vec<OwnedFd>, before: &str) -> Command {
    let places = match sockets.len() {
        0 => "",
        1 => "exec 3<&0 0</dev/null;",
        _ => "exec 3<&0 4<&1 0</dev/null 1>&2;",
    };
    let script = format!(
        "{places} LISTEN_PID=$$ LISTEN_FDS={count} LISTEN_FDNAMES={names}; \
         export LISTEN_PID LISTEN_FDS LISTEN_FDNAMES; exec {before} \"$0\" serve --config motte.toml"
    );
    let mut sockets = sockets.into_iter().map(Stdio::from);
    let mut command = Command::new("sh");
    command.args(["-c", &script]).arg(binary());
    command.stdin(sockets.next().unwrap_or_else(Stdio::null));
    command.stdout(sockets.next().unwrap_or_else(Stdio::null));
    command
}

fn listen() -> (SocketAddr, OwnedFd) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    (listener.local_addr().expect("bound"), listener.into())
}

/// A directory with the files that `motte up` makes.
fn made() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a temporary directory");
    assert!(Broker::up(dir.path()).terminate());
    dir
}

/// The listeners of [`CONFIG`], `tls` at this address; `first` stands above everything.
fn write(dir: &Path, first: &str, address: SocketAddr, more: &str) {
    let config = CONFIG.replacen("127.0.0.1:0", &address.to_string(), 1);
    std::fs::write(dir.join("motte.toml"), format!("{first}\n{config}\n{more}")).expect("ours");
}

/// Numbers of the sockets that listen on a port of 127.0.0.1.
fn sockets_on(port: u16) -> Vec<String> {
    let table = std::fs::read_to_string("/proc/net/tcp").expect("the kernel tells it");
    let wanted = format!("0100007F:{port:04X}");
    let inode = |line: &str| {
        let mut words = line.split_whitespace();
        let listens = words.nth(1)? == wanted && words.nth(1)? == "0A";
        listens.then(|| words.nth(5).map(|inode| format!("socket:[{inode}]")))?
    };
    table.lines().filter_map(inode).collect()
}

/// How many descriptors of a process are one of these sockets.
fn held(process: &str, sockets: &[String]) -> usize {
    let descriptors = std::fs::read_dir(format!("/proc/{process}/fd")).expect("it runs, and root may look");
    let targets = descriptors.filter_map(|one| std::fs::read_link(one.expect("it runs").path()).ok());
    targets.filter(|target| sockets.iter().any(|socket| target.as_os_str() == socket.as_str())).count()
}

fn publish(site: &Site, times: usize) {
    for turn in 0..times {
        let topic = format!("devices/device-1/{turn}");
        let (good, text) = finish(site.motte("pub", "device-1").args(["-t", &topic, "-m", "x", "-q", "1"]));
        assert!(good, "{text}");
    }
}

#[test]
fn a_port_that_root_opened_is_served_by_a_broker_without_rights() {
    let dir = made();
    let listener = (600..1_024).find_map(|port| TcpListener::bind(("127.0.0.1", port)).ok());
    let listener = listener.expect("run this test as root: a port below 1024 takes its rights");
    let address = listener.local_addr().expect("bound");
    write(dir.path(), "workers = 2", address, "[sandbox]\nmode = \"required\"");
    let given = Command::new("chown").args(["-R", "65534"]).arg(dir.path()).status();
    assert!(
        given.is_ok_and(|status| status.success()),
        "run this test as root: files are given to another user"
    );

    let nobody = "setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps=-all";
    let site = Site { broker: Broker::of(dir.path(), activated("tls", vec![listener.into()], nobody)), dir };
    assert_eq!(site.address("tls"), address);
    site.broker.event("life.confined");
    publish(&site, 8);

    let supervisor = site.broker.pid().as_raw_nonzero().to_string();
    let roles = ["core", "keyd"].map(|role| site.broker.role(role).as_raw_nonzero().to_string());
    for process in roles.iter().chain([&supervisor]) {
        let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("it runs");
        assert!(status.contains("Uid:\t65534\t65534\t65534\t65534"), "{status}");
    }
    let sockets = sockets_on(address.port());
    assert_eq!(sockets.len(), 1, "{sockets:?}");
    assert_eq!(
        roles.each_ref().map(|process| held(process, &sockets)),
        [2, 0],
        "one for each worker, none beside the keys"
    );
    assert_eq!(held(&supervisor, &sockets), 0, "given away");
    for process in &roles {
        let environment = std::fs::read(format!("/proc/{process}/environ")).expect("root reads it");
        assert!(!String::from_utf8_lossy(&environment).contains("LISTEN_"));
    }
    assert!(site.broker.terminate());
}

#[test]
fn a_unix_socket_that_was_handed_over_outlives_the_broker() {
    let dir = made();
    let path = dir.path().join("motte-state/store/local.sock");
    let listener = UnixListener::bind(&path).expect("a directory of ours");
    let (address, tls) = listen();
    let local = "[[listener]]\nname = \"local\"\nkind = \"unix\"\nbind = [\"unix:motte-state/store/local.sock\"]\n[listener.auth]\nanonymous = true\n";
    write(dir.path(), "workers = 2", address, local);
    let keep = listener.try_clone().expect("a descriptor");
    let command = activated("local:tls", vec![listener.into(), tls], "");
    let site = Site { broker: Broker::of(dir.path(), command), dir };
    site.broker.event_where("life.listening", |event| event.field("listener") == "local");
    publish(&site, 2);
    let ping = |dir: &Path| {
        let socket = dir.join("motte-state/store/local.sock").display().to_string();
        finish(Command::new(binary()).args(["pub", "--unix", &socket, "-t", "a", "-m", "x"])).1
    };
    let said = ping(site.dir.path());
    assert!(!said.contains("nobody listens"), "{said}");
    let Site { broker, dir } = site;
    assert!(broker.terminate());
    assert!(path.exists(), "whoever opened it still has it there");
    drop((keep, dir));
}

#[test]
fn what_was_handed_over_in_vain_keeps_the_broker_from_starting() {
    let dir = made();
    let refused = |names: &str, sockets: Vec<OwnedFd>, wanted: &[&str]| {
        let (good, text) = finish(activated(names, sockets, "").current_dir(dir.path()));
        assert!(!good && wanted.iter().all(|wanted| text.contains(wanted)), "{text}");
    };
    let (address, socket) = listen();
    write(dir.path(), "workers = 1", address, "");
    let copy = |socket: &OwnedFd| socket.try_clone().expect("a descriptor");
    refused(
        "other",
        vec![copy(&socket)],
        &["handed over as `other`", "FileDescriptorName=", "tls, wss, tcp"],
    );
    let (elsewhere, another) = listen();
    refused("tls:tls", vec![copy(&socket), another], &[&format!("listens on {elsewhere}"), "ListenStream="]);
    refused("tls:tls", vec![copy(&socket), copy(&socket)], &["2 sockets", "to 1 workers", "ReusePort=yes"]);
    let (_, lonely) = listen();
    refused(
        "tls",
        vec![lonely],
        &[&format!("no socket for {address}"), "take it out of the listener's `bind`"],
    );
    let connection: OwnedFd = std::net::TcpStream::connect(address).expect("it listens").into();
    refused("tls", vec![connection], &["descriptor 3", "does not listen", "Accept=no"]);
    let datagrams: OwnedFd = std::net::UdpSocket::bind("127.0.0.1:0").expect("a free port").into();
    refused("tls", vec![datagrams], &["is no stream socket"]);
    let file: OwnedFd = std::fs::File::open(dir.path().join("motte.toml")).expect("written").into();
    refused("tls", vec![file], &["is no socket"]);
    for (count, wanted) in [(2, "descriptor 4 is not open"), (100_000, "LISTEN_FDS is no number up to 256")] {
        let (_, socket) = listen();
        let mut command = counted(count, "tls:tls", vec![socket], "");
        let (good, text) = finish(command.current_dir(dir.path()));
        assert!(!good && text.contains(wanted), "{text}");
    }
}

#[test]
fn a_control_socket_is_known_by_its_place_and_left_there() {
    let dir = made();
    let (address, tcp) = listen();
    let place = dir.path().join("handed-over.sock");
    let control = UnixListener::bind(&place).expect("a new name");
    write(dir.path(), "", address, "[control]\nsocket = \"handed-over.sock\"\n");
    let broker = Broker::of(dir.path(), activated("tls:tls", vec![tcp, control.into()], ""));
    broker.event("life.admin_ready");
    let mut status = Command::new(binary());
    status.current_dir(dir.path()).args(["status", "--config", "motte.toml"]);
    let (good, text) = finish(&mut status);
    assert!(good && text.contains(&address.to_string()), "{text}");
    assert!(broker.terminate());
    assert!(place.exists(), "it is the service manager's");
}
