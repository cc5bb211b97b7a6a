//! Rules for tokens, from the configuration and the files that it names.

use std::sync::Arc;

use motte_access::CompiledPolicy;
use motte_config::{AuthMethod, Config, Listener};
use motte_identity::{KeySet, TokenRules, revoked_tokens};

use crate::assemble::{Faults, text};

/// Reads the issuer's keys and the numbers of revoked tokens; `None` where no tokens are taken, or something is wrong.
pub(crate) fn read(
    config: &Config,
    policy: Option<&CompiledPolicy>,
    faults: &mut Faults<'_>,
) -> Option<Arc<TokenRules>> {
    let written = config.tokens.as_ref()?;
    for name in &written.roles {
        let takes = |listener: &&Listener| {
            listener.methods.iter().chain(&listener.all_of).any(|method| *method == AuthMethod::Jwt)
        };
        let mut listeners = config.listeners.iter().filter(takes);
        if let Some(policy) = policy
            && let Some(listener) = listeners.find(|listener| !policy.knows_role(&listener.name, name))
        {
            faults.push(format!(
                "auth.jwt.roles: there is no role `{name}` in the policy of listener {}\n  remedy: define it with [role.{name}], or remove it from auth.jwt.roles",
                listener.name
            ));
        }
    }
    let path = &written.jwks_file;
    let keys = text(path, "key set", faults).and_then(|text| {
        let parsed = KeySet::parse(&text);
        parsed.map_err(|error| faults.about(path, &format!("{}: {error}", path.display()))).ok()
    });
    let revoked = match &written.revoked_file {
        Some(path) => revoked_tokens(&text(path, "list of revoked tokens", faults)?),
        None => std::collections::BTreeSet::new(),
    };
    Some(Arc::new(TokenRules {
        issuer: written.issuer.clone(),
        audience: written.audience.clone(),
        identity_claim: written.identity_claim.clone(),
        roles_claim: written.roles_claim.clone(),
        roles: written.roles.iter().cloned().collect(),
        leeway_s: u64::from(written.leeway_s),
        lifetime_s_max: u64::from(written.lifetime_s_max),
        keys: keys?,
        revoked,
    }))
}
