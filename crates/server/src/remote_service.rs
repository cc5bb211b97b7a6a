//! The service of `[auth.http]` and the directory of `[auth.ldap]`, asked who clients are through the process that connects
//! out. Without a good answer in time nobody gets in by it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use motte_access::{ClientPrincipal, Methods};
use motte_broker::Verdict;
use motte_config::{AskBounds, AuthMethod, Config, Listener, Purpose};
use motte_event::gate;
use motte_identity::{Breaker, DirectoryGroups, Permission, Remembered, RemoteAnswer, RemoteQuestion};
use motte_ldap::Outcome;
use motte_roles::{DirectoryAnswer, DirectoryQuestion, Message as _, OutwardClient, SetId};
use motte_seal::SecretBytes;
use motte_wire::ReasonCode;

use crate::clock::unix_ms;
use crate::lane::Lane;
use crate::log::Log;

/// How a question went.
pub(crate) enum Judged {
    /// The service, or what it said before, decided.
    Verdict(motte_identity::Verdict),
    /// It could not be asked, or did not answer: nobody is let in, and the client may try again.
    Unavailable(String),
}

/// What kind of service it is.
#[derive(Debug)]
enum Kind {
    /// One that is asked by HTTP.
    Hook,
    /// A directory, with what its groups give.
    Directory(DirectoryGroups),
}

/// The services that a configuration names.
#[derive(Debug, Default)]
pub(crate) struct RemoteServices {
    hook: Option<Arc<RemoteService>>,
    directory: Option<Arc<RemoteService>>,
}

impl RemoteServices {
    /// As configured. Nothing is remembered so far: a reload forgets.
    ///
    /// # Errors
    /// When the system has no random bytes.
    pub(crate) fn new(config: &Config, client: Option<&OutwardClient>) -> Result<Self, getrandom::Error> {
        let service = |purpose, kind, bounds| RemoteService::new(config, client, purpose, kind, bounds);
        let hook = config.auth_http.as_ref().map(|hook| service(Purpose::Hook, Kind::Hook, &hook.bounds));
        let directory = config.auth_ldap.as_ref().map(|ldap| {
            let table = ldap.groups.iter().map(|(name, roles)| (name.as_str(), roles.as_slice()));
            service(Purpose::Directory, Kind::Directory(DirectoryGroups::new(table)), &ldap.bounds)
        });
        Ok(Self { hook: hook.transpose()?.flatten(), directory: directory.transpose()?.flatten() })
    }

    /// The service whose word a listener takes.
    pub(crate) fn of(&self, listener: &Listener) -> Option<Arc<RemoteService>> {
        let takes = |wanted| listener.methods.iter().chain(&listener.all_of).any(|method| *method == wanted);
        let hook = self.hook.as_ref().filter(|_| takes(AuthMethod::Http));
        hook.or_else(|| self.directory.as_ref().filter(|_| takes(AuthMethod::Ldap))).cloned()
    }
}

/// A service.
#[derive(Debug)]
pub(crate) struct RemoteService {
    kind: Kind,
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

impl RemoteService {
    fn new(
        config: &Config,
        client: Option<&OutwardClient>,
        purpose: Purpose,
        kind: Kind,
        bounds: &AskBounds,
    ) -> Result<Option<Arc<Self>>, getrandom::Error> {
        let outward = config.outward();
        let place = outward.iter().position(|one| one.purpose == purpose);
        let Some((source, url)) = place.and_then(|place| {
            Some((u16::try_from(place).ok()?, outward.get(place)?.url.as_str().to_owned()))
        }) else {
            return Ok(None);
        };
        let mut key = [0; 32];
        getrandom::fill(&mut key)?;
        let keep_ms = u64::from(bounds.cache_s) * 1_000;
        let entries_max = usize::try_from(bounds.cache_max).unwrap_or(usize::MAX);
        Ok(Some(Arc::new(Self {
            kind,
            url,
            set: SetId::of(&outward),
            source,
            time: Duration::from_millis(u64::from(bounds.timeout_ms)),
            client: client.cloned(),
            lane: Lane::new(
                usize::from(bounds.outstanding),
                usize::try_from(bounds.queue).unwrap_or(usize::MAX),
            ),
            pause_ms: u64::from(bounds.pause_ms),
            breaker: Mutex::new(Breaker::new(bounds.failures, u64::from(bounds.pause_ms))),
            remembered: Mutex::new(Remembered::new(&key, keep_ms, entries_max)),
            since: Instant::now(),
        })))
    }

    /// What its word is called.
    pub(crate) fn method(&self) -> Methods {
        match self.kind {
            Kind::Hook => Methods::HTTP,
            Kind::Directory(_) => Methods::LDAP,
        }
    }

    /// Whether what a directory gave to a client is what it gives now.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn still_gives(&self, client: &ClientPrincipal) -> Result<(), String> {
        match (&self.kind, &client.directory) {
            (Kind::Directory(groups), Some(facts)) if !groups.still_gives(facts) => {
                Err("its groups in the directory give other roles now".to_owned())
            }
            (Kind::Directory(_) | Kind::Hook, _) => Ok(()),
        }
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
        let body = SecretBytes::new(self.body(&question));
        let tag = self.remembered().tag(body.expose());
        let known = self.remembered().permission(&tag, self.now_ms()).cloned();
        let known = known.filter(|one| one.ends_s.is_none_or(|end_s| now_s() < end_s));
        if let Some(Permission { identity, ends_s, directory }) = known {
            let identity = Some(identity.to_string());
            return Judged::Verdict(question.finish(RemoteAnswer::Allow {
                identity,
                valid_s: None,
                ends_s,
                directory,
            }));
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
            RemoteAnswer::Allow { valid_s, ends_s, .. } => {
                let left_s = ends_s.map(|end_s| end_s.saturating_sub(now_s()));
                let most_s = valid_s.iter().copied().chain(left_s).min();
                most_s.map_or(u64::MAX, |seconds| seconds.saturating_mul(1_000))
            }
            RemoteAnswer::Deny(_) => 0,
        };
        let verdict = question.finish(answer);
        if let motte_identity::Verdict::Accepted(client) = &verdict {
            let permission = Permission {
                identity: Arc::clone(&client.identity),
                directory: client.directory.clone(),
                ends_s: client.ends_s,
            };
            self.remembered().put(tag, permission, self.now_ms(), most_ms);
        }
        Judged::Verdict(verdict)
    }

    fn ask(&self, body: &[u8]) -> Result<RemoteAnswer, String> {
        let client = self.client.as_ref().ok_or("no process connects out")?;
        let answer = client.ask(self.set, self.source, body, self.time).map_err(|error| error.to_string())?;
        match &self.kind {
            Kind::Hook => RemoteAnswer::read(answer.status, &answer.body, now_s())
                .ok_or_else(|| format!("an answer with status {} that is not as documented", answer.status)),
            Kind::Directory(groups) => {
                let DirectoryAnswer(outcome) =
                    DirectoryAnswer::decode(&answer.body).map_err(|error| error.to_string())?;
                Ok(match outcome {
                    Outcome::Allowed { entry, groups: found } => {
                        let directory = Some(Arc::new(groups.facts(entry, found)));
                        RemoteAnswer::Allow { identity: None, valid_s: None, ends_s: None, directory }
                    }
                    Outcome::Denied(denial) => RemoteAnswer::Deny(denial.cause()),
                })
            }
        }
    }

    /// What is sent. It holds the password.
    fn body(&self, question: &RemoteQuestion) -> Vec<u8> {
        match self.kind {
            Kind::Hook => question.to_json(),
            Kind::Directory(_) => {
                let (user, password) = question.login();
                let question =
                    DirectoryQuestion { user: user.to_owned(), password: password.to_vec().into() };
                // Room for all of it, so that no copy is left behind where memory grows.
                let mut out = Vec::with_capacity(user.len() + password.len() + 64);
                question.encode(&mut out);
                out
            }
        }
    }
}

/// Seconds since 1970.
fn now_s() -> u64 {
    unix_ms() / 1_000
}

/// What a client is told when the service cannot be asked.
pub(crate) fn unavailable(cause: String) -> Verdict {
    Verdict::Refused { reason: ReasonCode::SERVER_UNAVAILABLE, cause }
}
