//! Who may do what: principals, policy, decisions and the Gate.

mod action;
mod compile;
mod decide;
mod denial;
mod gate;
mod principal;
mod standing;

pub use action::{Action, Origin};
pub use compile::CompiledPolicy;
pub use denial::{Denial, RuleId, RulePlace};
pub use gate::{AccessDecision, Authorized, Gate, Grant, PolicyGeneration, Subject, Target};
pub use principal::{CertificateFacts, ClientPrincipal, Methods, Principal, Security};
pub use standing::Standing;
