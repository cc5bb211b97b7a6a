//! Fetched key sets as they are kept for the next start: each as it was published, with whose it is, where it came from and when.

use serde::{Deserialize, Serialize};

use crate::token::key_set::{KeySet, KeySetError};

/// Says how the rest is written.
const VERSION: u32 = 1;
/// Sets in one file.
const SETS_MAX: usize = 64;
/// Bytes of one file; a set is at most 256 KiB, and twice as long in quotes.
const BYTES_MAX: usize = 32 * 1024 * 1024;

/// A key set that was fetched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeptKeys {
    /// Whose it is, as in the claim `iss`.
    pub issuer: String,
    /// Where it came from, as whoever keeps it writes that; compared letter by letter.
    pub from: String,
    /// When it came, in seconds since 1970.
    pub fetched_s: u64,
    /// The set as it was published (RFC 7517).
    pub set: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written<T> {
    version: u32,
    sets: T,
}

impl KeptKeys {
    /// The keys, by the rules of today.
    ///
    /// # Errors
    /// As [`KeySet::parse`].
    pub fn keys(&self) -> Result<KeySet, KeySetError> {
        KeySet::parse(&self.set)
    }

    /// Until when they are good that may be `stale_s` old, in seconds since 1970; `None`: they are too old at `now_s`, or from
    /// a time that is more than `leeway_s` ahead, so that nobody knows how old they are.
    pub fn good_until_s(&self, now_s: u64, stale_s: u64, leeway_s: u64) -> Option<u64> {
        let until_s = self.fetched_s.min(now_s).saturating_add(stale_s);
        (self.fetched_s <= now_s.saturating_add(leeway_s) && now_s < until_s).then_some(until_s)
    }

    /// Sets as they are kept.
    pub fn encode(sets: &[Self]) -> Vec<u8> {
        // Text and numbers: it cannot fail.
        serde_json::to_vec(&Written { version: VERSION, sets }).unwrap_or_default()
    }

    /// Reads what [`KeptKeys::encode`] wrote. The sets themselves are not looked at.
    ///
    /// # Errors
    /// What is wrong: too long, another form or version, too many sets, two of one issuer.
    pub fn decode(bytes: &[u8]) -> Result<Vec<Self>, String> {
        if bytes.len() > BYTES_MAX {
            return Err(format!("it is longer than {BYTES_MAX} bytes"));
        }
        let written: Written<Vec<Self>> =
            serde_json::from_slice(bytes).map_err(|error| format!("it holds no kept key sets: {error}"))?;
        if written.version != VERSION {
            return Err(format!("it is of version {}, and {VERSION} is known here", written.version));
        }
        let sets = written.sets;
        if sets.len() > SETS_MAX {
            return Err(format!("it holds more than {SETS_MAX} key sets"));
        }
        let mut names: Vec<&str> = sets.iter().map(|one| one.issuer.as_str()).collect();
        names.sort_unstable();
        if names.windows(2).any(|pair| matches!(pair, [one, other] if one == other)) {
            return Err("it holds two key sets of one issuer".to_owned());
        }
        Ok(sets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(issuer: &str) -> KeptKeys {
        let set = "{\"keys\":[]}\n\"\u{e9}".to_owned();
        KeptKeys { issuer: issuer.to_owned(), from: "there".to_owned(), fetched_s: 1_000, set }
    }

    #[test]
    fn what_is_kept_is_read_as_it_was_written_and_nothing_else_is() {
        let sets = vec![kept("one"), kept("two")];
        let bytes = KeptKeys::encode(&sets);
        assert_eq!(KeptKeys::decode(&bytes).unwrap(), sets);
        let text = String::from_utf8(bytes).unwrap();
        for (foreign, cause) in [
            (String::new(), "no kept key sets"),
            ("{\"keys\":[]}".to_owned(), "no kept key sets"),
            (text.replace("\"version\":1", "\"version\":2"), "version 2"),
            (text.replace("\"two\"", "\"one\""), "two key sets of one issuer"),
            (text.replace("1000", "-1"), "no kept key sets"),
        ] {
            let error = KeptKeys::decode(foreign.as_bytes()).unwrap_err();
            assert!(error.contains(cause), "{error}");
        }
        let many: Vec<KeptKeys> = (0..=SETS_MAX).map(|number| kept(&number.to_string())).collect();
        assert!(KeptKeys::decode(&KeptKeys::encode(&many)).unwrap_err().contains("more than 64"));
    }

    #[test]
    fn they_are_as_old_as_they_are_and_not_from_the_future() {
        let until = |now_s| kept("one").good_until_s(now_s, 60, 30);
        assert_eq!(until(1_000), Some(1_060));
        assert_eq!(until(1_059), Some(1_060));
        assert_eq!(until(1_060), None, "as old as they may be");
        assert_eq!(
            until(980),
            Some(1_040),
            "a clock that was set back a little makes them no younger than new"
        );
        assert_eq!(until(969), None, "from the future");
        assert_eq!(kept("one").good_until_s(1_000, u64::MAX, 30), Some(u64::MAX));
    }
}
