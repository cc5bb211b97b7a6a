//! Whether a client's certificate is taken.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};

use crate::tls::{ClientAuth, Makings, TlsError};

/// What decides about the certificates of clients, if they are asked for any.
pub(crate) fn verifier(
    makings: &Makings,
    lists: &[CertificateRevocationListDer<'static>],
) -> Result<Option<Arc<dyn ClientCertVerifier>>, TlsError> {
    if makings.client_auth == ClientAuth::None {
        return Ok(None);
    }
    let fault = |error: &dyn std::fmt::Display| TlsError::Verifier(error.to_string());
    let mut roots = RootCertStore::empty();
    for authority in &makings.client_ca {
        roots.add(authority.clone()).map_err(|error| fault(&error))?;
    }
    let mut builder =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&makings.provider))
            .with_crls(lists.iter().cloned());
    builder = if makings.revocation.accepts_stale {
        builder.allow_unknown_revocation_status()
    } else {
        // A list past its end says nothing about what was revoked since: refuse rather than guess.
        builder.enforce_revocation_expiration()
    };
    if makings.client_auth == ClientAuth::Optional {
        builder = builder.allow_unauthenticated();
    }
    let verifier = builder.build().map_err(|error| fault(&error))?;
    let is_blind = lists.is_empty() && makings.revocation.is_expected && !makings.revocation.accepts_stale;
    Ok(Some(if is_blind { Arc::new(Blind(verifier)) } else { verifier }))
}

/// While there is none of the revocation lists that are to be there, nobody's status is known.
#[derive(Debug)]
struct Blind(Arc<dyn ClientCertVerifier>);

impl ClientCertVerifier for Blind {
    fn offer_client_auth(&self) -> bool {
        self.0.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.0.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.0.verify_client_cert(leaf, rest, now)?;
        Err(CertificateError::UnknownRevocationStatus.into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}
