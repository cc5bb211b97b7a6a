//! Messages to and from the process that connects out. Whoever asks names a source by its number in a configuration, never
//! an address; where the number leads, and with which credentials, only the supervisor says.

use motte_seal::SecretString;
use zeroize::Zeroizing;

use crate::cursor::{Cursor, Malformed, put_bytes, put_count, put_text_cut};
use crate::message::Message;
use crate::outward_source::{
    HEADER_BYTES_MAX, OutwardSource, SOURCE_BYTES_MAX, SetId, put_facts, put_optional, source,
};

/// Sources of one configuration.
pub const SOURCES_MAX: usize = motte_config::OUTWARD_MAX;
/// Longest body of a request, in bytes.
pub const BODY_BYTES_MAX: usize = 32 * 1_024;
/// Longest body of an answer, in bytes.
pub const ANSWER_BYTES_MAX: usize = 8 * 1_024 * 1_024;
/// Longest text of certificates of authorities, in bytes; those of a whole system are some 220 KiB.
pub const AUTHORITIES_BYTES_MAX: usize = 1_024 * 1_024;
/// Different texts of authorities in one configuration.
const AUTHORITIES_MAX: usize = motte_config::ISSUERS_MAX + 2;
const DETAIL_BYTES_MAX: usize = 512;

/// From the core to the process that connects out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// Ask a source.
    Ask {
        /// The answer bears the same number.
        id: u64,
        /// Of which configuration.
        set: SetId,
        /// Its place there.
        source: u16,
        /// What is sent, at most [`BODY_BYTES_MAX`]; it may hold a password.
        body: Zeroizing<Vec<u8>>,
    },
}

impl Message for Ask {
    const BYTES_MAX: usize = BODY_BYTES_MAX + 64;

    fn encode(&self, out: &mut Vec<u8>) {
        let Self::Ask { id, set, source, body } = self;
        out.push(1);
        out.extend_from_slice(&id.to_le_bytes());
        out.extend_from_slice(&set.0.to_le_bytes());
        out.extend_from_slice(&source.to_le_bytes());
        put_bytes(out, body);
    }

    fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(bytes);
        let ask = match cursor.u8()? {
            1 => Self::Ask {
                id: cursor.u64()?,
                set: SetId(cursor.u64()?),
                source: cursor.u16()?,
                body: Zeroizing::new(cursor.bytes(BODY_BYTES_MAX)?.to_vec()),
            },
            _ => return Err(Malformed::Unknown),
        };
        cursor.end()?;
        Ok(ask)
    }
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unanswered {
    /// No such source.
    #[error("the process that connects out does not know this source")]
    NoSource,
    /// More wait for this source than may.
    #[error("more requests wait for this source than may")]
    Busy,
    /// Its name has no address, nobody listens there, or TLS fails.
    #[error("no connection")]
    Unreachable,
    /// It did not answer in time.
    #[error("no answer in time")]
    Slow,
    /// Its answer is longer than permitted.
    #[error("the answer is longer than permitted")]
    TooLong,
    /// It answered something that is no HTTP, or broke off.
    #[error("no whole answer")]
    Broken,
    /// It described itself in a way that must not be followed.
    #[error("a description that must not be followed")]
    Unfit,
}

impl Unanswered {
    const ALL: [Self; 7] =
        [Self::NoSource, Self::Busy, Self::Unreachable, Self::Slow, Self::TooLong, Self::Broken, Self::Unfit];

    fn byte(self) -> u8 {
        match self {
            Self::NoSource => 0,
            Self::Busy => 1,
            Self::Unreachable => 2,
            Self::Slow => 3,
            Self::TooLong => 4,
            Self::Broken => 5,
            Self::Unfit => 6,
        }
    }
}

/// From the process that connects out to the core.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// What the source answered.
    Answered {
        /// Of the request.
        id: u64,
        /// Of HTTP.
        status: u16,
        /// The body, at most [`ANSWER_BYTES_MAX`].
        body: Vec<u8>,
    },
    /// Nothing.
    Failed {
        /// Of the request.
        id: u64,
        /// Why.
        cause: Unanswered,
        /// The same for people.
        detail: String,
    },
}

impl Message for Told {
    const BYTES_MAX: usize = ANSWER_BYTES_MAX + 64;

    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Answered { id, status, body } => {
                out.push(1);
                out.extend_from_slice(&id.to_le_bytes());
                out.extend_from_slice(&status.to_le_bytes());
                put_bytes(out, body);
            }
            Self::Failed { id, cause, detail } => {
                out.push(2);
                out.extend_from_slice(&id.to_le_bytes());
                out.push(cause.byte());
                put_text_cut(out, detail, DETAIL_BYTES_MAX);
            }
        }
    }

    fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(bytes);
        let told = match cursor.u8()? {
            1 => Self::Answered {
                id: cursor.u64()?,
                status: cursor.u16()?,
                body: cursor.bytes(ANSWER_BYTES_MAX)?.to_vec(),
            },
            2 => {
                let (id, byte) = (cursor.u64()?, cursor.u8()?);
                let cause = Unanswered::ALL.into_iter().find(|cause| cause.byte() == byte);
                Self::Failed {
                    id,
                    cause: cause.ok_or(Malformed::Unknown)?,
                    detail: cursor.text(DETAIL_BYTES_MAX)?,
                }
            }
            _ => return Err(Malformed::Unknown),
        };
        cursor.end()?;
        Ok(told)
    }
}

/// From the supervisor to the process that connects out.
#[derive(Debug, Clone, PartialEq)]
pub enum OutwardOrder {
    /// These sources may be asked from now on, beside those of configurations that were asked for lately.
    Load {
        /// Of which configuration.
        set: SetId,
        /// PEM texts of authorities.
        authorities: Vec<String>,
        /// At most [`SOURCES_MAX`].
        sources: Vec<OutwardSource>,
    },
    /// Serve the core at the other end of the socket that comes with this message.
    Serve,
}

impl Message for OutwardOrder {
    const BYTES_MAX: usize = AUTHORITIES_MAX * (AUTHORITIES_BYTES_MAX + 64) + SOURCES_MAX * SOURCE_BYTES_MAX;

    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Load { set, authorities, sources } => {
                out.push(1);
                out.extend_from_slice(&set.0.to_le_bytes());
                put_count(out, authorities.len());
                for text in authorities {
                    put_bytes(out, text.as_bytes());
                }
                put_count(out, sources.len());
                for source in sources {
                    put_facts(out, &source.facts);
                    out.push(source.authorities);
                    put_count(out, source.headers.len());
                    for header in &source.headers {
                        put_bytes(out, header.name.as_bytes());
                        put_bytes(out, header.value.expose().as_bytes());
                    }
                    let password = source.password.as_deref().map(SecretString::expose);
                    put_optional(out, password, HEADER_BYTES_MAX);
                }
            }
            Self::Serve => out.push(2),
        }
    }

    fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(bytes);
        let order = match cursor.u8()? {
            1 => Self::Load {
                set: SetId(cursor.u64()?),
                authorities: cursor.list(AUTHORITIES_MAX, |cursor| cursor.text(AUTHORITIES_BYTES_MAX))?,
                sources: cursor.list(SOURCES_MAX, source)?,
            },
            2 => Self::Serve,
            _ => return Err(Malformed::Unknown),
        };
        cursor.end()?;
        Ok(order)
    }
}

/// From the process that connects out to the supervisor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutwardOutcome {
    /// The sources can be asked, but for what is wrong with some, for people.
    Loaded {
        /// Empty: nothing.
        faults: String,
    },
}

impl Message for OutwardOutcome {
    const BYTES_MAX: usize = 16 * 1_024;

    fn encode(&self, out: &mut Vec<u8>) {
        let Self::Loaded { faults } = self;
        out.push(1);
        put_text_cut(out, faults, crate::key::FAULT_BYTES_MAX);
    }

    fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(bytes);
        let outcome = match cursor.u8()? {
            1 => Self::Loaded { faults: cursor.text(crate::key::FAULT_BYTES_MAX)? },
            _ => return Err(Malformed::Unknown),
        };
        cursor.end()?;
        Ok(outcome)
    }
}
