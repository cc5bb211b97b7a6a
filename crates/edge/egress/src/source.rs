//! A source: its address with the client that asks it, and those of a configuration.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use motte_config::Purpose;
use motte_roles::{Header, Link, OutwardSource, SetId, SourceFacts, Told, Unanswered};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use ureq::Agent;
use ureq::tls::{Certificate, RootCerts, TlsConfig, TlsProvider};
use zeroize::Zeroizing;

use crate::directory::Directory;
use crate::request::ask;

/// Configurations whose sources are kept: the one in force, those of reloads that were refused.
const SETS_MAX: usize = 8;
/// Requests that may wait for one source, beside those under way.
const WAITING_MAX: usize = 256;
/// Longest head of an answer, in bytes.
const HEAD_BYTES_MAX: usize = 16 * 1_024;
/// Connections to a source that are kept for the next request.
const IDLE_MAX: usize = 16;

/// A source that can be asked.
pub(crate) struct Source {
    pub(crate) facts: SourceFacts,
    pub(crate) way: Way,
}

/// How a source is asked.
pub(crate) enum Way {
    /// By HTTP.
    Http { agent: Agent, headers: Vec<Header> },
    /// By LDAP.
    Directory(Box<Directory>),
}

impl Source {
    fn new(source: OutwardSource, roots: &[CertificateDer<'static>]) -> Result<Self, String> {
        let OutwardSource { facts, headers, password, .. } = source;
        if facts.purpose == Purpose::Directory {
            let way = Way::Directory(Box::new(Directory::new(&facts, password, roots)?));
            return Ok(Self { facts, way });
        }
        let roots: Vec<_> = roots.iter().map(|der| Certificate::from_der(der).to_owned()).collect();
        let total = Duration::from_millis(u64::from(facts.total_ms));
        let tls = TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .root_certs(RootCerts::from(roots.into_iter()))
            .unversioned_rustls_crypto_provider(Arc::new(aws_lc_rs::default_provider()))
            .build();
        let config = Agent::config_builder()
            .tls_config(tls)
            .proxy(None)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .timeout_connect(Some(Duration::from_millis(u64::from(facts.connect_ms)).min(total)))
            .timeout_global(Some(total))
            .max_response_header_size(HEAD_BYTES_MAX)
            .max_idle_connections(IDLE_MAX)
            .max_idle_connections_per_host(IDLE_MAX)
            .user_agent(concat!("motte/", env!("CARGO_PKG_VERSION")))
            .build();
        let way = Way::Http { agent: config.into(), headers };
        Ok(Self { facts, way })
    }
}

/// A request on its way, and where its answer goes.
pub(crate) struct Job {
    pub(crate) id: u64,
    pub(crate) body: Zeroizing<Vec<u8>>,
    pub(crate) answers: Arc<Mutex<Link>>,
    pub(crate) since: Instant,
}

impl Job {
    pub(crate) fn fail(&self, cause: Unanswered, detail: String) {
        self.tell(&Told::Failed { id: self.id, cause, detail });
    }

    fn tell(&self, told: &Told) {
        // A core that is gone asks nothing any more.
        let _ = self.answers.lock().unwrap_or_else(PoisonError::into_inner).send(told);
    }
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Job>,
    threads: u16,
}

/// A source with the requests for it.
#[derive(Clone)]
pub(crate) struct Counter {
    source: Arc<Source>,
    queue: Arc<Mutex<Queue>>,
}

impl Counter {
    /// Takes a request, in a thread of its own if one more is permitted, else after those that wait.
    pub(crate) fn take(&self, job: Job) {
        let most = self.source.facts.outstanding.max(1);
        {
            let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
            if queue.waiting.len() >= WAITING_MAX {
                drop(queue);
                return job
                    .fail(Unanswered::Busy, format!("{}: too many wait for it", self.source.facts.url));
            }
            queue.waiting.push_back(job);
            if queue.threads >= most {
                return;
            }
            queue.threads += 1;
        }
        let own = self.clone();
        let spawned = std::thread::Builder::new().name("motte-request".into()).spawn(move || own.work());
        if spawned.is_err() {
            let waiting = {
                let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
                queue.threads -= 1;
                // With another thread at work they have somebody.
                if queue.threads == 0 { std::mem::take(&mut queue.waiting) } else { VecDeque::new() }
            };
            for job in waiting {
                job.fail(Unanswered::Busy, "the system refuses a thread".to_owned());
            }
        }
    }

    fn work(&self) {
        let time = Duration::from_millis(u64::from(self.source.facts.total_ms));
        loop {
            let job = {
                let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
                let Some(job) = queue.waiting.pop_front() else {
                    queue.threads -= 1;
                    return;
                };
                job
            };
            if job.since.elapsed() >= time {
                job.fail(
                    Unanswered::Slow,
                    format!("{}: its turn did not come in time", self.source.facts.url),
                );
                continue;
            }
            // A defect below must not take the thread, and the right to it, away from all that come after.
            let request = std::panic::AssertUnwindSafe(|| ask(&self.source, &job.body, job.since));
            let broken = |_| Err((Unanswered::Broken, "a defect of motte".to_owned()));
            match std::panic::catch_unwind(request).unwrap_or_else(broken) {
                Ok((status, body)) => job.tell(&Told::Answered { id: job.id, status, body }),
                Err((cause, detail)) => job.fail(cause, detail),
            }
        }
    }
}

/// Sources by configuration, the one used last at the end.
#[derive(Default)]
pub(crate) struct Sets(Vec<(SetId, Vec<Option<Counter>>)>);

impl Sets {
    /// Takes the sources of a configuration; says what is wrong with some.
    pub(crate) fn load(&mut self, set: SetId, authorities: &[String], sources: Vec<OutwardSource>) -> String {
        let mut faults = Vec::new();
        let roots: Vec<Roots> = authorities.iter().map(|text| roots(text)).collect();
        let counters = sources.into_iter().map(|source| {
            let roots = roots.get(usize::from(source.authorities)).cloned().flatten();
            let Some(roots) = roots.or_else(|| (!takes_tls(&source.facts)).then(Vec::new)) else {
                faults.push(format!(
                    "{}: no authority that its server could come from\n  remedy: name its certificate in ca",
                    source.facts.url
                ));
                return None;
            };
            match Source::new(source, &roots) {
                Ok(source) => Some(Counter { source: Arc::new(source), queue: Arc::default() }),
                Err(fault) => {
                    faults.push(fault);
                    None
                }
            }
        });
        let counters = counters.collect();
        self.0.retain(|(known, _)| *known != set);
        if self.0.len() >= SETS_MAX {
            self.0.remove(0);
        }
        self.0.push((set, counters));
        faults.join("\n")
    }

    /// A source by its number.
    pub(crate) fn source(&mut self, set: SetId, number: u16) -> Option<Counter> {
        let place = self.0.iter().position(|(known, _)| *known == set)?;
        let found = self.0.get(place)?.1.get(usize::from(number)).cloned().flatten();
        if place + 1 < self.0.len() {
            let used = self.0.remove(place);
            self.0.push(used);
        }
        found
    }
}

/// Authorities; `None`: there is none.
type Roots = Option<Vec<CertificateDer<'static>>>;

/// The authorities of a PEM text. Those of a system are taken as far as they can be read.
fn roots(text: &str) -> Roots {
    let certificates = motte_pki::certificates(text).ok()?;
    (!certificates.is_empty()).then_some(certificates)
}

/// Whether its server has to come from an authority.
fn takes_tls(facts: &SourceFacts) -> bool {
    match &facts.directory {
        Some(directory) => !directory.plaintext,
        None => facts.url.starts_with("https://"),
    }
}
