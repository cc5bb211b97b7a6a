//! Messages to and from the key process. Each direction has its type; nobody can say what is not in its own.

use motte_seal::keyring::Slot;

use crate::cursor::{Cursor, Malformed, put_bytes, put_count, put_text_cut};
use crate::key::{
    FAULT_BYTES_MAX, KEYS_MAX, KeyEntry, KeyId, SIGNATURE_BYTES_MAX, SIGNED_BYTES_MAX, Source, entry,
    put_entry, put_source, source,
};
use crate::key::{Passphrase, passphrase, put_passphrase};
use crate::vault::{MasterKey, VaultSource, put_vault_source, vault_source};

/// The version of these messages. Both ends are the same file, so another version is a fault and not a negotiation.
pub const VERSION: u16 = 2;
/// Keys that may be in use at once: those of a configuration and of the one before.
const KEPT_MAX: usize = 2 * KEYS_MAX;
const _: () = assert!(<Request as Message>::BYTES_MAX > SIGNED_BYTES_MAX + 64);
/// Longest list of a vault's slots.
const SLOTS_BYTES_MAX: usize = 11 * 1_024;
/// Begins every link.
const MAGIC: [u8; 5] = *b"MOTTE";

/// A process of a broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The one that the operator started: it binds, starts the others and passes signals on. It reads nothing from a network.
    Supervisor,
    /// Listeners, parsing, routing, store.
    Core,
    /// Private keys.
    Keyd,
    /// Connections to elsewhere.
    Egress,
    /// Takes what operators ask on the control socket.
    Admin,
}

impl Role {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Supervisor => "supervisor",
            Self::Core => "core",
            Self::Keyd => "keyd",
            Self::Egress => "egress",
            Self::Admin => "admin",
        }
    }

    fn from_byte(byte: u8) -> Result<Self, Malformed> {
        match byte {
            0 => Ok(Self::Supervisor),
            1 => Ok(Self::Core),
            2 => Ok(Self::Keyd),
            4 => Ok(Self::Egress),
            3 => Ok(Self::Admin),
            _ => Err(Malformed::Unknown),
        }
    }

    fn byte(self) -> u8 {
        match self {
            Self::Supervisor => 0,
            Self::Core => 1,
            Self::Keyd => 2,
            Self::Egress => 4,
            Self::Admin => 3,
        }
    }
}

/// The first message of each side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hello {
    /// [`VERSION`] of the sender.
    pub version: u16,
    /// Who sends.
    pub role: Role,
}

/// Something that is sent as one bounded frame.
pub trait Message: Sized {
    /// Longest frame of this direction, in bytes.
    const BYTES_MAX: usize;

    /// Appends the message.
    fn encode(&self, out: &mut Vec<u8>);

    /// The message that these bytes are.
    ///
    /// # Errors
    /// [`Malformed`].
    fn decode(bytes: &[u8]) -> Result<Self, Malformed>;
}

impl Message for Hello {
    const BYTES_MAX: usize = 8;

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&self.version.to_le_bytes());
        out.push(self.role.byte());
    }

    fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(bytes);
        if cursor.array()? != MAGIC {
            return Err(Malformed::Unknown);
        }
        let hello = Self { version: cursor.u16()?, role: Role::from_byte(cursor.u8()?)? };
        cursor.end()?;
        Ok(hello)
    }
}

/// From the core to the key process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Sign a message of a TLS handshake.
    Sign {
        /// The answer bears the same number.
        id: u64,
        /// With which key.
        key: KeyId,
        /// TLS signature scheme.
        scheme: u16,
        /// What is signed, at most [`SIGNED_BYTES_MAX`].
        message: Vec<u8>,
    },
    /// Tell the public halves of all keys, and what is wrong with the rest.
    PublicKeys {
        /// The answer bears the same number.
        id: u64,
    },
    /// Of the keys of earlier configurations forget all but these. Those of the present one stay in any case.
    Keep {
        /// What is in use, at most twice [`KEYS_MAX`]: the present ones and those before.
        keys: Vec<KeyId>,
    },
    /// Open the vault: tell the master key in the slot that the key process has the key of.
    Unwrap {
        /// The answer bears the same number.
        id: u64,
        /// The vault's slots.
        slots: Vec<Slot>,
    },
    /// Make slots for a vault with this master key.
    Wrap {
        /// The answer bears the same number.
        id: u64,
        /// The master key.
        master: MasterKey,
    },
}

impl Message for Request {
    const BYTES_MAX: usize = KEPT_MAX * 32 + 64;

    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Sign { id, key, scheme, message } => {
                out.push(1);
                out.extend_from_slice(&id.to_le_bytes());
                out.extend_from_slice(&key.0);
                out.extend_from_slice(&scheme.to_le_bytes());
                put_bytes(out, message);
            }
            Self::PublicKeys { id } => {
                out.push(2);
                out.extend_from_slice(&id.to_le_bytes());
            }
            Self::Keep { keys } => {
                out.push(3);
                put_count(out, keys.len());
                for key in keys {
                    out.extend_from_slice(&key.0);
                }
            }
            Self::Unwrap { id, slots } => {
                out.push(4);
                out.extend_from_slice(&id.to_le_bytes());
                put_slots(out, slots);
            }
            Self::Wrap { id, master } => {
                out.push(5);
                out.extend_from_slice(&id.to_le_bytes());
                master.put(out);
            }
        }
    }

    fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(bytes);
        let request = match cursor.u8()? {
            1 => Self::Sign {
                id: cursor.u64()?,
                key: KeyId(cursor.array()?),
                scheme: cursor.u16()?,
                message: cursor.bytes(SIGNED_BYTES_MAX)?.to_vec(),
            },
            2 => Self::PublicKeys { id: cursor.u64()? },
            3 => Self::Keep { keys: cursor.list(KEPT_MAX, |cursor| cursor.array().map(KeyId))? },
            4 => Self::Unwrap { id: cursor.u64()?, slots: slots(&mut cursor)? },
            5 => Self::Wrap { id: cursor.u64()?, master: MasterKey::take(&mut cursor)? },
            _ => return Err(Malformed::Unknown),
        };
        cursor.end()?;
        Ok(request)
    }
}

fn put_slots(out: &mut Vec<u8>, slots: &[Slot]) {
    let mut bytes = Vec::new();
    for slot in slots {
        slot.encode(&mut bytes);
    }
    put_bytes(out, &bytes);
}

fn slots(cursor: &mut Cursor<'_>) -> Result<Vec<Slot>, Malformed> {
    Slot::decode_all(cursor.bytes(SLOTS_BYTES_MAX)?).map_err(|_| Malformed::Unknown)
}

/// Why a signature was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No key has this name.
    #[error("the key process does not have this key")]
    NoKey,
    /// The key does not sign in this way.
    #[error("the key does not have this signature scheme")]
    Scheme,
    /// It is not a message of a TLS handshake as a server signs it.
    #[error("this is nothing that a server signs in a handshake")]
    Purpose,
    /// Too many wait, or came in the last second.
    #[error("the key process has more to sign than it may")]
    Busy,
    /// Signing failed.
    #[error("the key could not sign")]
    Failed,
}

/// From the key process to the core.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// A signature.
    Signed {
        /// Of the request.
        id: u64,
        /// The signature as TLS has it.
        signature: Vec<u8>,
    },
    /// None.
    Refused {
        /// Of the request.
        id: u64,
        /// Why.
        cause: Refusal,
    },
    /// Public halves, by file.
    Keys {
        /// Of the request.
        id: u64,
        /// One for each file, at most [`KEYS_MAX`].
        keys: Vec<KeyEntry>,
    },
    /// The vault's master key.
    Unwrapped {
        /// Of the request.
        id: u64,
        /// The key.
        master: MasterKey,
    },
    /// Slots for a new vault.
    Wrapped {
        /// Of the request.
        id: u64,
        /// The slots.
        slots: Vec<Slot>,
    },
    /// The key of the vault cannot be read, or opens none of the slots.
    VaultRefused {
        /// Of the request.
        id: u64,
        /// What was looked at and what is wrong with it, for people.
        cause: String,
    },
}

impl Answer {
    /// The number of the request.
    pub fn id(&self) -> u64 {
        match self {
            Self::Signed { id, .. }
            | Self::Refused { id, .. }
            | Self::Keys { id, .. }
            | Self::Unwrapped { id, .. }
            | Self::Wrapped { id, .. }
            | Self::VaultRefused { id, .. } => *id,
        }
    }
}

impl Message for Answer {
    const BYTES_MAX: usize = KEYS_MAX * 16 * 1_024;

    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Signed { id, signature } => {
                out.push(1);
                out.extend_from_slice(&id.to_le_bytes());
                put_bytes(out, signature);
            }
            Self::Refused { id, cause } => {
                out.push(2);
                out.extend_from_slice(&id.to_le_bytes());
                out.push(match cause {
                    Refusal::NoKey => 0,
                    Refusal::Scheme => 1,
                    Refusal::Purpose => 2,
                    Refusal::Busy => 3,
                    Refusal::Failed => 4,
                });
            }
            Self::Keys { id, keys } => {
                out.push(3);
                out.extend_from_slice(&id.to_le_bytes());
                put_count(out, keys.len());
                for key in keys {
                    put_entry(out, key);
                }
            }
            Self::Unwrapped { id, master } => {
                out.push(4);
                out.extend_from_slice(&id.to_le_bytes());
                master.put(out);
            }
            Self::Wrapped { id, slots } => {
                out.push(5);
                out.extend_from_slice(&id.to_le_bytes());
                put_slots(out, slots);
            }
            Self::VaultRefused { id, cause } => {
                out.push(6);
                out.extend_from_slice(&id.to_le_bytes());
                put_text_cut(out, cause, FAULT_BYTES_MAX);
            }
        }
    }

    fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(bytes);
        let answer = match cursor.u8()? {
            1 => Self::Signed { id: cursor.u64()?, signature: cursor.bytes(SIGNATURE_BYTES_MAX)?.to_vec() },
            2 => Self::Refused {
                id: cursor.u64()?,
                cause: match cursor.u8()? {
                    0 => Refusal::NoKey,
                    1 => Refusal::Scheme,
                    2 => Refusal::Purpose,
                    3 => Refusal::Busy,
                    4 => Refusal::Failed,
                    _ => return Err(Malformed::Unknown),
                },
            },
            3 => Self::Keys { id: cursor.u64()?, keys: cursor.list(KEYS_MAX, entry)? },
            4 => Self::Unwrapped { id: cursor.u64()?, master: MasterKey::take(&mut cursor)? },
            5 => Self::Wrapped { id: cursor.u64()?, slots: slots(&mut cursor)? },
            6 => Self::VaultRefused { id: cursor.u64()?, cause: cursor.text(FAULT_BYTES_MAX)? },
            _ => return Err(Malformed::Unknown),
        };
        cursor.end()?;
        Ok(answer)
    }
}

/// From the supervisor to the key process.
#[derive(Debug, Clone, PartialEq)]
pub enum Order {
    /// Read these keys; they are the present ones from now on.
    Load {
        /// At most [`KEYS_MAX`].
        sources: Vec<Source>,
    },
    /// Serve the core at the other end of the socket that comes with this message.
    Serve,
    /// Read the key that opens the vault. Comes before keys are loaded the first time.
    Vault {
        /// Where it is.
        source: VaultSource,
        /// A recovery key that goes into the vault, should one be made; known, or none.
        recovery: Passphrase,
    },
}

impl Message for Order {
    const BYTES_MAX: usize = KEYS_MAX * 13 * 1_024;

    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Load { sources } => {
                out.push(1);
                put_count(out, sources.len());
                for source in sources {
                    put_source(out, source);
                }
            }
            Self::Serve => out.push(2),
            Self::Vault { source, recovery } => {
                out.push(3);
                put_vault_source(out, source);
                put_passphrase(out, recovery);
            }
        }
    }

    fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(bytes);
        let order = match cursor.u8()? {
            1 => Self::Load { sources: cursor.list(KEYS_MAX, source)? },
            2 => Self::Serve,
            3 => Self::Vault {
                source: vault_source(&mut cursor)?,
                recovery: match passphrase(&mut cursor)? {
                    recovery @ (Passphrase::None | Passphrase::Known(_)) => recovery,
                    Passphrase::File(_) | Passphrase::Credential(_) => return Err(Malformed::Unknown),
                },
            },
            _ => return Err(Malformed::Unknown),
        };
        cursor.end()?;
        Ok(order)
    }
}

/// From the key process to the supervisor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Keys were read.
    Loaded {
        /// How many are good.
        good: u16,
        /// What is wrong with the others, for people.
        faults: String,
    },
}

impl Message for Outcome {
    const BYTES_MAX: usize = 16 * 1_024;

    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Loaded { good, faults } => {
                out.push(1);
                out.extend_from_slice(&good.to_le_bytes());
                put_text_cut(out, faults, FAULT_BYTES_MAX);
            }
        }
    }

    fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(bytes);
        let outcome = match cursor.u8()? {
            1 => Self::Loaded { good: cursor.u16()?, faults: cursor.text(FAULT_BYTES_MAX)? },
            _ => return Err(Malformed::Unknown),
        };
        cursor.end()?;
        Ok(outcome)
    }
}
