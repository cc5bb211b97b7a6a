//! Configuration: as written (TOML, every key known) and as meant (checked, with defaults), with a place and a remedy for
//! every fault.
//!
//! Never here: reading files by itself, clocks. Files that a configuration names are opened by the server.

mod duration;
mod error;
mod limits;
mod listener;
mod listener_tls;
mod meant;
mod reading;
mod sandbox;
mod store;
mod written;

pub use error::{ConfigError, ConfigErrors};
pub use limits::{Limits, RetainedBounds};
pub use listener::{
    AuthMethod, Certificate, CertificateIdentity, ClientCertificates, Endpoint, Kind, Listener, ListenerTls,
    ProxyProtocol, TlsVersion, WebSocket,
};
pub use meant::{Config, KeyPlace, LogFormat, parse, parse_development};
pub use reading::Places;
pub use sandbox::{Sandbox, SandboxMode};
pub use store::{Pin, StoreKey};
