//! The brokers that are measured: Motte with its gate shut and a policy that is asked, peers open as they come.

use std::fmt::Write as _;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::Outcome;
use crate::bench::raw::Client;

/// How long a broker may take to listen.
const START: Duration = Duration::from_secs(20);

/// Every client may do what the load does, by rules that are asked.
const POLICY: &str = r#"version = 1
[role.load]
rules = [
    { allow = ["publish", "subscribe"], topics = ["motte-bench/#", "bystander/#", "other/#"] },
    { deny = ["publish"], topics = ["motte-bench/forbidden/#"] },
]
[anonymous]
roles = ["load"]
"#;

/// Where brokers run: one directory with credentials and configurations.
pub(crate) struct Site {
    directory: PathBuf,
    motte: PathBuf,
    peers: Vec<Peer>,
}

/// A broker that was found on this machine.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    pub(crate) kind: Kind,
    pub(crate) program: PathBuf,
    /// What it says its version is.
    pub(crate) version: String,
}

/// Which broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Motte with so many workers.
    Motte(u16),
    Mosquitto,
    Rumqttd,
}

impl Kind {
    pub(crate) fn name(self) -> String {
        match self {
            Self::Motte(1) => "Motte, 1 worker".to_owned(),
            Self::Motte(workers) => format!("Motte, {workers} workers"),
            Self::Mosquitto => "mosquitto".to_owned(),
            Self::Rumqttd => "rumqttd".to_owned(),
        }
    }
}

/// A way in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Plain,
    /// TLS with the hybrid post-quantum group first.
    Hybrid,
    /// TLS with X25519 alone.
    Classical,
}

/// A broker that runs until it is dropped.
pub(crate) struct Running {
    pub(crate) kind: Kind,
    child: Child,
    ports: Vec<(Way, u16)>,
}

impl Running {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its process and those that it started.
    pub(crate) fn pids(&self) -> Outcome<Vec<u32>> {
        let pid = self.pid();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
        let children = children.split_whitespace().map(str::parse).collect::<Result<Vec<u32>, _>>()?;
        Ok(children.into_iter().chain([pid]).collect())
    }

    /// Ends it as a crash would.
    pub(crate) fn kill(mut self) -> Outcome<()> {
        let pids: Vec<String> = self.pids()?.iter().map(ToString::to_string).collect();
        Command::new("kill").arg("-9").args(pids).status()?;
        self.child.wait()?;
        Ok(())
    }

    /// The port of a way in, if the broker has it.
    pub(crate) fn port(&self, way: Way) -> Option<u16> {
        self.ports.iter().find(|(has, _)| *has == way).map(|(_, port)| *port)
    }

    /// Asks it to read its configuration again.
    pub(crate) fn reload(&self) -> Outcome<()> {
        Command::new("kill").args(["-HUP", &self.pid().to_string()]).status()?;
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself; there is nothing else to do about it either way.
        let _ = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        let _ = self.child.wait();
    }
}

impl Site {
    /// Makes the directory and credentials, and looks for peers.
    pub(crate) fn new(root: &Path) -> Outcome<Self> {
        let directory = root.join("target/bench");
        fs::create_dir_all(&directory)?;
        let motte = root.join("target/release/motte");
        let made = Command::new(&motte).args(["init", "--state"]).arg(directory.join("state")).status()?;
        if !made.success() {
            return Err("motte init failed".into());
        }
        fs::write(directory.join("policy.toml"), POLICY)?;
        let mut peers = Vec::new();
        for (kind, program) in [
            (Kind::Mosquitto, PathBuf::from("mosquitto")),
            (Kind::Rumqttd, std::env::var_os("RUMQTTD").map_or_else(|| "rumqttd".into(), PathBuf::from)),
        ] {
            match version_of(kind, &program) {
                Some(version) => peers.push(Peer { kind, program, version }),
                None => println!("{} was not found; it is left out", program.display()),
            }
        }
        Ok(Self { directory, motte, peers })
    }

    /// The peers that were found.
    pub(crate) fn peers(&self) -> Vec<Peer> {
        self.peers.clone()
    }

    /// Where everything of the brokers is.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// The program.
    pub(crate) fn motte(&self) -> &Path {
        &self.motte
    }

    /// The authority of all certificates here.
    pub(crate) fn authority(&self) -> PathBuf {
        self.directory.join("state/ca.pem")
    }

    /// One of each, all at once, so that rounds can be interleaved.
    pub(crate) fn start_all(&self) -> Outcome<Vec<Running>> {
        let peers = self.peers.iter().map(|peer| peer.kind);
        [Kind::Motte(1), Kind::Motte(2)].into_iter().chain(peers).map(|kind| self.start(kind)).collect()
    }

    /// Starts a broker and waits until it listens.
    pub(crate) fn start(&self, kind: Kind) -> Outcome<Running> {
        self.start_with(kind, "")
    }

    /// As [`Self::start`], with a disk on which nothing is kept yet.
    pub(crate) fn start_kept(&self, kind: Kind) -> Outcome<Running> {
        let place = self.directory.join("kept");
        if place.exists() {
            fs::remove_dir_all(&place)?;
        }
        fs::create_dir_all(&place)?;
        let more = match kind {
            Kind::Motte(_) => "state_dir = \"kept/store\"\n".to_owned(),
            Kind::Mosquitto => format!("persistence true\npersistence_location {}/\n", place.display()),
            Kind::Rumqttd => return Err("rumqttd keeps nothing on disk".into()),
        };
        self.start_with(kind, &more)
    }

    /// As [`Self::start_kept`], with the disk that a Motte broker before it left.
    pub(crate) fn start_again(&self, kind: Kind) -> Outcome<Running> {
        self.start_with(kind, "state_dir = \"kept/store\"\n")
    }

    /// Starts a broker with more at the front of its configuration.
    fn start_with(&self, kind: Kind, more: &str) -> Outcome<Running> {
        let ways: &[Way] = match kind {
            Kind::Motte(_) => &[Way::Plain, Way::Hybrid, Way::Classical],
            Kind::Mosquitto => &[Way::Plain, Way::Classical],
            Kind::Rumqttd => &[Way::Plain],
        };
        let ports = free_ports(ways)?;
        let text = match kind {
            Kind::Motte(workers) => motte(workers, &ports)?,
            Kind::Mosquitto => mosquitto(&ports)?,
            Kind::Rumqttd => rumqttd(&ports)?,
        };
        let text = format!("{more}{text}");
        let number = ports.first().map_or(0, |(_, port)| *port);
        // rumqttd goes by the ending.
        let file = self.directory.join(format!("{number}.toml"));
        fs::write(&file, text)?;
        let log = fs::File::create(self.directory.join(format!("{number}.log")))?;
        let program =
            self.peers.iter().find(|peer| peer.kind == kind).map_or(&self.motte, |peer| &peer.program);
        let mut command = Command::new(program);
        match kind {
            Kind::Motte(_) => command.args(["serve", "--config"]),
            Kind::Mosquitto => command.arg("-c"),
            Kind::Rumqttd => command.arg("--config"),
        };
        command
            .arg(&file)
            .current_dir(&self.directory)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let running = Running { kind, child: command.spawn()?, ports };
        let begun = Instant::now();
        for (way, port) in &running.ports {
            // Answers, not only listens: what it needs for itself is to be there before anything is measured.
            let answers = || match way {
                Way::Plain if kind != Kind::Rumqttd => {
                    Client::connect(*port, "motte-bench-first", true).is_ok()
                }
                _ => TcpStream::connect(("127.0.0.1", *port)).is_ok(),
            };
            while !answers() {
                if begun.elapsed() > START {
                    let log = self.directory.join(format!("{number}.log"));
                    return Err(format!("{} does not listen: see {}", kind.name(), log.display()).into());
                }
                std::thread::yield_now();
            }
        }
        Ok(running)
    }
}

fn version_of(kind: Kind, program: &Path) -> Option<String> {
    let flag = if kind == Kind::Mosquitto { "-h" } else { "--version" };
    let output = Command::new(program).arg(flag).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let version =
        text.split_whitespace().find(|word| word.chars().next().is_some_and(|c| c.is_ascii_digit()))?;
    Some(version.to_owned())
}

/// Ports that nobody has now.
fn free_ports(ways: &[Way]) -> Outcome<Vec<(Way, u16)>> {
    let listeners: Vec<_> = ways
        .iter()
        .map(|way| Ok((*way, TcpListener::bind(("127.0.0.1", 0))?)))
        .collect::<std::io::Result<Vec<_>>>()?;
    Ok(listeners
        .into_iter()
        .map(|(way, listener)| Ok((way, listener.local_addr()?.port())))
        .collect::<std::io::Result<Vec<_>>>()?)
}

fn motte(workers: u16, ports: &[(Way, u16)]) -> Outcome<String> {
    let mut text = format!(
        "workers = {workers}\n[policy]\nfiles = [\"policy.toml\"]\n[log]\nlevel = \"error\"\n[limits]\nsubscriptions_per_session_max = 10000\nconnections_per_address_max = 20000\nconnections_max = 20000\n"
    );
    for (way, port) in ports {
        let kind = if *way == Way::Plain { "tcp" } else { "tls" };
        write!(
            text,
            "[[listener]]\nname = \"{way:?}\"\nkind = \"{kind}\"\nbind = [\"127.0.0.1:{port}\"]\n[listener.auth]\nanonymous = true\n"
        )?;
        if *way != Way::Plain {
            text.push_str("[listener.tls]\ncertificates = [{ chain = \"state/server.pem\", key = \"state/server.key\" }]\nclient_certificates = \"none\"\n");
        }
        if *way == Way::Classical {
            text.push_str("groups = [\"X25519\"]\n");
        }
    }
    Ok(text)
}

fn mosquitto(ports: &[(Way, u16)]) -> Outcome<String> {
    let mut text =
        "user root\nallow_anonymous true\nmax_queued_messages 0\nmax_inflight_messages 1000\n".to_owned();
    for (way, port) in ports {
        writeln!(text, "listener {port} 127.0.0.1")?;
        if *way != Way::Plain {
            text.push_str("certfile state/server.pem\nkeyfile state/server.key\n");
        }
    }
    Ok(text)
}

fn rumqttd(ports: &[(Way, u16)]) -> Outcome<String> {
    let mut text = "id = 0\n[router]\nid = 0\nmax_connections = 10010\nmax_outgoing_packet_count = 200\nmax_segment_size = 104857600\nmax_segment_count = 10\n".to_owned();
    for (_, port) in ports {
        write!(
            text,
            "[v4.1]\nname = \"v4\"\nlisten = \"127.0.0.1:{port}\"\nnext_connection_delay_ms = 1\n[v4.1.connections]\nconnection_timeout_ms = 60000\nmax_payload_size = 20480\nmax_inflight_count = 1000\ndynamic_filters = true\n"
        )?;
    }
    Ok(text)
}
