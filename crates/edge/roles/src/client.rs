//! The key process as the core sees it: many ask at once, each answer finds who asked, no wait is without end.

use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use motte_seal::envelope::DataKey;
use motte_seal::keyring::Slot;

use crate::key::{KeyEntry, KeyId};
use crate::link::LinkError;
use crate::live::{Live, OnSilence};
use crate::message::{Answer, Refusal, Request, Role};
use crate::vault::MasterKey;

/// Time for a signature, with the wait for a key process that is being started anew.
pub const ANSWER_DEADLINE: Duration = Duration::from_secs(2);
/// Time for the public halves of all keys.
const KEYS_DEADLINE: Duration = Duration::from_secs(30);

/// Why there is no signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// It does not run, or does not answer.
    #[error("the key process did not answer in time")]
    Silent,
    /// It says no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It answered something that was not asked.
    #[error("the key process gave an answer of another kind")]
    Nonsense,
}

#[derive(Default)]
struct State {
    live: Option<Live<Answer>>,
    /// Of the link; an older link's end says nothing about the present one.
    number: u64,
    next: u64,
    /// Keys that the rules in force use.
    in_force: Vec<KeyId>,
    /// Nobody is asked any more.
    closed: bool,
}

struct Shared {
    state: Mutex<State>,
    attached: Condvar,
    on_silence: OnSilence,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A way to the key process; a clone is another way to the same.
#[derive(Clone)]
pub struct KeyClient {
    shared: Arc<Shared>,
}

impl std::fmt::Debug for KeyClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyClient")
    }
}

impl KeyClient {
    /// Without a key process so far. `on_silence` is called when one is there and does not answer.
    pub fn new(on_silence: OnSilence) -> Self {
        let shared = Shared { state: Mutex::default(), attached: Condvar::new(), on_silence };
        Self { shared: Arc::new(shared) }
    }

    /// Asks the key process at the other end of this socket from now on.
    ///
    /// # Errors
    /// When it is none, or the system refuses a thread.
    pub fn attach(&self, socket: UnixStream) -> Result<(), LinkError> {
        let (live, answers) = Live::open(socket, Role::Keyd, ANSWER_DEADLINE)?;
        let number = {
            let mut state = self.shared.lock();
            state.number += 1;
            if state.closed {
                return Err(LinkError::Closed);
            }
            if let Some(former) = state.live.replace(live) {
                former.end();
            }
            state.number
        };
        self.shared.attached.notify_all();
        let shared = Arc::clone(&self.shared);
        std::thread::Builder::new().name("motte-keys".into()).spawn(move || {
            while let Ok((answer, _)) = answers.receive::<Answer>() {
                let asker = shared.lock().live.as_mut().and_then(|live| live.waiting.remove(&answer.id()));
                if let Some(asker) = asker {
                    // Whoever asked may have stopped waiting.
                    let _ = asker.try_send(answer);
                }
            }
            // Also where the process lives on and only its socket is gone.
            if detach(&shared, number) {
                (shared.on_silence)();
            }
        })?;
        Ok(())
    }

    /// Asks nobody any more: the process stops, and nothing of it shall wait for keys. Whoever waits hears so at once.
    pub fn close(&self) {
        let mut state = self.shared.lock();
        state.closed = true;
        if let Some(live) = state.live.take() {
            live.end();
        }
        drop(state);
        self.shared.attached.notify_all();
    }

    /// Waits until a key process is there; false when none is by then.
    pub fn wait_attached(&self, until: Instant) -> bool {
        self.attached(until).is_some()
    }

    fn attached(&self, until: Instant) -> Option<MutexGuard<'_, State>> {
        let mut state = self.shared.lock();
        while state.live.is_none() {
            if state.closed {
                return None;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            let waited = self.shared.attached.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        Some(state)
    }

    /// Signs a message of a handshake. A key process that ends meanwhile is asked again when it is back.
    ///
    /// # Errors
    /// [`KeyError`], after [`ANSWER_DEADLINE`] at the latest.
    pub fn sign(&self, key: KeyId, scheme: u16, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let ask = |id| Request::Sign { id, key, scheme, message: message.to_vec() };
        match self.ask(ask, ANSWER_DEADLINE)? {
            Answer::Signed { signature, .. } => Ok(signature),
            Answer::Refused { cause, .. } => Err(cause.into()),
            Answer::Keys { .. }
            | Answer::Unwrapped { .. }
            | Answer::Wrapped { .. }
            | Answer::VaultRefused { .. } => Err(KeyError::Nonsense),
        }
    }

    /// The public halves of all keys, by file.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn public_keys(&self) -> Result<Vec<KeyEntry>, KeyError> {
        match self.ask(|id| Request::PublicKeys { id }, KEYS_DEADLINE)? {
            Answer::Keys { keys, .. } => Ok(keys),
            Answer::Refused { cause, .. } => Err(cause.into()),
            Answer::Signed { .. }
            | Answer::Unwrapped { .. }
            | Answer::Wrapped { .. }
            | Answer::VaultRefused { .. } => Err(KeyError::Nonsense),
        }
    }

    /// The master key of a vault with these slots.
    ///
    /// # Errors
    /// What was given and does not open it, or that nobody answers, for people.
    pub fn unwrap_vault(&self, slots: &[Slot]) -> Result<DataKey, String> {
        match self.ask(|id| Request::Unwrap { id, slots: slots.to_vec() }, KEYS_DEADLINE) {
            Ok(Answer::Unwrapped { master, .. }) => Ok(master.into_key()),
            Ok(Answer::VaultRefused { cause, .. }) => Err(cause),
            Ok(
                Answer::Signed { .. } | Answer::Keys { .. } | Answer::Refused { .. } | Answer::Wrapped { .. },
            ) => Err(KeyError::Nonsense.to_string()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Slots for a vault with this master key.
    ///
    /// # Errors
    /// What is wrong with the key, or that nobody answers, for people.
    pub fn wrap_vault(&self, master: &DataKey) -> Result<Vec<Slot>, String> {
        match self.ask(|id| Request::Wrap { id, master: MasterKey::of(master) }, KEYS_DEADLINE) {
            Ok(Answer::Wrapped { slots, .. }) => Ok(slots),
            Ok(Answer::VaultRefused { cause, .. }) => Err(cause),
            Ok(
                Answer::Signed { .. }
                | Answer::Keys { .. }
                | Answer::Refused { .. }
                | Answer::Unwrapped { .. },
            ) => Err(KeyError::Nonsense.to_string()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Files in which the key process found another key than the one in force: replaced since the last reload, so that
    /// handshakes with their certificates cannot be signed any more.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn replaced(&self) -> Result<Vec<PathBuf>, KeyError> {
        let entries = self.public_keys()?;
        let in_force = self.shared.lock().in_force.clone();
        let found = |entry: &KeyEntry| entry.outcome.as_ref().ok().map(|key| key.id);
        if in_force.iter().all(|id| entries.iter().any(|entry| found(entry) == Some(*id))) {
            return Ok(Vec::new());
        }
        let others = entries.iter().filter(|entry| found(entry).is_some_and(|id| !in_force.contains(&id)));
        Ok(others.map(|entry| entry.path.clone()).collect())
    }

    /// Says which keys the rules in force use, and which are in use in all, so that others can be forgotten.
    pub fn keep(&self, in_force: Vec<KeyId>, keys: Vec<KeyId>) {
        let mut state = self.shared.lock();
        state.in_force = in_force;
        if let Some(live) = &state.live {
            // It is only housekeeping; a link that fails here fails the next signature as well.
            let _ = live.link.send(&Request::Keep { keys });
        }
    }

    fn ask(&self, request: impl Fn(u64) -> Request, time: Duration) -> Result<Answer, KeyError> {
        let until = Instant::now() + time;
        let mut asked = false;
        loop {
            let (answer, number) = {
                let Some(mut state) = self.attached(until) else {
                    // None was there all the time: whoever is to bring one may not know.
                    if !asked && !self.shared.lock().closed {
                        (self.shared.on_silence)();
                    }
                    return Err(KeyError::Silent);
                };
                state.next += 1;
                let (id, number) = (state.next, state.number);
                let (sender, answer) = sync_channel(1);
                let Some(live) = &mut state.live else { continue };
                asked = true;
                live.waiting.insert(id, sender);
                if let Err(error) = live.link.send(&request(id)) {
                    // Gone, or so far behind that a part of a message may have been sent: of no more use in both cases.
                    if let Some(live) = state.live.take() {
                        live.end();
                    }
                    drop(state);
                    if error.is_timeout() {
                        (self.shared.on_silence)();
                    }
                    continue;
                }
                (answer, number)
            };
            match answer.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(answer) => return Ok(answer),
                // The link ended with the question on its way.
                Err(RecvTimeoutError::Disconnected) => {}
                Err(RecvTimeoutError::Timeout) => {
                    if detach(&self.shared, number) {
                        (self.shared.on_silence)();
                    }
                    return Err(KeyError::Silent);
                }
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
