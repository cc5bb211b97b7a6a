//! A broker with a deliberate hole in its parser: code that a stranger started, in the process that reads what strangers send.

use std::collections::BTreeMap;
use std::fs::write;
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use motte_testkit::{Broker, binary, finish, workspace};
use tempfile::TempDir;

use crate::site::{CONFIG, Site};

/// Longest that the build may take, in seconds.
const BUILD_MAX_S: &str = "1500";

/// What must be possible, or nothing else that is refused says anything.
const OWN: &str = "write to its own store";

/// Something to connect to, so that there is a process that connects out. Nobody is there.
const METHODS: &str = "[listener.auth]\nmethods = [\"certificate\", \"http\"]\n";
const SERVICE: &str = "[auth.http]\nurl = \"https://localhost:1/\"\nca = [\"motte-state/ca.pem\"]\n";

/// The broker with the hole, built in a target directory of its own: a flag for the compiler, no feature of any crate.
fn holed() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let target = workspace().join("target/hole");
        let mut cargo = Command::new("timeout");
        cargo.args([BUILD_MAX_S, "cargo", "build", "--quiet", "--package", "motte", "--target-dir"]);
        cargo.arg(&target).env("RUSTFLAGS", "--cfg motte_hole").env_remove("CARGO_ENCODED_RUSTFLAGS");
        let (good, text) = finish(cargo.current_dir(workspace()));
        assert!(good, "the broker with the hole cannot be built within {BUILD_MAX_S} s: {text}");
        target.join("debug/motte")
    })
}

/// What the attacker is after, outside of every sandbox.
struct Bait {
    outside: TempDir,
    tcp: TcpListener,
    name: String,
    _sockets: [UnixListener; 3],
}

impl Bait {
    fn lay(store: &Path) -> Self {
        let outside = tempfile::tempdir().expect("a temporary directory");
        for name in ["foreign", "removable"] {
            write(outside.path().join(name), "somebody else's").expect("ours");
        }
        let tcp = TcpListener::bind("127.0.0.1:0").expect("a free port");
        // The port is nobody else's now, so the name is not either.
        let name = format!("motte-hole-{}", tcp.local_addr().expect("bound").port());
        let address = SocketAddr::from_abstract_name(&name).expect("a name");
        let sockets = [
            UnixListener::bind(outside.path().join("socket")).expect("a new name"),
            UnixListener::bind(store.join("socket")).expect("a new name"),
            UnixListener::bind_addr(&address).expect("a new name"),
        ];
        Self { outside, tcp, name, _sockets: sockets }
    }
}

/// Lets a broker with this sandbox be broken into, also by what would be its end; what came of each attempt.
fn broken_into(sandbox: &str, ruinous: &str) -> BTreeMap<String, String> {
    let dir = tempfile::tempdir().expect("a temporary directory");
    assert!(Broker::up(dir.path()).terminate(), "motte up did not stop cleanly");
    let wss = "[[listener]]\nname = \"wss\"";
    let with_service = CONFIG.replace(wss, &format!("{METHODS}{wss}"));
    let config = format!("{with_service}{SERVICE}[sandbox]\nmode = \"{sandbox}\"\n");
    write(dir.path().join("motte.toml"), config).expect("ours");
    let mut command = Command::new(holed());
    command.args(["serve", "--config", "motte.toml"]).stdin(Stdio::null()).stdout(Stdio::null());
    let broker = Broker::of(dir.path(), command);
    broker.event("life.listening");
    let site = Site { broker, dir };
    let store = site.path("store");
    let bait = Bait::lay(&store);
    let known = [
        ("keyd", site.broker.role("keyd").as_raw_nonzero().to_string()),
        ("admin", site.broker.role("admin").as_raw_nonzero().to_string()),
        ("egress", site.broker.role("egress").as_raw_nonzero().to_string()),
        ("supervisor", site.broker.process().to_string()),
        ("key", site.path("server.key").display().to_string()),
        ("ca", site.path("ca.key").display().to_string()),
        ("policy", site.path("policy.toml").display().to_string()),
        ("store", store.display().to_string()),
        ("outside", bait.outside.path().display().to_string()),
        ("port", bait.tcp.local_addr().expect("bound").port().to_string()),
        ("abstract", bait.name.clone()),
        ("ruinous", ruinous.to_owned()),
    ];
    let known: Vec<String> = known.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let (topic, payload) = ("devices/device-1/motte-hole", known.join("\n"));
    let (good, text) = finish(site.motte("pub", "device-1").args(["-t", topic, "-m", &payload, "-q", "1"]));
    assert!(good, "the core is alive: {text}");

    let read = |filter: &str, count: &str| {
        let arguments = ["-v", "-t", filter, "--count", count, "--timeout", "20"];
        let (good, text) = finish(site.motte("sub", "operator").args(arguments));
        assert!(good, "{text}");
        text
    };
    let end = read("$SYS/hole/end", "1");
    let count = end.lines().find_map(|line| line.strip_prefix("$SYS/hole/end ")).expect("a number");
    let told = read("$SYS/hole/tried/#", count);
    let lines = told.lines().filter_map(|line| line.strip_prefix("$SYS/hole/tried/"));
    let outcomes = ["refused", "not refused", "it succeeded"];
    let found = lines.filter_map(|line| {
        let at = outcomes.iter().filter_map(|outcome| line.find(&format!(" {outcome}"))).min()?;
        Some((line[..at].to_owned(), line[at + 1..].to_owned()))
    });
    let found: BTreeMap<String, String> = found.collect();
    assert_eq!(found.len().to_string(), count, "{told}");
    assert!(site.broker.terminate(), "and goes on and stops cleanly");
    found
}

#[test]
fn code_in_the_parser_of_a_sealed_broker_gets_nowhere() {
    let mut found = broken_into("required", "yes");
    for name in ["have keyd sign a document", "have keyd open a foreign vault", "trace egress"] {
        assert!(found.contains_key(name), "{name} is tried");
    }
    assert_eq!(found.remove(OWN).as_deref(), Some("it succeeded"));
    assert!(found.len() > 40, "{found:?}");
    let through: Vec<_> = found.iter().filter(|(_, outcome)| *outcome != "refused").collect();
    assert!(through.is_empty(), "{through:#?}");
}

#[test]
fn the_broker_that_is_shipped_has_no_such_hole() {
    let has_hole = |program: &Path| {
        let bytes = std::fs::read(program).expect("built");
        bytes.windows(10).any(|window| window == b"$SYS/hole/")
    };
    assert!(has_hole(holed()) && !has_hole(&binary()));
}

/// The attempts are real: without a sandbox they get what they are after.
#[test]
fn the_same_code_in_a_broker_without_a_sandbox_gets_what_it_wants() {
    let found = broken_into("off", "no");
    let wanted = [
        OWN,
        "read passwd",
        "read the server key",
        "read the key of the authority",
        "read a key through a link in its store",
        "write outside its store",
        "remove a foreign file",
        "connect out by TCP",
        "bind a TCP port",
        "send by UDP",
        "connect to a Unix socket",
        "connect to an abstract Unix socket",
        "make a pair of sockets",
        "start a program",
        "fork",
        "signal keyd",
        "signal admin",
        "signal egress",
        "connect to the control socket",
        "signal the supervisor",
        "make memory executable",
        "make a file of memory",
    ];
    for name in wanted {
        assert_eq!(found.get(name).map(String::as_str), Some("it succeeded"), "{name}: {found:#?}");
    }
}
