//! Where metrics are served: to this machine alone.

use std::path::PathBuf;

use crate::error::Faults;
use crate::listener::Endpoint;

/// The endpoint that is written.
pub(crate) fn metrics(bind: &toml::Spanned<String>, faults: &mut Faults<'_>) -> Option<Endpoint> {
    let text = bind.get_ref();
    let endpoint = match text.strip_prefix("unix:") {
        Some(path) => Some(Endpoint::Unix(PathBuf::from(path))),
        None => text.parse().ok().map(Endpoint::Tcp),
    };
    match &endpoint {
        Some(endpoint) if endpoint.is_local() => {}
        Some(_) => faults.add(
            bind.span().start,
            "metrics would be open to the network",
            "bind to 127.0.0.1 or unix:PATH, and let a collector on this machine fetch them",
        ),
        None => faults.add(
            bind.span().start,
            "not an address",
            "write 127.0.0.1:9464 or unix:/run/motte-metrics.sock",
        ),
    }
    endpoint
}
