//! Listening, accepting, and speaking TCP, TLS, WebSocket and Unix sockets, with the PROXY header before them.
//!
//! A [`Stream`] carries bytes of MQTT, whatever is below; it knows nothing of MQTT. Nothing here blocks, but the client end.

mod certificate_faults;
mod channel_binding;
mod client;
mod client_certificates;
mod listen;
mod proxy_header;
mod socket;
mod stream;
mod tls;
mod tls_records;
mod tls_socket;
mod websocket;
mod wire;

pub use client::{ClientError, ClientStream, ClientTarget, ClientTls};
pub use listen::{BindError, Bound, Listener, Listening};
pub use proxy_header::{ProxyHeader, parse_proxy_header};
pub use rustls::sign::SigningKey;
pub use rustls_pki_types::PrivateKeyDer;
pub use socket::Socket;
pub use stream::{Progress, Refusal, Stages, Stream, TlsFacts};
pub use tls::{ClientAuth, Revocation, ServerTls, TlsError, TlsOptions, UNLIMITED};
pub use websocket::{Upgrade, UpgradeAnswer, WebSocketBytes, WebSocketOptions};
