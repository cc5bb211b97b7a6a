//! One responder: asked, left alone when it fails again and again, and what its answers mean. Without a good answer in time
//! nobody gets in, unless the configuration says otherwise.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use motte_config::{Ocsp, OcspRequire, StaleList};
use motte_event::{Event, gate};
use motte_identity::Breaker;
use motte_pki::{CertificateStatus, NONCE_BYTES, NotAnswered, StatusAnswer};
use motte_roles::{OutwardClient, SetId};
use motte_wire::ReasonCode;

use crate::clock::unix_ms;
use crate::lane::Lane;
use crate::ocsp::Refused;
use crate::ocsp::held::{Answered, Held, Status};

/// How much later than its end an answer is taken, in seconds: clocks are not the same everywhere.
const SKEW_S: u64 = 300;
/// Least and longest time until a failed question is asked again by itself, in seconds.
const AGAIN_S: (u64, u64) = (5, 300);

/// What is known of a certificate means this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Judgement {
    /// It may be used.
    Permitted,
    /// It may not.
    Refused(Refused),
    /// Nobody knows; the responder is to be asked.
    Open,
}

/// A responder of one listener or authority.
#[derive(Debug)]
pub(crate) struct Responder {
    written: Ocsp,
    set: SetId,
    source: u16,
    client: Option<OutwardClient>,
    lane: Lane,
    breaker: Mutex<Breaker>,
    held: Arc<Held>,
    since: Instant,
    /// Somebody asks anew what is due.
    is_refreshed: AtomicBool,
    /// Nobody is to ask anew any more.
    over: Arc<AtomicBool>,
}

impl Drop for Responder {
    fn drop(&mut self) {
        self.held.wake();
    }
}

impl Responder {
    /// As configured, at its place among what connects out, with what is held already.
    pub(super) fn new(
        written: &Ocsp,
        (set, source): (SetId, u16),
        client: Option<OutwardClient>,
        held: Option<Arc<Held>>,
    ) -> Self {
        let size = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        Self {
            written: written.clone(),
            set,
            source,
            client,
            lane: Lane::new(usize::from(written.outstanding), size(written.queue)),
            breaker: Mutex::new(Breaker::new(written.failures, u64::from(written.pause_ms))),
            held: held.unwrap_or_else(|| Arc::new(Held::new(size(written.cache_max)))),
            since: Instant::now(),
            is_refreshed: AtomicBool::new(false),
            over: Arc::default(),
        }
    }

    /// Where its questions wait.
    pub(crate) fn lane(&self) -> &Lane {
        &self.lane
    }

    /// What it answered.
    pub(super) fn held(&self) -> Arc<Held> {
        Arc::clone(&self.held)
    }

    /// Whether answers to this responder are as good for another configuration of it.
    pub(super) fn asks_as(&self, other: &Ocsp) -> bool {
        let own = &self.written;
        (&own.url, own.nonce, own.refresh_s, own.cache_max)
            == (&other.url, other.nonce, other.refresh_s, other.cache_max)
    }

    /// Questions that may be asked by themselves at once, so that logins have theirs.
    pub(super) fn refreshed_at_once(&self) -> usize {
        usize::from(self.written.outstanding / 2).max(1)
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known of a certificate means this now.
    pub(crate) fn judge(&self, status: &Status, now_s: u64) -> Judgement {
        match status.answered() {
            Some(answered) if now_s < answered.fresh_until_s => self.meaning(&answered.answer),
            _ => Judgement::Open,
        }
    }

    /// Finds out about a certificate, for somebody who waits since `asked`; waits at most the responder's time.
    ///
    /// # Errors
    /// Why the certificate may not be used.
    pub(crate) fn decide(
        &self,
        status: &Status,
        asked: Instant,
        tell: &dyn Fn(Event),
    ) -> Result<(), Refused> {
        // Somebody else may have asked while this one waited.
        match self.judge(status, unix_ms() / 1_000) {
            Judgement::Permitted => return Ok(()),
            Judgement::Refused(refused) => return Err(refused),
            Judgement::Open => {}
        }
        let asked = if asked.elapsed() >= self.time() {
            Err("its turn did not come in time".to_owned())
        } else {
            self.ask(status, tell)
        };
        self.settle(status, asked)
    }

    /// Asks anew.
    ///
    /// # Errors
    /// Why the certificate may not be used any more.
    pub(super) fn renew(&self, status: &Status, tell: &dyn Fn(Event)) -> Result<(), Refused> {
        let asked = self.ask(status, tell);
        self.settle(status, asked)
    }

    fn time(&self) -> Duration {
        Duration::from_millis(u64::from(self.written.timeout_ms))
    }

    /// Asks, and takes the answer.
    fn ask(&self, status: &Status, tell: &dyn Fn(Event)) -> Result<(), String> {
        let now_s = unix_ms() / 1_000;
        if !self.breaker().may_ask(self.now_ms()) {
            status.fail(|_| now_s.saturating_add(u64::from(self.written.pause_ms) / 1_000 + 1));
            self.held.asked(status);
            return Err("the responder failed again and again and is left alone for a while".to_owned());
        }
        let (answer, is_there) = self.exchange(status);
        // A responder that answers something else is there: nobody waits for it in vain, and whoever shows odd
        // certificates must not keep all others out.
        if is_there {
            if self.breaker().answered() {
                tell(gate::status_responder_back(self.written.url.as_str()));
            }
        } else if self.breaker().failed(self.now_ms()) {
            tell(gate::status_responder_paused(self.written.url.as_str(), u64::from(self.written.pause_ms)));
        }
        let outcome = match answer {
            Ok(answer) => {
                self.take(status, answer, unix_ms() / 1_000);
                Ok(())
            }
            Err(cause) => {
                let (least, longest) = AGAIN_S;
                let wait =
                    |failed: u32| least.saturating_mul(1 << failed.min(8).saturating_sub(1)).min(longest);
                let refresh = u64::from(self.written.refresh_s);
                status.fail(|failed| now_s.saturating_add(wait(failed).min(refresh)));
                tell(gate::status_responder_failed(self.written.url.as_str(), &cause));
                Err(cause)
            }
        };
        self.held.asked(status);
        outcome
    }

    /// One question and its answer, and whether the responder is there.
    fn exchange(&self, status: &Status) -> (Result<StatusAnswer, String>, bool) {
        let Some(client) = &self.client else { return (Err("no process connects out".to_owned()), false) };
        let mut nonce = [0; NONCE_BYTES];
        let wanted = self.written.nonce;
        if wanted && let Err(error) = getrandom::fill(&mut nonce) {
            return (Err(format!("the system has no random bytes: {error}")), true);
        }
        let nonce = wanted.then_some(&nonce);
        let Some(question) = status.question.encode(nonce) else {
            return (Err("no question can be asked about this certificate".to_owned()), true);
        };
        let answer = match client.ask(self.set, self.source, &question, self.time()) {
            Ok(answer) if answer.status == 200 => answer,
            Ok(answer) => return (Err(format!("the server answered with status {}", answer.status)), false),
            Err(error) => return (Err(error.to_string()), false),
        };
        let judged = status.question.judge(&answer.body, nonce, unix_ms() / 1_000);
        let is_there = !matches!(
            judged,
            Err(NotAnswered::Malformed | NotAnswered::Refused("internalError" | "tryLater"))
        );
        (judged.map_err(|cause| cause.to_string()), is_there)
    }

    fn take(&self, status: &Status, answer: StatusAnswer, now_s: u64) {
        let refresh_s = u64::from(self.written.refresh_s);
        let end_s =
            answer.next_update_s.map_or(now_s.saturating_add(refresh_s), |end| end.saturating_add(SKEW_S));
        let left_s = answer.next_update_s.map_or(refresh_s, |end| end.saturating_sub(now_s));
        let fresh_s = refresh_s.min(end_s.saturating_sub(now_s));
        // Not all at the same moment that came at the same moment: up to a tenth sooner.
        let wait_s = refresh_s.min(left_s / 2).max(1);
        let sooner_s = wait_s / 10 * u64::from(status.key.first().copied().unwrap_or(0)) / 255;
        let answered = Answered { answer, fresh_until_s: now_s.saturating_add(fresh_s), good_until_s: end_s };
        status.take(answered, now_s.saturating_add(wait_s - sooner_s));
    }

    /// What it comes to, after it was asked.
    fn settle(&self, status: &Status, asked: Result<(), String>) -> Result<(), Refused> {
        let Err(cause) = asked else {
            return match status.answered().map(|answered| self.meaning(&answered.answer)) {
                Some(Judgement::Refused(refused)) => Err(refused),
                _ => Ok(()),
            };
        };
        let now_s = unix_ms() / 1_000;
        let answered = status.answered();
        let meaning = answered.map(|answered| (self.meaning(&answered.answer), answered));
        match meaning {
            Some((Judgement::Permitted, answered)) if now_s < answered.good_until_s => Ok(()),
            // What was revoked stays so until somebody says otherwise.
            Some((Judgement::Refused(refused), answered))
                if now_s < answered.good_until_s || is_revoked(&answered.answer) =>
            {
                Err(refused)
            }
            _ if self.written.stale == StaleList::Accept => Ok(()),
            _ => Err(Refused {
                reason: ReasonCode::SERVER_UNAVAILABLE,
                cause: format!("nobody knows whether the certificate is revoked: {cause}"),
            }),
        }
    }

    fn meaning(&self, answer: &StatusAnswer) -> Judgement {
        let refused =
            |cause: String| Judgement::Refused(Refused { reason: ReasonCode::NOT_AUTHORIZED, cause });
        match (answer.status, self.written.require) {
            (CertificateStatus::Good, _) | (CertificateStatus::Unknown, OcspRequire::WhenKnown) => {
                Judgement::Permitted
            }
            (CertificateStatus::Unknown, OcspRequire::Always) => {
                refused("the responder does not know the certificate".to_owned())
            }
            (CertificateStatus::Revoked { at_s }, _) => {
                let at = i64::try_from(at_s).ok().and_then(|at| jiff::Timestamp::from_second(at).ok());
                let at = at.map_or_else(|| at_s.to_string(), |at| at.to_string());
                refused(format!("the certificate is revoked since {at}, says its responder"))
            }
        }
    }

    /// Whether nobody asks anew what is due so far; from now on somebody does.
    pub(super) fn begins_refresh(&self) -> bool {
        !self.is_refreshed.swap(true, Ordering::Relaxed)
    }

    /// Whether nobody is to ask anew any more.
    pub(super) fn over(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.over)
    }

    /// Nobody is.
    pub(super) fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
        self.held.wake();
    }

    /// Nobody does after all.
    pub(super) fn ends_refresh(&self) {
        self.is_refreshed.store(false, Ordering::Relaxed);
    }
}

fn is_revoked(answer: &StatusAnswer) -> bool {
    matches!(answer.status, CertificateStatus::Revoked { .. })
}
