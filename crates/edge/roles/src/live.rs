//! What the core's ways to other processes have in common: a link, and who waits for an answer that comes by it.

use std::collections::HashMap;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use crate::link::{Link, LinkError};
use crate::message::Role;

/// Time for the first words of a link.
const GREETING: Duration = Duration::from_secs(5);

/// Called when a process is there but does not answer.
pub(crate) type OnSilence = Box<dyn Fn() + Send + Sync>;

/// A link that stands, and who waits, by the number of the question.
pub(crate) struct Live<A> {
    pub(crate) link: Link,
    pub(crate) waiting: HashMap<u64, SyncSender<A>>,
}

impl<A> Live<A> {
    /// Greets the process at the other end, which must be in this role; `taken` is the time it has to take a question. Also
    /// gives the half that answers are read from.
    ///
    /// # Errors
    /// When it is none, or does not greet in time.
    pub(crate) fn open(socket: UnixStream, role: Role, taken: Duration) -> Result<(Self, Link), LinkError> {
        let link = Link::new(socket);
        link.socket().set_read_timeout(Some(GREETING))?;
        link.socket().set_write_timeout(Some(taken))?;
        link.greet(Role::Core, role)?;
        link.socket().set_read_timeout(None)?;
        let answers = link.another()?;
        Ok((Self { link, waiting: HashMap::new() }, answers))
    }

    /// Ends the thread that reads answers. Whoever waits for one hears that none comes.
    pub(crate) fn end(self) {
        // A socket that cannot be shut down is closed next.
        let _ = self.link.socket().shutdown(std::net::Shutdown::Both);
    }
}
