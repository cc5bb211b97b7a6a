//! LDAP (RFC 4511) as values: names, filters, messages to and from bytes, and the conversation of one login.
//!
//! It opens no socket, waits for nothing and reads no clock: bytes go in, what is to be sent comes out. What a directory
//! answers is taken for hostile, and what a client calls itself is a value in a name or a filter, never a part of its form.

mod ber;
mod denial;
mod filter;
mod filter_text;
mod login;
mod message;
mod name;
mod plan;

pub use ber::{Framed, Malformed, frame};
pub use denial::Denial;
pub use filter::{Filter, Values};
pub use filter_text::FilterFault;
pub use login::{Login, Next, Outcome, Trouble};
pub use message::{Entry, LdapResult, Op, Response, Search, bind, search, start_tls, unbind};
pub use name::{Name, NameTemplate, escaped};
pub use plan::{Groups, Plan, PlanFault, PlanText, Way};

/// Longest user name, in bytes.
pub const USER_BYTES_MAX: usize = 256;
/// Longest password, in bytes.
pub const PASSWORD_BYTES_MAX: usize = 1_024;
/// Longest name of an entry that is taken from an answer or a configuration, in bytes.
pub const NAME_BYTES_MAX: usize = 1_024;
/// Groups that one entry may be in.
pub const GROUPS_MAX: usize = 1_000;
