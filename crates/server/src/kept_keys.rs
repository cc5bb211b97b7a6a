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
    pub(crate) fn retain<'a>(&self, sources: &(impl Iterator<Item = &'a (String, KeySource)> + Clone)) {
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

#[cfg(test)]
mod tests {
    use motte_config::Url;
    use motte_seal::keyring::Keyring;

    use super::*;

    const SET: &str = "{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"k1\",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}]}";
    const THEN_S: u64 = 1_790_000_000;

    fn issuer(origins: &str) -> TokenIssuer {
        let text = format!(
            "[[listener]]\nname = \"main\"\nkind = \"tcp\"\nbind = [\"127.0.0.1:0\"]\n[listener.auth]\nmethods = [\"jwt\"]\n\
             [policy]\nfiles = [\"policy.toml\"]\n[[auth.jwt]]\nissuer = \"https://one.example\"\naudience = [\"motte\"]\n\
             discover = true\nkeys_stale_s = 3600\nkeys_origins = [{origins}]\n"
        );
        motte_config::parse(&text, "test.toml", jiff::civil::date(2026, 1, 1)).unwrap().tokens.remove(0)
    }

    fn source(issuer: &TokenIssuer) -> (String, KeySource) {
        (issuer.issuer.clone(), issuer.keys.clone())
    }

    #[test]
    fn what_was_kept_is_found_again_unless_it_may_not_be_used() {
        let directory = tempfile::tempdir().unwrap();
        let files = KeptFiles::new(directory.path(), Keyring::closed().unwrap().file_seal().unwrap());
        let mut events = Vec::new();
        let one = issuer("\"https://keys.example\"");
        let kept = IssuerKeysFile::open(files.clone(), &mut events);
        assert!(kept.of(&one, THEN_S, &mut events).is_none());
        assert!(kept.put(&source(&one), SET.to_owned(), THEN_S).is_none());

        let kept = IssuerKeysFile::open(files.clone(), &mut events);
        let mut until =
            |issuer: &TokenIssuer, now_s| kept.of(issuer, now_s, &mut events).map(|(_, until_s)| until_s);
        assert_eq!(until(&one, THEN_S + 60), Some(THEN_S + 3_600), "as old as it is");
        assert_eq!(until(&one, THEN_S + 3_600), None, "too old");
        assert_eq!(until(&issuer(""), THEN_S), None, "its keys may not come from where these may be from");
        assert_eq!(until(&one, THEN_S - 60), None, "of the future");
        let told: Vec<_> = events.iter().map(|event| event.spec().name).collect();
        assert_eq!(told, ["keep.issuer_keys_unusable"]);

        assert!(kept.put(&source(&one), "no set".to_owned(), THEN_S).is_none());
        let mut events = Vec::new();
        assert!(IssuerKeysFile::open(files, &mut events).of(&one, THEN_S, &mut events).is_none());
        assert_eq!(events.len(), 1, "no set that is taken");
    }

    #[test]
    fn what_is_no_list_of_sets_is_put_aside_and_who_is_configured_no_more_is_forgotten() {
        let directory = tempfile::tempdir().unwrap();
        let files = KeptFiles::new(directory.path(), Keyring::closed().unwrap().file_seal().unwrap());
        files.write(ISSUER_KEYS, b"something else").unwrap();
        let mut events = Vec::new();
        let kept = IssuerKeysFile::open(files.clone(), &mut events);
        assert_eq!(events.len(), 1);
        assert!(directory.path().join("issuers.keys.damaged").exists());

        let url = |name: &str| KeySource::Url(Url::parse(&format!("https://{name}.example/keys")).unwrap());
        let [one, two] = ["one", "two"].map(|name| (name.to_owned(), url(name)));
        for source in [&one, &two, &two] {
            assert!(kept.put(source, SET.to_owned(), THEN_S).is_none());
        }
        let held = |kept: &IssuerKeysFile| -> Vec<String> {
            kept.sets().iter().map(|one| one.issuer.clone()).collect()
        };
        assert_eq!(held(&IssuerKeysFile::open(files.clone(), &mut events)), ["one", "two"]);
        kept.retain(&[two.clone()].iter());
        assert!(kept.put(&two, SET.to_owned(), THEN_S).is_none());
        assert_eq!(held(&IssuerKeysFile::open(files, &mut events)), ["two"]);
        assert_eq!(events.len(), 1);
    }
}
