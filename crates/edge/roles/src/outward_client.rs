//! The process that connects out as the core sees it: many ask at once, each answer finds who asked, no wait is without
//! end. Where it is not there, whoever asks hears so at once: what depends on an answer fails closed and is asked again later.

use std::os::unix::net::UnixStream;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use zeroize::Zeroizing;

use crate::link::LinkError;
use crate::live::{Live, OnSilence};
use crate::message::Role;
use crate::outward::{Ask, BODY_BYTES_MAX, Told, Unanswered};
use crate::outward_source::SetId;

/// Time for it to take a request.
const TAKEN: Duration = Duration::from_secs(2);
/// How much later than a source's own time an answer may come, before the process counts as silent.
const GRACE: Duration = Duration::from_secs(2);
/// Requests that may wait for answers.
const WAITING_MAX: usize = 1_024;

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OutwardError {
    /// It does not run, or ended meanwhile.
    #[error("the process that connects out is not there")]
    Away,
    /// It runs and does not answer.
    #[error("the process that connects out does not answer")]
    Silent,
    /// More is asked than may be.
    #[error("more is asked of the process that connects out than it may take")]
    Full,
    /// The source did not answer.
    #[error("{detail}")]
    Unanswered {
        /// Why.
        cause: Unanswered,
        /// For people.
        detail: String,
    },
}

/// What a source answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutwardAnswer {
    /// Of HTTP.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

#[derive(Default)]
struct State {
    live: Option<Live<Told>>,
    /// Of the link; an older link's end says nothing about the present one.
    number: u64,
    next: u64,
    closed: bool,
}

struct Shared {
    state: Mutex<State>,
    on_silence: OnSilence,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A way to the process that connects out; a clone is another way to the same.
#[derive(Clone)]
pub struct OutwardClient {
    shared: Arc<Shared>,
}

impl std::fmt::Debug for OutwardClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OutwardClient")
    }
}

impl OutwardClient {
    /// Without a process so far. `on_silence` is called when one is there and does not answer.
    pub fn new(on_silence: OnSilence) -> Self {
        Self { shared: Arc::new(Shared { state: Mutex::default(), on_silence }) }
    }

    /// Asks the process at the other end of this socket from now on.
    ///
    /// # Errors
    /// When it is none, or the system refuses a thread.
    pub fn attach(&self, socket: UnixStream) -> Result<(), LinkError> {
        let (live, answers) = Live::open(socket, Role::Egress, TAKEN)?;
        let number = {
            let mut state = self.shared.lock();
            if state.closed {
                return Err(LinkError::Closed);
            }
            state.number += 1;
            if let Some(former) = state.live.replace(live) {
                former.end();
            }
            state.number
        };
        let shared = Arc::clone(&self.shared);
        std::thread::Builder::new().name("motte-outward".into()).spawn(move || {
            while let Ok((told, _)) = answers.receive::<Told>() {
                let id = match &told {
                    Told::Answered { id, .. } | Told::Failed { id, .. } => *id,
                };
                let asker = shared.lock().live.as_mut().and_then(|live| live.waiting.remove(&id));
                if let Some(asker) = asker {
                    // Whoever asked may have stopped waiting.
                    let _ = asker.try_send(told);
                }
            }
            // Also where the process lives on and only its socket is gone.
            if detach(&shared, number) {
                (shared.on_silence)();
            }
        })?;
        Ok(())
    }

    /// Asks nobody any more. Whoever waits hears so at once.
    pub fn close(&self) {
        let mut state = self.shared.lock();
        state.closed = true;
        if let Some(live) = state.live.take() {
            live.end();
        }
    }

    /// Whether there is somebody to ask.
    pub fn is_attached(&self) -> bool {
        self.shared.lock().live.is_some()
    }

    /// Asks a source and waits for its answer; `time` is the source's own limit.
    ///
    /// # Errors
    /// [`OutwardError`], a little after `time` at the latest.
    pub fn ask(
        &self,
        set: SetId,
        source: u16,
        body: &[u8],
        time: Duration,
    ) -> Result<OutwardAnswer, OutwardError> {
        if body.len() > BODY_BYTES_MAX {
            return Err(OutwardError::Unanswered {
                cause: Unanswered::TooLong,
                detail: format!("a request of {} bytes is longer than permitted", body.len()),
            });
        }
        let (sender, answer) = sync_channel(1);
        let (id, number) = {
            let mut state = self.shared.lock();
            state.next += 1;
            let (id, number) = (state.next, state.number);
            let Some(live) = &mut state.live else { return Err(OutwardError::Away) };
            if live.waiting.len() >= WAITING_MAX {
                return Err(OutwardError::Full);
            }
            live.waiting.insert(id, sender);
            if let Err(error) =
                live.link.send(&Ask::Ask { id, set, source, body: Zeroizing::new(body.to_vec()) })
            {
                // Gone, or so far behind that a part of a message may have been sent: of no more use in both cases.
                if let Some(live) = state.live.take() {
                    live.end();
                }
                drop(state);
                if error.is_timeout() {
                    (self.shared.on_silence)();
                    return Err(OutwardError::Silent);
                }
                return Err(OutwardError::Away);
            }
            (id, number)
        };
        match answer.recv_timeout(time + GRACE) {
            Ok(Told::Answered { status, body, .. }) => Ok(OutwardAnswer { status, body }),
            Ok(Told::Failed { cause, detail, .. }) => Err(OutwardError::Unanswered { cause, detail }),
            Err(RecvTimeoutError::Disconnected) => Err(OutwardError::Away),
            Err(RecvTimeoutError::Timeout) => {
                if let Some(live) = self.shared.lock().live.as_mut() {
                    live.waiting.remove(&id);
                }
                if detach(&self.shared, number) {
                    (self.shared.on_silence)();
                }
                Err(OutwardError::Silent)
            }
        }
    }
}

/// Gives a link up, unless another one has taken its place; whoever waits for an answer of it hears so.
fn detach(shared: &Shared, number: u64) -> bool {
    let mut state = shared.lock();
    if state.number != number {
        return false;
    }
    let Some(live) = state.live.take() else { return false };
    live.end();
    true
}
