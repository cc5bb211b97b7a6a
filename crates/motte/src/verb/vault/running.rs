//! Keys of a broker that runs: asked for on its control socket, and waited for.

use std::cell::RefCell;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use motte_disk::backup::copy_vault;
use motte_event::escaped;
use motte_roles::{CoreAnswer, CoreRequest, VaultStatus, VaultWork, slots_said};
use motte_seal::keyring::Keyring;
use motte_server::StateDirectory;
use motte_server::vault::VAULT;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use serde_json::json;

use crate::cli::{KeptArgs, SocketArgs, StepUpArgs};
use crate::verb::Fault;
use crate::verb::control::{self, Broker, lines};
use crate::verb::kept::{Kept, Progress, fault};

/// Between two looks at work that goes on.
const LOOK: Duration = Duration::from_millis(100);

/// Who writes the vault.
pub(super) enum Hold {
    /// This command: nobody else uses the state directory meanwhile.
    Own { _lock: StateDirectory },
    /// The broker that runs, asked by no other such command meanwhile: two that exchange the key at once would each take the
    /// other's way to open the vault away.
    Running { broker: Box<Broker>, exchange: RefCell<Option<([u8; 32], u32)>>, _lock: File },
}

impl Hold {
    /// Takes the state directory, or finds the broker that has it.
    pub(super) fn of(kept: &Kept, args: &KeptArgs, step_up: &StepUpArgs) -> Result<Self, Fault> {
        let busy = match kept.lock() {
            Ok(lock) => return Ok(Self::Own { _lock: lock }),
            Err(fault) => fault,
        };
        let step_up = control::step_up(step_up)?;
        for socket in sockets(kept, args) {
            if let Ok(broker) = Broker::find(&socket) {
                let lock = alone(&kept.state)?;
                let broker = Box::new(broker.stepping_up(step_up));
                return Ok(Self::Running { broker, exchange: RefCell::default(), _lock: lock });
            }
        }
        Err(busy)
    }

    /// Writes the vault, and overwrites what was there before. Of a running broker only the ways to open it are taken.
    pub(super) fn write(&self, kept: &Kept, ring: &mut Keyring) -> Result<(), Fault> {
        match self {
            Self::Own { .. } => {
                let file = ring.encode().map_err(fault)?;
                copy_vault(&file, &kept.state.join(VAULT)).map_err(fault)
            }
            Self::Running { broker, exchange, .. } => {
                let mut exchange = exchange.borrow_mut();
                let (challenge, step) = match *exchange {
                    Some(under_way) => under_way,
                    None => (begin(broker)?, 0),
                };
                *exchange = Some((challenge, step + 1));
                let mut slots = Vec::new();
                ring.slots().iter().for_each(|slot| slot.encode(&mut slots));
                let proof = ring.proof(&slots_said(&challenge, step, &slots)).map_err(fault)?;
                done(broker, CoreRequest::VaultSlots { slots: hex(&slots), proof: hex(&proof) })
            }
        }
    }
}

/// Begins an exchange of slots; gives what they are proved with, so that nobody proves anything with what was said before.
fn begin(broker: &Broker) -> Result<[u8; 32], Fault> {
    let CoreAnswer::VaultChallenge { challenge } = broker.core(CoreRequest::BeginSlots)? else {
        return Err(broker.nonsense());
    };
    let digits = challenge.as_bytes().chunks(2).map(|pair| {
        let pair = std::str::from_utf8(pair).ok()?;
        u8::from_str_radix(pair, 16).ok()
    });
    let bytes: Option<Vec<u8>> = digits.collect();
    bytes.and_then(|bytes| bytes.try_into().ok()).ok_or_else(|| broker.nonsense())
}

/// Keeps other commands from the vault of a broker that runs; that one has the lock of its state directory itself.
fn alone(state: &Path) -> Result<File, Fault> {
    let directory =
        File::open(state).map_err(|error| fault(format!("cannot open {}: {error}", state.display())))?;
    match flock(&directory, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(directory),
        Err(Errno::WOULDBLOCK) => {
            let what = format!("another command works on the vault in {}", state.display());
            Err(Fault::with_remedy(what, "wait until it is done"))
        }
        Err(errno) => Err(fault(format!("cannot lock {}: {errno}", state.display()))),
    }
}

/// Where the control socket of whoever uses the state directory may be.
fn sockets(kept: &Kept, args: &KeptArgs) -> Vec<SocketArgs> {
    let at = |state: Option<PathBuf>| SocketArgs { config: None, socket: None, state };
    match &args.config {
        Some(config) => vec![SocketArgs { config: Some(config.clone()), socket: None, state: None }],
        // `motte up` has it beside its store.
        None => vec![at(Some(args.state.clone())), at(kept.state.parent().map(Path::to_owned))],
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn done(broker: &Broker, request: CoreRequest) -> Result<(), Fault> {
    let CoreAnswer::Done = broker.core(request)? else { return Err(broker.nonsense()) };
    Ok(())
}

pub(super) fn rotate_dek(broker: &Broker, keep_old: bool, json: bool) -> Result<(), Fault> {
    done(broker, CoreRequest::RotateDataKeys { keep_old })?;
    let work = wait(broker, "writing again")?;
    let outcome = work.outcome.unwrap_or_default();
    if json {
        println!(
            "{}",
            json!({ "outcome": outcome, "rewritten_bytes": work.done_bytes, "kept_old": keep_old })
        );
    } else {
        println!("{}, while the broker runs", lines(&outcome));
    }
    Ok(())
}

pub(super) fn shred(
    broker: &Broker,
    kept: &Kept,
    (device, yes): (&str, bool),
    copies: &[PathBuf],
    json: bool,
) -> Result<(), Fault> {
    if !yes {
        let what = format!("this ends the Sessions of `{device}` and destroys what is kept of it, for good");
        return Err(Fault::with_remedy(what, "add --yes"));
    }
    done(broker, CoreRequest::Shred { device: device.to_owned() })?;
    let work = wait(broker, "writing again")?;
    let file = kept.vault_there()?;
    for copy in copies {
        copy_vault(&file, copy).map_err(fault)?;
    }
    let outcome = work.outcome.unwrap_or_default();
    if json {
        println!("{}", json!({ "device": device, "outcome": outcome }));
    } else {
        println!("{}, while the broker runs", lines(&outcome));
    }
    Ok(())
}

/// Waits until the work that was begun is done, and tells on a terminal how far it is.
fn wait(broker: &Broker, what: &'static str) -> Result<VaultWork, Fault> {
    let mut progress = Progress::new(what);
    let first = work(broker)?.number;
    loop {
        let work = work(broker)?;
        if work.all_bytes > 0 {
            progress.tell(work.done_bytes, work.all_bytes);
        }
        match &work.outcome {
            Some(outcome) if work.failed => return Err(Fault::new(lines(outcome))),
            Some(_) => return Ok(work),
            // Somebody else's: then this one is over, and well or not was told to the log.
            None if work.number != first => return Ok(work),
            None => std::thread::park_timeout(LOOK),
        }
    }
}

fn work(broker: &Broker) -> Result<VaultWork, Fault> {
    status(broker)?.and_then(|vault| vault.work).ok_or_else(|| broker.nonsense())
}

/// The vault of a running broker; `None` if it keeps nothing.
pub(crate) fn status(broker: &Broker) -> Result<Option<VaultStatus>, Fault> {
    let CoreAnswer::Vault { vault } = broker.core(CoreRequest::Vault)? else { return Err(broker.nonsense()) };
    Ok(vault)
}

/// In a line or two, for people.
pub(crate) fn describe(vault: &VaultStatus) -> String {
    let opened_by: Vec<_> = vault.opened_by.iter().map(|slot| escaped(slot)).collect();
    let mut text = format!(
        "vault opened by {}; {} data keys of {} groups, {} shredded\n",
        opened_by.join(" or "),
        vault.keys,
        vault.groups,
        vault.shredded
    );
    if let Some(work) = &vault.work {
        let what = escaped(&work.what);
        let how = match &work.outcome {
            None => format!("{} of {} bytes written again", work.done_bytes, work.all_bytes),
            Some(outcome) if work.failed => format!("failed: {}", lines(outcome)),
            Some(outcome) => lines(outcome),
        };
        text.push_str(&format!("  {what}: {how}\n"));
    }
    text
}

/// The same for programs.
pub(crate) fn as_json(vault: &VaultStatus) -> serde_json::Value {
    json!({
        "generation": vault.generation,
        "opened_by": vault.opened_by,
        "keys": vault.keys,
        "shredded": vault.shredded,
        "groups": vault.groups,
        "work": vault.work.as_ref().map(|work| json!({
            "what": work.what,
            "done_bytes": work.done_bytes,
            "all_bytes": work.all_bytes,
            "outcome": work.outcome,
            "failed": work.failed,
        })),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_command_at_a_time_works_on_the_vault_of_a_running_broker() {
        let state = tempfile::tempdir().unwrap();
        let first = alone(state.path()).unwrap();
        assert!(alone(state.path()).is_err());
        drop(first);
        assert!(alone(state.path()).is_ok());
    }
}
