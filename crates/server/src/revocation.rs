//! Revocation lists from addresses: fetched by the process that connects out, checked here, kept until a newer one comes.
//!
//! One thread fetches. What it gets is taken only if it is a list that an authority of the listener signed and that is not
//! older than the one held: garbage, a stranger's list and an old one change nothing. A new list makes new rules, which
//! reach live connections as those of a reload do.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use motte_config::{Config, Purpose, Url};
use motte_event::{Event, life};
use motte_pki::{ListFacts, is_signed_by_one, list_facts, revocation_lists};
use motte_roles::{OutwardClient, OutwardError, SetId};
use motte_transport::{ServerTls, Stages, TlsError};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};

use crate::assemble::AssembleError;
use crate::clock::unix_ms;
use crate::inbox::{Inbox, Letter};
use crate::kept_lists::KeptLists;
use crate::log::Log;
use crate::rules::{ListenerRules, Rules};
use crate::server::{Handle, StartError};

/// Longest wait for lists at the start and at a reload.
const FIRST_ROUND: Duration = Duration::from_secs(5);
/// Least time between two fetches of a list.
const AGAIN_MIN: Duration = Duration::from_secs(5);
/// Longest time between two attempts while a list cannot be fetched.
const AGAIN_MAX: Duration = Duration::from_secs(300);
/// Lists that one answer may hold.
const LISTS_MAX: usize = 64;

/// A list with what it says of itself.
#[derive(Debug, Clone)]
pub(crate) struct List {
    pub(crate) der: CertificateRevocationListDer<'static>,
    pub(crate) facts: ListFacts,
}

impl List {
    /// Reads lists that came as they are; `None` stands for one that cannot be read.
    pub(crate) fn read(der: CertificateRevocationListDer<'static>) -> Option<Self> {
        let facts = list_facts(&der)?;
        Some(Self { der, facts })
    }
}

fn ders(lists: &[List]) -> Vec<CertificateRevocationListDer<'static>> {
    lists.iter().map(|list| list.der.clone()).collect()
}

/// Of several lists about the same the newest one: whoever decides takes the first that is about a certificate.
pub(crate) fn newest(lists: impl Iterator<Item = List>) -> Vec<CertificateRevocationListDer<'static>> {
    let mut found: BTreeMap<Vec<u8>, List> = BTreeMap::new();
    for list in lists {
        let held = found.get(&list.facts.scope);
        if held.is_none_or(|held| list.facts.may_replace(&held.facts)) {
            found.insert(list.facts.scope.clone(), list);
        }
    }
    found.into_values().map(|list| list.der).collect()
}

/// The same rules with what is held by now; `None` when no listener has lists from addresses.
///
/// # Errors
/// Lists that cannot be used together, which each of them could.
pub(crate) fn renewed(rules: &Rules, revocation: &Revocation) -> Result<Option<Rules>, TlsError> {
    let mut is_any = false;
    let listeners = rules.listeners.iter().map(|listener| {
        let written = listener.written.tls.as_ref().filter(|tls| !tls.crl_url.is_empty());
        let (Some(written), Some(tls)) = (written, &listener.stages.tls) else {
            return Ok(Arc::clone(listener));
        };
        is_any = true;
        let lists = newest(listener.lists.iter().cloned().chain(revocation.held(&written.crl_url)));
        let tls = Some(tls.with_lists(&lists)?);
        let stages = Stages {
            tls,
            proxies: listener.stages.proxies.clone(),
            websocket: listener.stages.websocket.clone(),
        };
        Ok(Arc::new(ListenerRules { stages: Arc::new(stages), ..ListenerRules::clone(listener) }))
    });
    let listeners = listeners.collect::<Result<_, TlsError>>()?;
    Ok(is_any.then(|| Rules {
        policy: Arc::clone(&rules.policy),
        policy_text: Arc::clone(&rules.policy_text),
        second_factor: Arc::clone(&rules.second_factor),
        listeners,
        bounds: rules.bounds,
        limits: Arc::clone(&rules.limits),
        backlog_max: rules.backlog_max,
        memory_max: rules.memory_max,
    }))
}

/// Lists from addresses, fetched as far as they can be before anybody connects, and the rules with them.
pub(crate) fn begin(
    (client, handle): (Option<OutwardClient>, Handle),
    config: &Config,
    rules: Arc<Rules>,
    (inboxes, log): (&[Inbox], &Log),
) -> Result<(Revocation, Arc<Rules>), StartError> {
    let revocation = Revocation::start(client, handle, config.state_dir.as_deref());
    let revocation = revocation.map_err(StartError::system("a thread"))?;
    revocation.plan(config, &rules);
    revocation.missing().into_iter().for_each(|event| log.event(event));
    match renewed(&rules, &revocation) {
        Ok(Some(renewed)) => Ok((revocation, put_in_force(Arc::new(renewed), inboxes))),
        Ok(None) => Ok((revocation, rules)),
        Err(error) => Err(AssembleError(vec![error.to_string()]).into()),
    }
}

/// Hands rules to all workers.
pub(crate) fn put_in_force(rules: Arc<Rules>, inboxes: &[Inbox]) -> Arc<Rules> {
    for inbox in inboxes {
        inbox.put(Letter::Reload(Arc::clone(&rules)));
    }
    rules
}

/// An address that is fetched from.
struct Place {
    url: Url,
    number: u16,
    time: Duration,
    refresh: Duration,
    authorities: Vec<CertificateDer<'static>>,
    /// Of one that uses it, to try whether a list can be used.
    tls: Option<ServerTls>,
    listeners: Vec<Arc<str>>,
    /// When next; `None`: at once.
    at: Option<Instant>,
    /// Attempts in a row that failed.
    failed: u32,
    /// It was said that what is held from here is past its end.
    told_over: bool,
}

#[derive(Default)]
struct State {
    set: SetId,
    places: Vec<Place>,
    /// What is held, by address.
    held: BTreeMap<String, Vec<List>>,
    /// Of the plan; an attempt for an older one changes no times.
    generation: u64,
    over: bool,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The lists, and the thread that fetches them. It ends with the value.
pub(crate) struct Revocation {
    shared: Arc<Shared>,
    kept: Arc<KeptLists>,
}

impl Drop for Revocation {
    fn drop(&mut self) {
        self.shared.lock().over = true;
        self.shared.changed.notify_all();
    }
}

impl Revocation {
    /// Starts the thread, if there is somebody who fetches. It has nothing to do so far.
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub(crate) fn start(
        client: Option<OutwardClient>,
        handle: Handle,
        state_dir: Option<&Path>,
    ) -> std::io::Result<Self> {
        let shared = Arc::new(Shared { state: Mutex::default(), changed: Condvar::new() });
        let kept = Arc::new(KeptLists::new(state_dir));
        if let Some(client) = client {
            let fetcher = Fetcher { shared: Arc::clone(&shared), client, handle, kept: Arc::clone(&kept) };
            std::thread::Builder::new().name("motte-revocation".into()).spawn(move || fetcher.run())?;
        }
        Ok(Self { shared, kept })
    }

    /// Fetches for these rules from now on, and waits for the first attempt at addresses from which nothing is held.
    pub(crate) fn plan(&self, config: &Config, rules: &Rules) {
        let outward = config.outward();
        let mut state = self.shared.lock();
        let mut former = std::mem::take(&mut state.places);
        let lists = outward.iter().enumerate().filter(|(_, one)| one.purpose == Purpose::RevocationList);
        for (number, one) in lists {
            let (Ok(number), url) = (u16::try_from(number), &one.url) else { continue };
            let users = rules.listeners.iter().filter_map(|listener| {
                let written = listener.written.tls.as_ref().filter(|tls| tls.crl_url.contains(url))?;
                Some((listener, written.crl_refresh_s, listener.stages.tls.as_ref()?))
            });
            let mut place = Place {
                url: url.clone(),
                number,
                time: Duration::from_millis(u64::from(one.timeout_ms)),
                refresh: Duration::MAX,
                authorities: Vec::new(),
                tls: None,
                listeners: Vec::new(),
                at: None,
                failed: 0,
                told_over: false,
            };
            for (listener, refresh_s, tls) in users {
                place.refresh = place.refresh.min(Duration::from_secs(u64::from(refresh_s)));
                place.authorities.extend(tls.client_ca().iter().cloned());
                place.tls = Some(tls.clone());
                place.listeners.push(Arc::clone(&listener.name));
            }
            if let Some(known) = former.iter_mut().find(|known| known.url == *url) {
                place.told_over = known.told_over;
            }
            state.places.push(place);
        }
        state.set = SetId::of(&outward);
        state.generation += 1;
        let State { places, held, .. } = &mut *state;
        for place in &*places {
            if held.contains_key(place.url.as_str()) {
                continue;
            }
            // Of an earlier run: checked as what is fetched is. It is fetched anew all the same.
            let lists: Vec<List> =
                revocation_lists(&self.kept.read(&place.url)).into_iter().filter_map(List::read).collect();
            let is_usable = place.tls.as_ref().is_some_and(|tls| tls.with_lists(&ders(&lists)).is_ok());
            if !lists.is_empty() && is_usable {
                held.insert(place.url.as_str().to_owned(), lists);
            }
        }
        // What no authority of today signed is not held any longer; what nobody names any more neither.
        held.retain(|url, lists| {
            places.iter().find(|place| place.url.as_str() == url).is_some_and(|place| {
                lists.retain(|list| is_signed_by_one(&list.der, &place.authorities));
                !lists.is_empty()
            })
        });
        drop(state);
        self.shared.changed.notify_all();
        self.wait_first_round();
    }

    /// Until each address has been tried or is known, within bounds.
    fn wait_first_round(&self) {
        let until = Instant::now() + FIRST_ROUND;
        let mut state = self.shared.lock();
        loop {
            let is_open = |place: &Place| place.at.is_none() && !state.held.contains_key(place.url.as_str());
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || !state.places.iter().any(is_open) || Arc::strong_count(&self.shared) == 1 {
                return;
            }
            let waited = self.shared.changed.wait_timeout(state, left.min(Duration::from_millis(100)));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// What is held from these addresses.
    pub(crate) fn held(&self, urls: &[Url]) -> Vec<List> {
        let state = self.shared.lock();
        urls.iter().filter_map(|url| state.held.get(url.as_str())).flatten().cloned().collect()
    }

    /// Listeners and the addresses from which they have nothing.
    pub(crate) fn missing(&self) -> Vec<Event> {
        let state = self.shared.lock();
        let open = state.places.iter().filter(|place| !state.held.contains_key(place.url.as_str()));
        let told = |place: &Place| {
            let missing = |listener: &Arc<str>| life::revocation_list_missing(listener, place.url.as_str());
            place.listeners.iter().map(missing).collect::<Vec<_>>()
        };
        open.flat_map(told).collect()
    }
}

/// What the thread works with.
struct Fetcher {
    shared: Arc<Shared>,
    client: OutwardClient,
    handle: Handle,
    kept: Arc<KeptLists>,
}

/// One fetch that is due.
struct Due {
    url: Url,
    number: u16,
    set: SetId,
    generation: u64,
    time: Duration,
}

impl Fetcher {
    fn run(&self) {
        while let Some(due) = self.next() {
            let answer = self.client.ask(due.set, due.number, &[], due.time);
            let taken = answer.map_err(|error| failure(&error)).and_then(|answer| match answer.status {
                200 => self.take(&due, &answer.body),
                status => Err(format!("the server answered with status {status}")),
            });
            self.note(&due, &taken);
        }
    }

    /// Waits until something is due; `None` at the end.
    fn next(&self) -> Option<Due> {
        let mut state = self.shared.lock();
        loop {
            if state.over {
                return None;
            }
            let now = Instant::now();
            self.tell_ended(&mut state);
            let (set, generation) = (state.set, state.generation);
            let first = state.places.iter().min_by_key(|place| place.at);
            let wait = match first {
                Some(place) => match place.at {
                    Some(at) if at > now => at - now,
                    _ => {
                        let (url, number, time) = (place.url.clone(), place.number, place.time);
                        return Some(Due { url, number, set, generation, time });
                    }
                },
                None => AGAIN_MAX,
            };
            // The clock of the lists is another one: it is looked at now and then.
            let waited = self.shared.changed.wait_timeout(state, wait.min(AGAIN_MIN));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Says once of each address that what is held from it is past its end.
    fn tell_ended(&self, state: &mut State) {
        let now_s = unix_ms() / 1_000;
        let State { places, held, .. } = state;
        for place in places {
            let is_over = held
                .get(place.url.as_str())
                .is_some_and(|lists| lists.iter().any(|list| list.facts.is_over(now_s)));
            if is_over && !place.told_over {
                self.handle.tell(life::revocation_list_expired(place.url.as_str()));
            }
            place.told_over = is_over;
        }
    }

    /// Takes what came, if it may be taken; whether it is new.
    fn take(&self, due: &Due, body: &[u8]) -> Result<bool, String> {
        let mut lists: Vec<List> = revocation_lists(body).into_iter().filter_map(List::read).collect();
        if lists.is_empty() || lists.len() > LISTS_MAX {
            return Err("what came is no revocation list".to_owned());
        }
        let mut state = self.shared.lock();
        let Some(place) = state.places.iter().find(|place| place.url == due.url) else { return Ok(false) };
        if let Some(stranger) = lists.iter().find(|list| !is_signed_by_one(&list.der, &place.authorities)) {
            let number = stranger.facts.number;
            return Err(format!("list {number} is not signed by an authority in client_ca"));
        }
        let held = state.held.get(due.url.as_str()).map(Vec::as_slice).unwrap_or_default();
        for list in &lists {
            let former = held.iter().find(|held| held.facts.scope == list.facts.scope);
            if former.is_some_and(|former| !list.facts.may_replace(&former.facts)) {
                return Err(format!("list {} is older than the one that is held", list.facts.number));
            }
        }
        // An answer without the list of an authority takes none away: whoever is in between could leave it out.
        let came = lists.len();
        let is_left_out = |former: &&List| lists.iter().all(|list| list.facts.scope != former.facts.scope);
        let left_out: Vec<List> = held.iter().filter(is_left_out).cloned().collect();
        lists.extend(left_out);
        if lists.len() > LISTS_MAX {
            return Err(format!("with those that are held, more than {LISTS_MAX} lists"));
        }
        let is_whole = lists.len() == came;
        if held.len() == lists.len() && held.iter().zip(&lists).all(|(held, list)| held.der == list.der) {
            return Ok(false);
        }
        if let Some(Err(error)) = place.tls.as_ref().map(|tls| tls.with_lists(&ders(&lists))) {
            return Err(format!("a list that cannot be used: {error}"));
        }
        let (number, until) =
            lists.first().map_or((0, None), |list| (list.facts.number, list.facts.next_update_s));
        let until = until
            .and_then(|end| i64::try_from(end).ok())
            .and_then(|end| jiff::Timestamp::from_second(end).ok());
        let until = until.map_or_else(|| "it does not say".to_owned(), |end| end.to_string());
        self.handle.tell(life::revocation_list_fetched(due.url.as_str(), number, &until));
        state.held.insert(due.url.as_str().to_owned(), lists);
        drop(state);
        if is_whole {
            self.kept.write(&due.url, body);
        }
        Ok(true)
    }

    /// Notes what became of an attempt, and when the next one is.
    fn note(&self, due: &Due, taken: &Result<bool, String>) {
        if let Err(cause) = taken {
            self.handle.tell(life::revocation_list_unfetched(due.url.as_str(), cause));
        }
        let is_first = {
            let mut state = self.shared.lock();
            let now_s = unix_ms() / 1_000;
            let held = state.held.get(due.url.as_str()).into_iter().flatten();
            let all: Vec<u64> = held.filter_map(|list| list.facts.next_update_s).collect();
            // One that is over beside others that are not was left out by its authority: no reason for haste.
            let current = all.iter().filter(|end| **end >= now_s).min();
            let end_s = current.or(all.iter().min()).copied();
            let is_current = state.generation == due.generation;
            let place = state.places.iter_mut().find(|place| place.url == due.url && is_current);
            let Some(place) = place else { return };
            place.failed = if taken.is_ok() { 0 } else { place.failed.saturating_add(1) };
            let delay = delay(place, end_s, now_s);
            place.at.replace(Instant::now() + delay).is_none()
        };
        self.shared.changed.notify_all();
        // At the start and at a reload somebody waits and looks; the same rules twice would do no harm.
        if matches!(taken, Ok(true)) || (is_first && taken.is_ok()) {
            self.handle.lists_came();
        }
    }
}

fn failure(error: &OutwardError) -> String {
    error.to_string()
}

/// How long until the next attempt, with a tenth more or less so that not all brokers come at once.
fn delay(place: &Place, end_s: Option<u64>, now_s: u64) -> Duration {
    let usual = if place.failed > 0 {
        AGAIN_MIN.saturating_mul(1 << place.failed.min(8).saturating_sub(1)).min(AGAIN_MAX).min(place.refresh)
    } else {
        match end_s.map(|end| Duration::from_secs(end.saturating_sub(now_s))) {
            // It ends before it would be fetched again: half of what is left, so that there is time for a second attempt.
            Some(left) if left < place.refresh => (left / 2).max(AGAIN_MIN.min(place.refresh)),
            _ => place.refresh,
        }
    };
    let mut random = [0; 1];
    // Without randomness all come at once.
    let _ = getrandom::fill(&mut random);
    let tenths = usual / 10;
    usual.saturating_sub(tenths) + (tenths * 2).mul_f64(f64::from(random[0]) / 255.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(refresh_s: u64, failed: u32) -> Place {
        Place {
            url: Url::parse("http://ca.example/list").unwrap(),
            number: 0,
            time: Duration::from_secs(1),
            refresh: Duration::from_secs(refresh_s),
            authorities: Vec::new(),
            tls: None,
            listeners: Vec::new(),
            at: None,
            failed,
            told_over: false,
        }
    }

    #[test]
    fn a_list_is_fetched_before_it_ends_and_sooner_again_when_that_fails() {
        let about = |delay: Duration, seconds: u64| {
            let (delay, wanted) = (delay.as_secs_f64(), Duration::from_secs(seconds).as_secs_f64());
            assert!(delay >= wanted * 0.89 && delay <= wanted * 1.11, "{delay} is not about {wanted}");
        };
        about(delay(&place(3_600, 0), None, 1_000), 3_600);
        about(delay(&place(3_600, 0), Some(1_000_000), 1_000), 3_600);
        about(delay(&place(3_600, 0), Some(2_000), 1_000), 500);
        about(delay(&place(3_600, 0), Some(900), 1_000), 5);
        about(delay(&place(1, 0), Some(900), 1_000), 1);
        about(delay(&place(3_600, 1), None, 1_000), 5);
        about(delay(&place(3_600, 3), None, 1_000), 20);
        about(delay(&place(3_600, 99), None, 1_000), 300);
        about(delay(&place(2, 99), None, 1_000), 2);
    }
}
