//! Whether a client's certificate is taken.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};

use crate::certificate_faults::{check_by_itself, check_usage, explained};
use crate::tls::{ClientAuth, Makings, TlsError};

/// What decides whether an authority vouches for a certificate, by the authority's name.
pub(crate) type Authorities = Vec<(String, Arc<dyn ClientCertVerifier>)>;

/// What decides about the certificates of clients, if they are asked for any.
pub(crate) fn verifier(
    makings: &Makings,
    lists: &[CertificateRevocationListDer<'static>],
) -> Result<Option<Arc<dyn ClientCertVerifier>>, TlsError> {
    if makings.client_auth == ClientAuth::None {
        return Ok(None);
    }
    trusting(&makings.client_ca, makings, lists).map(Some)
}

/// What decides for each authority; empty where they are not told apart.
pub(crate) fn authorities(
    makings: &Makings,
    lists: &[CertificateRevocationListDer<'static>],
) -> Result<Authorities, TlsError> {
    let each = makings.authorities.iter();
    each.map(|(name, roots)| Ok((name.clone(), trusting(roots, makings, lists)?))).collect()
}

fn trusting(
    authorities: &[CertificateDer<'static>],
    makings: &Makings,
    lists: &[CertificateRevocationListDer<'static>],
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let fault = |error: &dyn std::fmt::Display| TlsError::Verifier(error.to_string());
    let mut roots = RootCertStore::empty();
    for authority in authorities {
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
    Ok(Arc::new(Strict { verifier, is_blind }))
}

/// What is wanted beyond a chain and its purpose: certificates that are sound by themselves, a key that may sign a handshake,
/// authorities that may sign certificates, and a status that can be known.
#[derive(Debug)]
struct Strict {
    verifier: Arc<dyn ClientCertVerifier>,
    /// There is none of the revocation lists that are to be there, so nobody's status is known.
    is_blind: bool,
}

impl ClientCertVerifier for Strict {
    fn offer_client_auth(&self) -> bool {
        self.verifier.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.verifier.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.verifier.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        check_by_itself(leaf, rest)?;
        let verified = self.verifier.verify_client_cert(leaf, rest, now);
        let verified = verified.map_err(|error| explained(error, leaf))?;
        check_usage(leaf, rest)?;
        if self.is_blind {
            return Err(CertificateError::UnknownRevocationStatus.into());
        }
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}
