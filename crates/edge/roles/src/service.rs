//! The key process: reads key files when the supervisor says so, and signs handshakes for the core. It never gives a key out.

use std::collections::HashMap;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use rustls::sign::SigningKey;
use rustls::{SignatureAlgorithm, SignatureScheme};

use crate::key::{KeyEntry, KeyId, Passphrase, PublicKey, Source};
use crate::link::{Link, LinkError};
use crate::message::{Answer, Order, Outcome, Refusal, Request, Role};
use crate::source::read_key;
use crate::vault::{MasterKey, VaultKey, VaultKind, VaultSource};

/// Threads that sign.
const SIGNERS: usize = 2;
/// Signatures that may wait.
const WAITING_MAX: usize = 256;
/// Signatures in a second; far above what two threads can do with RSA, and a bound for whoever took the core over.
const SIGNATURES_PER_S_MAX: u32 = 10_000;
/// Times that one core may ask for the vault, which it does once or twice; a passphrase takes much memory each time.
const VAULT_QUESTIONS_MAX: u32 = 16;
/// A core that takes no answer for so long is given up.
const PATIENCE: Duration = Duration::from_secs(10);

/// Every scheme a key may be asked for, in the order of preference.
const SCHEMES: [SignatureScheme; 10] = [
    SignatureScheme::RSA_PSS_SHA512,
    SignatureScheme::RSA_PSS_SHA384,
    SignatureScheme::RSA_PSS_SHA256,
    SignatureScheme::RSA_PKCS1_SHA512,
    SignatureScheme::RSA_PKCS1_SHA384,
    SignatureScheme::RSA_PKCS1_SHA256,
    SignatureScheme::ECDSA_NISTP256_SHA256,
    SignatureScheme::ECDSA_NISTP384_SHA384,
    SignatureScheme::ECDSA_NISTP521_SHA512,
    SignatureScheme::ED25519,
];

/// The keys.
#[derive(Default)]
struct Keys {
    /// One for each file of the present configuration.
    entries: Vec<KeyEntry>,
    /// These, and those of earlier configurations that may still be in use; and whether each signs within microseconds.
    by_id: HashMap<KeyId, (Arc<dyn SigningKey>, bool)>,
}

type Shared = Arc<RwLock<Keys>>;

/// The key that opens the vault, or what is wrong with it; `None`: nothing was said of one.
type VaultSlot = Arc<Mutex<Option<Result<VaultKey, String>>>>;

/// Serves the supervisor at the other end until it is gone; `credentials` is the directory that systemd gave, if it did.
///
/// # Errors
/// When the other end is not the supervisor, or speaks nonsense.
pub fn serve_keys(
    supervisor: &Link,
    credentials: Option<&Path>,
    before: &mut dyn FnMut(&[Source]) -> std::io::Result<()>,
) -> Result<(), LinkError> {
    supervisor.greet(Role::Keyd, Role::Supervisor)?;
    let keys = Shared::default();
    let mut vault_source = None;
    let vault: VaultSlot = Arc::default();
    let mut served: Option<Link> = None;
    let mut is_first = true;
    loop {
        match supervisor.receive() {
            Ok((Order::Load { sources }, _)) => {
                if std::mem::take(&mut is_first) {
                    // A token's library has to be reached, whatever the token's key is for.
                    let token = vault_source.as_ref().and_then(token_of);
                    let all: Vec<Source> = sources.iter().cloned().chain(token).collect();
                    before(&all)?;
                }
                let outcome = load(&keys, &sources, credentials);
                supervisor.send(&outcome)?;
            }
            Ok((Order::Vault { source, recovery }, _)) => {
                // Before anything is given up, and before anybody is served.
                let key = VaultKey::read(&source, credentials).and_then(|key| match &recovery {
                    Passphrase::Known(recovery) => key.with_recovery(recovery),
                    Passphrase::None | Passphrase::File(_) | Passphrase::Credential(_) => Ok(key),
                });
                *vault.lock().unwrap_or_else(PoisonError::into_inner) = Some(key);
                vault_source = Some(source);
            }
            Ok((Order::Serve, descriptor)) => {
                // One core at a time: another one takes its place.
                if let Some(former) = served.take() {
                    let _ = former.socket().shutdown(std::net::Shutdown::Both);
                }
                let Some(descriptor) = descriptor else { continue };
                let link = Link::new(UnixStream::from(descriptor));
                served = Some(link.another()?);
                let (keys, vault) = (Arc::clone(&keys), Arc::clone(&vault));
                std::thread::Builder::new().name("motte-keyd".into()).spawn(move || {
                    // A core that is gone or speaks nonsense is not served any longer; the supervisor sends the next.
                    let _ = serve_core(&link, &keys, &vault);
                    let _ = link.socket().shutdown(std::net::Shutdown::Both);
                })?;
            }
            Err(LinkError::Closed) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// Reads all key files anew.
fn load(keys: &Shared, sources: &[Source], credentials: Option<&Path>) -> Outcome {
    let read: Vec<_> = sources
        .iter()
        .map(|source| {
            let key = read_key(source, credentials);
            let is_quick =
                |key: &Arc<dyn SigningKey>| !source.is_token() && key.algorithm() != SignatureAlgorithm::RSA;
            (
                source.path.clone(),
                key.and_then(|key| public(&key).map(|facts| (facts, (is_quick(&key), key)))),
            )
        })
        .collect();
    let faults: Vec<&str> =
        read.iter().filter_map(|(_, key)| key.as_ref().err()).map(String::as_str).collect();
    let faults = faults.join("\n");
    let good = u16::try_from(read.iter().filter(|(_, key)| key.is_ok()).count()).unwrap_or(u16::MAX);
    let mut keys = keys.write().unwrap_or_else(PoisonError::into_inner);
    if keys.by_id.len() > 4 * crate::key::KEYS_MAX {
        // Nobody said what is still in use for many reloads.
        keys.by_id.clear();
    }
    keys.entries.clear();
    for (path, key) in read {
        let outcome = key.map(|(facts, (is_quick, key))| {
            keys.by_id.insert(facts.id, (key, is_quick));
            facts
        });
        keys.entries.push(KeyEntry { path, outcome });
    }
    Outcome::Loaded { good, faults }
}

/// What may be known of a key.
fn public(key: &Arc<dyn SigningKey>) -> Result<PublicKey, String> {
    let spki = key.public_key().ok_or_else(|| "a key whose public half is not known".to_owned())?;
    let schemes = SCHEMES.iter().filter(|scheme| key.choose_scheme(&[**scheme]).is_some());
    Ok(PublicKey {
        id: KeyId::of(&spki),
        spki: spki.to_vec(),
        algorithm: algorithm_byte(key.algorithm()),
        schemes: schemes.map(|scheme| u16::from(*scheme)).collect(),
    })
}

fn algorithm_byte(algorithm: SignatureAlgorithm) -> u8 {
    u8::from(algorithm)
}

struct Job {
    id: u64,
    key: KeyId,
    scheme: u16,
    message: Vec<u8>,
}

/// Answers one core until it is gone.
fn serve_core(link: &Link, keys: &Shared, vault: &VaultSlot) -> Result<(), LinkError> {
    link.socket().set_write_timeout(Some(PATIENCE))?;
    link.greet(Role::Keyd, Role::Core)?;
    let answers = Arc::new(Mutex::new(link.another()?));
    let (jobs, waiting) = sync_channel(WAITING_MAX);
    let waiting = Arc::new(Mutex::new(waiting));
    for number in 0..SIGNERS {
        let (waiting, keys, answers) = (Arc::clone(&waiting), Arc::clone(keys), Arc::clone(&answers));
        std::thread::Builder::new()
            .name(format!("motte-sign-{number}"))
            .spawn(move || sign_all(&waiting, &keys, &answers))?;
    }
    let mut pace = Pace::new();
    let mut vault_questions = VAULT_QUESTIONS_MAX;
    loop {
        match link.receive()?.0 {
            Request::Sign { id, key, scheme, message } => {
                let job = Job { id, key, scheme, message };
                let quick = |keys: &Keys| keys.by_id.get(&key).is_some_and(|(_, is_quick)| *is_quick);
                // To wake another thread would take as long.
                if quick(&keys.read().unwrap_or_else(PoisonError::into_inner)) {
                    let permitted = permit(&job, &mut pace);
                    say(&answers, &answer(keys, &job, permitted))?;
                } else if let Err(cause) = permit(&job, &mut pace) {
                    say(&answers, &Answer::Refused { id, cause })?;
                } else if jobs.try_send(job).is_err() {
                    say(&answers, &Answer::Refused { id, cause: Refusal::Busy })?;
                }
            }
            Request::PublicKeys { id } => {
                let entries = keys.read().unwrap_or_else(PoisonError::into_inner).entries.clone();
                say(&answers, &Answer::Keys { id, keys: entries })?;
            }
            Request::Unwrap { id, slots } => {
                let asked = ask_vault(vault, &mut vault_questions, |key| key.unwrap(&slots));
                say(
                    &answers,
                    &match asked {
                        Ok((master, _)) => Answer::Unwrapped { id, master: MasterKey::of(&master) },
                        Err(cause) => Answer::VaultRefused { id, cause },
                    },
                )?;
            }
            Request::Wrap { id, master } => {
                let asked =
                    ask_vault(vault, &mut vault_questions, |key| key.wrap(&master.clone().into_key()));
                say(
                    &answers,
                    &match asked {
                        Ok(slots) => Answer::Wrapped { id, slots },
                        Err(cause) => Answer::VaultRefused { id, cause },
                    },
                )?;
            }
            Request::Keep { keys: kept } => {
                let mut keys = keys.write().unwrap_or_else(PoisonError::into_inner);
                let Keys { entries, by_id } = &mut *keys;
                let present = |id: &KeyId| {
                    entries.iter().filter_map(|entry| entry.outcome.as_ref().ok()).any(|key| key.id == *id)
                };
                by_id.retain(|id, _| kept.contains(id) || present(id));
            }
        }
    }
}

/// Asks the key that opens the vault, if there is one and the core has not asked too often.
fn ask_vault<T>(
    vault: &VaultSlot,
    left: &mut u32,
    ask: impl FnOnce(&VaultKey) -> Result<T, String>,
) -> Result<T, String> {
    *left = left.checked_sub(1).ok_or("the vault was asked for too often; start the broker again")?;
    match &*vault.lock().unwrap_or_else(PoisonError::into_inner) {
        Some(Ok(key)) => ask(key),
        Some(Err(fault)) => Err(fault.clone()),
        None => Err("the key process was not told of a key that opens the vault".to_owned()),
    }
}

/// The token that the key of the vault is in, as the confinement has to know it.
fn token_of(source: &VaultSource) -> Option<Source> {
    let VaultKind::Token(address) = &source.kind else { return None };
    Some(Source { path: address.into(), passphrase: source.secret.clone() })
}

fn say(answers: &Mutex<Link>, answer: &Answer) -> Result<(), LinkError> {
    answers.lock().unwrap_or_else(PoisonError::into_inner).send(answer)
}

/// Whether a signature may be made at all, and now.
fn permit(job: &Job, pace: &mut Pace) -> Result<(), Refusal> {
    if !is_handshake(&job.message) {
        return Err(Refusal::Purpose);
    }
    if pace.permits(Instant::now()) { Ok(()) } else { Err(Refusal::Busy) }
}

/// The signature, or why there is none.
fn answer(keys: &Shared, job: &Job, permitted: Result<(), Refusal>) -> Answer {
    match permitted.and_then(|()| sign(keys, job)) {
        Ok(signature) => Answer::Signed { id: job.id, signature },
        Err(cause) => Answer::Refused { id: job.id, cause },
    }
}

fn sign_all(waiting: &Mutex<Receiver<Job>>, keys: &Shared, answers: &Mutex<Link>) {
    loop {
        let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = next else { return };
        if say(answers, &answer(keys, &job, Ok(()))).is_err() {
            return;
        }
    }
}

fn sign(keys: &Shared, job: &Job) -> Result<Vec<u8>, Refusal> {
    let key = keys.read().unwrap_or_else(PoisonError::into_inner).by_id.get(&job.key).cloned();
    let (key, _) = key.ok_or(Refusal::NoKey)?;
    let signer = key.choose_scheme(&[SignatureScheme::from(job.scheme)]).ok_or(Refusal::Scheme)?;
    signer.sign(&job.message).map_err(|_| Refusal::Failed)
}

/// Whether this is what a server signs in a handshake: the CertificateVerify of TLS 1.3, or the parameters of an
/// elliptic-curve key exchange of TLS 1.2 behind the two randoms. So whoever takes the core over gets no signature under a
/// certificate, a client's proof or a document.
fn is_handshake(message: &[u8]) -> bool {
    const SERVER_13: &[u8] = b"TLS 1.3, server CertificateVerify\0";
    const NAMED_CURVE: u8 = 3;
    const UNCOMPRESSED: u8 = 4;
    let (Some(start), Some(rest)) = (message.get(..64), message.get(64..)) else { return false };
    if start.iter().all(|byte| *byte == b' ') && rest.starts_with(SERVER_13) {
        return matches!(rest.len() - SERVER_13.len(), 32 | 48);
    }
    match rest {
        // Named groups with the one length that a point of theirs has: no document looks like it.
        [NAMED_CURVE, 0, 0x1d, 32, point @ ..] => point.len() == 32,
        [NAMED_CURVE, 0, 0x17, 65, point @ ..] => point.len() == 65 && point.first() == Some(&UNCOMPRESSED),
        [NAMED_CURVE, 0, 0x18, 97, point @ ..] => point.len() == 97 && point.first() == Some(&UNCOMPRESSED),
        _ => false,
    }
}

/// How many signatures are still permitted in this second.
struct Pace {
    second: Instant,
    left: u32,
}

impl Pace {
    fn new() -> Self {
        Self { second: Instant::now(), left: SIGNATURES_PER_S_MAX }
    }

    fn permits(&mut self, now: Instant) -> bool {
        if now.saturating_duration_since(self.second) >= Duration::from_secs(1) {
            *self = Self { second: now, left: SIGNATURES_PER_S_MAX };
        }
        self.left = match self.left.checked_sub(1) {
            Some(left) => left,
            None => return false,
        };
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_server_signs_in_a_handshake_is_signed() {
        let mut verify = vec![b' '; 64];
        verify.extend_from_slice(b"TLS 1.3, server CertificateVerify\0");
        assert!(!is_handshake(&verify), "without a transcript");
        verify.extend_from_slice(&[7; 32]);
        assert!(is_handshake(&verify));
        assert!(!is_handshake(&[&verify[..], &[7]].concat()));
        let client = String::from_utf8(verify[..98].to_vec()).unwrap().replace("server", "client");
        assert!(!is_handshake(&[client.as_bytes(), &[7; 32]].concat()), "a client's proof");
        let exchange = [&[1; 64][..], &[3, 0, 29, 32], &[9; 32]].concat();
        assert!(is_handshake(&exchange));
        assert!(!is_handshake(&exchange[..99]));
        assert!(!is_handshake(&[0x30; 300]), "a certificate");
        assert!(!is_handshake(b""));
    }

    #[test]
    fn a_second_has_an_end() {
        let mut pace = Pace::new();
        let now = pace.second;
        assert!((0..SIGNATURES_PER_S_MAX).all(|_| pace.permits(now)));
        assert!(!pace.permits(now));
        assert!(pace.permits(now + Duration::from_secs(1)));
    }
}
