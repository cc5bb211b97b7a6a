//! Rules for tokens, from the configuration and the files that it names; and whether what tokens and groups may give is there.

use std::collections::BTreeSet;
use std::sync::Arc;

use motte_access::CompiledPolicy;
use motte_config::{AuthMethod, Config, KeySource, Listener, TokenIssuer};
use motte_identity::{HeldKeys, KeySet, TokenGroups, TokenIssuers, TokenRules, revoked_tokens};

use crate::assemble::{Faults, text};
use crate::token_keys::TokenKeys;

/// Reads the keys of issuers and the numbers of revoked tokens; what is fetched comes later.
pub(crate) fn read(
    config: &Config,
    policy: Option<&CompiledPolicy>,
    fetched: &TokenKeys,
    faults: &mut Faults<'_>,
) -> TokenIssuers {
    let rules = config.tokens.iter().filter_map(|issuer| {
        check_roles(config, policy, AuthMethod::Jwt, "auth.jwt.roles", &mut issuer.roles.iter(), faults);
        let by_group = &mut issuer.groups.iter().flat_map(|(_, roles)| roles);
        check_roles(config, policy, AuthMethod::Jwt, "auth.jwt.groups", by_group, faults);
        one(issuer, fetched, faults)
    });
    TokenIssuers::new(rules.collect())
}

fn one(issuer: &TokenIssuer, fetched: &TokenKeys, faults: &mut Faults<'_>) -> Option<TokenRules> {
    let keys = match &issuer.keys {
        KeySource::File(path) => text(path, "key set", faults).and_then(|text| {
            let parsed = KeySet::parse(&text);
            let parsed = parsed.map_err(|error| faults.about(path, &format!("{}: {error}", path.display())));
            parsed.ok().map(HeldKeys::fixed)
        }),
        KeySource::Url(_) | KeySource::Discovery { .. } => Some(fetched.of(issuer)),
    };
    let revoked = match &issuer.revoked_file {
        Some(path) => revoked_tokens(&text(path, "list of revoked tokens", faults)?),
        None => std::collections::BTreeSet::new(),
    };
    let keys: Arc<HeldKeys> = keys?;
    Some(TokenRules {
        issuer: issuer.issuer.clone(),
        audience: issuer.audience.clone(),
        identities: issuer.identities.clone(),
        identity_claim: issuer.identity_claim.clone(),
        roles_claim: issuer.roles_claim.clone(),
        roles: issuer.roles.iter().cloned().collect(),
        groups_claim: issuer.groups_claim.clone(),
        groups: TokenGroups::new(issuer.groups.iter().cloned()),
        topics_claim: issuer.topics_claim.clone(),
        leeway_s: u64::from(issuer.leeway_s),
        lifetime_s_max: u64::from(issuer.lifetime_s_max),
        keys,
        revoked,
    })
}

/// Notes roles that groups of a directory would give and that no policy has.
pub(crate) fn check_group_roles(config: &Config, policy: Option<&CompiledPolicy>, faults: &mut Faults<'_>) {
    let Some(ldap) = &config.auth_ldap else { return };
    let roles: BTreeSet<&String> = ldap.groups.iter().flat_map(|(_, roles)| roles).collect();
    check_roles(config, policy, AuthMethod::Ldap, "auth.ldap.groups", &mut roles.into_iter(), faults);
}

fn check_roles(
    config: &Config,
    policy: Option<&CompiledPolicy>,
    method: AuthMethod,
    key: &str,
    roles: &mut dyn Iterator<Item = &String>,
    faults: &mut Faults<'_>,
) {
    let takes =
        |listener: &&Listener| listener.methods.iter().chain(&listener.all_of).any(|one| *one == method);
    for name in roles {
        let mut listeners = config.listeners.iter().filter(takes);
        if let Some(policy) = policy
            && let Some(listener) = listeners.find(|listener| !policy.knows_role(&listener.name, name))
        {
            faults.push(format!(
                "{key}: there is no role `{name}` in the policy of listener {}\n  remedy: define it with [role.{name}], or remove it from {key}",
                listener.name
            ));
        }
    }
}
