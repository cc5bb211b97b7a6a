//! One principal's rights, resolved for one policy.

use std::sync::Arc;

use crate::compile::CompiledPolicy;
use crate::{PolicyGeneration, Principal};

/// A principal's rights under one policy, placeholders filled in.
#[derive(Debug)]
pub struct Standing {
    principal: Arc<Principal>,
    generation: PolicyGeneration,
}

impl Standing {
    pub(crate) fn resolve(
        principal: Arc<Principal>,
        _policy: &CompiledPolicy,
        generation: PolicyGeneration,
    ) -> Self {
        Self { principal, generation }
    }

    /// Whose rights they are.
    pub const fn principal(&self) -> &Arc<Principal> {
        &self.principal
    }

    /// The policy they were resolved for.
    pub const fn generation(&self) -> PolicyGeneration {
        self.generation
    }
}
