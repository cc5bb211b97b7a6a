//! The service of `[auth.http]`, asked who clients are through the process that connects out. Without a good answer in
//! time nobody gets in by it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use motte_broker::Verdict;
use motte_config::{Config, Purpose};
use motte_event::gate;
use motte_identity::{Breaker, Remembered, RemoteAnswer, RemoteQuestion};
use motte_roles::{OutwardClient, SetId};
use motte_seal::SecretBytes;
use motte_wire::ReasonCode;

use crate::lane::Lane;
use crate::log::Log;

/// How a question went.
pub(crate) enum Judged {
    /// The service, or what it said before, decided.
    Verdict(motte_identity::Verdict),
    /// It could not be asked, or did not answer: nobody is let in, and the client may try again.
    Unavailable(String),
}

/// The service.
#[derive(Debug)]
pub(crate) struct HookService {
    url: String,
    set: SetId,
    source: u16,
    time: Duration,
    client: Option<OutwardClient>,
    lane: Lane,
    pause_ms: u64,
    breaker: Mutex<Breaker>,
    remembered: Mutex<Remembered>,
    since: Instant,
}

impl HookService {
    /// As configured; `None` without `[auth.http]`. Nothing is remembered so far: a reload forgets.
    ///
    /// # Errors
    /// When the system has no random bytes.
    pub(crate) fn new(
        config: &Config,
        client: Option<OutwardClient>,
    ) -> Result<Option<Arc<Self>>, getrandom::Error> {
        let outward = config.outward();
        let place = outward.iter().position(|one| one.purpose == Purpose::Hook);
        let (Some(hook), Some(source)) =
            (&config.auth_http, place.and_then(|place| u16::try_from(place).ok()))
        else {
            return Ok(None);
        };
        let mut key = [0; 32];
        getrandom::fill(&mut key)?;
        let keep_ms = u64::from(hook.cache_s) * 1_000;
        let entries_max = usize::try_from(hook.cache_max).unwrap_or(usize::MAX);
        Ok(Some(Arc::new(Self {
            url: hook.url.as_str().to_owned(),
            set: SetId::of(&outward),
            source,
            time: Duration::from_millis(u64::from(hook.timeout_ms)),
            client,
            lane: Lane::new(usize::from(hook.outstanding), usize::try_from(hook.queue).unwrap_or(usize::MAX)),
            pause_ms: u64::from(hook.pause_ms),
            breaker: Mutex::new(Breaker::new(hook.failures, u64::from(hook.pause_ms))),
            remembered: Mutex::new(Remembered::new(&key, keep_ms, entries_max)),
            since: Instant::now(),
        })))
    }

    /// Where its questions wait.
    pub(crate) fn lane(&self) -> &Lane {
        &self.lane
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remembered(&self) -> MutexGuard<'_, Remembered> {
        self.remembered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Finds out who asks; waits at most the service's time, counted from `asked`.
    pub(crate) fn judge(&self, question: RemoteQuestion, asked: Instant, log: &Log) -> Judged {
        let body = SecretBytes::new(question.to_json());
        let tag = self.remembered().tag(body.expose());
        let known = self.remembered().identity(&tag, self.now_ms()).map(str::to_owned);
        if let Some(identity) = known {
            return Judged::Verdict(
                question.finish(RemoteAnswer::Allow { identity: Some(identity), valid_s: None }),
            );
        }
        if asked.elapsed() >= self.time {
            return Judged::Unavailable("its turn did not come in time".to_owned());
        }
        if !self.breaker().may_ask(self.now_ms()) {
            return Judged::Unavailable(
                "the service failed again and again and is left alone for a while".to_owned(),
            );
        }
        let answer = match self.ask(body.expose()) {
            Ok(answer) => answer,
            Err(cause) => {
                log.event(gate::login_service_failed(&self.url, &cause));
                if self.breaker().failed(self.now_ms()) {
                    log.event(gate::login_service_paused(&self.url, self.pause_ms));
                }
                return Judged::Unavailable(cause);
            }
        };
        if self.breaker().answered() {
            log.event(gate::login_service_back(&self.url));
        }
        let most_ms = match &answer {
            RemoteAnswer::Allow { valid_s, .. } => {
                valid_s.map_or(u64::MAX, |seconds| seconds.saturating_mul(1_000))
            }
            RemoteAnswer::Deny => 0,
        };
        let verdict = question.finish(answer);
        if let motte_identity::Verdict::Accepted(client) = &verdict {
            self.remembered().put(tag, &client.identity, self.now_ms(), most_ms);
        }
        Judged::Verdict(verdict)
    }

    fn ask(&self, body: &[u8]) -> Result<RemoteAnswer, String> {
        let client = self.client.as_ref().ok_or("no process connects out")?;
        let answer = client.ask(self.set, self.source, body, self.time).map_err(|error| error.to_string())?;
        RemoteAnswer::read(answer.status, &answer.body)
            .ok_or_else(|| format!("an answer with status {} that is not as documented", answer.status))
    }
}

/// What a client is told when the service cannot be asked.
pub(crate) fn unavailable(cause: String) -> Verdict {
    Verdict::Refused { reason: ReasonCode::SERVER_UNAVAILABLE, cause }
}
