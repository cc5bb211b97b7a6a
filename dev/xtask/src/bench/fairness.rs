//! What others make a client wait: a pair at a steady rate, alone and beside each kind of trouble.

use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::Outcome;
use crate::bench::brokers::{Kind, Running, Site, Way};
use crate::bench::figures::{Figures, command, run};
use crate::bench::offline;
use crate::bench::raw::{Client, publish};

/// The pair that is watched.
const BYSTANDER: &str =
    "--rate 1000 --publishers 2 --subscribers 2 --seconds 2 --warmup 0.5 --prefix bystander";
/// Subscriptions of the storm, by clients with a thousand each.
const STORM: (u32, u32) = (100, 1_000);

/// Messages that are kept, at once, and the time until the next ones.
const KEPT: (u16, Duration) = (10, Duration::from_millis(10));

/// How long subscriptions are held, if nobody ends them.
const HELD: Duration = Duration::from_secs(20);

/// How often everything is read again.
const RELOAD_EVERY: Duration = Duration::from_millis(100);

/// A kind of trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    /// A subscriber that never reads what a publisher sends it.
    SlowConsumer,
    /// A hundred thousand subscriptions with wildcards, made while the pair runs.
    Subscriptions,
    /// The policy is read again and again.
    Reload,
    /// Messages that are kept, so that each of them waits for the disk.
    Commits,
    /// Clients that come and go by TLS, as fast as they can.
    Handshakes,
}

const TROUBLES: [(Trouble, &str); 5] = [
    (Trouble::SlowConsumer, "a consumer that does not read, sent 5,000 messages/s of 1 KiB"),
    (Trouble::Subscriptions, "100,000 subscriptions with wildcards being made"),
    (Trouble::Reload, "the configuration, certificates and policy being read again ten times a second"),
    (Trouble::Commits, "1,000 messages a second that are kept on disk for a client that is away"),
    (Trouble::Handshakes, "400 TLS connections a second"),
];

/// The pair alone and beside a trouble.
pub(crate) struct Beside {
    pub(crate) trouble: &'static str,
    pub(crate) alone: Figures,
    pub(crate) disturbed: Figures,
}

/// Measures each trouble, with a broker of its own each time.
pub(crate) fn measure(site: &Site, rounds: usize) -> Outcome<Vec<Beside>> {
    let words: Vec<&str> = BYSTANDER.split_whitespace().collect();
    let mut all = Vec::new();
    for (trouble, name) in TROUBLES {
        let (mut alone, mut beside) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            let kind = Kind::Motte(1);
            let broker = if trouble == Trouble::Commits { site.start_kept(kind) } else { site.start(kind) }?;
            alone.push(run(site, &broker, Way::Plain, &words)?);
            beside.push(with(trouble, site, &broker, &words)?);
        }
        let measured =
            Beside { trouble: name, alone: Figures::median(&alone), disturbed: Figures::median(&beside) };
        println!(
            "  {name}: p99 {:.0} us alone, {:.0} us beside",
            measured.alone.p99_us, measured.disturbed.p99_us
        );
        all.push(measured);
    }
    Ok(all)
}

/// A load in the background, ended when dropped.
struct Load(Child);

impl Drop for Load {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn load(site: &Site, broker: &Running, way: Way, words: &str) -> Outcome<Load> {
    let words: Vec<&str> = words.split_whitespace().collect();
    giving_way(&command(site.motte(), site, broker, way, &words)?)
}

fn giving_way(load: &Command) -> Outcome<Load> {
    // It stands for clients on other machines: what it computes itself must not be what the pair waits for.
    let mut idle = Command::new("chrt");
    idle.args(["--idle", "0"]).arg(load.get_program()).args(load.get_args());
    if let Some(directory) = load.get_current_dir() {
        idle.current_dir(directory);
    }
    Ok(Load(idle.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?))
}

fn with(trouble: Trouble, site: &Site, broker: &Running, words: &[&str]) -> Outcome<Figures> {
    let port = broker.port(Way::Plain).ok_or("no plain listener")?;
    match trouble {
        Trouble::SlowConsumer => {
            let mut deaf = Client::connect(port, "deaf", true)?;
            deaf.subscribe(&["motte-bench/#".to_owned()], 0)?;
            let _load = load(
                site,
                broker,
                Way::Plain,
                "--rate 5000 --size 1024 --publishers 1 --subscribers 1 --seconds 10 --warmup 0",
            )?;
            run(site, broker, Way::Plain, words)
        }
        Trouble::Subscriptions => {
            let mut own = Command::new(std::env::current_exe()?);
            own.args(["bench", "--storm", &port.to_string()]);
            let _load = giving_way(&own)?;
            run(site, broker, Way::Plain, words)
        }
        Trouble::Reload => beside(RELOAD_EVERY, || broker.reload(), || run(site, broker, Way::Plain, words)),
        Trouble::Commits => {
            offline::leave(port)?;
            let mut publisher = Client::connect(port, "keeper", true)?;
            let keep = move || {
                let (number, _) = KEPT;
                let bytes: Vec<u8> =
                    (1..=number).flat_map(|id| publish(offline::TOPIC, id, &[7; 64])).collect();
                publisher.send(&bytes)?;
                (0..number).try_for_each(|_| publisher.packet().map(drop))
            };
            let figures = beside(KEPT.1, keep, || run(site, broker, Way::Plain, words));
            offline::forget(port)?;
            figures
        }
        Trouble::Handshakes => {
            let _load = load(
                site,
                broker,
                Way::Hybrid,
                "--shape connect --connect-rate 400 --seconds 10 --warmup 0",
            )?;
            run(site, broker, Way::Plain, words)
        }
    }
}

/// Measures while something is done again and again.
fn beside(
    every: Duration,
    mut doing: impl FnMut() -> Outcome<()> + Send,
    measure: impl FnOnce() -> Outcome<Figures>,
) -> Outcome<Figures> {
    let running = AtomicBool::new(true);
    std::thread::scope(|scope| {
        let troubling = scope.spawn(|| {
            while running.load(Ordering::Relaxed) {
                doing().map_err(|error| error.to_string())?;
                std::thread::sleep(every);
            }
            Ok::<(), String>(())
        });
        let figures = measure();
        running.store(false, Ordering::Relaxed);
        match troubling.join() {
            Ok(Ok(())) => figures,
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err("the trouble panicked".into()),
        }
    })
}

/// A hundred thousand subscriptions, which stay for as long as the longest run.
pub(crate) fn storm(port: u16) -> Outcome<()> {
    let (clients, each) = STORM;
    let mut connected = Vec::new();
    for client in 0..clients {
        let mut one = Client::connect(port, &format!("storm-{client}"), true)?;
        for part in 0..each / 100 {
            let filters: Vec<String> =
                (0..100).map(|filter| format!("other/+/{client}/{part}/{filter}/#")).collect();
            one.subscribe(&filters, 0)?;
        }
        connected.push(one);
    }
    std::thread::sleep(HELD);
    Ok(())
}
