//! Who asks: the parties a policy can speak of, and the facts that were proved about them.

use std::net::IpAddr;
use std::sync::Arc;

/// A party that rights belong to.
///
/// It is never inferred from an absent or an empty name: each kind is a variant of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Principal {
    /// An MQTT Client that authenticated, or that was let in without.
    Client(ClientPrincipal),
    /// A connection to another broker, with rights of its own.
    Bridge {
        /// Name of the bridge in the configuration.
        name: Arc<str>,
    },
    /// A person or a program that administers the broker.
    Operator {
        /// Name of the operator.
        name: Arc<str>,
    },
    /// Another node of the cluster. It has no rights: it vouches for whom it names.
    Node {
        /// Name of the node.
        name: Arc<str>,
    },
    /// The broker itself, confined to `$SYS/` and `$motte/`.
    System,
}

impl Principal {
    /// The name to write in a log: an identity, a configured name, or `system`.
    pub fn name(&self) -> &str {
        match self {
            Self::Client(client) => &client.identity,
            Self::Bridge { name } | Self::Operator { name } | Self::Node { name } => name,
            Self::System => "system",
        }
    }

    /// What kind of party it is, as a word for a log.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Client(_) => "client",
            Self::Bridge { .. } => "bridge",
            Self::Operator { .. } => "operator",
            Self::Node { .. } => "node",
            Self::System => "system",
        }
    }

    /// The client, if it is one.
    pub const fn as_client(&self) -> Option<&ClientPrincipal> {
        match self {
            Self::Client(client) => Some(client),
            Self::Bridge { .. } | Self::Operator { .. } | Self::Node { .. } | Self::System => None,
        }
    }
}

/// An MQTT Client and what is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientPrincipal {
    /// The name that authentication proved; a policy's `[identity.NAME]`.
    pub identity: Arc<str>,
    /// The Client Identifier in use (MQTT-3.1.3-2).
    pub client_id: Arc<str>,
    /// The User Name of CONNECT. It is proved only when [`Self::proved_user_name`] says so.
    pub user_name: Option<Arc<str>>,
    /// What the client's certificate says, if it gave one that was verified.
    pub certificate: Option<Arc<CertificateFacts>>,
    /// How the client authenticated.
    pub methods: Methods,
    /// Name of the listener that accepted the connection.
    pub listener: Arc<str>,
    /// How the connection is protected.
    pub security: Security,
    /// The peer's address; `None` on a Unix socket.
    pub address: Option<IpAddr>,
}

impl ClientPrincipal {
    /// The certificate, if it is one of the methods the client authenticated with.
    ///
    /// A policy grants nothing for a certificate that was shown but not asked for as proof.
    pub fn proved_certificate(&self) -> Option<&CertificateFacts> {
        self.certificate.as_deref().filter(|_| self.methods.contains(Methods::CERTIFICATE))
    }

    /// The User Name, if a method that verifies it was used; otherwise it is a text of the client's choice.
    pub fn proved_user_name(&self) -> Option<&str> {
        let verifying = [Methods::PASSWORD, Methods::TOKEN, Methods::SCRAM];
        let is_proved = verifying.into_iter().any(|method| self.methods.contains(method));
        self.user_name.as_deref().filter(|_| is_proved)
    }
}

/// What a verified client certificate says (RFC 5280).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CertificateFacts {
    /// Common Name of the subject.
    pub cn: Option<String>,
    /// Organizational Unit of the subject.
    pub ou: Option<String>,
    /// Organization of the subject.
    pub o: Option<String>,
    /// DNS names among the Subject Alternative Names.
    pub dns_names: Vec<String>,
    /// URIs among the Subject Alternative Names, such as a SPIFFE ID.
    pub uris: Vec<String>,
    /// Serial number, in hexadecimal.
    pub serial: String,
    /// SHA-256 of the certificate, in hexadecimal.
    pub fingerprint: String,
}

/// The methods a client authenticated with, as a set of bits that records may keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Methods(pub u8);

impl Methods {
    /// No method; nobody can be let in with it.
    pub const NONE: Self = Self(0);
    /// Let in without a proof.
    pub const ANONYMOUS: Self = Self(1);
    /// User Name and Password.
    pub const PASSWORD: Self = Self(1 << 1);
    /// A client certificate in the TLS handshake.
    pub const CERTIFICATE: Self = Self(1 << 2);
    /// A bearer token, such as a JWT.
    pub const TOKEN: Self = Self(1 << 3);
    /// A one-time code next to another method (RFC 6238).
    pub const TOTP: Self = Self(1 << 4);
    /// A SCRAM exchange (RFC 7677).
    pub const SCRAM: Self = Self(1 << 5);

    /// Every method with the word that a policy names it by.
    pub const NAMES: [(&'static str, Self); 6] = [
        ("anonymous", Self::ANONYMOUS),
        ("password", Self::PASSWORD),
        ("certificate", Self::CERTIFICATE),
        ("token", Self::TOKEN),
        ("totp", Self::TOTP),
        ("scram", Self::SCRAM),
    ];

    /// The methods of both.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all methods of `other` are among these; never for an empty `other`.
    pub const fn contains(self, other: Self) -> bool {
        other.0 != 0 && self.0 & other.0 == other.0
    }

    /// Whether the client proved nothing about itself.
    pub const fn is_unproved(self) -> bool {
        self.0 & !Self::ANONYMOUS.0 == 0
    }
}

/// How a connection is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Security {
    /// TCP or WebSocket without TLS.
    Plain,
    /// TLS.
    Tls,
    /// A Unix socket on this machine.
    Local,
}

impl Security {
    /// Every kind of protection.
    pub const ALL: [Self; 3] = [Self::Plain, Self::Tls, Self::Local];

    /// The word that a policy names it by.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Tls => "tls",
            Self::Local => "local",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_set_of_methods_contains_nothing_and_is_in_nothing() {
        assert!(!Methods::NONE.contains(Methods::PASSWORD));
        assert!(!Methods::PASSWORD.contains(Methods::NONE));
        assert!(Methods::NONE.is_unproved() && Methods::ANONYMOUS.is_unproved());
        let both = Methods::PASSWORD.with(Methods::CERTIFICATE);
        assert!(both.contains(Methods::PASSWORD) && both.contains(both) && !both.is_unproved());
    }
}
