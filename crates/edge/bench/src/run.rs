//! A run from its first connection to its result.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mio::{Poll, Waker};
use motte_client::ClientFault;
use motte_wire::ProtocolVersion;

use crate::fault::Fault;
use crate::job::{Job, Target};
use crate::options::Plan;
use crate::outcome::{
    BrokerUse, Connections, FORMAT, GeneratorUse, Latency, Messages, Outcome, Settings, float,
};
use crate::process::{Usage, usage};
use crate::schedule::SECOND_NS;
use crate::shape::Shape;
use crate::shared::{Shared, Window};
use crate::tally::Tally;
use crate::words::{count, time};
use crate::worker::{WAKER, Worker};

/// How long nothing may come to stand while connections are made, in nanoseconds.
const SETUP_PATIENCE_NS: u64 = 15 * SECOND_NS;
/// How long nothing may arrive before what is missing counts as lost, in nanoseconds.
const QUIET_NS: u64 = 2 * SECOND_NS;
/// How long arrivals are awaited at most after the last message, in nanoseconds.
const DRAIN_NS: u64 = 30 * SECOND_NS;
/// How late messages may be sent before a reader is told, in microseconds.
const LAG_US: f64 = 1_000.0;
/// How often the phases are looked at.
const STEP: Duration = Duration::from_millis(10);

/// What a run is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Connections are made.
    SettingUp,
    /// Messages flow and are not measured yet.
    WarmingUp,
    /// It is measured.
    Measuring,
    /// The last messages are awaited.
    Draining,
}

/// How far a run is; given once a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// What it is doing.
    pub phase: Phase,
    /// Whether messages flow in this shape.
    pub has_messages: bool,
    /// Connections that stand, or that were made so far with the shape `connect`.
    pub connections: u64,
    /// Messages sent a second, since it was told last.
    pub sent: u64,
    /// Deliveries a second, since then.
    pub delivered: u64,
    /// Connections accepted a second, since then.
    pub accepted: u64,
}

/// What was read while the phases passed.
#[derive(Debug, Default)]
struct Readings {
    set_up_ns: u64,
    until_ns: u64,
    before: Option<Usage>,
    from: Option<Usage>,
    until: Option<Usage>,
    ended_early: bool,
}

/// Carries out a plan. It ends early, with what was measured until then, as soon as `stop` is true.
///
/// # Errors
/// [`Fault`]: nothing could be measured, and why.
pub fn run(
    plan: Plan,
    target: Target,
    stop: &AtomicBool,
    watch: &mut dyn FnMut(&Progress),
) -> Result<Outcome, Fault> {
    let mut readings = Readings::default();
    if let Some(pid) = plan.options.pid {
        readings.before = Some(usage(pid)?);
    }
    let job = Job::new(plan, target)?;
    let system = |what| move |cause| Fault::System { what, cause };
    let mut polls = Vec::new();
    let mut wakers = Vec::new();
    for _ in 0..job.threads() {
        let poll = Poll::new().map_err(system("a poll"))?;
        wakers.push(Waker::new(poll.registry(), WAKER).map_err(system("a waker"))?);
        polls.push(poll);
    }
    let shared = Shared::new(wakers, job.plan.publishers);
    let mut workers = Vec::new();
    for (thread, poll) in polls.into_iter().enumerate() {
        workers.push(Worker::new(&job, &shared, thread, poll).map_err(system("a timer"))?);
    }
    let mut tally = Tally::new();
    let conducted = std::thread::scope(|scope| {
        let mut threads = Vec::new();
        for worker in workers {
            threads.push(scope.spawn(move || worker.run()));
        }
        let conducted = Conductor { job: &job, shared: &shared, stop, watch, last: Last::default() }
            .conduct(&mut readings);
        shared.finish();
        for thread in threads {
            match thread.join() {
                Ok(Ok(part)) => tally.merge(part),
                Ok(Err(cause)) => shared.abort(Fault::System { what: "the poll of a thread", cause }),
                Err(_) => {
                    let cause = std::io::Error::other("the thread ended in a panic");
                    shared.abort(Fault::System { what: "a thread", cause });
                }
            }
        }
        conducted
    });
    if let Some(fault) = shared.take_fault() {
        return Err(fault);
    }
    conducted?;
    outcome(&job, &shared, tally, &readings)
}

/// What was told last.
#[derive(Debug, Default)]
struct Last {
    ns: u64,
    sent: u64,
    delivered: u64,
    accepted: u64,
}

/// Leads the threads through the phases.
struct Conductor<'a> {
    job: &'a Job,
    shared: &'a Shared,
    stop: &'a AtomicBool,
    watch: &'a mut dyn FnMut(&Progress),
    last: Last,
}

impl Conductor<'_> {
    fn conduct(mut self, readings: &mut Readings) -> Result<(), Fault> {
        let plan = &self.job.plan;
        self.set_up()?;
        let from_ns = self.shared.now_ns();
        readings.set_up_ns = from_ns;
        let measure_ns = from_ns + plan.warmup_ns();
        let window = Window { from_ns, measure_ns, until_ns: measure_ns + plan.measured_ns() };
        self.shared.begin(window);
        if !self.pass_until(measure_ns, Phase::WarmingUp) {
            return self.ended();
        }
        readings.from = self.observe()?;
        let is_counted = plan.options.count.is_some();
        let is_whole =
            if is_counted { self.pass_count() } else { self.pass_until(window.until_ns, Phase::Measuring) };
        readings.ended_early = !is_whole;
        if readings.ended_early {
            self.pass_rest(self.shared.cut());
        }
        readings.until_ns = self.shared.now_ns();
        readings.until = self.observe_last(readings.ended_early)?;
        if !is_counted || readings.ended_early {
            self.drain();
        }
        Ok(())
    }

    fn observe(&self) -> Result<Option<Usage>, Fault> {
        self.job.plan.options.pid.map(usage).transpose()
    }

    /// Of a broker that ended the run by its own end nothing can be read any more; the rest is still worth telling.
    fn observe_last(&self, ended_early: bool) -> Result<Option<Usage>, Fault> {
        if ended_early { Ok(self.observe().unwrap_or_default()) } else { self.observe() }
    }

    /// Waits until a moment that is near, whatever happens.
    fn pass_rest(&mut self, ns: u64) {
        while let left_ns @ 1.. = ns.saturating_sub(self.shared.now_ns()) {
            self.step(Phase::Measuring, STEP.min(Duration::from_nanos(left_ns)));
        }
    }

    /// Waits until every connection is ready.
    fn set_up(&mut self) -> Result<(), Fault> {
        let plan = &self.job.plan;
        let wanted = plan.publishers + plan.subscribers + plan.connections;
        let mut seen = (0, self.shared.now_ns());
        loop {
            let ready = self.shared.total(|lane| &lane.ready);
            if ready >= wanted {
                return Ok(());
            }
            if self.is_over() {
                return self.ended();
            }
            let now_ns = self.shared.now_ns();
            if ready != seen.0 {
                seen = (ready, now_ns);
            }
            // A slow rate may leave longer pauses than a broker that does not answer.
            let pause_ns = plan.options.connect_rate.map_or(0, |rate| SECOND_NS / u64::from(rate.max(1)));
            if now_ns - seen.1 > SETUP_PATIENCE_NS + pause_ns {
                return Err(ClientFault::TimedOut.into());
            }
            self.step(Phase::SettingUp, STEP);
        }
    }

    /// Waits until a moment; false when the run is to end before it.
    fn pass_until(&mut self, ns: u64, phase: Phase) -> bool {
        loop {
            let left_ns = ns.saturating_sub(self.shared.now_ns());
            if left_ns == 0 {
                return true;
            }
            if self.is_over() {
                return false;
            }
            self.step(phase, STEP.min(Duration::from_nanos(left_ns)));
        }
    }

    /// Waits until everything that was asked for by number has come, or nothing comes any more; false when the run is to
    /// end before it.
    fn pass_count(&mut self) -> bool {
        let options = &self.job.plan.options;
        let count = options.count.unwrap_or(0);
        let per_s = options.rate.or(options.connect_rate).unwrap_or(u32::MAX);
        let patience_ns = QUIET_NS + SECOND_NS / u64::from(per_s.max(1));
        let mut seen = (0, self.shared.now_ns());
        loop {
            let now_ns = self.shared.now_ns();
            let sent = self.shared.total(|lane| &lane.sent);
            let delivered = self.shared.total(|lane| &lane.delivered);
            let is_through = if options.shape.has_messages() {
                sent >= count && delivered >= self.shared.total(|lane| &lane.expected)
            } else {
                self.shared.all_stopped()
            };
            let moved = sent + delivered + self.shared.total(|lane| &lane.accepted);
            if moved != seen.0 {
                seen = (moved, now_ns);
            }
            if is_through || now_ns - seen.1 > patience_ns {
                return true;
            }
            if self.is_over() {
                return false;
            }
            self.step(Phase::Measuring, STEP);
        }
    }

    /// Waits for what is still on its way.
    fn drain(&mut self) {
        let start_ns = self.shared.now_ns();
        let mut seen = (u64::MAX, start_ns);
        loop {
            let now_ns = self.shared.now_ns();
            let delivered = self.shared.total(|lane| &lane.delivered);
            let is_all_here =
                self.shared.all_stopped() && delivered >= self.shared.total(|lane| &lane.expected);
            if delivered != seen.0 {
                seen = (delivered, now_ns);
            }
            let is_quiet = now_ns - seen.1 > QUIET_NS || now_ns - start_ns > DRAIN_NS;
            if is_all_here || is_quiet || self.shared.is_finished() || self.is_deserted() {
                return;
            }
            self.step(Phase::Draining, STEP);
        }
    }

    /// Whether somebody wants the end, or nobody is left.
    fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed) || self.shared.is_finished() || self.is_deserted()
    }

    /// Whether every connection that was ready has ended by itself.
    fn is_deserted(&self) -> bool {
        let gone = self.shared.total(|lane| &lane.gone);
        gone > 0 && gone >= self.shared.total(|lane| &lane.ready)
    }

    /// Why it ended, unless a thread knows better.
    fn ended(&self) -> Result<(), Fault> {
        if self.shared.is_finished() { Ok(()) } else { Err(Fault::Ended) }
    }

    fn step(&mut self, phase: Phase, wait: Duration) {
        std::thread::park_timeout(wait);
        let ns = self.shared.now_ns();
        if ns - self.last.ns < SECOND_NS {
            return;
        }
        let now = Last {
            ns,
            sent: self.shared.total(|lane| &lane.sent),
            delivered: self.shared.total(|lane| &lane.delivered),
            accepted: self.shared.total(|lane| &lane.accepted),
        };
        let last = &self.last;
        // The look at it comes a little later than a second after the one before.
        let per_s = |count: u64| count.saturating_mul(SECOND_NS) / (ns - last.ns);
        let progress = Progress {
            phase,
            has_messages: self.job.plan.options.shape.has_messages(),
            connections: self.shared.total(|lane| &lane.ready),
            sent: per_s(now.sent - last.sent),
            delivered: per_s(now.delivered - last.delivered),
            accepted: per_s(now.accepted - last.accepted),
        };
        (self.watch)(&progress);
        self.last = now;
    }
}

fn outcome(job: &Job, shared: &Shared, tally: Tally, readings: &Readings) -> Result<Outcome, Fault> {
    let plan = &job.plan;
    let window = shared.window();
    let shape = plan.options.shape;
    // What ends with a count has ended with the last that came.
    let until_ns = match plan.options.count {
        Some(_) if tally.last_ns > 0 && !readings.ended_early => tally.last_ns,
        Some(_) => readings.until_ns,
        None => window.until_ns,
    };
    let measured_s = float(until_ns.saturating_sub(window.measure_ns).max(1)) / 1e9;
    if shape == Shape::Connect && tally.accepted == 0 {
        let cause = tally.first_cause.unwrap_or_else(|| "the broker did not answer in time".into());
        return Err(Fault::NoConnection(cause));
    }
    let (accepted_now, over_s) = match shape {
        Shape::Connect => (tally.accepted_now, measured_s),
        _ => (tally.accepted, float(readings.set_up_ns.max(1)) / 1e9),
    };
    let messages = shape.has_messages().then(|| Messages {
        sent: tally.sent,
        expected: tally.expected,
        delivered: tally.delivered,
        lost: tally.expected.saturating_sub(tally.delivered),
        duplicates: tally.duplicates,
        out_of_order: tally.late,
        refused: tally.refused,
        unsent: tally.unsent,
        sent_per_s: float(tally.sent_now) / measured_s,
        delivered_per_s: float(tally.arrived_now) / measured_s,
        delivered_bytes_per_s: float(tally.arrived_bytes) / measured_s,
        latency: Latency::of(&tally.latency),
    });
    Ok(Outcome {
        motte_bench: FORMAT,
        settings: settings(job),
        measured_s,
        ended_early: readings.ended_early,
        messages,
        connections: Connections {
            accepted: tally.accepted,
            failed: tally.failed,
            lost: tally.lost,
            accepted_per_s: float(accepted_now) / over_s,
            handshake: Latency::of(&tally.handshake),
        },
        broker: broker(plan, &tally, readings, measured_s),
        generator: GeneratorUse {
            cpu_cores: float(tally.cpu_ns) / 1e9 / measured_s,
            lag: Latency::of(&tally.lag),
        },
        notes: notes(plan, &tally, readings, measured_s),
    })
}

fn settings(job: &Job) -> Settings {
    let options = &job.plan.options;
    Settings {
        shape: options.shape,
        protocol: if options.protocol == ProtocolVersion::V5 { "5" } else { "3.1.1" }.into(),
        tls: job.tls.is_some(),
        qos: options.qos as u8,
        size: options.size,
        publishers: job.plan.publishers,
        subscribers: job.plan.subscribers,
        connections: job.plan.connections,
        topics: options.topics,
        rate: options.rate,
        connect_rate: options.connect_rate,
        in_flight: job.plan.in_flight,
        count: options.count,
        threads: options.threads,
        warmup_s: float(job.plan.warmup_ns()) / 1e9,
    }
}

fn broker(plan: &Plan, tally: &Tally, readings: &Readings, measured_s: f64) -> Option<BrokerUse> {
    let (before, from, until) = (readings.before?, readings.from?, readings.until?);
    let cpu_ns = float(until.cpu_ns.saturating_sub(from.cpu_ns));
    let each = match plan.options.shape {
        Shape::Connect => tally.accepted_now,
        Shape::Idle => 0,
        Shape::Pairs | Shape::FanIn | Shape::FanOut | Shape::Mixed => tally.arrived_now,
    };
    let held = plan.publishers + plan.subscribers + plan.connections;
    let grown = until.resident_bytes.saturating_sub(before.resident_bytes);
    Some(BrokerUse {
        pid: plan.options.pid?,
        cpu_cores: cpu_ns / 1e9 / measured_s,
        cpu_us_each: (each > 0).then(|| cpu_ns / 1e3 / float(each)),
        resident_bytes: until.resident_bytes,
        resident_bytes_per_connection: (plan.options.shape == Shape::Idle)
            .then(|| float(grown) / float(held.max(1))),
    })
}

/// What a reader has to know before trusting the figures.
fn notes(plan: &Plan, tally: &Tally, readings: &Readings, measured_s: f64) -> Vec<String> {
    let mut notes = Vec::new();
    if readings.ended_early {
        notes.push("ended early: the figures are of the time until then".to_owned());
    }
    let busy = float(tally.cpu_ns) / 1e9 / measured_s / f64::from(plan.options.threads);
    if busy > 0.9 {
        notes.push(format!(
            "the generator's threads were busy {:.0} % of the time: it may be the limit, not the broker; try more --threads",
            busy * 100.0
        ));
    }
    if tally.expected > 0 && tally.delivered == 0 {
        notes.push(
            "nothing was delivered: with QoS 0 a broker does not say why; try --qos 1, and look whether its policy grants `publish` on --prefix"
                .to_owned(),
        );
    }
    match plan.options.rate {
        _ if tally.unsent == 0 => {}
        Some(_) => notes.push(format!(
            "{} messages were due and not sent: the rate was not held, by the broker or by the generator",
            count(tally.unsent)
        )),
        None => notes.push(format!("{} messages that were asked for were not sent", count(tally.unsent))),
    }
    if let (Some(lag), Some(latency)) = (Latency::of(&tally.lag), Latency::of(&tally.latency))
        && lag.p99_us > LAG_US
        && lag.p99_us * 2.0 > latency.p99_us
    {
        notes.push(format!(
            "messages were sent late by p99 {}, which is part of their latency: this machine was busy, or connections took no more",
            time(lag.p99_us)
        ));
    }
    if tally.given_up > 0 {
        notes.push(format!(
            "{} deliveries did not come within a second and were given up, so that the closed loop went on",
            count(tally.given_up)
        ));
    }
    if tally.foreign > 0 {
        notes.push(format!("{} messages came that nobody of this run had sent there", count(tally.foreign)));
    }
    let troubles = [
        (tally.failed, "connections could not be made"),
        (tally.lost, "connections ended by themselves"),
        (tally.refused, "publications were refused"),
    ];
    for (times, what) in troubles.into_iter().filter(|(times, _)| *times > 0) {
        let cause = tally.first_cause.as_deref().unwrap_or("unknown");
        notes.push(format!("{} {what}; the first trouble: {}", count(times), cause.replace("\n  ", "; ")));
    }
    notes
}
