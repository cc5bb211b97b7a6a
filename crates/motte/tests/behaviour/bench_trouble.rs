//! `motte bench` where something stands in its way: what it says, and what it still tells.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStderr, Stdio};

use motte_testkit::{binary, finish};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::site::Site;

#[test]
fn a_target_elsewhere_is_refused_unless_it_is_claimed() {
    let mut command = std::process::Command::new(binary());
    let (good, text) = finish(command.args(["bench", "--host", "192.0.2.1", "--quiet"]));
    assert!(!good && text.contains("not this machine") && text.contains("--i-own-this-target"), "{text}");
}

#[test]
fn refusals_come_with_their_remedy() {
    let site = Site::secured();
    let cases: [(&[&str], &[&str]); 4] = [
        // By certificate, but on a branch that is not its own.
        (&["--as", "device-1"], &["was refused: Not authorized (0x87)", "--prefix"]),
        // By nothing.
        (&["--ca", "motte-state/ca.pem"], &["refused the connection: Not authorized (0x87)", "--as NAME"]),
        // Without TLS, to a port that wants it.
        (&[], &["--ca FILE"]),
        (&["--as", "nobody"], &["no identity `nobody`"]),
    ];
    for (arguments, parts) in cases {
        let text = site.refused(&[arguments, &["--qos", "1"]].concat());
        assert!(parts.iter().all(|part| text.contains(part)), "{arguments:?}: {text}");
    }
    // A broker of its own, for the first one holds back whoever failed so often.
    let text = Site::secured().refused(&["--ca", "motte-state/ca.pem", "--connect", "5"]);
    assert!(text.contains("Not authorized (0x87)") && text.contains("--as NAME"), "{text}");
    let open = Site::open();
    let authority = site.dir.path().join("motte-state/ca.pem");
    let text = open.refused(&["--ca", &authority.display().to_string()]);
    assert!(text.contains("does this port speak TLS"), "{text}");
}

#[test]
fn a_publication_that_is_not_permitted_ends_the_run() {
    let site = Site::secured();
    let policy = site.dir.path().join("motte-state/policy.toml");
    let text = std::fs::read_to_string(&policy).unwrap();
    // It may still subscribe.
    let text = text.replacen(
        "allow = [\"publish\", \"retain\"], topics = [\"devices/",
        "deny = [\"publish\"], topics = [\"devices/",
        1,
    );
    std::fs::write(&policy, text).unwrap();
    site.broker.hang_up();
    site.broker.event("life.reloaded");
    let own = ["--as", "device-1", "--prefix", "devices/device-1/bench", "--qos", "1"];
    let text = site.refused(&own);
    assert!(text.contains("was not taken: Not authorized (0x87)") && text.contains("`publish`"), "{text}");
    // With QoS 0 nobody says so: everything is lost, and a note says why that may be.
    let own = ["--as", "device-1", "--prefix", "devices/device-1/bench", "--messages", "50"];
    let result = site.json(&own);
    assert_eq!(result["messages"]["delivered"], 0);
    assert_eq!(result["messages"]["lost"], 50);
    assert!(result["notes"].to_string().contains("nothing was delivered"), "{result}");
}

/// A run that was started, and its progress.
struct Started {
    child: Child,
    progress: BufReader<ChildStderr>,
}

impl Started {
    fn new(site: &Site, arguments: &[&str]) -> Self {
        let mut child = site
            .bench(&["--json"])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let progress = BufReader::new(child.stderr.take().unwrap());
        Self { child, progress }
    }

    /// Waits for progress that tells this; the run ends by itself before this can last too long.
    fn expect(&mut self, part: &str) {
        let mut line = String::new();
        while !line.contains(part) {
            line.clear();
            assert!(self.progress.read_line(&mut line).unwrap() > 0, "it ended before it told `{part}`");
        }
    }

    /// Its result, when it has ended.
    fn result(mut self) -> Value {
        // Read to its end, so that the run never waits for somebody to read its progress.
        let rest = std::thread::spawn(move || std::io::copy(&mut self.progress, &mut std::io::sink()));
        let mut text = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        assert!(self.child.wait().unwrap().success(), "{text}");
        rest.join().unwrap().unwrap();
        serde_json::from_str(&text).unwrap()
    }
}

/// Starts a run that takes longer than any test, and waits until it measures.
fn measuring(site: &Site, arguments: &[&str]) -> Started {
    let mut started = Started::new(site, &[&["--seconds", "600", "--warmup", "0"], arguments].concat());
    started.expect("delivered/s");
    started
}

#[test]
fn an_interrupted_run_tells_what_it_measured_until_then() {
    let site = Site::open();
    for arguments in [&["--qos", "1"][..], &["--rate", "2000"], &["--threads", "2", "--shape", "mixed"]] {
        let started = measuring(&site, arguments);
        kill_process(Pid::from_child(&started.child), Signal::INT).unwrap();
        let result = started.result();
        assert_eq!(result["ended_early"], true);
        let messages = &result["messages"];
        assert!(messages["sent"].as_u64().unwrap() > 0, "{result}");
        assert_eq!(messages["delivered"], messages["expected"], "{result}");
        assert_eq!(messages["lost"], 0);
        assert!(result["measured_s"].as_f64().unwrap() < 60.0);
    }
}

#[test]
fn a_broker_that_ends_is_told_with_what_was_lost() {
    let site = Site::open();
    let started = measuring(&site, &["--qos", "1"]);
    assert!(site.broker.terminate());
    let result = started.result();
    assert_eq!(result["ended_early"], true);
    assert_eq!(result["connections"]["lost"], 20);
    let messages = &result["messages"];
    let [sent, delivered, lost] =
        ["sent", "delivered", "lost"].map(|field| messages[field].as_u64().unwrap());
    assert!(delivered > 0 && sent == delivered + lost, "{result}");
    assert!(result["notes"].to_string().contains("ended by themselves"), "{result}");
}

#[test]
fn a_broker_that_stands_still_is_late_with_every_message_that_was_due_meanwhile() {
    let site = Site::open();
    let broker = Pid::from_raw(site.broker.process().cast_signed()).unwrap();
    let mut started = Started::new(&site, &["--rate", "1000", "--messages", "5000"]);
    started.expect("delivered/s");
    kill_process(broker, Signal::STOP).unwrap();
    // For a whole second nothing was delivered.
    started.expect(", 0 delivered/s");
    kill_process(broker, Signal::CONT).unwrap();
    let result = started.result();
    let messages = &result["messages"];
    assert_eq!(messages["delivered"], 5_000, "{result}");
    let latency = &messages["latency"];
    // The first of them waited for the whole of it, the last not at all, the others for something in between. A generator
    // that waits with its broker would count one slow message for each publisher, ten in all.
    assert!(latency["max_us"].as_f64().unwrap() >= 1e6, "{latency}");
    let late =
        latency["buckets"].as_array().unwrap().iter().filter(|b| b["above_us"].as_f64().unwrap() >= 1e5);
    let late: u64 = late.map(|bucket| bucket["count"].as_u64().unwrap()).sum();
    assert!(late >= 800, "{late} of {latency}");
}
