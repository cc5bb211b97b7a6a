//! A policy made ready to decide.

use std::sync::Arc;

use crate::PolicyGeneration;
use crate::denial::{Denial, RuleId};
use crate::principal::ClientPrincipal;

/// A policy made ready to decide.
#[derive(Debug)]
pub struct CompiledPolicy {
    generation: PolicyGeneration,
    pub(crate) development: bool,
}

impl CompiledPolicy {
    /// The policy for development only: everything is permitted, but publishing to the broker's own topics.
    pub const fn development_allow_all(generation: PolicyGeneration) -> Self {
        Self { generation, development: true }
    }

    /// The generation it was compiled as.
    pub const fn generation(&self) -> PolicyGeneration {
        self.generation
    }

    pub(crate) const fn bounds_of(&self, _rule: RuleId) -> (u8, usize) {
        (2, usize::MAX)
    }

    pub(crate) fn client_id_permitted(&self, client: &ClientPrincipal) -> Result<RuleId, Denial> {
        if self.development {
            return Ok(RuleId::DEVELOPMENT);
        }
        Err(Denial::UnknownIdentity { identity: Arc::clone(&client.identity) })
    }
}
