//! What guesses at passwords cost the broker, and those who log in beside them.
//!
//! `cargo run --release -p motte-siege [GUESSES]` starts the real broker (`MOTTE_BIN`) three times: left in peace, guessed at with
//! the limits as they are by default, and guessed at with limits that never hold. Guesses come from one address, then from four
//! thousand networks, all by the PROXY protocol from this machine. Beside them a client that logged in before sends itself
//! messages, and logs in anew five times a second. Who guesses runs on idle cores only (`chrt --idle`).
#![expect(
    clippy::expect_used,
    clippy::cast_precision_loss,
    reason = "a program for developers fails by panicking and prints figures for people"
)]

mod client;
mod process;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use motte_identity::PasswordFile;
use motte_seal::{HashParameters, PasswordHash};
use motte_testkit::Broker;

use crate::client::{Answer, Client};
use crate::process::Usage;

/// Threads that guess.
const GUESSERS: usize = 4;
/// Guesses where nothing holds them back: each costs a password check.
const UNHELD_GUESSES: usize = 1_500;
/// Between two messages of the healthy client, and between two of its logins.
const MESSAGE_EVERY: Duration = Duration::from_millis(5);
const LOGIN_EVERY: Duration = Duration::from_millis(200);

const CONFIG: &str = "state_dir = \"state\"\n[[listener]]\nname = \"main\"\nkind = \"tcp\"\nbind = [\"127.0.0.1:0\"]\n[listener.proxy_protocol]\nfrom = [\"127.0.0.0/8\"]\n[listener.auth]\nmethods = [\"password\"]\n[policy]\nfiles = [\"policy.toml\"]\n[log]\nformat = \"json\"\n[roles]\nkeys = \"inside\"\n[sandbox]\nmode = \"best-effort\"\n[auth]\npassword_file = \"passwords\"\n";
const POLICY: &str = "version = 1\n[role.all]\nrules = [{ allow = [\"publish\", \"subscribe\", \"receive\"], topics = [\"#\"] }]\n[authenticated]\nroles = [\"all\"]\n";
const NEVER_HELD: &str =
    "[auth.attempts]\nfree = 1000\nlockout_after = 8000\ndelay_base_ms = 1\ndelay_max_ms = 1\nwindow_s = 1\n";

/// What was measured beside the guesses, in microseconds.
#[derive(Debug, Default)]
struct Healthy {
    messages: Vec<u64>,
    logins: Vec<u64>,
    refused: usize,
}

impl Healthy {
    fn figures(mut self) -> String {
        let mut at = |which: bool, percent: usize| {
            let all = if which { &mut self.messages } else { &mut self.logins };
            all.sort_unstable();
            let figure = all.get((all.len() * percent / 100).min(all.len().saturating_sub(1)));
            figure.map_or(0.0, |us| *us as f64 / 1_000.0)
        };
        format!(
            "message p50 {:.2} p99 {:.2} ms, login p50 {:.1} p99 {:.1} ms, refused {}",
            at(true, 50),
            at(true, 99),
            at(false, 50),
            at(false, 99),
            self.refused
        )
    }
}

/// A healthy client until `over`.
fn healthy(address: SocketAddr, over: &AtomicBool) -> Healthy {
    let mut measured = Healthy::default();
    let (mut client, _) = Client::log_in(address, "198.51.100.7", "device", "device", "right");
    client.subscribe();
    let mut login_at = Instant::now();
    while !over.load(Ordering::Relaxed) {
        let begun = Instant::now();
        client.round_trip();
        measured.messages.push(micros(begun));
        if login_at.elapsed() >= LOGIN_EVERY {
            login_at = Instant::now();
            let (_, answer) = Client::log_in(address, "198.51.100.7", "device-login", "device", "right");
            measured.logins.push(micros(login_at));
            measured.refused += usize::from(answer != Answer::Accepted);
        }
        std::thread::sleep(MESSAGE_EVERY);
    }
    measured
}

fn micros(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX)
}

/// Lets this thread run only on what the broker and the healthy client leave: attackers have machines of their own.
fn give_way() {
    let thread = rustix::thread::gettid().as_raw_nonzero().to_string();
    let gave = std::process::Command::new("chrt").args(["--idle", "--pid", "0", &thread]).status();
    assert!(gave.is_ok_and(|status| status.success()), "chrt lets the guessers give way");
}

/// Guesses; how many were checked, refused unchecked, and closed without a word.
fn guess(address: SocketAddr, from: &(impl Fn(usize) -> String + Sync), guesses: usize) -> [usize; 3] {
    let next = AtomicUsize::new(0);
    let counts: [AtomicUsize; 3] = std::array::from_fn(|_| AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..GUESSERS {
            scope.spawn(|| {
                give_way();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= guesses {
                        return;
                    }
                    let name = format!("device-{}", number % 100);
                    let kind = match Client::guess(address, &from(number), &name) {
                        Answer::Wrong | Answer::Late | Answer::Accepted => 0,
                        Answer::Refused => 1,
                        Answer::Closed => 2,
                    };
                    if let Some(count) = counts.get(kind) {
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    counts.map(AtomicUsize::into_inner)
}

/// One broker, left in peace for a while and then guessed at.
fn siege(title: &str, limits: &str, guesses: usize) {
    let directory = tempfile::tempdir().expect("a directory for the broker");
    prepare(directory.path());
    let broker = Broker::serve(directory.path(), &format!("{CONFIG}{limits}"));
    let (address, pid) = (broker.address("main"), broker.process());
    println!("{title}");
    report("  in peace", pid, address, 0, || {
        std::thread::sleep(Duration::from_secs(5));
        [0; 3]
    });
    report("  one address", pid, address, guesses / 2, || {
        guess(address, &|_| "203.0.113.9".to_owned(), guesses / 2)
    });
    report("  4,000 networks", pid, address, guesses / 2, || {
        guess(address, &|number| format!("10.{}.{}.1", number / 250 % 16, number % 250), guesses / 2)
    });
    assert!(broker.terminate(), "the broker stopped cleanly");
}

fn report(what: &str, pid: u32, address: SocketAddr, guesses: usize, work: impl FnOnce() -> [usize; 3]) {
    let over = Arc::new(AtomicBool::new(false));
    let beside = {
        let over = Arc::clone(&over);
        std::thread::spawn(move || healthy(address, &over))
    };
    let (before, begun) = (Usage::of(pid), Instant::now());
    let [checked, refused, closed] = work();
    let (after, took) = (Usage::of(pid), begun.elapsed());
    over.store(true, Ordering::Relaxed);
    let measured = beside.join().expect("the healthy client is not cut off");
    let cpu_ms = after.cpu_ms - before.cpu_ms;
    println!(
        "{what}: {:.1} s, CPU {cpu_ms} ms, RSS {} -> {} KiB",
        took.as_secs_f64(),
        before.rss_kib,
        after.rss_kib
    );
    if guesses > 0 {
        println!(
            "    {guesses} guesses: {checked} checked, {refused} refused, {closed} closed; {:.0} us of CPU each, {:.0} a second",
            cpu_ms as f64 * 1_000.0 / guesses as f64,
            guesses as f64 / took.as_secs_f64()
        );
    }
    println!("    {}", measured.figures());
}

fn prepare(directory: &Path) {
    let mut passwords = PasswordFile::default();
    for name in ["device", "device-1", "device-2"] {
        let hash = PasswordHash::create(b"right", HashParameters::DEFAULT).expect("a hash");
        passwords.set(name, hash);
    }
    std::fs::write(directory.join("passwords"), passwords.to_string()).expect("the password file");
    std::fs::write(directory.join("policy.toml"), POLICY).expect("the policy");
}

fn main() {
    let guesses = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(100_000);
    siege("with the limits as they are", "", guesses);
    siege("with limits that never hold", NEVER_HELD, UNHELD_GUESSES);
}
