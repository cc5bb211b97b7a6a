//! Keys of token issuers from addresses: fetched by the process that connects out, read here, good until a stated time.
//!
//! One thread fetches in turn. A token that names an unknown key has them fetched at once, in the thread of its question,
//! though not more often than every ten seconds: whoever makes names up costs the issuer no more than that. What is no key
//! set changes nothing; when nothing else comes for too long, the keys are of no use any more.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use motte_config::{Config, KeySource, Purpose, TokenIssuer};
use motte_event::{Event, life};
use motte_identity::{HeldKeys, KeySet};
use motte_roles::{OutwardClient, SetId};

use crate::clock::unix_ms;
use crate::kept_file::KeptFiles;
use crate::kept_keys::IssuerKeysFile;
use crate::lane::Lane;
use crate::server::Handle;

/// Longest wait for keys at the start and at a reload.
const FIRST_ROUND: Duration = Duration::from_secs(5);
/// Least time between two attempts, and between two that unknown keys ask for.
const AGAIN_MIN: Duration = Duration::from_secs(10);
/// Longest time between two attempts while keys cannot be fetched.
const AGAIN_MAX: Duration = Duration::from_secs(300);
/// How much longer than the source's own time somebody waits for an attempt of somebody else.
const GRACE: Duration = Duration::from_secs(3);
/// Logins that fetch keys of an issuer, or wait for what is fetched, at once; and those that wait for their turn.
const ASKING: (usize, usize) = (8, 256);

/// Where keys come from; while it is the same, so are the keys.
type Source = (String, KeySource);

/// An issuer whose keys are fetched.
struct Place {
    source: Source,
    url: String,
    number: u16,
    time: Duration,
    refresh: Duration,
    stale_s: u64,
    keys: Arc<HeldKeys>,
    /// Where logins wait for them: an issuer that is slow, or whose keys are asked for by made-up names, holds up no other.
    lane: Lane,
    /// When next; `None`: at once.
    at: Option<Instant>,
    /// Attempts in a row that failed.
    failed: u32,
    /// Attempts that ended.
    ended: u64,
    is_under_way: bool,
    /// When an unknown key last asked for them.
    anew: Option<Instant>,
    /// It was said that they are too old.
    told_stale: bool,
}

impl Place {
    /// Whether enough time is over since an unknown key last asked for them.
    fn may_anew(&self) -> bool {
        self.anew.is_none_or(|anew| anew.elapsed() >= AGAIN_MIN)
    }
}

#[derive(Default)]
struct State {
    set: SetId,
    places: Vec<Place>,
    /// Keys of the rules in force, and of those that may be.
    cells: Vec<(Source, Arc<HeldKeys>)>,
    handle: Option<Handle>,
    over: bool,
    /// Where what is fetched is kept for the next start.
    kept: Option<Arc<IssuerKeysFile>>,
    /// Those whose keys are of an earlier run, and were not fetched in this one.
    earlier: Vec<Source>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    client: Option<OutwardClient>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The keys, and the way to fetch them; a clone is another way to the same.
#[derive(Clone)]
pub(crate) struct TokenKeys(Arc<Shared>);

impl std::fmt::Debug for TokenKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenKeys")
    }
}

/// The thread that fetches ends with this.
pub(crate) struct Fetching(TokenKeys);

impl Drop for Fetching {
    fn drop(&mut self) {
        let Shared { changed, .. } = &*self.0.0;
        self.0.0.lock().over = true;
        changed.notify_all();
    }
}

/// An attempt that is under way.
struct Attempt {
    source: Source,
    url: String,
    number: u16,
    set: SetId,
    time: Duration,
    stale_s: u64,
    keys: Arc<HeldKeys>,
}

impl TokenKeys {
    /// Without any keys so far. Without a process that connects out there never will be.
    pub(crate) fn new(client: Option<OutwardClient>) -> Self {
        Self(Arc::new(Shared { state: Mutex::default(), changed: Condvar::new(), client }))
    }

    /// The way to the process that connects out.
    pub(crate) fn client(&self) -> Option<&OutwardClient> {
        self.0.client.as_ref()
    }

    /// The keys of an issuer: those that are held already if they come from the same place.
    pub(crate) fn of(&self, issuer: &TokenIssuer) -> Arc<HeldKeys> {
        let source = (issuer.issuer.clone(), issuer.keys.clone());
        let mut state = self.0.lock();
        if let Some((_, keys)) = state.cells.iter().find(|(known, _)| *known == source) {
            return Arc::clone(keys);
        }
        let keys = HeldKeys::to_fetch();
        state.cells.push((source, Arc::clone(&keys)));
        keys
    }

    /// Holds what an earlier run fetched from where keys come from now, as far as it is not too old; and keeps what is fetched
    /// from now on. Gives what is to be told.
    pub(crate) fn keep_in(&self, files: &KeptFiles, config: &Config) -> Vec<Event> {
        let mut events = Vec::new();
        let kept = IssuerKeysFile::open(files.clone(), &mut events);
        let now_s = unix_ms() / 1_000;
        for issuer in config.tokens.iter().filter(|issuer| issuer.keys_file().is_none()) {
            if let Some((set, until_s)) = kept.of(issuer, now_s, &mut events) {
                self.of(issuer).put(set, until_s);
                self.0.lock().earlier.push((issuer.issuer.clone(), issuer.keys.clone()));
            }
        }
        self.0.lock().kept = Some(Arc::new(kept));
        events
    }

    /// Starts the thread, if there is somebody who fetches.
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub(crate) fn start(&self, handle: Handle) -> std::io::Result<Fetching> {
        self.0.lock().handle = Some(handle);
        if self.0.client.is_some() {
            let own = self.clone();
            std::thread::Builder::new().name("motte-keys".into()).spawn(move || own.run())?;
        }
        Ok(Fetching(self.clone()))
    }

    /// Fetches for this configuration from now on, and waits for the first attempt where nothing is held.
    pub(crate) fn plan(&self, config: &Config) {
        let outward = config.outward();
        {
            let mut state = self.0.lock();
            let former = std::mem::take(&mut state.places);
            let numbered = outward.iter().enumerate();
            let places =
                numbered.filter(|(_, one)| matches!(one.purpose, Purpose::TokenKeys | Purpose::Discovery));
            let issuers = config.tokens.iter().filter(|issuer| issuer.keys_file().is_none());
            for (issuer, (number, one)) in issuers.zip(places) {
                let source = (issuer.issuer.clone(), issuer.keys.clone());
                let cell = state.cells.iter().find(|(known, _)| *known == source);
                let (Some((_, keys)), Ok(number)) = (cell, u16::try_from(number)) else { continue };
                let known = former.iter().find(|known| known.source == source);
                let place = Place {
                    url: one.url.as_str().to_owned(),
                    number,
                    time: Duration::from_millis(u64::from(one.timeout_ms)),
                    refresh: Duration::from_secs(u64::from(issuer.keys_refresh_s)),
                    stale_s: u64::from(issuer.keys_stale_s),
                    keys: Arc::clone(keys),
                    lane: known.map_or_else(|| Lane::new(ASKING.0, ASKING.1), |known| known.lane.clone()),
                    at: None,
                    failed: 0,
                    ended: known.map_or(0, |known| known.ended),
                    is_under_way: known.is_some_and(|known| known.is_under_way),
                    anew: known.and_then(|known| known.anew),
                    told_stale: known.is_some_and(|known| known.told_stale),
                    source,
                };
                state.places.push(place);
            }
            state.set = SetId::of(&outward);
            let State { places, cells, kept, .. } = &mut *state;
            cells.retain(|(source, _)| places.iter().any(|place| place.source == *source));
            if let Some(kept) = kept {
                kept.retain(&places.iter().map(|place| &place.source));
            }
        }
        self.0.changed.notify_all();
        self.wait_first_round();
    }

    /// Until each issuer's keys are held or were tried to fetch, within bounds. Those of an earlier run may be taken back by
    /// now: they are waited for as well.
    fn wait_first_round(&self) {
        if self.0.client.is_none() {
            return;
        }
        let until = Instant::now() + FIRST_ROUND;
        let mut state = self.0.lock();
        loop {
            let is_open = |place: &Place| {
                let is_fresh = place.keys.good_until_s().is_some() && !state.earlier.contains(&place.source);
                place.at.is_none() && !is_fresh
            };
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || !state.places.iter().any(is_open) {
                return;
            }
            let waited = self.0.changed.wait_timeout(state, left.min(Duration::from_millis(100)));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Issuers of which no keys are held, or only those of an earlier run.
    pub(crate) fn missing(&self) -> Vec<Event> {
        let state = self.0.lock();
        let told = state.places.iter().filter_map(|place| match place.keys.good_until_s() {
            None => Some(life::token_keys_missing(&place.source.0, &place.url)),
            Some(until_s) if state.earlier.contains(&place.source) => {
                Some(life::token_keys_kept(&place.source.0, &place.url, &moment(until_s)))
            }
            Some(_) => None,
        });
        told.collect()
    }

    /// Where to wait for keys that are asked for anew because one is missing; `None` if they may not be. Whoever gets there
    /// calls [`TokenKeys::renew`]; as long as nobody did, everybody may, and who goes away first takes nothing from the others.
    pub(crate) fn way_to(&self, keys: &Arc<HeldKeys>) -> Option<Lane> {
        self.0.client.as_ref()?;
        let state = self.0.lock();
        let place = state.places.iter().find(|place| Arc::ptr_eq(&place.keys, keys))?;
        (place.is_under_way || place.may_anew()).then(|| place.lane.clone())
    }

    /// Fetches keys, or waits for an attempt that is under way.
    pub(crate) fn renew(&self, keys: &Arc<HeldKeys>) {
        let mut state = self.0.lock();
        let of = |state: &State| state.places.iter().position(|place| Arc::ptr_eq(&place.keys, keys));
        let Some(place) = of(&state).and_then(|at| state.places.get_mut(at)) else { return };
        if !place.is_under_way {
            // Somebody fetched them since this one was told that it may ask.
            if !place.may_anew() {
                return;
            }
            place.anew = Some(Instant::now());
            let source = place.source.clone();
            let attempt = claim(&mut state, &source);
            drop(state);
            return attempt.into_iter().for_each(|attempt| self.fetch(&attempt));
        }
        let (ended, until) = (place.ended, Instant::now() + place.time + GRACE);
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let now = of(&state).and_then(|at| state.places.get(at));
            if left.is_zero() || now.is_none_or(|place| place.ended != ended) {
                return;
            }
            let waited = self.0.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn run(&self) {
        while let Some(attempt) = self.next() {
            self.fetch(&attempt);
        }
    }

    /// Waits until something is due; `None` at the end.
    fn next(&self) -> Option<Attempt> {
        let mut state = self.0.lock();
        loop {
            if state.over {
                return None;
            }
            tell_stale(&mut state);
            let now = Instant::now();
            let first = state.places.iter().filter(|place| !place.is_under_way).min_by_key(|place| place.at);
            let wait = match first {
                Some(place) => match place.at {
                    Some(at) if at > now => at - now,
                    _ => {
                        let source = place.source.clone();
                        return claim(&mut state, &source);
                    }
                },
                None => AGAIN_MAX,
            };
            // The clock by which keys are too old is another one: it is looked at now and then.
            let waited = self.0.changed.wait_timeout(state, wait.min(Duration::from_secs(1)));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// One attempt, and what becomes of it.
    fn fetch(&self, attempt: &Attempt) {
        // A defect below must not leave the attempt open for ever.
        let fetched = std::panic::AssertUnwindSafe(|| self.ask(attempt));
        let fetched =
            std::panic::catch_unwind(fetched).unwrap_or_else(|_| Err("a defect of motte".to_owned()));
        let mut told = Vec::new();
        let mut is_gone = false;
        let now_s = unix_ms() / 1_000;
        match &fetched {
            Ok((set, _)) => {
                let until_s = now_s.saturating_add(attempt.stale_s);
                let change = attempt.keys.put(set.clone(), until_s);
                is_gone = change.gone > 0;
                if change.new > 0 || is_gone {
                    let (new, gone) = (change.new as u64, change.gone as u64);
                    told.push(life::token_keys_fetched(&attempt.source.0, &attempt.url, new, gone));
                }
            }
            Err(cause) => {
                told.push(life::token_keys_unfetched(&attempt.source.0, &attempt.url, cause));
            }
        }
        let (handle, kept) = {
            let mut state = self.0.lock();
            let mut kept = None;
            let State { places, earlier, handle, kept: file, .. } = &mut *state;
            if let Some(place) = places.iter_mut().find(|place| place.source == attempt.source) {
                place.is_under_way = false;
                place.ended += 1;
                place.failed = if fetched.is_ok() { 0 } else { place.failed.saturating_add(1) };
                place.told_stale &= fetched.is_err();
                place.at = Some(Instant::now() + delay(place.refresh, place.failed));
                if fetched.is_ok() {
                    earlier.retain(|source| *source != attempt.source);
                    kept.clone_from(file);
                }
            }
            (handle.clone(), kept)
        };
        self.0.changed.notify_all();
        let Some(handle) = handle else { return };
        for event in told {
            handle.tell(event);
        }
        if is_gone {
            handle.keys_went();
        }
        if let (Some(kept), Ok((_, text))) = (kept, fetched) {
            kept.put(&attempt.source, text, now_s).into_iter().for_each(|event| handle.tell(event));
        }
    }

    /// The keys, and their set as it was published.
    fn ask(&self, attempt: &Attempt) -> Result<(KeySet, String), String> {
        let client = self.0.client.as_ref().ok_or("no process connects out")?;
        let answer = client.ask(attempt.set, attempt.number, &[], attempt.time);
        let answer = answer.map_err(|error| error.to_string())?;
        if answer.status != 200 {
            return Err(format!("the server answered with status {}", answer.status));
        }
        let text = String::from_utf8(answer.body).map_err(|_| "what came is no text".to_owned())?;
        KeySet::parse(&text).map(|set| (set, text)).map_err(|error| error.what)
    }
}

/// Takes an attempt upon oneself.
fn claim(state: &mut State, source: &Source) -> Option<Attempt> {
    let set = state.set;
    let place = state.places.iter_mut().find(|place| place.source == *source)?;
    place.is_under_way = true;
    Some(Attempt {
        source: source.clone(),
        url: place.url.clone(),
        number: place.number,
        set,
        time: place.time,
        stale_s: place.stale_s,
        keys: Arc::clone(&place.keys),
    })
}

/// Says once of each issuer that its keys are too old.
fn tell_stale(state: &mut State) {
    let now_s = unix_ms() / 1_000;
    let State { places, handle, .. } = state;
    for place in places {
        let is_stale = place.keys.good_until_s().is_some_and(|until_s| until_s <= now_s);
        if is_stale && !place.told_stale {
            place.told_stale = true;
            if let Some(handle) = handle {
                handle.tell(life::token_keys_stale(&place.source.0, &place.url));
            }
        }
    }
}

/// A time as it is told.
fn moment(at_s: u64) -> String {
    let at = i64::try_from(at_s).ok().and_then(|at_s| jiff::Timestamp::from_second(at_s).ok());
    at.map_or_else(|| "for ever".to_owned(), |at| at.to_string())
}

/// How long until the next attempt, with a tenth more or less so that not all brokers come at once.
fn delay(refresh: Duration, failed: u32) -> Duration {
    let usual = match failed {
        0 => refresh,
        _ => AGAIN_MIN.saturating_mul(1 << (failed.min(8) - 1)).min(AGAIN_MAX).min(refresh),
    };
    let mut random = [0; 1];
    // Without randomness all come at once.
    let _ = getrandom::fill(&mut random);
    usual.saturating_sub(usual / 10) + (usual / 5).mul_f64(f64::from(random[0]) / 255.0)
}

#[cfg(test)]
mod tests;
