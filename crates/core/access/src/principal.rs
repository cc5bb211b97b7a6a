//! Who is responsible for something. Never inferred from an empty string: each kind is a variant.

use std::net::IpAddr;
use std::sync::Arc;

use crate::token::TokenFacts;

/// Anybody the Gate can be asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Principal {
    /// A client of the broker.
    Client(ClientPrincipal),
    /// A bridge to another broker, with a policy of its own.
    Bridge {
        /// Its name.
        name: Arc<str>,
    },
    /// A person who operates the broker.
    Operator {
        /// Their name.
        name: Arc<str>,
    },
    /// Another node.
    Node {
        /// Its name.
        name: Arc<str>,
    },
    /// The broker itself, confined to `$SYS/` and `$motte/`.
    System,
}

impl Principal {
    /// The name to show: the identity of a client, the name of the others.
    pub fn name(&self) -> &str {
        match self {
            Self::Client(client) => &client.identity,
            Self::Bridge { name } | Self::Operator { name } | Self::Node { name } => name,
            Self::System => "system",
        }
    }

    /// The client, if it is one.
    pub fn client(&self) -> Option<&ClientPrincipal> {
        match self {
            Self::Client(client) => Some(client),
            Self::Bridge { .. } | Self::Operator { .. } | Self::Node { .. } | Self::System => None,
        }
    }
}

/// A client, as authentication found it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientPrincipal {
    /// The identity that policy speaks of.
    pub identity: Arc<str>,
    /// The Client Identifier it uses.
    pub client_id: Arc<str>,
    /// User Name given at CONNECT.
    pub user_name: Option<Arc<str>>,
    /// Facts of its certificate, if it showed one that was verified.
    pub certificate: Option<Arc<CertificateFacts>>,
    /// What its token says, if it showed one that was verified.
    pub token: Option<Arc<TokenFacts>>,
    /// When the permission that it came in with ends, in seconds since 1970; `None`: not by itself, or as its token says.
    pub ends_s: Option<u64>,
    /// What a directory says of it, if one was asked.
    pub directory: Option<Arc<DirectoryFacts>>,
    /// What proved the identity.
    pub methods: Methods,
    /// Name of the listener it came by.
    pub listener: Arc<str>,
    /// Protection of its connection.
    pub security: Security,
    /// Its address.
    pub address: Option<IpAddr>,
    /// Which password proved it, as a fingerprint of what is kept of it; 0: none, or not known any more.
    pub credential: u64,
}

/// What a verified certificate says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CertificateFacts {
    /// Common Name of the subject.
    pub cn: Option<String>,
    /// Organizational Unit of the subject.
    pub ou: Option<String>,
    /// Organization of the subject.
    pub o: Option<String>,
    /// DNS names among the alternative names.
    pub dns_names: Vec<String>,
    /// URIs among the alternative names.
    pub uris: Vec<String>,
    /// Serial number in lower-case hexadecimal.
    pub serial: String,
    /// SHA-256 of the certificate in lower-case hexadecimal.
    pub fingerprint: String,
    /// Names of the authorities that vouch for it; empty where the listener names none.
    pub authorities: Vec<String>,
}

/// What a directory says of a client whom it let in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DirectoryFacts {
    /// The name of its entry.
    pub entry: String,
    /// Names of those of its groups that give roles.
    pub groups: Vec<String>,
    /// The roles that they give.
    pub roles: Vec<String>,
}

/// The methods that proved an identity, as a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Methods(pub u8);

impl Methods {
    /// Nothing was proved.
    pub const ANONYMOUS: Self = Self(1);
    /// A password.
    pub const PASSWORD: Self = Self(2);
    /// A client certificate.
    pub const CERTIFICATE: Self = Self(4);
    /// The word of a service that was asked by HTTP.
    pub const HTTP: Self = Self(64);
    /// The word of a directory that was asked by LDAP.
    pub const LDAP: Self = Self(128);
    /// A code of a second factor, beside a password.
    pub const TOTP: Self = Self(8);
    /// A signed token.
    pub const TOKEN: Self = Self(32);

    /// Both sets together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of `other` are in it.
    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Their names, for logs: `certificate+password`.
    pub fn names(self) -> String {
        let all = [
            (Self::ANONYMOUS, "anonymous"),
            (Self::CERTIFICATE, "certificate"),
            (Self::PASSWORD, "password"),
            (Self::HTTP, "http"),
            (Self::LDAP, "ldap"),
            (Self::TOTP, "totp"),
            (Self::TOKEN, "token"),
        ];
        let names: Vec<&str> = all.iter().filter(|(m, _)| self.has(*m)).map(|(_, name)| *name).collect();
        names.join("+")
    }
}

/// How a connection is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// Not at all: TCP or WebSocket in the clear.
    Plain,
    /// TLS.
    Tls,
    /// A Unix socket of this machine.
    Local,
}

impl Security {
    /// Its name in policy files and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Tls => "tls",
            Self::Local => "local",
        }
    }
}
