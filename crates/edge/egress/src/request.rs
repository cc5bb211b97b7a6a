//! One request, and what became of it.

use motte_config::Purpose;
use motte_roles::{SourceFacts, Unanswered};
use ureq::Agent;

use crate::source::Source;

/// What a source answered, or why nothing.
pub(crate) type Outcome = Result<(u16, Vec<u8>), (Unanswered, String)>;

/// Asks a source. Waits at most its own time.
pub(crate) fn ask(source: &Source, body: &[u8]) -> Outcome {
    let Source { facts, agent, headers } = source;
    if body.len() > usize::try_from(facts.request_max).unwrap_or(usize::MAX) {
        return Err((Unanswered::TooLong, "a request longer than this source permits".to_owned()));
    }
    send(facts, agent, headers, body).map_err(|error| (cause(&error), format!("{}: {error}", facts.url)))
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
        Purpose::RevocationList => None,
        Purpose::Hook => Some("application/json"),
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
