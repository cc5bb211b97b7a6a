//! A broker for one test, and `motte` run in its directory.

use std::process::Command;

use motte_testkit::{Broker, binary, finish};
use serde_json::Value;

/// A broker and its directory.
pub struct Site {
    // Ended before its directory goes.
    pub broker: Broker,
    pub port: String,
    pub dir: tempfile::TempDir,
}

impl Site {
    /// `motte dev`: everything is permitted.
    pub fn open() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let broker = Broker::start(dir.path(), &["dev", "--bind", "127.0.0.1:0", "--json"]);
        let port = broker.address("mqtt").port().to_string();
        Self { broker, port, dir }
    }

    /// `motte up`: TLS, certificates and a policy.
    pub fn secured() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let broker = Broker::up(dir.path());
        let port = broker.address("tls").port().to_string();
        Self { broker, port, dir }
    }

    /// `motte bench` on this broker, not started.
    pub fn bench(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.current_dir(self.dir.path()).args(["bench", "--port", &self.port]).args(arguments);
        command
    }

    /// What `motte bench` writes to its end.
    pub fn text(&self, arguments: &[&str]) -> String {
        let (good, text) = finish(self.bench(arguments).arg("--quiet"));
        assert!(good, "{arguments:?}: {text}");
        text
    }

    /// The result of `motte bench --json`.
    pub fn json(&self, arguments: &[&str]) -> Value {
        let text = self.text(&[&["--json"], arguments].concat());
        serde_json::from_str(&text).unwrap()
    }

    /// What `motte bench` says when it fails.
    pub fn refused(&self, arguments: &[&str]) -> String {
        let (good, text) = finish(self.bench(arguments).arg("--quiet"));
        assert!(!good && text.contains("remedy: "), "{arguments:?}: {text}");
        text
    }
}
