//! The rules in force: everything read from files, put together, replaced as a whole at a reload.

use std::net::IpAddr;
use std::sync::Arc;

use motte_access::{CertificateFacts, ClientPrincipal, CompiledPolicy, Methods, Security};
use motte_broker::{Link, Reload};
use motte_config::{Kind, Listener};
use motte_identity::{Authenticator, Requirements};
use motte_session::SessionLimits;
use motte_transport::{ServerTls, Stages, Stream};

use crate::admission::Bounds;
use crate::clock::unix_ms;
use crate::ocsp::Responders;
use crate::remote_service::RemoteService;
use crate::revocation::List;
use crate::token_keys::TokenKeys;

/// Why a live client may no longer stay, beyond what its credentials say.
pub(crate) type Distrust = Arc<dyn Fn(&ClientPrincipal) -> Result<(), String> + Send + Sync>;

/// What holds for the connections of one listener.
#[derive(Debug, Clone)]
pub(crate) struct ListenerRules {
    pub(crate) name: Arc<str>,
    pub(crate) written: Listener,
    pub(crate) limits: Arc<SessionLimits>,
    pub(crate) stages: Arc<Stages>,
    pub(crate) requirements: Requirements,
    pub(crate) authenticator: Authenticator,
    pub(crate) connect_timeout_ms: u64,
    /// Revocation lists from files; those from addresses come beside them.
    pub(crate) lists: Vec<List>,
    /// The service or directory that says who clients are, where the listener takes its word.
    pub(crate) service: Option<Arc<RemoteService>>,
    /// Where keys of issuers are asked for that are missing.
    pub(crate) token_keys: TokenKeys,
    /// Who is asked about certificates of clients.
    pub(crate) responders: Responders,
}

impl ListenerRules {
    /// Whether the address filter lets an address in: what is refused wins, and an empty list of admitted ones admits all.
    pub(crate) fn admits(&self, address: IpAddr) -> bool {
        let Listener { allow, deny, .. } = &self.written;
        !deny.iter().any(|net| net.contains(&address))
            && (allow.is_empty() || allow.iter().any(|net| net.contains(&address)))
    }

    /// Whether a password proves anything here.
    pub(crate) fn takes_passwords(&self) -> bool {
        self.requirements.any_of.and(self.requirements.all_of).has(Methods::PASSWORD)
    }

    /// Whether a token proves anything here.
    pub(crate) fn takes_tokens(&self) -> bool {
        self.requirements.any_of.and(self.requirements.all_of).has(Methods::TOKEN)
    }

    /// Whether peers are proxies, so that the client's address comes with their header.
    pub(crate) fn is_behind_proxy(&self) -> bool {
        self.stages.proxies.is_some()
    }

    /// How connections are protected.
    pub(crate) fn security(&self) -> Security {
        match self.written.kind {
            Kind::Unix => Security::Local,
            Kind::Tls | Kind::Wss => Security::Tls,
            Kind::Tcp | Kind::Ws => Security::Plain,
        }
    }

    /// A connection's facts for the broker.
    pub(crate) fn link(&self, stream: &Stream) -> Link {
        Link {
            listener: Arc::clone(&self.name),
            address: stream.peer().map(|peer| peer.ip()),
            security: self.security(),
            limits: Arc::clone(&self.limits),
        }
    }
}

/// All rules.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) policy: Arc<CompiledPolicy>,
    /// What its files say, to know another one.
    pub(crate) policy_text: Arc<str>,
    /// Accounts of which one gives a code where something is of high risk.
    pub(crate) second_factor: Arc<[String]>,
    pub(crate) listeners: Vec<Arc<ListenerRules>>,
    pub(crate) bounds: Bounds,
    /// Limits of Sessions that come back from a record.
    pub(crate) limits: Arc<SessionLimits>,
    /// Bytes that may wait in the outputs of one worker before it pauses reading.
    pub(crate) backlog_max: usize,
    /// Bytes of messages that may wait or be retained.
    pub(crate) memory_max: u64,
}

impl Rules {
    /// The rules of a listener.
    pub(crate) fn listener(&self, name: &str) -> Option<&Arc<ListenerRules>> {
        self.listeners.iter().find(|listener| &*listener.name == name)
    }

    /// The limits for a Session that came by a listener, if it is still there.
    pub(crate) fn limits_for(&self, listener: &str) -> Arc<SessionLimits> {
        self.listener(listener).map_or_else(|| Arc::clone(&self.limits), |rules| Arc::clone(&rules.limits))
    }

    /// Whether a client that was accepted by earlier rules is accepted by these.
    pub(crate) fn still_valid(&self, client: &ClientPrincipal) -> Result<(), String> {
        let Some(listener) = self.listener(&client.listener) else {
            return Err("its listener is gone".to_owned());
        };
        if !listener.requirements.satisfied_by(client.methods) {
            return Err("what it proved is not enough for its listener any more".to_owned());
        }
        let wants_certificate = listener.stages.tls.as_ref().is_some_and(ServerTls::requires_certificate);
        if wants_certificate && client.certificate.is_none() {
            return Err("its listener wants a certificate now, and it showed none".to_owned());
        }
        if client.address.is_some_and(|address| !listener.admits(address)) {
            return Err("its listener does not admit its address any more".to_owned());
        }
        if let Some(service) = &listener.service {
            service.still_gives(client)?;
        }
        listener.authenticator.still_valid(client, unix_ms() / 1_000)
    }

    /// Whether the certificate that a live client came in with gives it the same identity by these rules; `shown` is what it
    /// showed, with the authorities that vouch for it now.
    pub(crate) fn still_certified(
        &self,
        client: &ClientPrincipal,
        shown: &CertificateFacts,
    ) -> Result<(), String> {
        let Some(listener) =
            self.listener(&client.listener).filter(|_| client.methods.has(Methods::CERTIFICATE))
        else {
            return Ok(());
        };
        match listener.requirements.certificates.identity(shown) {
            Ok(identity) if identity == *client.identity => Ok(()),
            Ok(_) => Err("its certificate gives it another identity now".to_owned()),
            Err((cause, _)) => Err(cause.to_owned()),
        }
    }

    /// These rules as a shard takes them; `distrust` knows what only the worker knows of its connections.
    pub(crate) fn reload(self: &Arc<Self>, distrust: Distrust) -> Reload {
        let (for_valid, for_limits) = (Arc::clone(self), Arc::clone(self));
        Reload {
            policy: Arc::clone(&self.policy),
            still_valid: Arc::new(move |client| {
                for_valid.still_valid(client)?;
                distrust(client)
            }),
            limits: Arc::new(move |name| for_limits.listener(name).map(|rules| Arc::clone(&rules.limits))),
        }
    }
}
