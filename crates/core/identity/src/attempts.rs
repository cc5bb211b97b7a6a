//! Login attempts: failures are counted, answers to them come later and later, and then nobody is asked for a while.
//!
//! An attempt is charged when it begins and the charge is given back when it succeeds or comes to nothing, so that many
//! attempts at once are not more than many in turn. Failures are counted for the address, for the network around it, for the
//! name and for the Client Identifier; whichever is held keeps the attempt from a password check. What has proved itself
//! before (a certificate, a name from its address, its network or with its Client Identifier) has an allowance of its own,
//! which the failures of others do not use up. Nothing lasts: every hold ends by itself.
//!
//! Memory is fixed ([`AttemptLimits::entries`]); see [`table`] for what goes when it is full. Nothing here reads a clock or
//! keeps a name: a key is a keyed digest.

mod ledger;
mod limits;
mod rate;
mod record;
mod strikes;
mod table;
mod tag;

pub use ledger::{Attempt, Attempts, Begun, Charge, Failed, Scope};
pub use limits::AttemptLimits;
pub use rate::{ConnectionRate, RateLimits};
pub use record::RecordError;
pub(crate) use record::{Reader, Writer, sealed, unsealed};
pub use tag::TagKey;
