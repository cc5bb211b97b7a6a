//! Workers before they run: made, furnished with what the last run left, and started.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use mio::{Poll, Waker};
use motte_broker::{Arrival, Broker, Exchange, Input, Recovered, Settings, ShardId, home, stored_from};
use motte_config::Config;

use crate::admission::Admission;
use crate::clock::Clock;
use crate::door::Doors;
use crate::handshakes::Handshakes;
use crate::inbox::{INBOX_TOKEN, Inbox};
use crate::log::Log;
use crate::logins::Logins;
use crate::metrics::Reports;
use crate::questions::Questions;
use crate::rules::Rules;
use crate::server::{Handle, StartError};
use crate::store::{OpenedStore, Store};
use crate::system_topics::SystemTopics;
use crate::usage::UsageFile;
use crate::worker::{Parts, Worker};
use crate::world::World;

/// What every worker gets.
pub(crate) struct Makings<'a> {
    pub(crate) clock: Clock,
    pub(crate) rules: &'a Arc<Rules>,
    pub(crate) exchange: &'a Exchange,
    pub(crate) admission: &'a Admission,
    pub(crate) reports: &'a Reports,
    pub(crate) log: &'a Log,
    pub(crate) questions: &'a Questions,
    pub(crate) handshakes: &'a Handshakes,
    pub(crate) usage: Option<&'a UsageFile>,
    pub(crate) logins: &'a Logins,
}

/// Workers that do not run yet.
pub(crate) struct Made {
    pub(crate) workers: Vec<Worker>,
    pub(crate) inboxes: Arc<[Inbox]>,
    pub(crate) home_key: [u64; 2],
}

impl Makings<'_> {
    /// As many workers as there are sets of doors; what is kept says where Sessions live.
    pub(crate) fn workers(
        &self,
        doors: Doors,
        mut store: Option<&mut OpenedStore>,
    ) -> Result<Made, StartError> {
        let doors = doors.into_workers();
        let shards = u16::try_from(doors.len()).unwrap_or(1);
        let fresh_key = random_key().map_err(StartError::system("random bytes"))?;
        let home_key = match &mut store {
            Some(store) => store.home_key(fresh_key, shards)?,
            None => fresh_key,
        };
        let numbers = store.as_ref().map(|store| Arc::clone(&store.numbers));
        let polls = (0..shards)
            .map(|_| {
                let poll = Poll::new()?;
                let waker = Waker::new(poll.registry(), INBOX_TOKEN)?;
                Ok((poll, Inbox::new(waker)))
            })
            .collect::<io::Result<Vec<_>>>()
            .map_err(StartError::system("an event queue"))?;
        let inboxes: Arc<[Inbox]> = polls.iter().map(|(_, inbox)| inbox.clone()).collect();
        let mut workers = Vec::with_capacity(doors.len());
        for ((poll, inbox), (number, doors)) in polls.into_iter().zip((0..shards).zip(doors)) {
            let mut broker = Broker::new(Settings {
                shard: ShardId(number),
                shards,
                home_key,
                policy: Arc::clone(&self.rules.policy),
                exchange: self.exchange.clone(),
                report_no_subscribers: true,
                numbers: numbers.clone(),
            });
            if let Some(usage) = self.usage {
                broker.record_usage(usage.record(), self.clock.now());
            }
            let world = World::new(
                ShardId(number),
                self.clock.now(),
                Arc::clone(&inboxes),
                self.questions.clone(),
                self.handshakes.clone(),
                self.logins.clone(),
                self.log.clone(),
            );
            workers.push(Worker::new(Parts {
                poll,
                clock: self.clock,
                broker,
                world,
                inbox,
                doors,
                admission: self.admission.clone(),
                reports: self.reports.clone(),
                backlog_max: self.rules.backlog_max,
                exchange: self.exchange.clone(),
            }));
        }
        Ok(Made { workers, inboxes, home_key })
    }
}

fn random_key() -> io::Result<[u64; 2]> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    let key = u128::from_ne_bytes(bytes);
    Ok([u64::try_from(key >> 64).unwrap_or(0), u64::try_from(key & u128::from(u64::MAX)).unwrap_or(0)])
}

/// Gives every Session that was kept to its home, and the Retained Messages to all.
fn restore(recovered: Recovered, made: &mut Made, rules: &Rules, clock: Clock) {
    let shards = u16::try_from(made.workers.len()).unwrap_or(1);
    let now = clock.now();
    let Recovered { sessions, retained, arrivals, homes, .. } = recovered;
    if let Some(first) = made.workers.first_mut() {
        for record in &retained {
            if let Some((principal, publication)) = stored_from(record, now) {
                first.input(Input::RestoreRetained { principal, publication });
            }
        }
    }
    for session in sessions {
        let shard = home(&session.record.principal.client_id, made.home_key, shards);
        let limits = rules.limits_for(&session.record.principal.listener);
        if let Some(worker) = made.workers.get_mut(usize::from(shard.0)) {
            worker.input(Input::Restore(Box::new(session.with_limits(limits))));
        }
    }
    let is_same = homes == Some((made.home_key, shards));
    for arrival in arrivals {
        for (worker, shard) in made.workers.iter_mut().zip(0..) {
            // With other shards than before, those who had their home at its destination are anywhere.
            let takes_out = if is_same { arrival.home.shard.0 == shard } else { shard + 1 == shards };
            let transit = arrival.transit.filter(|_| takes_out);
            if takes_out || !is_same {
                worker.input(Input::Arrive(Box::new(Arrival { transit, ..arrival.clone() })));
            }
        }
    }
}

/// Gives the workers what they begin with: `$SYS` topics, and what the last run left. Gives the store back.
pub(crate) fn furnish(
    store: Option<(Recovered, Arc<Store>)>,
    made: &mut Made,
    config: &Config,
    rules: &Rules,
    clock: Clock,
    exchange: &Exchange,
) -> Option<Arc<Store>> {
    let durability = config.durability().name();
    if let Some(topics) = SystemTopics::new(config.sys_interval_s, exchange.clone(), durability)
        && let Some(first) = made.workers.first_mut()
    {
        first.publish_system_topics(topics);
    }
    let (recovered, store) = store?;
    for worker in &mut made.workers {
        worker.world.store = Some(Arc::clone(&store));
    }
    restore(recovered, made, rules, clock);
    made.workers.iter_mut().for_each(|worker| worker.input(Input::TurnOver));
    Some(store)
}

/// Runs a worker in a thread of its own; the supervisor hears of every end that it did not order.
pub(crate) fn spawn(worker: Worker, handle: Handle) -> io::Result<JoinHandle<()>> {
    let shard = worker.shard().0;
    std::thread::Builder::new().name(format!("motte-worker-{shard}")).spawn(move || {
        let mut guard = Guard { handle, shard, cause: Some("it panicked".to_owned()) };
        guard.cause = worker.run().err().map(|error| error.to_string());
    })
}

struct Guard {
    handle: Handle,
    shard: u16,
    cause: Option<String>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(cause) = self.cause.take() {
            self.handle.worker_ended(self.shard, cause);
        }
    }
}
