//! Who may do what: principals, policy, decisions, and the [`Gate`].
//!
//! Deny by default. A rule that denies wins over one that allows; where no rule speaks, the answer is no. Every permission
//! is an [`Authorized`] value that only the Gate can make, so that what was not decided cannot be routed or delivered.
//!
//! Never here: Sessions, packets, clocks, files.

mod action;
pub mod analysis;
mod client_id;
mod denial;
mod error;
mod explain;
mod gate;
mod index;
mod permissive;
mod policy;
mod principal;
mod reader;
mod registry;
mod source;
mod standing;
mod template;
mod token;
pub mod usage;
mod written;

pub use action::{Action, Actions, Origin};
pub use client_id::assigned_client_id;
pub use denial::Denial;
pub use error::PolicyError;
pub use explain::Explanation;
pub use gate::{AccessDecision, Authorized, Gate, Grant, Subject, Target};
pub use permissive::{Leniency, PermissiveRole, PermissiveUntil};
pub use policy::{CompiledPolicy, Policy, PolicyGeneration, RuleId, RulePlace};
pub use principal::{CertificateFacts, ClientPrincipal, DirectoryFacts, Methods, Principal, Security};
pub use standing::Standing;
pub use token::{TOKEN_FILTER_BYTES_MAX, TOKEN_FILTERS_MAX, TokenFacts, TokenTopics};
