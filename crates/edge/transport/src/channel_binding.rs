//! What binds a login to its TLS connection: `tls-exporter` (RFC 9266), for TLS 1.3.
//!
//! An unbuffered connection of rustls does not export keying material, but it shows the secret that it would be made from to
//! its key log, in the step of the handshake that makes it. So the binding is made there and then, and the secret is not kept.

use std::cell::Cell;

use aws_lc_rs::digest::{self, Algorithm};
use aws_lc_rs::hkdf::{self, KeyType, Prk};
use rustls::KeyLog;

/// Bytes of a binding.
pub(crate) const BINDING_BYTES: usize = 32;
/// By what rustls names the exporter master secret of TLS 1.3.
const SECRET: &str = "EXPORTER_SECRET";
/// The label of the binding.
const LABEL: &[u8] = b"EXPORTER-Channel-Binding";

thread_local! {
    static MADE: Cell<Option<[u8; BINDING_BYTES]>> = const { Cell::new(None) };
}

/// The binding that the last step of a handshake in this thread made.
pub(crate) fn take() -> Option<[u8; BINDING_BYTES]> {
    MADE.take()
}

/// Makes bindings in place of a log.
#[derive(Debug)]
pub(crate) struct Bindings;

impl KeyLog for Bindings {
    fn will_log(&self, label: &str) -> bool {
        label == SECRET
    }

    fn log(&self, label: &str, _client_random: &[u8], secret: &[u8]) {
        if label == SECRET {
            MADE.set(binding(secret));
        }
    }
}

/// The length of what is expanded.
struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

/// TLS-Exporter of RFC 8446, 7.5, with the label of RFC 9266 and an empty context.
fn binding(secret: &[u8]) -> Option<[u8; BINDING_BYTES]> {
    let (expansion, hash): (_, &'static Algorithm) = match secret.len() {
        32 => (hkdf::HKDF_SHA256, &digest::SHA256),
        48 => (hkdf::HKDF_SHA384, &digest::SHA384),
        _ => return None,
    };
    let empty = digest::digest(hash, b"");
    let mut derived = [0; 48];
    let derived = derived.get_mut(..secret.len())?;
    expand(expansion, secret, LABEL, empty.as_ref(), derived)?;
    let mut binding = [0; BINDING_BYTES];
    expand(expansion, derived, b"exporter", empty.as_ref(), &mut binding)?;
    Some(binding)
}

/// HKDF-Expand-Label of RFC 8446, 7.1.
fn expand(
    algorithm: hkdf::Algorithm,
    secret: &[u8],
    label: &[u8],
    context: &[u8],
    out: &mut [u8],
) -> Option<()> {
    let len = u16::try_from(out.len()).ok()?.to_be_bytes();
    let label_len = [u8::try_from(label.len() + 6).ok()?];
    let context_len = [u8::try_from(context.len()).ok()?];
    let info = [len.as_slice(), &label_len, b"tls13 ", label, &context_len, context];
    let prk = Prk::new_less_safe(algorithm, secret);
    let expanded = prk.expand(&info, Length(out.len())).ok()?;
    expanded.fill(out).ok()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};
    use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

    use super::*;

    /// A handshake in memory: the client's binding, and ours.
    fn shake(
        versions: &[&'static rustls::SupportedProtocolVersion],
        suite: Option<&str>,
    ) -> ([u8; 32], Option<[u8; 32]>) {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let certificate = made.cert.der().clone();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let mut provider = rustls::crypto::aws_lc_rs::default_provider();
        provider
            .cipher_suites
            .retain(|one| suite.is_none_or(|suite| format!("{:?}", one.suite()).contains(suite)));
        let provider = Arc::new(provider);
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions)
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key)
            .unwrap();
        config.key_log = Arc::new(Bindings);
        let mut roots = RootCertStore::empty();
        roots.add(certificate).unwrap();
        let client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut client = ClientConnection::new(Arc::new(client), "localhost".try_into().unwrap()).unwrap();
        let mut server = ServerConnection::new(Arc::new(config)).unwrap();
        while client.is_handshaking() || server.is_handshaking() {
            let mut bytes = Vec::new();
            client.write_tls(&mut bytes).unwrap();
            server.read_tls(&mut bytes.as_slice()).unwrap();
            server.process_new_packets().unwrap();
            let mut bytes = Vec::new();
            server.write_tls(&mut bytes).unwrap();
            client.read_tls(&mut bytes.as_slice()).unwrap();
            client.process_new_packets().unwrap();
        }
        (client.export_keying_material([0; 32], LABEL, Some(b"")).unwrap(), take())
    }

    #[test]
    fn the_binding_is_what_the_client_exports() {
        for suite in ["AES_128_GCM_SHA256", "AES_256_GCM_SHA384"] {
            let (theirs, ours) = shake(&[&rustls::version::TLS13], Some(suite));
            assert_eq!(ours, Some(theirs), "{suite}");
        }
    }

    #[test]
    fn tls_1_2_has_none() {
        assert_eq!(shake(&[&rustls::version::TLS12], None).1, None);
    }
}
