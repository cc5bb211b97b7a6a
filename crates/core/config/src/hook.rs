//! `[auth.http]`: a service of the operator's that is asked who a client is.

use std::path::PathBuf;

use serde::Deserialize;
use toml::Spanned;

use crate::ask_bounds::{AskBounds, AskBoundsWritten};
use crate::error::Faults;
use crate::outward::url;
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
    outstanding: Option<Spanned<u32>>,
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
    /// What bounds the asking.
    pub bounds: AskBounds,
}

impl Hook {
    pub(crate) fn from_written(written: &HookWritten, faults: &mut Faults<'_>) -> Option<Self> {
        let at = written.url.span().start;
        let url = url(&written.url, faults)?;
        if !url.is_tls() && !url.is_local() {
            let remedy = "use https://, or put the service on this machine";
            faults.add(at, "passwords would go over the network without encryption", remedy);
        }
        let bounds = AskBoundsWritten {
            timeout_ms: written.timeout_ms.as_ref(),
            outstanding: written.outstanding.as_ref(),
            queue: written.queue.as_ref(),
            cache_s: written.cache_s.as_ref(),
            cache_max: written.cache_max.as_ref(),
            failures: written.failures.as_ref(),
            pause_ms: written.pause_ms.as_ref(),
        };
        Some(Self {
            url,
            ca: written.ca.clone(),
            headers_file: written.headers_file.clone(),
            bounds: AskBounds::from_written(bounds, faults),
        })
    }

    pub(crate) fn to_toml(&self) -> String {
        let ca = crate::meant::list(self.ca.iter().map(|path| path.display().to_string()));
        let headers = self.headers_file.as_ref().map_or_else(String::new, |path| {
            format!("headers_file = {}\n", crate::meant::quoted(&path.display().to_string()))
        });
        let url = crate::meant::quoted(self.url.as_str());
        format!("\n[auth.http]\nurl = {url}\nca = {ca}\n{headers}{}", self.bounds.to_toml())
    }
}
