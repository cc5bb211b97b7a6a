//! What the process does: takes sources from the supervisor, answers the core.

use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use motte_roles::{Ask, Link, LinkError, OutwardOrder, OutwardOutcome, OutwardSource, Role, Unanswered};

use crate::source::{Job, Sets};

/// A core that takes no answer for so long is given up.
const PATIENCE: Duration = Duration::from_secs(10);

/// Serves the supervisor at the other end until it is gone; `before` is called once, with the first sources, before anything
/// is asked and before the first thread.
///
/// # Errors
/// When the other end is not the supervisor, or speaks nonsense.
pub fn serve_outward(
    supervisor: &Link,
    before: &mut dyn FnMut(&[OutwardSource]) -> std::io::Result<()>,
) -> Result<(), LinkError> {
    supervisor.greet(Role::Egress, Role::Supervisor)?;
    let sets = Arc::new(Mutex::new(Sets::default()));
    let mut served: Option<Link> = None;
    let mut is_first = true;
    loop {
        match supervisor.receive() {
            Ok((OutwardOrder::Load { set, authorities, sources }, _)) => {
                if std::mem::take(&mut is_first) {
                    before(&sources)?;
                }
                let faults =
                    sets.lock().unwrap_or_else(PoisonError::into_inner).load(set, &authorities, sources);
                supervisor.send(&OutwardOutcome::Loaded { faults })?;
            }
            Ok((OutwardOrder::Serve, descriptor)) => {
                // One core at a time: another one takes its place.
                if let Some(former) = served.take() {
                    let _ = former.socket().shutdown(std::net::Shutdown::Both);
                }
                let Some(descriptor) = descriptor else { continue };
                let link = Link::new(UnixStream::from(descriptor));
                served = Some(link.another()?);
                let sets = Arc::clone(&sets);
                std::thread::Builder::new().name("motte-egress".into()).spawn(move || {
                    // A core that is gone or speaks nonsense is not served any longer; the supervisor sends the next.
                    let _ = serve_core(&link, &sets);
                    let _ = link.socket().shutdown(std::net::Shutdown::Both);
                })?;
            }
            Err(LinkError::Closed) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// Answers one core until it is gone.
fn serve_core(link: &Link, sets: &Mutex<Sets>) -> Result<(), LinkError> {
    link.socket().set_write_timeout(Some(PATIENCE))?;
    link.greet(Role::Egress, Role::Core)?;
    let answers = Arc::new(Mutex::new(link.another()?));
    loop {
        let Ask::Ask { id, set, source, body } = link.receive()?.0;
        let job = Job { id, body, answers: Arc::clone(&answers), since: Instant::now() };
        let found = sets.lock().unwrap_or_else(PoisonError::into_inner).source(set, source);
        match found {
            Some(counter) => counter.take(job),
            None => job.fail(Unanswered::NoSource, Unanswered::NoSource.to_string()),
        }
    }
}
