//! Where an identity may come from: an address beside the proof, never in place of it.

use ipnet::IpNet;

use crate::denial::Denial;
use crate::gate::Gate;
use crate::policy::{CompiledPolicy, RuleId};
use crate::principal::{ClientPrincipal, Methods};

impl Gate {
    /// Whether a client comes from an address that the policy names for its identity; where it names none, every one will do.
    ///
    /// # Errors
    /// [`Denial::Source`].
    pub fn source_permitted(&self, client: &ClientPrincipal) -> Result<RuleId, Denial> {
        if source_fits(client, self.policy()) {
            return Ok(RuleId::BUILT_IN);
        }
        let address = client
            .address
            .map_or_else(|| "a connection without an address".to_owned(), |one| one.to_string());
        Err(Denial::Source { identity: client.identity.to_string(), address })
    }
}

/// Whether a client comes from where its identity may. What the general policy says holds at every listener, because Sessions
/// are the whole broker's; a listener's own policy can narrow it.
pub(crate) fn source_fits(client: &ClientPrincipal, policy: &CompiledPolicy) -> bool {
    if policy.development || client.methods.has(Methods::ANONYMOUS) {
        return true;
    }
    sources(&client.identity, &client.listener, policy).all(|nets| {
        // Without an address, as by a Unix socket, it comes from none of them.
        let address = client.address.map(|address| address.to_canonical());
        address.is_some_and(|address| nets.iter().any(|net| net.contains(&address)))
    })
}

/// The lists of addresses to which an identity is held at a listener, all of them.
pub(crate) fn sources<'p>(
    identity: &'p str,
    listener: &str,
    policy: &'p CompiledPolicy,
) -> impl Iterator<Item = &'p [IpNet]> {
    let all = std::iter::once(&policy.everywhere).chain(policy.by_listener.get(listener));
    all.filter_map(move |one| one.identities.get(identity)?.from.as_deref())
}
