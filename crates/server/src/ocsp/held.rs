//! What was answered about certificates: held until it ends, as long as somebody who showed the certificate is connected,
//! and within a bound for those who are away.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use motte_pki::{StatusAnswer, StatusIssuer, StatusQuestion, issuer_of, serial_number};
use rustc_hash::FxHashMap;
use rustls_pki_types::CertificateDer;

/// The SHA-256 of a certificate.
pub(crate) type Key = [u8; 32];

/// Authorities that are kept apart from the certificates below them; more are kept with each.
const ISSUERS_MAX: usize = 64;
/// Longest wait for the next certificate that is to be asked about.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// An answer, from when on it is asked for anew, and until when it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Answered {
    pub(super) answer: StatusAnswer,
    /// A login asks again from then on, in unix seconds.
    pub(super) fresh_until_s: u64,
    /// After that it is no answer any more, in unix seconds.
    pub(super) good_until_s: u64,
}

#[derive(Debug, Default)]
struct Known {
    answered: Option<Answered>,
    /// When it is asked about by itself, in unix seconds.
    again_s: u64,
    /// Attempts in a row that failed.
    failed: u32,
    /// Its entry among those that are due some time; others of it are void.
    queued_s: Option<u64>,
}

/// One certificate. A connection that showed it holds it.
#[derive(Debug)]
pub(crate) struct Status {
    pub(super) key: Key,
    pub(super) question: StatusQuestion,
    known: Mutex<Known>,
}

impl Status {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The SHA-256 of the certificate in hexadecimal.
    pub(crate) fn fingerprint(&self) -> String {
        hex(&self.key)
    }

    /// Its serial number in hexadecimal.
    pub(crate) fn serial(&self) -> String {
        hex(self.question.serial())
    }

    /// What was answered last.
    pub(super) fn answered(&self) -> Option<Answered> {
        self.known().answered
    }

    /// Takes an answer; it is asked about again `again_s`.
    pub(super) fn take(&self, answered: Answered, again_s: u64) {
        let mut known = self.known();
        known.answered = Some(answered);
        known.again_s = again_s;
        known.failed = 0;
    }

    /// Notes an attempt that failed, of so many in a row; `again_s` says when the next one is.
    pub(super) fn fail(&self, again_s: impl FnOnce(u32) -> u64) {
        let mut known = self.known();
        known.failed = known.failed.saturating_add(1);
        known.again_s = again_s(known.failed);
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[derive(Debug, Default)]
struct State {
    all: FxHashMap<Key, Arc<Status>>,
    issuers: Vec<Arc<StatusIssuer>>,
    due: BinaryHeap<Reverse<(u64, Key)>>,
    /// Questions of the refresher that are under way.
    under_way: usize,
    /// With so many certificates it is looked for room again.
    look_at: usize,
}

/// The certificates that a responder was asked about.
#[derive(Debug)]
pub(crate) struct Held {
    state: Mutex<State>,
    changed: Condvar,
    away_max: usize,
}

impl Held {
    /// Nothing so far; of clients that are away at most `away_max` are kept.
    pub(super) fn new(away_max: usize) -> Self {
        Self { state: Mutex::default(), changed: Condvar::new(), away_max }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A certificate that is known, and is looked after from now on; asked about `by_s` if nothing was answered.
    pub(super) fn find(&self, key: &Key, by_s: u64) -> Option<Arc<Status>> {
        let mut state = self.lock();
        let status = state.all.get(key).cloned()?;
        let is_queued = {
            let mut known = status.known();
            // Nobody looked after it while nobody held it: what was answered may have become old.
            if known.queued_s.is_none() {
                known.again_s = known.again_s.max(by_s);
            }
            known.queued_s.is_some()
        };
        if !is_queued {
            state.queue(&status);
            self.changed.notify_all();
        }
        Some(status)
    }

    /// Looks after one more certificate: leaf, what was shown with it, and whom TLS trusts. `None` when its authority is not
    /// among them.
    pub(super) fn add(
        &self,
        key: Key,
        (leaf, shown, trusted): (
            &CertificateDer<'static>,
            &[CertificateDer<'static>],
            &[CertificateDer<'static>],
        ),
        by_s: u64,
    ) -> Option<Arc<Status>> {
        let issuer = issuer_of(leaf, shown, trusted)?;
        let serial = serial_number(leaf)?;
        let mut state = self.lock();
        let issuer = state.issuer(issuer)?;
        let question = StatusQuestion::new(issuer, &serial)?;
        let known = Known { again_s: by_s, ..Known::default() };
        let status = Arc::new(Status { key, question, known: Mutex::new(known) });
        state.make_room(self.away_max);
        state.all.insert(key, Arc::clone(&status));
        state.queue(&status);
        drop(state);
        self.changed.notify_all();
        Some(status)
    }

    /// The next certificate that is due, if fewer than `most` are asked about by themselves; else waits, a bounded time.
    pub(super) fn next(self: &Arc<Self>, now_s: u64, most: usize, is_over: &dyn Fn() -> bool) -> Next {
        let mut state = self.lock();
        if is_over() {
            return Next::Never;
        }
        let wait = if state.under_way >= most {
            LOOK_EVERY
        } else {
            match state.pop(now_s) {
                Ok(status) => {
                    state.under_way += 1;
                    return Next::Due(Due { held: Arc::clone(self), status });
                }
                Err(wait_s) => Duration::from_secs(wait_s.max(1)).min(LOOK_EVERY),
            }
        };
        drop(self.changed.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner));
        Next::Later
    }

    /// A certificate was asked about: it is due again at another time than it was.
    pub(super) fn asked(&self, status: &Status) {
        self.lock().queue(status);
        self.changed.notify_all();
    }

    /// Wakes who waits for the next one.
    pub(super) fn wake(&self) {
        // With the lock: whoever has seen that there is nothing to do waits by now, or has not looked yet.
        let _state = self.lock();
        self.changed.notify_all();
    }

    /// How many certificates are known.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.lock().all.len()
    }
}

/// What is to be done next.
pub(super) enum Next {
    /// This.
    Due(Due),
    /// Nothing yet.
    Later,
    /// Nothing any more.
    Never,
}

/// A certificate that is asked about by itself. When this is gone, others have their turn.
pub(super) struct Due {
    held: Arc<Held>,
    pub(super) status: Arc<Status>,
}

impl Drop for Due {
    fn drop(&mut self) {
        let mut state = self.held.lock();
        state.under_way = state.under_way.saturating_sub(1);
        state.queue(&self.status);
        drop(state);
        self.held.changed.notify_all();
    }
}

impl State {
    /// Notes when a certificate is due.
    fn queue(&mut self, status: &Status) {
        let mut known = status.known();
        let at_s = known.again_s;
        if known.queued_s != Some(at_s) {
            known.queued_s = Some(at_s);
            self.due.push(Reverse((at_s, status.key)));
        }
    }

    /// Of the certificates whose time has come the first that somebody still holds; or how long until the next time.
    fn pop(&mut self, now_s: u64) -> Result<Arc<Status>, u64> {
        loop {
            let Some(Reverse((at_s, key))) = self.due.peek().copied() else { return Err(u64::MAX) };
            if at_s > now_s {
                return Err(at_s - now_s);
            }
            self.due.pop();
            let Some(status) = self.all.get(&key).cloned() else { continue };
            let mut known = status.known();
            // Another entry says when.
            if known.queued_s != Some(at_s) {
                continue;
            }
            known.queued_s = None;
            drop(known);
            // The table and this function hold it too.
            if Arc::strong_count(&status) > 2 {
                return Ok(status);
            }
        }
    }

    /// The authority as it is kept for all its certificates.
    fn issuer(&mut self, der: CertificateDer<'static>) -> Option<Arc<StatusIssuer>> {
        if let Some(known) = self.issuers.iter().find(|known| *known.der() == der) {
            return Some(Arc::clone(known));
        }
        let issuer = StatusIssuer::new(der)?;
        if self.issuers.len() >= ISSUERS_MAX {
            self.issuers.retain(|known| Arc::strong_count(known) > 1);
        }
        if self.issuers.len() < ISSUERS_MAX {
            self.issuers.push(Arc::clone(&issuer));
        }
        Some(issuer)
    }

    /// Forgets the older half of what nobody holds once there are too many. What is held is bounded by the connections. All
    /// are looked at only after so many more have come that it costs each of them little.
    fn make_room(&mut self, away_max: usize) {
        if self.all.len() < self.look_at.max(away_max) {
            return;
        }
        let away = self.all.values().filter(|status| Arc::strong_count(status) == 1);
        let mut away: Vec<(u64, Key)> =
            away.map(|status| (status.answered().map_or(0, |one| one.good_until_s), status.key)).collect();
        if away.len() >= away_max {
            away.sort_unstable();
            for (_, key) in away.iter().take(away.len() / 2 + 1) {
                self.all.remove(key);
            }
            away.truncate(away.len() / 2);
        }
        let room = away_max.saturating_sub(away.len()).max(away_max / 8);
        self.look_at = self.all.len().saturating_add(room.max(1));
    }
}

#[cfg(test)]
mod tests {
    use motte_pki::{Authority, certificates};

    use super::*;

    struct Chain {
        root: Vec<CertificateDer<'static>>,
        leaf: CertificateDer<'static>,
    }

    fn chain() -> Chain {
        let (authority, root) = Authority::create("test", 1_000).unwrap();
        let device = authority.client("device", "", 1_000).unwrap();
        let read = |pem: &str| certificates(pem).unwrap();
        Chain { root: read(&root.certificate_pem), leaf: read(&device.certificate_pem).remove(0) }
    }

    fn add(held: &Held, chain: &Chain, key: u8, by_s: u64) -> Arc<Status> {
        held.add([key; 32], (&chain.leaf, &[], &chain.root), by_s).unwrap()
    }

    fn answered(until_s: u64) -> Answered {
        let status = motte_pki::CertificateStatus::Good;
        let answer = StatusAnswer { status, this_update_s: 0, next_update_s: None };
        Answered { answer, fresh_until_s: until_s, good_until_s: until_s }
    }

    #[test]
    fn who_is_away_is_forgotten_once_there_are_too_many_and_who_is_there_is_not() {
        let (held, chain) = (Held::new(10), chain());
        let there: Vec<_> = (0..20).map(|key| add(&held, &chain, key, 0)).collect();
        for key in 20..60 {
            add(&held, &chain, key, 0).take(answered(u64::from(key)), 0);
        }
        assert!(held.len() <= 20 + 10 + 1, "{}", held.len());
        for (key, status) in (0..20).zip(&there) {
            assert!(Arc::ptr_eq(&held.find(&[key; 32], 0).unwrap(), status));
        }
        assert!(held.find(&[59; 32], 0).is_some() && held.find(&[20; 32], 0).is_none(), "the older ones");
        let issuers = there.iter().map(|status| status.question.issuer());
        assert!(issuers.clone().all(|issuer| Arc::ptr_eq(issuer, there[0].question.issuer())), "kept once");
    }

    #[test]
    fn what_somebody_holds_is_due_when_its_time_has_come_and_at_most_so_many_at_once() {
        let (held, chain) = (Arc::new(Held::new(10)), chain());
        let (one, two) = (add(&held, &chain, 1, 50), add(&held, &chain, 2, 40));
        drop(add(&held, &chain, 3, 10));
        let next = |now_s, most| match held.next(now_s, most, &|| false) {
            Next::Due(due) => Some(due),
            Next::Later | Next::Never => None,
        };
        // A login asked about one meanwhile; nobody holds the third.
        one.take(answered(200), 100);
        held.asked(&one);
        let due = next(60, 2).unwrap();
        assert!(Arc::ptr_eq(&due.status, &two));
        two.fail(|failed| 60 + u64::from(failed) * 5);
        drop(due);
        let (first, second) = (next(100, 2).unwrap(), next(100, 2).unwrap());
        assert!(Arc::ptr_eq(&first.status, &two) && Arc::ptr_eq(&second.status, &one));
        drop((first, second));
        // Whoever comes back is looked after again.
        let three = held.find(&[3; 32], 100).unwrap();
        two.take(answered(300), 300);
        one.take(answered(300), 300);
        held.asked(&two);
        held.asked(&one);
        assert!(Arc::ptr_eq(&next(100, 1).unwrap().status, &three));
        assert!(matches!(held.next(100, 1, &|| true), Next::Never));
    }
}
