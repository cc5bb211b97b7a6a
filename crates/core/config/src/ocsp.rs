//! `ocsp = { … }` of `[listener.tls]` and of an authority: who is asked whether a client's certificate is revoked.

use std::ops::RangeInclusive;

use serde::Deserialize;
use toml::Spanned;

use crate::error::Faults;
use crate::listener_tls::StaleList;
use crate::meant::quoted;
use crate::outward::{count, time, url};
use crate::url::Url;

/// As written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OcspWritten {
    url: Spanned<String>,
    require: Option<Spanned<String>>,
    stale: Option<Spanned<String>>,
    #[serde(default)]
    nonce: bool,
    refresh_s: Option<Spanned<u32>>,
    timeout_ms: Option<Spanned<u32>>,
    outstanding: Option<Spanned<u32>>,
    queue: Option<Spanned<u32>>,
    cache_max: Option<Spanned<u32>>,
    failures: Option<Spanned<u32>>,
    pause_ms: Option<Spanned<u32>>,
}

/// What a certificate that the responder does not know means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OcspRequire {
    /// It is refused: only what the responder calls good comes in.
    #[default]
    Always,
    /// It is taken: the responder knows some of the authority's certificates, and those it calls revoked are refused.
    WhenKnown,
}

/// A responder, as meant. Its address is never taken from a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ocsp {
    /// Where it is. Answers are signed, so it may be `http`.
    pub url: Url,
    /// What a certificate that it does not know means.
    pub require: OcspRequire,
    /// What it means that there is no answer that is good now.
    pub stale: StaleList,
    /// Each answer must repeat a number that was made for its question.
    pub nonce: bool,
    /// After how many seconds a certificate is asked about again.
    pub refresh_s: u32,
    /// Time for an answer, in milliseconds.
    pub timeout_ms: u32,
    /// Questions that may be under way at once.
    pub outstanding: u16,
    /// Logins that may wait for their turn to ask.
    pub queue: u32,
    /// Answers about clients that are away that are kept.
    pub cache_max: u32,
    /// Failures in a row after which it is left alone.
    pub failures: u32,
    /// For how long, in milliseconds.
    pub pause_ms: u32,
}

impl Ocsp {
    /// A responder with nothing else said.
    pub fn new(url: Url) -> Self {
        Self {
            url,
            require: OcspRequire::default(),
            stale: StaleList::default(),
            nonce: false,
            refresh_s: 3_600,
            timeout_ms: 3_000,
            outstanding: 16,
            queue: 1_024,
            cache_max: 10_000,
            failures: 5,
            pause_ms: 10_000,
        }
    }

    pub(crate) fn from_written(written: &OcspWritten, faults: &mut Faults<'_>) -> Option<Self> {
        let usual = Self::new(url(&written.url, faults)?);
        let mut count =
            |key: &str, written: Option<&Spanned<u32>>, usual: u32, bounds: RangeInclusive<u32>| {
                count(key, written, usual, bounds, faults)
            };
        let outstanding =
            count("outstanding", written.outstanding.as_ref(), u32::from(usual.outstanding), 1..=64);
        let refresh_s = count("refresh_s", written.refresh_s.as_ref(), usual.refresh_s, 2..=604_800);
        let queue = count("queue", written.queue.as_ref(), usual.queue, 1..=100_000);
        let cache_max = count("cache_max", written.cache_max.as_ref(), usual.cache_max, 1..=1_000_000);
        let failures = count("failures", written.failures.as_ref(), usual.failures, 1..=1_000);
        let word =
            |one: &Option<Spanned<String>>| one.as_ref().map(|w| (w.get_ref().clone(), w.span().start));
        let require = match word(&written.require) {
            None => usual.require,
            Some((word, _)) if word == "always" => OcspRequire::Always,
            Some((word, _)) if word == "when-known" => OcspRequire::WhenKnown,
            Some((word, at)) => {
                faults.add(at, format!("require = \"{word}\" is not known"), "use always or when-known");
                usual.require
            }
        };
        let stale = match word(&written.stale) {
            None => usual.stale,
            Some((word, _)) if word == "refuse" => StaleList::Refuse,
            Some((word, _)) if word == "accept" => StaleList::Accept,
            Some((word, at)) => {
                faults.add(at, format!("stale = \"{word}\" is not known"), "use refuse or accept");
                usual.stale
            }
        };
        Some(Self {
            require,
            stale,
            nonce: written.nonce,
            refresh_s,
            timeout_ms: time("timeout_ms", written.timeout_ms.as_ref(), usual.timeout_ms, faults),
            outstanding: u16::try_from(outstanding).unwrap_or(64),
            queue,
            cache_max,
            failures,
            pause_ms: time("pause_ms", written.pause_ms.as_ref(), usual.pause_ms, faults),
            url: usual.url,
        })
    }

    /// As a line of TOML.
    pub(crate) fn to_toml(&self) -> String {
        let require = match self.require {
            OcspRequire::Always => "always",
            OcspRequire::WhenKnown => "when-known",
        };
        let stale = match self.stale {
            StaleList::Refuse => "refuse",
            StaleList::Accept => "accept",
        };
        format!(
            "ocsp = {{ url = {}, require = \"{require}\", stale = \"{stale}\", nonce = {}, refresh_s = {}, timeout_ms = {}, outstanding = {}, queue = {}, cache_max = {}, failures = {}, pause_ms = {} }}\n",
            quoted(self.url.as_str()),
            self.nonce,
            self.refresh_s,
            self.timeout_ms,
            self.outstanding,
            self.queue,
            self.cache_max,
            self.failures,
            self.pause_ms,
        )
    }
}
