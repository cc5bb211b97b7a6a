//! The targets: each takes any bytes and panics if what it promises does not hold.

pub mod audit;
pub mod config;
pub mod credentials;
pub mod directory;
pub mod frame;
pub mod journal;
pub mod ocsp;
pub mod packet;
pub mod policy;
pub mod proxy_header;
pub mod roles;
pub mod scram;
pub mod snapshot;
pub mod state_file;
pub mod tokens;
pub mod topic_filter;
pub mod usage;
pub mod vault;
pub mod websocket;

/// Ends a target whose promise does not hold.
#[expect(clippy::panic, reason = "the runner catches a panic and keeps the bytes")]
fn fail(what: impl std::fmt::Display) -> ! {
    panic!("{what}")
}

/// Something to run on bytes.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name, which is also that of its corpus.
    pub name: &'static str,
    /// Panics if an invariant does not hold for the bytes.
    pub run: fn(&[u8]),
}

/// Packets of MQTT 3.1.
pub mod packet_v31 {
    /// See [`super::packet::run`].
    pub fn run(data: &[u8]) {
        super::packet::run(motte_wire::ProtocolVersion::V31, data);
    }
}

/// Packets of MQTT 3.1.1.
pub mod packet_v311 {
    /// See [`super::packet::run`].
    pub fn run(data: &[u8]) {
        super::packet::run(motte_wire::ProtocolVersion::V311, data);
    }
}

/// Packets of MQTT 5.0.
pub mod packet_v5 {
    /// See [`super::packet::run`].
    pub fn run(data: &[u8]) {
        super::packet::run(motte_wire::ProtocolVersion::V5, data);
    }
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { name: "frame", run: frame::run },
    Target { name: "packet_v31", run: packet_v31::run },
    Target { name: "packet_v311", run: packet_v311::run },
    Target { name: "packet_v5", run: packet_v5::run },
    Target { name: "topic_filter", run: topic_filter::run },
    Target { name: "policy", run: policy::run },
    Target { name: "snapshot", run: snapshot::run },
    Target { name: "journal", run: journal::run },
    Target { name: "vault", run: vault::run },
    Target { name: "state_file", run: state_file::run },
    Target { name: "config", run: config::run },
    Target { name: "credentials", run: credentials::run },
    Target { name: "directory", run: directory::run },
    Target { name: "proxy_header", run: proxy_header::run },
    Target { name: "websocket", run: websocket::run },
    Target { name: "roles", run: roles::run },
    Target { name: "usage", run: usage::run },
    Target { name: "scram", run: scram::run },
    Target { name: "tokens", run: tokens::run },
    Target { name: "ocsp", run: ocsp::run },
    Target { name: "audit", run: audit::run },
];
