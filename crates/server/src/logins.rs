//! Login attempts and bans, as all workers and the threads that check passwords share them.
//!
//! The rules are in `motte_identity`; here are the clock, the locks, each held for one operation, and what is told.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use motte_access::Methods;
use motte_broker::Verdict;
use motte_config::{HeldAnswer, LoginAttempts};
use motte_event::{gate, keep};
use motte_identity::Refusal;
use motte_identity::attempts::{
    Attempt, AttemptLimits, Attempts, Begun, Charge, ConnectionRate, RateLimits, Scope, TagKey,
};
use motte_identity::bans::{Ban, BanError, BanSubject, Bans};
use motte_identity::{Credentials, Requirements};
use motte_wire::ReasonCode;

use crate::clock::Clock;
use crate::connection::Connection;
use crate::inbox::{Inbox, Letter};
use crate::kept_file::{ATTEMPTS, BANS, KeptFiles};
use crate::log::Log;
use crate::server::StartError;

/// A question or an order about bans, for the supervisor.
pub(crate) type AboutBans = Box<dyn FnOnce(&Logins) + Send>;

/// What became of a login, beside the verdict: written by whoever checks it, read by the connection's worker.
#[derive(Debug, Default)]
pub(crate) struct LoginNote {
    pub(crate) answer_delay_ms: AtomicU64,
    outcome: AtomicU8,
    pub(crate) client_id: String,
}

/// How a login ended that was not checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unchecked {
    Held = 1,
    Banned = 2,
}

impl LoginNote {
    fn set(&self, outcome: Unchecked) {
        self.outcome.store(outcome as u8, Ordering::Relaxed);
    }

    /// How it ended, if it was not checked.
    pub(crate) fn unchecked(&self) -> Option<Unchecked> {
        match self.outcome.load(Ordering::Relaxed) {
            1 => Some(Unchecked::Held),
            2 => Some(Unchecked::Banned),
            _ => None,
        }
    }
}

#[derive(Debug)]
struct State {
    clock: Clock,
    /// Milliseconds since 1970 at the start of the clock: counters go by a time that never jumps.
    origin_ms: u64,
    attempts: Mutex<Attempts>,
    bans: Mutex<Bans>,
    ban_count: AtomicUsize,
    rate: Mutex<ConnectionRate>,
    rate_bounded: AtomicBool,
    closes: AtomicBool,
    inboxes: OnceLock<Arc<[Inbox]>>,
    files: Option<KeptFiles>,
    log: Log,
}

/// The shared counters and bans; a clone is another way to the same.
#[derive(Debug, Clone)]
pub(crate) struct Logins {
    state: Arc<State>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The limits as written, in the units of the counters.
fn limits(written: &LoginAttempts) -> AttemptLimits {
    let narrow = |value: u32| u16::try_from(value).unwrap_or(u16::MAX);
    let bits = |value: u32| u8::try_from(value).unwrap_or(128);
    AttemptLimits {
        window_ms: u64::from(written.window_s) * 1_000,
        free: narrow(written.free),
        delay_base_ms: u64::from(written.delay_base_ms),
        delay_max_ms: u64::from(written.delay_max_ms),
        lockout_after: narrow(written.lockout_after),
        lockout_ms: u64::from(written.lockout_s) * 1_000,
        prefix_v4: bits(written.prefix_v4),
        address_v6: bits(written.address_v6),
        prefix_v6: bits(written.prefix_v6),
        entries: written.entries as usize,
    }
}

fn random_key() -> Result<TagKey, StartError> {
    let mut secret = [0; 32];
    let failed = |error: getrandom::Error| StartError::system("random bytes")(std::io::Error::other(error));
    getrandom::fill(&mut secret).map_err(failed)?;
    Ok(TagKey::new(secret))
}

/// A moment for people.
fn moment(unix_ms: u64) -> String {
    let at =
        i64::try_from(unix_ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms - ms % 1_000).ok());
    at.map_or_else(|| unix_ms.to_string(), |at| at.to_string())
}

impl Logins {
    /// As the last run left them in the state directory.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub(crate) fn new(
        written: &LoginAttempts,
        clock: Clock,
        files: Option<KeptFiles>,
        log: Log,
    ) -> Result<Self, StartError> {
        let now = clock.now();
        let limits = limits(written);
        let (mut attempts, mut bans) = (None, None);
        if let Some(files) = &files {
            let mut events = Vec::new();
            let told = |file: &str, cause: String| {
                log.event(keep::attempts_not_kept(&files.path(file).display().to_string(), &cause));
            };
            let decoded = files.read(ATTEMPTS, &mut events);
            let decoded = decoded.map(|bytes| Attempts::decode(&bytes, limits, now.unix_ms));
            attempts = decoded.and_then(|read| read.map_err(|error| told(ATTEMPTS, error.to_string())).ok());
            let decoded = files.read(BANS, &mut events).map(|bytes| Bans::decode(&bytes, now.unix_ms));
            bans = decoded.and_then(|read| read.map_err(|error| told(BANS, error.to_string())).ok());
            for event in events {
                log.event(event);
            }
        }
        let attempts = match attempts {
            Some(attempts) => attempts,
            None => Attempts::new(limits, random_key()?),
        };
        let bans = bans.unwrap_or_default();
        let rate = RateLimits { per_second: written.connections_per_second };
        let state = State {
            clock,
            origin_ms: now.unix_ms.saturating_sub(now.mono_ms),
            ban_count: AtomicUsize::new(bans.len()),
            attempts: Mutex::new(attempts),
            bans: Mutex::new(bans),
            rate_bounded: AtomicBool::new(rate.per_second > 0),
            rate: Mutex::new(ConnectionRate::new(rate, limits, random_key()?)),
            closes: AtomicBool::new(written.answer == HeldAnswer::Close),
            inboxes: OnceLock::new(),
            files,
            log,
        };
        Ok(Self { state: Arc::new(state) })
    }

    /// Where workers are told of bans.
    pub(crate) fn tell(&self, inboxes: Arc<[Inbox]>) {
        // Set once, at the start.
        let _ = self.state.inboxes.set(inboxes);
    }

    /// Other limits from now on.
    pub(crate) fn set_limits(&self, written: &LoginAttempts) {
        let limits = limits(written);
        lock(&self.state.attempts).set_limits(limits);
        let rate = RateLimits { per_second: written.connections_per_second };
        lock(&self.state.rate).set_limits(rate, limits);
        self.state.rate_bounded.store(rate.per_second > 0, Ordering::Relaxed);
        self.state.closes.store(written.answer == HeldAnswer::Close, Ordering::Relaxed);
    }

    /// Whether those who are held or banned are told nothing.
    pub(crate) fn closes(&self) -> bool {
        self.state.closes.load(Ordering::Relaxed)
    }

    fn now_ms(&self) -> u64 {
        self.state.origin_ms.saturating_add(self.state.clock.now().mono_ms)
    }

    fn unix_ms(&self) -> u64 {
        self.state.clock.now().unix_ms
    }

    /// One more connection of an address; false when it comes too soon.
    pub(crate) fn may_connect(&self, address: IpAddr) -> bool {
        !self.state.rate_bounded.load(Ordering::Relaxed)
            || lock(&self.state.rate).take(address, self.now_ms())
    }

    /// The ban of an address, an identity or a Client Identifier: whom it is about, and until when.
    pub(crate) fn ban_of(
        &self,
        address: Option<IpAddr>,
        identity: &str,
        client_id: &str,
    ) -> Option<(String, String)> {
        if self.state.ban_count.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let (now_ms, bans) = (self.unix_ms(), lock(&self.state.bans));
        let ban = address
            .and_then(|address| bans.of_address(address, now_ms))
            .or_else(|| bans.of_identity(identity, now_ms))
            .or_else(|| bans.of_client_id(client_id, now_ms))?;
        Some((ban.subject.to_string(), moment(ban.until_ms)))
    }

    /// All bans, those that end first in front.
    pub(crate) fn bans(&self) -> Vec<Ban> {
        let mut all: Vec<Ban> = lock(&self.state.bans).all().cloned().collect();
        all.sort_by(|a, b| a.until_ms.cmp(&b.until_ms).then_with(|| a.cause.cmp(&b.cause)));
        all
    }

    /// Bans somebody for a time; `by` is `None` when it comes by itself. Live connections that it is about are closed.
    pub(crate) fn ban(
        &self,
        subject: BanSubject,
        cause: &str,
        by: Option<&str>,
        for_ms: u64,
    ) -> Result<(), BanError> {
        let since_ms = self.unix_ms();
        let until_ms = since_ms.saturating_add(for_ms);
        let ban = Ban {
            subject: subject.clone(),
            cause: cause.to_owned(),
            by: by.map(str::to_owned),
            since_ms,
            until_ms,
        };
        {
            let mut bans = lock(&self.state.bans);
            bans.add(ban, since_ms)?;
            self.state.ban_count.store(bans.len(), Ordering::Relaxed);
        }
        let (name, until) = (subject.to_string(), moment(until_ms));
        self.state.log.event(gate::banned(&name, cause, by.unwrap_or("motte"), &until));
        // Nobody has logged in from where a ban comes by itself, so there is nobody to look for.
        if by.is_some()
            && let Some(inboxes) = self.state.inboxes.get()
        {
            let subject = Arc::new(subject);
            inboxes.iter().for_each(|inbox| inbox.put(Letter::Banned(Arc::clone(&subject))));
        }
        Ok(())
    }

    /// Lifts a ban, and the hold of an address; false when there was neither.
    pub(crate) fn unban(&self, subject: &BanSubject, by: &str) -> bool {
        let removed = {
            let mut bans = lock(&self.state.bans);
            let removed = bans.remove(subject);
            self.state.ban_count.store(bans.len(), Ordering::Relaxed);
            removed
        };
        if removed.is_some() {
            self.state.log.event(gate::ban_ended(&subject.to_string(), &format!("lifted by {by}")));
        }
        let forgotten = match subject {
            BanSubject::Addresses(net) => lock(&self.state.attempts).forget_address(net.addr()),
            BanSubject::Identity(_) | BanSubject::ClientId(_) => false,
        };
        removed.is_some() || forgotten
    }

    /// Takes out bans that are over.
    pub(crate) fn expire(&self) {
        if self.state.ban_count.load(Ordering::Relaxed) == 0 {
            return;
        }
        let over = {
            let mut bans = lock(&self.state.bans);
            let over = bans.expire(self.unix_ms());
            self.state.ban_count.store(bans.len(), Ordering::Relaxed);
            over
        };
        for ban in over {
            self.state.log.event(gate::ban_ended(&ban.subject.to_string(), "its time is over"));
        }
    }

    /// How often counters and bans changed.
    pub(crate) fn changes(&self) -> (u64, u64) {
        (lock(&self.state.attempts).changes(), lock(&self.state.bans).changes())
    }

    /// The counters as bytes.
    pub(crate) fn encoded_attempts(&self) -> Vec<u8> {
        let now_ms = self.now_ms();
        lock(&self.state.attempts).encode(now_ms)
    }

    /// The bans as bytes.
    pub(crate) fn encoded_bans(&self) -> Vec<u8> {
        lock(&self.state.bans).encode()
    }

    /// Where counters and bans are kept.
    pub(crate) fn files(&self) -> Option<&KeptFiles> {
        self.state.files.as_ref()
    }

    /// The log.
    pub(crate) fn log(&self) -> &Log {
        &self.state.log
    }

    /// A login begins. `Err` is the answer to somebody who is banned or held.
    pub(crate) fn begin(
        &self,
        connection: &mut Connection,
        client_id: &str,
        credentials: &Credentials,
    ) -> Result<Ticket, Verdict> {
        let note = Arc::new(LoginNote { client_id: client_id.to_owned(), ..LoginNote::default() });
        connection.entering().note = Some(Arc::clone(&note));
        let rules = &connection.rules;
        let who = Who {
            name: rules.authenticator.claimed_name(credentials, &rules.requirements),
            address: credentials.address,
            listener: Arc::clone(&rules.name),
            note,
        };
        if let Some((subject, until)) = self.ban_of(who.address, &who.name, client_id) {
            who.note.set(Unchecked::Banned);
            self.state.log.event(gate::banned_refused(&subject, &who.address_text(), &who.listener, &until));
            return Err(banned());
        }
        let ticket = |charge, by_certificate| Ticket {
            logins: self.clone(),
            charge,
            by_certificate,
            who: who.clone(),
        };
        if is_exempt(credentials, &rules.requirements) {
            return Ok(ticket(None, credentials.certificate.is_some()));
        }
        let attempt = Attempt {
            address: who.address,
            name: &who.name,
            client_id,
            certificate: credentials.certificate.as_deref().map(|facts| facts.fingerprint.as_str()),
        };
        let begun = lock(&self.state.attempts).begin(attempt, self.now_ms());
        match begun {
            Begun::Admitted(charge) => Ok(ticket(Some(charge), false)),
            Begun::Held { by, .. } => Err(self.held(&who, by)),
        }
    }

    /// An operator shows a code of this account. Its counters are apart from those of clients, who cannot send this name: nobody
    /// who fails from afar keeps operators from their work. `Err` is what is held.
    pub(crate) fn begin_step_up(&self, account: &str) -> Result<Ticket, Scope> {
        let counted = format!("\0control {account}");
        let attempt = Attempt { address: None, name: &counted, client_id: "", certificate: None };
        let note = Arc::default();
        let who = Who { name: account.to_owned(), address: None, listener: Arc::from("control"), note };
        let begun = lock(&self.state.attempts).begin(attempt, self.now_ms());
        match begun {
            Begun::Admitted(charge) => {
                Ok(Ticket { logins: self.clone(), charge: Some(charge), by_certificate: false, who })
            }
            Begun::Held { by, .. } => Err(by),
        }
    }

    fn held(&self, who: &Who, by: Scope) -> Verdict {
        who.note.set(Unchecked::Held);
        let (client_id, address) = (&who.note.client_id, who.address_text());
        self.state.log.event(gate::login_held(&who.name, client_id, &address, &who.listener, by.name()));
        Verdict::Refused {
            reason: ReasonCode::CONNECTION_RATE_EXCEEDED,
            cause: format!("too many logins failed; the {} is held", by.name()),
        }
    }

    fn failed(&self, who: &Who, charge: &Charge) {
        let failed = lock(&self.state.attempts).failed(charge, self.now_ms());
        who.note.answer_delay_ms.store(failed.answer_delay_ms, Ordering::Relaxed);
        for scope in &failed.locked {
            let (client_id, address) = (&who.note.client_id, who.address_text());
            let for_s = failed.lockout_ms / 1_000;
            let event = gate::locked_out(scope.name(), &who.name, client_id, &address, &who.listener, for_s);
            self.state.log.event(event);
        }
        // Loopback stands for everybody behind a proxy on this machine.
        let address = who.address.filter(|address| !address.to_canonical().is_loopback());
        if let Some(address) = address
            && failed.locked.contains(&Scope::Address)
            && failed.address_unknown
        {
            let bits = lock(&self.state.attempts).limits().address_bits(address);
            let net = ipnet::IpNet::new(address.to_canonical(), bits).ok();
            if let Some(Ok(subject)) = net.map(BanSubject::addresses) {
                // Full of bans that people made: then its logins are held all the same.
                let _ = self.ban(subject, "too many failed logins", None, failed.lockout_ms);
            }
        }
    }
}

/// The answer to somebody who is banned.
pub(crate) fn banned() -> Verdict {
    Verdict::Refused { reason: ReasonCode::BANNED, cause: "there is a ban".to_owned() }
}

/// Whether nothing is guessed: nobody is asked, or a certificate that TLS verified is all that is wanted.
fn is_exempt(credentials: &Credentials, wanted: &Requirements) -> bool {
    let certificate_only = wanted.all_of == Methods::default() || wanted.all_of == Methods::CERTIFICATE;
    let taken = wanted.any_of.and(wanted.all_of).has(Methods::CERTIFICATE);
    wanted.any_of.has(Methods::ANONYMOUS) || credentials.certificate.is_some() && taken && certificate_only
}

/// Who tries to log in.
#[derive(Debug, Clone)]
struct Who {
    name: String,
    address: Option<IpAddr>,
    listener: Arc<str>,
    note: Arc<LoginNote>,
}

impl Who {
    fn address_text(&self) -> String {
        self.address.map_or_else(|| "local".to_owned(), |address| address.to_string())
    }
}

/// A login that is under way. Dropped without a verdict, it came to nothing and is not counted.
#[derive(Debug)]
pub(crate) struct Ticket {
    logins: Logins,
    charge: Option<Charge>,
    by_certificate: bool,
    who: Who,
}

impl Ticket {
    /// The answer if others failed meanwhile, so that this one need not be checked any more.
    pub(crate) fn held_meanwhile(&self) -> Option<Verdict> {
        let charge = self.charge.as_ref()?;
        let by = lock(&self.logins.state.attempts).held_meanwhile(charge, self.logins.now_ms())?;
        Some(self.logins.held(&self.who, by))
    }

    /// Counts a code that an operator showed.
    pub(crate) fn stepped_up(mut self, accepted: bool) {
        match self.charge.take() {
            Some(charge) if accepted => {
                lock(&self.logins.state.attempts).succeeded(&charge, self.logins.now_ms());
            }
            Some(charge) => self.logins.failed(&self.who, &charge),
            None => {}
        }
    }

    /// Counts the verdict, if it is one about what was shown.
    pub(crate) fn settled(mut self, verdict: motte_identity::Verdict) -> motte_identity::Verdict {
        if let motte_identity::Verdict::Refused { refusal: Refusal::Unavailable, .. } = &verdict {
            return verdict;
        }
        let accepted = matches!(verdict, motte_identity::Verdict::Accepted(_));
        match (self.charge.take(), accepted) {
            (Some(charge), true) => {
                lock(&self.logins.state.attempts).succeeded(&charge, self.logins.now_ms());
            }
            (Some(charge), false) => self.logins.failed(&self.who, &charge),
            (None, true) if self.by_certificate => {
                if let Some(address) = self.who.address {
                    lock(&self.logins.state.attempts).seen_healthy(address, self.logins.now_ms());
                }
            }
            (None, _) => {}
        }
        verdict
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(charge) = self.charge.take() {
            lock(&self.logins.state.attempts).abandoned(&charge, self.logins.now_ms());
        }
    }
}
