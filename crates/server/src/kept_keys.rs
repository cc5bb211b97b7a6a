//! Keys of token issuers that were fetched, kept for the next start: an issuer that is away then must not keep everybody out.
//! Sealed as the other small files are, for whoever writes keys here lets in whom he likes.

use std::sync::{Mutex, MutexGuard, PoisonError};

use motte_config::{KeySource, TokenIssuer};
use motte_event::{Event, keep};
use motte_identity::{KeptKeys, KeySet};

use crate::kept_file::{ISSUER_KEYS, KeptFiles};

/// How far ahead of the clock kept keys may be, in seconds: clocks are set right by a little.
const LEEWAY_S: u64 = 30;

/// The file, and what is in it.
#[derive(Debug)]
pub(crate) struct IssuerKeysFile {
    files: KeptFiles,
    /// Held while it is written: two that are fetched at once are written in turn.
    sets: Mutex<Vec<KeptKeys>>,
}

impl IssuerKeysFile {
    /// Reads what an earlier run left. What is not its own is told of and not taken.
    pub(crate) fn open(files: KeptFiles, events: &mut Vec<Event>) -> Self {
        let sets = files.read(ISSUER_KEYS, events).map(|bytes| KeptKeys::decode(&bytes));
        let sets = sets.unwrap_or_else(|| Ok(Vec::new())).unwrap_or_else(|cause| {
            events.push(keep::state_file_refused(&files.path(ISSUER_KEYS).display().to_string(), &cause));
            files.put_aside(ISSUER_KEYS);
            Vec::new()
        });
        Self { files, sets: Mutex::new(sets) }
    }

    /// Keys of this issuer from the very place that is configured now, and until when they are good, in seconds since 1970.
    /// Those that are too old are of no use; those that are no good key set, or of the future, are told of.
    pub(crate) fn of(
        &self,
        issuer: &TokenIssuer,
        now_s: u64,
        events: &mut Vec<Event>,
    ) -> Option<(KeySet, u64)> {
        let sets = self.sets();
        let is_it = |one: &&KeptKeys| is_of(one, &issuer.issuer, &issuer.keys);
        let kept = sets.iter().find(is_it)?;
        let mut refuse = |cause: &str| {
            let path = self.files.path(ISSUER_KEYS).display().to_string();
            events.push(keep::issuer_keys_unusable(&path, &issuer.issuer, cause));
        };
        if kept.fetched_s > now_s.saturating_add(LEEWAY_S) {
            refuse("they were fetched at a time that is yet to come, so nobody knows how old they are");
            return None;
        }
        let until_s = kept.good_until_s(now_s, u64::from(issuer.keys_stale_s), LEEWAY_S)?;
        match kept.keys() {
            Ok(keys) => Some((keys, until_s)),
            Err(error) => {
                refuse(&error.what);
                None
            }
        }
    }

    /// Keeps those of these issuers and places only, from the next writing on.
    pub(crate) fn retain<'a>(&self, sources: impl Iterator<Item = &'a (String, KeySource)> + Clone) {
        self.sets().retain(|kept| sources.clone().any(|(issuer, from)| is_of(kept, issuer, from)));
    }

    /// Keeps what was fetched just now, in place of what was kept of this issuer. Gives an event if it could not be written.
    pub(crate) fn put(&self, (issuer, from): &(String, KeySource), set: String, now_s: u64) -> Option<Event> {
        let mut sets = self.sets();
        sets.retain(|kept| kept.issuer != *issuer);
        sets.push(KeptKeys { issuer: issuer.clone(), from: text_of(from), fetched_s: now_s, set });
        let written = self.files.write(ISSUER_KEYS, &KeptKeys::encode(&sets));
        let path = || self.files.path(ISSUER_KEYS).display().to_string();
        written.err().map(|error| keep::issuer_keys_not_kept(&path(), &error.to_string()))
    }

    fn sets(&self) -> MutexGuard<'_, Vec<KeptKeys>> {
        self.sets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_of(kept: &KeptKeys, issuer: &str, from: &KeySource) -> bool {
    kept.issuer == issuer && kept.from == text_of(from)
}

/// A source as it is written: with all that decides where keys may come from.
fn text_of(source: &KeySource) -> String {
    match source {
        // Never fetched, so never kept.
        KeySource::File(path) => format!("file {}", path.display()),
        KeySource::Url(url) => format!("keys {}", url.as_str()),
        KeySource::Discovery { document, origins } => {
            let origins = origins.iter().map(|origin| format!(" {}", origin.as_str()));
            format!("described {}{}", document.as_str(), origins.collect::<String>())
        }
    }
}
