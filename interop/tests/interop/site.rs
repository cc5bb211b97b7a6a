//! A broker as a site would run it: TLS, secure WebSocket and local plaintext, with the identities that `motte up` makes.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use motte_testkit::{Broker, binary, finish, workspace};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;

/// A running site.
pub(crate) struct Site {
    pub(crate) broker: Broker,
    pub(crate) dir: TempDir,
}

/// The configuration of the site; `motte up` made the files.
pub(crate) const CONFIG: &str = r#"
state_dir = "motte-state/store"
[log]
format = "json"
[auth]
password_file = "motte-state/passwords"
[policy]
files = ["motte-state/policy.toml"]

[[listener]]
name = "tls"
kind = "tls"
bind = ["127.0.0.1:0"]
[listener.tls]
certificates = [{ chain = "motte-state/server.pem", key = "motte-state/server.key" }]
client_certificates = "optional"
client_ca = ["motte-state/ca.pem"]
crl = ["motte-state/crl.pem"]

[[listener]]
name = "wss"
kind = "wss"
bind = ["127.0.0.1:0"]
[listener.tls]
certificates = [{ chain = "motte-state/server.pem", key = "motte-state/server.key" }]
client_certificates = "optional"
client_ca = ["motte-state/ca.pem"]
crl = ["motte-state/crl.pem"]

[[listener]]
name = "tcp"
kind = "tcp"
bind = ["127.0.0.1:0"]
"#;

impl Site {
    /// Makes the files with `motte up`, stops it, and serves [`CONFIG`].
    pub(crate) fn start() -> Self {
        Self::start_with(CONFIG)
    }

    /// The same with another configuration.
    pub(crate) fn start_with(config: &str) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        assert!(Broker::up(dir.path()).terminate(), "motte up did not stop cleanly");
        let broker = Broker::serve(dir.path(), config);
        Self { broker, dir }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("motte-state").join(name)
    }

    pub(crate) fn address(&self, listener: &str) -> SocketAddr {
        self.broker.address(listener)
    }

    /// Adds an identity with a password.
    pub(crate) fn password(&self, identity: &str, password: &str) {
        let secret = self.dir.path().join("secret");
        std::fs::write(&secret, password).expect("the secret can be written");
        let mut command = Command::new(binary());
        command.args(["passwd", "set", identity, "--file"]).arg(self.path("passwords"));
        let (good, text) = finish(command.arg("--password-file").arg(&secret));
        assert!(good, "{text}");
    }

    /// A `mosquitto_*` command as an identity, over TLS.
    pub(crate) fn mosquitto(&self, tool: &str, identity: &str, suffix: &str) -> Command {
        let mut command = Command::new(tool);
        let own = self.path("identities").join(identity);
        command.args(["-h", "localhost", "-p", &self.address("tls").port().to_string(), "--cafile"]);
        command
            .arg(self.path("ca.pem"))
            .arg("--cert")
            .arg(own.join("cert.pem"))
            .arg("--key")
            .arg(own.join("key.pem"));
        command.args(["-i", &format!("{identity}-{suffix}")]);
        command
    }

    /// A `motte` command as an identity, over TLS.
    pub(crate) fn motte(&self, verb: &str, identity: &str) -> Command {
        let mut command = Command::new(binary());
        command.current_dir(self.dir.path());
        command.args([verb, "--as", identity, "-p", &self.address("tls").port().to_string()]);
        command
    }
}

/// TLS of a server with the certificate of a state directory.
pub(crate) fn server_config(state: &Path) -> Arc<ServerConfig> {
    let chain = vec![CertificateDer::from_pem_file(state.join("server.pem")).expect("it is PEM")];
    let key = PrivateKeyDer::from_pem_file(state.join("server.key")).expect("it is PEM");
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("they belong together");
    Arc::new(config)
}

/// A file of this crate's tests.
pub(crate) fn here(name: &str) -> PathBuf {
    workspace().join("interop").join(name)
}

/// Something that `interop/setup.sh` installed.
pub(crate) fn installed(name: &str) -> PathBuf {
    workspace().join("target/interop").join(name)
}

/// Fails with the remedy when something the tests need is not installed.
pub(crate) fn need(path: &Path) {
    assert!(path.exists(), "{} is missing; run interop/setup.sh", path.display());
}
