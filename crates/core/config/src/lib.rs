//! Configuration: as written (TOML, every key known) and as meant (checked, with defaults), with a place and a remedy for
//! every fault.
//!
//! Never here: reading files by itself, clocks. Files that a configuration names are opened by the server.

mod ask_bounds;
mod attempts;
mod certificate_identity;
mod checks;
mod control;
mod duration;
mod error;
mod hook;
mod jwt;
mod ldap;
mod limits;
mod listener;
mod listener_tls;
mod meant;
mod method;
mod metrics;
mod ocsp;
mod outward;
mod passwords;
mod policy;
mod reading;
mod sandbox;
mod store;
mod url;
mod written;

pub use ask_bounds::AskBounds;
pub use attempts::{HeldAnswer, LoginAttempts};
pub use certificate_identity::{CertificateField, CertificateIdentity, IdentityPiece};
pub use control::{CONTROL_SOCKET, Control};
pub use error::{ConfigError, ConfigErrors};
pub use hook::Hook;
pub use jwt::{ISSUERS_MAX, KeySource, ORIGINS_MAX, TokenIssuer};
pub use ldap::Ldap;
pub use limits::{Limits, RetainedBounds};
pub use listener::{
    Certificate, ClientCertificates, Endpoint, Kind, Listener, ListenerTls, ProxyProtocol, TlsVersion,
    WebSocket,
};
pub use listener_tls::{ClientAuthority, StaleList, is_list_name};
pub use meant::{Config, KeyPlace, LogFormat, parse, parse_development};
pub use method::AuthMethod;
pub use ocsp::{Ocsp, OcspRequire};
pub use outward::{Described, Egress, OUTWARD_MAX, Outward, OutwardDirectory, Purpose};
pub use passwords::{PasswordProfile, Passwords};
pub use reading::Places;
pub use sandbox::{Sandbox, SandboxMode};
pub use store::{Durability, Pin, StoreKey};
pub use url::Url;
