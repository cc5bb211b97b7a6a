//! What operators ask of the core, one function for each request. Where a request comes from, and who may send one, is
//! decided elsewhere; nothing here trusts more of it than its type says.

mod bans;
mod clients;
mod socket;
mod status;
mod vault;

use std::collections::VecDeque;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use motte_broker::Exchange;
use motte_event::{Event, life};
use motte_identity::Authenticator;
use motte_roles::{
    CertificateStatus, CoreAnswer, CoreRequest, Operator, PolicyStatus, ReloadStatus, VaultWork,
};

use crate::clock::{Clock, unix_ms};
use crate::inbox::{Inbox, Letter};
use crate::log::Log;
use crate::logins::Logins;
use crate::metrics::Reports;
use crate::rules::Rules;
use crate::server::Bound;
use crate::starting::Makings;
use crate::step_up::{Asked, grant};
use crate::store::Store;
use crate::worker::Worker;

pub use socket::ControlSocket;

/// How often figures are noted from which messages a second follow.
pub(crate) const SAMPLE_EVERY: Duration = Duration::from_secs(5);
/// Samples that are kept; a rate is over the time since the oldest.
const SAMPLES: usize = 2;
/// Time for all workers to answer. One that is in a long turn answers after it.
const WORKERS_ANSWER: Duration = Duration::from_secs(10);

/// Where answers are found.
struct Sources {
    inboxes: Arc<[Inbox]>,
    reports: Reports,
    exchange: Exchange,
    clock: Clock,
    addresses: Vec<Bound>,
}

/// What changes with reloads and with time.
#[derive(Default)]
struct Facts {
    /// Until the stop: the log ends when nobody can write to it any more.
    log: Option<Log>,
    logins: Option<Logins>,
    policy: Option<PolicyStatus>,
    reload: Option<ReloadStatus>,
    certificates: Vec<CertificateStatus>,
    kinds: Vec<(String, String)>,
    memory_max: u64,
    /// Where keys are; nowhere once the broker stops.
    store: Weak<Store>,
    /// The last work on them.
    work: Option<VaultWork>,
    /// What slots are proved with in the exchange that is under way, and how many were taken.
    challenge: Option<([u8; 32], u32)>,
    /// Who gives a code where something is of high risk, and by what it is judged.
    second_factor: Option<(Arc<[String]>, Authenticator)>,
    /// Monotonic milliseconds, PUBLISH packets received and sent until then.
    samples: VecDeque<(u64, u64, u64)>,
}

/// A way to ask a running server what operators ask; cheap to clone.
#[derive(Clone)]
pub struct Control {
    inner: Arc<(Sources, Mutex<Facts>)>,
}

impl std::fmt::Debug for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Control")
    }
}

impl Control {
    /// For workers that are about to start with these rules.
    pub(crate) fn new(
        makings: &Makings<'_>,
        inboxes: &Arc<[Inbox]>,
        addresses: &[Bound],
        certificates: Vec<CertificateStatus>,
    ) -> Self {
        let sources = Sources {
            inboxes: Arc::clone(inboxes),
            reports: makings.reports.clone(),
            exchange: makings.exchange.clone(),
            clock: makings.clock,
            addresses: addresses.to_vec(),
        };
        let (log, samples) = (Some(makings.log.clone()), VecDeque::from([(0, 0, 0)]));
        let logins = Some(makings.logins.clone());
        let facts = Facts { log, logins, samples, ..Facts::default() };
        let control = Self { inner: Arc::new((sources, Mutex::new(facts))) };
        control.in_force(makings.rules, certificates, "the start");
        control
    }

    /// Answers a request. An act is an event, whatever came of it.
    pub fn answer(&self, operator: &Operator, request: CoreRequest) -> CoreAnswer {
        let act = request.act();
        let is_high_risk = match &request {
            CoreRequest::Ban { subject, for_s, .. } => self.shortens(subject, *for_s),
            other => other.is_high_risk(),
        };
        if is_high_risk && let Err(cause) = self.step_up(operator, act.as_deref().unwrap_or_default()) {
            return CoreAnswer::Refused { cause };
        }
        let answer = match request {
            CoreRequest::Status => self.status(),
            CoreRequest::Clients { after, connected, most } => self.clients(after, connected, most),
            CoreRequest::Client { client_id } => self.client(&client_id),
            CoreRequest::Disconnect { client_id } => self.disconnect(&client_id),
            CoreRequest::Bans { from } => self.bans(from),
            CoreRequest::Ban { subject, cause, for_s } => self.ban(operator, &subject, &cause, for_s),
            CoreRequest::Vault => self.vault(),
            CoreRequest::RotateDataKeys { keep_old } => self.rotate_data_keys(keep_old),
            CoreRequest::Shred { device } => self.shred(device),
            CoreRequest::BeginSlots => self.begin_slots(),
            CoreRequest::SecondFactors => self.second_factors(),
            CoreRequest::VaultSlots { slots, proof } => self.vault_slots(&slots, &proof),
            CoreRequest::Unban { subject } => self.unban(operator, &subject),
        };
        if let Some(act) = act {
            let result = if let CoreAnswer::Refused { cause } = &answer { cause.as_str() } else { "done" };
            self.tell(life::administered(u64::from(operator.uid), &act, result));
        }
        answer
    }

    /// Asks for a code, where accounts are named that give one.
    fn step_up(&self, operator: &Operator, act: &str) -> Result<(), String> {
        let (second_factor, logins) = {
            let facts = self.facts();
            (facts.second_factor.clone(), facts.logins.clone())
        };
        let (Some((accounts, authenticator)), Some(logins)) = (second_factor, logins) else {
            return Err("the broker stops\n  remedy: ask when it runs again".to_owned());
        };
        let (by, remedy) = (operator_name(operator), "say --as ACCOUNT, and give its code");
        let asked = Asked { by: &by, act, step_up: operator.step_up.as_ref(), remedy };
        grant(&asked, &accounts, &authenticator, &logins)
    }

    fn second_factors(&self) -> CoreAnswer {
        let accounts = self.facts().second_factor.as_ref().map(|(accounts, _)| accounts.to_vec());
        CoreAnswer::SecondFactors { accounts: accounts.unwrap_or_default() }
    }

    /// Notes that somebody was turned away at the control socket.
    pub fn turned_away(&self, uid: u32, cause: &str) {
        self.tell(life::operator_refused(u64::from(uid), cause));
    }

    /// Writes nothing more to the log.
    pub(crate) fn close(&self) {
        let mut facts = self.facts();
        (facts.log, facts.logins) = (None, None);
    }

    /// Where the keys of what is kept are, if anything is kept.
    pub(crate) fn keep_in(&self, store: Option<&Arc<Store>>) {
        self.facts().store = store.map_or_else(Weak::new, Arc::downgrade);
    }

    /// Ends work on keys after its next step.
    pub(crate) fn leave_store(&self) {
        self.facts().store = Weak::new();
    }

    fn tell(&self, event: Event) {
        if let Some(log) = &self.facts().log {
            log.event(event);
        }
    }

    /// New rules are in force.
    pub(crate) fn in_force(&self, rules: &Rules, certificates: Vec<CertificateStatus>, by: &str) {
        let mut facts = self.facts();
        let generation = rules.policy.generation().0;
        facts.policy = Some(PolicyStatus { generation, loaded_unix_ms: unix_ms(), by: by.to_owned() });
        facts.certificates = certificates;
        facts.memory_max = rules.memory_max;
        let listener = rules.listeners.first();
        facts.second_factor =
            listener.map(|listener| (Arc::clone(&rules.second_factor), listener.authenticator.clone()));
        let kind = |rules: &Arc<crate::rules::ListenerRules>| {
            (rules.name.to_string(), rules.written.kind.name().to_owned())
        };
        facts.kinds = rules.listeners.iter().map(kind).collect();
    }

    /// A reload is over.
    pub(crate) fn reloaded(&self, by: &str, fault: Option<String>) {
        self.facts().reload = Some(ReloadStatus { unix_ms: unix_ms(), by: by.to_owned(), fault });
    }

    /// Notes the figures of now.
    pub(crate) fn sample(&self) {
        let broker = self.sources().reports.sum().broker;
        let now_ms = self.sources().clock.now().mono_ms;
        let mut facts = self.facts();
        facts.samples.push_back((now_ms, broker.publications_received, broker.deliveries_sent));
        if facts.samples.len() > SAMPLES {
            facts.samples.pop_front();
        }
    }

    fn sources(&self) -> &Sources {
        &self.inner.0
    }

    fn facts(&self) -> MutexGuard<'_, Facts> {
        self.inner.1.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks every worker, in its own thread between two steps of its turn; the answers come in no particular order. `None`:
    /// one of them did not answer in time.
    fn visit<T: Send + 'static>(
        &self,
        ask: impl Fn(&mut Worker) -> T + Clone + Send + 'static,
    ) -> Option<Vec<T>> {
        let inboxes = &self.sources().inboxes;
        let (sender, receiver) = sync_channel(inboxes.len());
        for inbox in inboxes.iter() {
            let (ask, sender) = (ask.clone(), sender.clone());
            inbox.put(Letter::Visit(Box::new(move |worker| {
                // Whoever asked may have stopped waiting.
                let _ = sender.try_send(ask(worker));
            })));
        }
        let until = Instant::now() + WORKERS_ANSWER;
        let answers = (0..inboxes.len())
            .map_while(|_| receiver.recv_timeout(until.saturating_duration_since(Instant::now())).ok());
        Some(answers.collect::<Vec<T>>()).filter(|answers| answers.len() == inboxes.len())
    }
}

/// An operator in the log and in what is kept.
fn operator_name(operator: &Operator) -> String {
    format!("user {}", operator.uid)
}

/// Said when workers do not answer.
fn overloaded() -> CoreAnswer {
    let cause =
        "the workers did not answer in time\n  remedy: try again; `motte status` says what they have to do";
    CoreAnswer::Refused { cause: cause.to_owned() }
}
