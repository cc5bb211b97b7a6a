//! The judgement on one subject.

use crate::compile::CompiledPolicy;
use crate::denial::{Denial, RuleId};
use crate::standing::Standing;
use crate::{Origin, Subject};

/// The rule that permits `what`.
pub(crate) fn judge(
    policy: &CompiledPolicy,
    _who: &Standing,
    _by: Origin,
    what: &impl Subject,
) -> Result<RuleId, Denial> {
    if policy.development {
        return Ok(RuleId::DEVELOPMENT);
    }
    Err(Denial::NoRule { action: what.action() })
}
