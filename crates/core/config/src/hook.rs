//! `[auth.http]`: a service of the operator's that is asked who a client is.

use std::path::PathBuf;

use serde::Deserialize;
use toml::Spanned;

use crate::error::Faults;
use crate::outward::{time, url};
use crate::url::Url;

/// As written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HookWritten {
    url: Spanned<String>,
    #[serde(default)]
    ca: Vec<PathBuf>,
    headers_file: Option<PathBuf>,
    timeout_ms: Option<Spanned<u32>>,
    outstanding: Option<Spanned<u16>>,
    queue: Option<Spanned<u32>>,
    cache_s: Option<Spanned<u32>>,
    cache_max: Option<Spanned<u32>>,
    failures: Option<Spanned<u32>>,
    pause_ms: Option<Spanned<u32>>,
}

/// As meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// Where it is asked.
    pub url: Url,
    /// PEM files of authorities that it comes from; empty: those of `[egress]`, or of the system.
    pub ca: Vec<PathBuf>,
    /// A file with headers that are sent with each request, such as a token.
    pub headers_file: Option<PathBuf>,
    /// Time for an answer, in milliseconds.
    pub timeout_ms: u32,
    /// Questions that may be under way at once.
    pub outstanding: u16,
    /// Questions that may wait for their turn.
    pub queue: u32,
    /// How long a permission is remembered, in seconds; 0: not at all.
    pub cache_s: u32,
    /// How many are remembered.
    pub cache_max: u32,
    /// Failures in a row after which it is left alone.
    pub failures: u32,
    /// For how long, in milliseconds.
    pub pause_ms: u32,
}

impl Hook {
    pub(crate) fn from_written(written: &HookWritten, faults: &mut Faults<'_>) -> Option<Self> {
        let at = written.url.span().start;
        let url = url(&written.url, faults)?;
        if !url.is_tls() && !url.is_local() {
            let remedy = "use https://, or put the service on this machine";
            faults.add(at, "passwords would go over the network without encryption", remedy);
        }
        let timeout_ms = time("timeout_ms", written.timeout_ms.as_ref(), 3_000, faults);
        let pause_ms = time("pause_ms", written.pause_ms.as_ref(), 10_000, faults);
        let mut count =
            |key: &str, written: Option<&Spanned<u32>>, usual: u32, bounds: std::ops::RangeInclusive<u32>| {
                let Some(written) = written else { return usual };
                if !bounds.contains(written.get_ref()) {
                    let remedy = format!("write a number from {} to {}", bounds.start(), bounds.end());
                    faults.add(written.span().start, format!("{key} is out of bounds"), remedy);
                }
                *written.get_ref()
            };
        let wide =
            written.outstanding.as_ref().map(|one| Spanned::new(one.span(), u32::from(*one.get_ref())));
        let outstanding = count("outstanding", wide.as_ref(), 16, 1..=64);
        Some(Self {
            url,
            ca: written.ca.clone(),
            headers_file: written.headers_file.clone(),
            timeout_ms,
            outstanding: u16::try_from(outstanding).unwrap_or(64),
            queue: count("queue", written.queue.as_ref(), 1_024, 1..=100_000),
            cache_s: count("cache_s", written.cache_s.as_ref(), 60, 0..=86_400),
            cache_max: count("cache_max", written.cache_max.as_ref(), 10_000, 1..=1_000_000),
            failures: count("failures", written.failures.as_ref(), 5, 1..=1_000),
            pause_ms,
        })
    }

    pub(crate) fn to_toml(&self) -> String {
        let ca = crate::meant::list(self.ca.iter().map(|path| path.display().to_string()));
        let headers = self.headers_file.as_ref().map_or_else(String::new, |path| {
            format!("headers_file = {}\n", crate::meant::quoted(&path.display().to_string()))
        });
        format!(
            "\n[auth.http]\nurl = {}\nca = {ca}\n{headers}timeout_ms = {}\noutstanding = {}\nqueue = {}\ncache_s = {}\ncache_max = {}\nfailures = {}\npause_ms = {}",
            crate::meant::quoted(self.url.as_str()),
            self.timeout_ms,
            self.outstanding,
            self.queue,
            self.cache_s,
            self.cache_max,
            self.failures,
            self.pause_ms,
        )
    }
}
