//! One request, and what became of it.

use std::time::{Duration, Instant};

use motte_config::{Described, Purpose};
use motte_roles::{SourceFacts, Unanswered};
use ureq::Agent;

use crate::discovery::{DOCUMENT_BYTES_MAX, keys_address};
use crate::source::{Source, Way};

/// What a source answered, or why nothing.
pub(crate) type Outcome = Result<(u16, Vec<u8>), (Unanswered, String)>;

/// Asks a source for what was asked of it at `since`. Waits at most its own time.
pub(crate) fn ask(source: &Source, body: &[u8], since: Instant) -> Outcome {
    let Source { facts, way } = source;
    if body.len() > usize::try_from(facts.request_max).unwrap_or(usize::MAX) {
        return Err((Unanswered::TooLong, "a request longer than this source permits".to_owned()));
    }
    let (agent, headers) = match way {
        Way::Http { agent, headers } => (agent, headers),
        Way::Directory(directory) => return directory.ask(body, since).map(|answer| (0, answer)),
    };
    let told = |error: ureq::Error| (cause(&error), format!("{}: {error}", facts.url));
    match (facts.purpose, &facts.described) {
        (Purpose::Discovery, Some(described)) => discover(facts, described, agent),
        (Purpose::Discovery, None) => Err((Unanswered::NoSource, "nothing to compare with".to_owned())),
        _ => send(facts, agent, headers, body).map_err(told),
    }
}

/// The keys of an issuer, from where its description of itself says: two requests in the time of one.
fn discover(facts: &SourceFacts, described: &Described, agent: &Agent) -> Outcome {
    let until = Instant::now() + Duration::from_millis(u64::from(facts.total_ms));
    let told = |url: &str, error: &ureq::Error| (cause(error), format!("{url}: {error}"));
    let (status, document) =
        fetch(agent, &facts.url, DOCUMENT_BYTES_MAX, until).map_err(|error| told(&facts.url, &error))?;
    if status != 200 {
        return Ok((status, Vec::new()));
    }
    let keys = keys_address(&document, described)
        .map_err(|what| (Unanswered::Unfit, format!("{}: {what}", facts.url)))?;
    fetch(agent, keys.as_str(), u64::from(facts.answer_max), until)
        .map_err(|error| told(keys.as_str(), &error))
}

fn fetch(agent: &Agent, url: &str, most: u64, until: Instant) -> Result<(u16, Vec<u8>), ureq::Error> {
    let left = until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
    let mut response = agent.get(url).config().timeout_global(Some(left)).build().call()?;
    let status = response.status().as_u16();
    Ok((status, response.body_mut().with_config().limit(most).read_to_vec()?))
}

fn send(
    facts: &SourceFacts,
    agent: &Agent,
    headers: &[motte_roles::Header],
    body: &[u8],
) -> Result<(u16, Vec<u8>), ureq::Error> {
    let mut response = match kind(facts.purpose) {
        None => {
            let request = headers.iter().fold(agent.get(&facts.url), |request, header| {
                request.header(&header.name, header.value.expose())
            });
            request.call()?
        }
        Some(content) => {
            let request = headers
                .iter()
                .fold(agent.post(&facts.url).header("content-type", content), |request, header| {
                    request.header(&header.name, header.value.expose())
                });
            request.send(body)?
        }
    };
    let status = response.status().as_u16();
    let body = response.body_mut().with_config().limit(u64::from(facts.answer_max)).read_to_vec()?;
    Ok((status, body))
}

/// The type of what is sent; `None`: nothing is.
fn kind(purpose: Purpose) -> Option<&'static str> {
    match purpose {
        Purpose::RevocationList | Purpose::TokenKeys | Purpose::Discovery => None,
        Purpose::Hook | Purpose::Directory => Some("application/json"),
        Purpose::Ocsp => Some("application/ocsp-request"),
    }
}

fn cause(error: &ureq::Error) -> Unanswered {
    match error {
        ureq::Error::Timeout(_) => Unanswered::Slow,
        ureq::Error::HostNotFound
        | ureq::Error::ConnectionFailed
        | ureq::Error::Tls(_)
        | ureq::Error::Rustls(_) => Unanswered::Unreachable,
        ureq::Error::BodyExceedsLimit(_) => Unanswered::TooLong,
        ureq::Error::Io(error) => match error.kind() {
            std::io::ErrorKind::TimedOut | std::io::ErrorKind::WouldBlock => Unanswered::Slow,
            std::io::ErrorKind::ConnectionRefused
            | std::io::ErrorKind::HostUnreachable
            | std::io::ErrorKind::NetworkUnreachable
            | std::io::ErrorKind::PermissionDenied
            // What TLS says of a certificate.
            | std::io::ErrorKind::InvalidData => Unanswered::Unreachable,
            _ => Unanswered::Broken,
        },
        _ => Unanswered::Broken,
    }
}
