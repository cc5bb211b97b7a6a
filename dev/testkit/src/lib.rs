//! A harness around the real `motte` process, for tests from outside.
//!
//! A broker is started from its binary, its events are read as JSON from standard error, and it is stopped by its process
//! id when the harness is dropped. Nothing here sleeps for luck: everything waits for a condition, with a deadline.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "a harness for tests fails by panicking"
)]

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

pub use rustix::process::{Pid, Signal};

use rustix::process::kill_process;

/// How long a condition may take to come true.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// An event of the broker's log.
#[derive(Debug, Clone)]
pub struct Logged {
    /// Its name, `life.listening`.
    pub name: String,
    /// Its fields.
    pub fields: serde_json::Value,
}

impl Logged {
    /// A field as text.
    pub fn field(&self, name: &str) -> String {
        match &self.fields[name] {
            serde_json::Value::String(text) => text.clone(),
            other => other.to_string(),
        }
    }
}

#[derive(Debug, Default)]
struct Log {
    events: Vec<Logged>,
    other: Vec<String>,
    ended: bool,
}

type SharedLog = Arc<(Mutex<Log>, Condvar)>;

/// A running broker.
#[derive(Debug)]
pub struct Broker {
    child: Child,
    log: SharedLog,
}

static BUILT: std::sync::Once = std::sync::Once::new();

/// The `motte` binary: `MOTTE_BIN`, or the one that lies beside the test, built if it is not there.
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("MOTTE_BIN") {
        return path.into();
    }
    let test = std::env::current_exe().unwrap_or_default();
    let profile = test.ancestors().nth(2).unwrap_or(Path::new(".")).to_path_buf();
    // Built anew where sources changed: a test must not judge yesterday's binary.
    BUILT.call_once(|| {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args(["build", "--quiet", "--package", "motte"]);
        if profile.ends_with("release") {
            cargo.arg("--release");
        }
        let status = cargo.current_dir(workspace()).status();
        assert!(status.is_ok_and(|status| status.success()), "cargo build --package motte failed");
    });
    profile.join("motte")
}

/// The root of the workspace.
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).map(Path::to_path_buf).unwrap_or_default()
}

impl Broker {
    /// Starts `motte` with these arguments in a directory; events must be written as JSON.
    pub fn start(dir: &Path, arguments: &[&str]) -> Self {
        let mut command = Command::new(binary());
        command.args(arguments);
        Self::spawn(dir, command)
    }

    /// As [`Broker::start`], with no more than this many open files.
    pub fn start_limited(dir: &Path, open_files: u32, arguments: &[&str]) -> Self {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("ulimit -n {open_files}; exec \"$0\" \"$@\"")]);
        command.arg(binary()).args(arguments);
        Self::spawn(dir, command)
    }

    /// As [`Broker::start`], with a variable of the environment.
    pub fn start_with(dir: &Path, (name, value): (&str, &Path), arguments: &[&str]) -> Self {
        let mut command = Command::new(binary());
        command.env(name, value).args(arguments);
        Self::spawn(dir, command)
    }

    fn spawn(dir: &Path, mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::null());
        Self::of(dir, command)
    }

    /// A broker that this command starts, in a directory; it must become the broker, and events must be written as JSON.
    pub fn of(dir: &Path, mut command: Command) -> Self {
        command.current_dir(dir).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the motte binary can be started");
        let stderr = child.stderr.take().expect("standard error is piped");
        let log: SharedLog = Arc::default();
        let writer = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let (log, changed) = &*writer;
                let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
                match serde_json::from_str::<serde_json::Value>(&line) {
                    Ok(value) if value["event"].is_string() => log.events.push(Logged {
                        name: value["event"].as_str().unwrap_or_default().to_owned(),
                        fields: value["fields"].clone(),
                    }),
                    _ => log.other.push(line),
                }
                changed.notify_all();
            }
            let (log, changed) = &*writer;
            log.lock().unwrap_or_else(PoisonError::into_inner).ended = true;
            changed.notify_all();
        });
        Self { child, log }
    }

    /// Starts `motte serve` with a configuration, which must ask for JSON, and waits until it listens.
    pub fn serve(dir: &Path, config: &str) -> Self {
        std::fs::write(dir.join("motte.toml"), config).expect("the configuration can be written");
        let broker = Self::start(dir, &["serve", "--config", "motte.toml"]);
        broker.event("life.listening");
        broker
    }

    /// Starts `motte up` on ports that the system chooses, in `dir/motte-state`, and waits until it listens.
    pub fn up(dir: &Path) -> Self {
        let broker = Self::start(dir, &["up", "--port", "0", "--json"]);
        broker.event("life.listening");
        broker
    }

    /// Where each listener listens, by name.
    pub fn addresses(&self) -> HashMap<String, SocketAddr> {
        let listening = self.events("life.listening");
        listening
            .iter()
            .filter_map(|e| Some((e.field("listener"), e.field("address").parse().ok()?)))
            .collect()
    }

    /// Where one listener listens.
    pub fn address(&self, listener: &str) -> SocketAddr {
        self.wait(|log| {
            log.events
                .iter()
                .filter(|e| e.name == "life.listening" && e.field("listener") == listener)
                .find_map(|e| e.field("address").parse().ok())
        })
    }

    /// Waits for an event of this name, and gives the first.
    pub fn event(&self, name: &str) -> Logged {
        self.event_where(name, |_| true)
    }

    /// Waits for an event of this name for which `wanted` holds.
    pub fn event_where(&self, name: &str, wanted: impl Fn(&Logged) -> bool) -> Logged {
        self.wait(|log| log.events.iter().find(|event| event.name == name && wanted(event)).cloned())
    }

    /// All events of this name so far.
    pub fn events(&self, name: &str) -> Vec<Logged> {
        let (log, _) = &*self.log;
        let log = log.lock().unwrap_or_else(PoisonError::into_inner);
        log.events.iter().filter(|event| event.name == name).cloned().collect()
    }

    fn wait<T>(&self, mut found: impl FnMut(&Log) -> Option<T>) -> T {
        let deadline = Instant::now() + DEADLINE;
        let (log, changed) = &*self.log;
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(found) = found(&log) {
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(
                !left.is_zero() && !log.ended,
                "it never came; the log:\n{:#?}\n{:#?}",
                log.events,
                log.other
            );
            log = changed.wait_timeout(log, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The number of its process.
    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// The process that was started.
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// The process of this broker with this role, `core` or `keyd`; waits until it runs.
    pub fn role(&self, role: &str) -> Pid {
        let mut found = None;
        let parent = self.pid().as_raw_nonzero();
        wait_until(&format!("a process with the role {role}"), || {
            let children = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"));
            let children = children.expect("the broker runs");
            found = children.split_whitespace().find_map(|child| {
                let words = std::fs::read(format!("/proc/{child}/cmdline")).ok()?;
                let words: Vec<&[u8]> = words.split(|byte| *byte == 0).collect();
                (words.get(1..3) == Some(&[b"role", role.as_bytes()])).then(|| child.parse().ok())?
            });
            found.is_some()
        });
        found.and_then(Pid::from_raw).expect("it was found")
    }

    /// Sends a signal to the process with this role.
    pub fn signal(&self, role: &str, signal: Signal) {
        kill_process(self.role(role), signal).expect("it runs");
    }

    /// Asks for a reload (SIGHUP).
    pub fn hang_up(&self) {
        kill_process(self.pid(), Signal::HUP).expect("the broker runs");
    }

    /// Ends the process that was started at once (SIGKILL) and waits for it.
    pub fn kill(&mut self) {
        self.child.kill().expect("the broker runs");
        self.child.wait().expect("it is ours");
    }

    /// Stops it cleanly (SIGTERM) and waits; true when it ended with success.
    pub fn terminate(mut self) -> bool {
        kill_process(self.pid(), Signal::TERM).expect("the broker runs");
        self.child.wait().is_ok_and(|status| status.success())
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // Ended already, or ended now; by its own process id only.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits for a condition.
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < deadline, "it never came true: {what}");
        std::thread::yield_now();
    }
}

/// Runs a command to its end and gives whether it succeeded, with what it wrote.
pub fn finish(command: &mut Command) -> (bool, String) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?} cannot be started: {error}"));
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.success(), text)
}
