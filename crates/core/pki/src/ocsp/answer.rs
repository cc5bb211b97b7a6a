//! The answer: read, and believed only if the authority itself, or somebody whom it names for this, signed it, and if it is
//! about the certificate that was asked about and about now.

use der::asn1::{AnyRef, GeneralizedTime, OctetStringRef};
use der::{Decode, Encode, Tag, Tagged};
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::verify::verify_signature;
use x509_parser::x509::AlgorithmIdentifier;

use super::form::{
    BASIC, BasicResponse, CertId, Extension, NONCE, OcspResponse, Outcome, ResponseData, RevokedInfo, SHA1,
    SingleResponse,
};
use super::issuer::StatusIssuer;
use super::question::{NONCE_BYTES, StatusQuestion};

/// How far the clocks of responder and broker may be apart, in seconds.
const SKEW_S: u64 = 300;
/// Certificates in an answer that are looked at.
const CERTIFICATES_MAX: usize = 4;
/// Answers to single questions in one message that are looked at.
const RESPONSES_MAX: usize = 64;

/// What a responder says of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertificateStatus {
    /// It is not revoked.
    Good,
    /// It is revoked.
    Revoked {
        /// Since when, in unix seconds.
        at_s: u64,
    },
    /// The responder does not know it.
    Unknown,
}

/// An answer that may be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatusAnswer {
    /// What it says.
    pub status: CertificateStatus,
    /// Since when that is known to be so, in unix seconds.
    pub this_update_s: u64,
    /// Until when it is good, in unix seconds; `None`: it does not say.
    pub next_update_s: Option<u64>,
}

/// Why something is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAnswered {
    /// It is no message of a responder.
    #[error("what came is no OCSP answer")]
    Malformed,
    /// The responder says that it does not answer.
    #[error("the responder refuses: {0}")]
    Refused(&'static str),
    /// It is signed by nobody who may.
    #[error(
        "the answer is signed neither by the authority nor by a responder that it made a certificate for (extendedKeyUsage OCSPSigning)"
    )]
    Stranger,
    /// It is about other certificates.
    #[error("the answer is about another certificate")]
    AboutAnother,
    /// It does not repeat the number that it was to repeat.
    #[error("the answer does not repeat the nonce of the question")]
    Nonce,
    /// It holds something critical that is not known here.
    #[error("the answer has a critical extension that is not known here")]
    Critical,
    /// It is about the future.
    #[error("the answer is not valid yet: its thisUpdate lies in the future")]
    Early,
    /// It is past its end.
    #[error("the answer is past its nextUpdate")]
    Over,
}

impl StatusQuestion {
    /// Reads an answer in DER to this question; `nonce` is the one that was sent.
    ///
    /// # Errors
    /// [`NotAnswered`]: it says nothing about the certificate.
    pub fn judge(
        &self,
        answer: &[u8],
        nonce: Option<&[u8; NONCE_BYTES]>,
        now_s: u64,
    ) -> Result<StatusAnswer, NotAnswered> {
        let basic = basic(answer)?;
        let signed = basic.tbs.to_der().map_err(|_| NotAnswered::Malformed)?;
        if !is_signed(&basic, &signed, self.issuer(), now_s)? {
            return Err(NotAnswered::Stranger);
        }
        let data = ResponseData::from_der(&signed).map_err(|_| NotAnswered::Malformed)?;
        if data.version.is_some_and(|version| version != 0) {
            return Err(NotAnswered::Malformed);
        }
        let extensions = data.extensions.as_deref().unwrap_or_default();
        check_extensions(extensions)?;
        if nonce.is_some_and(|nonce| !repeats(extensions, nonce)) {
            return Err(NotAnswered::Nonce);
        }
        let id = self.id().ok_or(NotAnswered::Malformed)?;
        let about = |single: &&SingleResponse<'_>| is_same(&single.about, &id);
        let mut found = data.responses.iter().take(RESPONSES_MAX).filter(about);
        let single = found.next().ok_or(NotAnswered::AboutAnother)?;
        // Of two nobody knows which counts.
        if found.next().is_some() {
            return Err(NotAnswered::Malformed);
        }
        check_extensions(single.extensions.as_deref().unwrap_or_default())?;
        in_time(single, now_s)
    }
}

fn basic(answer: &[u8]) -> Result<BasicResponse<'_>, NotAnswered> {
    let response = OcspResponse::from_der(answer).map_err(|_| NotAnswered::Malformed)?;
    let why = match response.outcome {
        Outcome::Successful => None,
        Outcome::MalformedRequest => Some("malformedRequest"),
        Outcome::InternalError => Some("internalError"),
        Outcome::TryLater => Some("tryLater"),
        Outcome::SigRequired => Some("sigRequired"),
        Outcome::Unauthorized => Some("unauthorized"),
    };
    if let Some(why) = why {
        return Err(NotAnswered::Refused(why));
    }
    let bytes = response.bytes.filter(|bytes| bytes.kind == BASIC).ok_or(NotAnswered::Malformed)?;
    BasicResponse::from_der(bytes.response.as_bytes()).map_err(|_| NotAnswered::Malformed)
}

/// Whether the authority signed, or somebody with a certificate of it for just that.
fn is_signed(
    basic: &BasicResponse<'_>,
    signed: &[u8],
    issuer: &StatusIssuer,
    now_s: u64,
) -> Result<bool, NotAnswered> {
    let algorithm = basic.algorithm.to_der().map_err(|_| NotAnswered::Malformed)?;
    let (_, algorithm) = AlgorithmIdentifier::from_der(&algorithm).map_err(|_| NotAnswered::Malformed)?;
    let bits = basic.signature.as_bytes().ok_or(NotAnswered::Malformed)?;
    let signature = x509_parser::asn1_rs::BitString::new(0, bits);
    let by = |certificate: &X509Certificate<'_>| {
        is_sound(&algorithm)
            && verify_signature(certificate.public_key(), &algorithm, &signature, signed).is_ok()
    };
    let (_, authority) = X509Certificate::from_der(&issuer.der).map_err(|_| NotAnswered::Malformed)?;
    if by(&authority) {
        return Ok(true);
    }
    let shown = basic.certificates.iter().flatten().take(CERTIFICATES_MAX);
    let may = |der: AnyRef<'_>| {
        let Ok(der) = der.to_der() else { return false };
        X509Certificate::from_der(&der)
            .is_ok_and(|(_, delegate)| may_answer(&delegate, &authority, now_s) && by(&delegate))
    };
    Ok(shown.copied().any(may))
}

/// Whether an authority lets somebody answer for it (RFC 6960 section 4.2.2.2).
fn may_answer(delegate: &X509Certificate<'_>, authority: &X509Certificate<'_>, now_s: u64) -> bool {
    let seconds = |time: i64| u64::try_from(time).unwrap_or(0);
    let validity = delegate.validity();
    let in_time = seconds(validity.not_before.timestamp()) <= now_s.saturating_add(SKEW_S)
        && now_s <= seconds(validity.not_after.timestamp());
    let usage = delegate.extended_key_usage().ok().flatten();
    let for_this = usage.is_some_and(|usage| usage.value.ocsp_signing);
    let may_sign =
        delegate.key_usage().is_ok_and(|usage| usage.is_none_or(|usage| usage.value.digital_signature()));
    let known = |extension: &x509_parser::extensions::X509Extension<'_>| {
        use x509_parser::extensions::ParsedExtension;
        matches!(
            extension.parsed_extension(),
            ParsedExtension::BasicConstraints(_)
                | ParsedExtension::KeyUsage(_)
                | ParsedExtension::ExtendedKeyUsage(_)
                | ParsedExtension::SubjectAlternativeName(_)
        )
    };
    in_time
        && for_this
        && may_sign
        && delegate.extensions().iter().all(|extension| !extension.critical || known(extension))
        && delegate.issuer().as_raw() == authority.subject().as_raw()
        && is_sound(&delegate.signature_algorithm)
        && delegate.verify_signature(Some(authority.public_key())).is_ok()
}

/// Whether signatures of this kind prove anything: those over SHA-1 can be forged.
fn is_sound(algorithm: &AlgorithmIdentifier<'_>) -> bool {
    use x509_parser::oid_registry::{
        OID_HASH_SHA1, OID_PKCS1_RSASSAPSS, OID_PKCS1_SHA1WITHRSA, OID_SHA1_WITH_RSA,
    };
    let of_pss = |algorithm: &AlgorithmIdentifier<'_>| {
        use x509_parser::signature_algorithm::RsaSsaPssParams;
        let parameters = algorithm.parameters.as_ref().and_then(|any| RsaSsaPssParams::try_from(any).ok());
        parameters.is_some_and(|parameters| *parameters.hash_algorithm_oid() != OID_HASH_SHA1)
    };
    let oid = &algorithm.algorithm;
    *oid != OID_PKCS1_SHA1WITHRSA
        && *oid != OID_SHA1_WITH_RSA
        && (*oid != OID_PKCS1_RSASSAPSS || of_pss(algorithm))
}

fn check_extensions(extensions: &[Extension<'_>]) -> Result<(), NotAnswered> {
    let unknown = extensions.iter().any(|extension| extension.is_critical && extension.id != NONCE);
    if unknown { Err(NotAnswered::Critical) } else { Ok(()) }
}

fn repeats(extensions: &[Extension<'_>], nonce: &[u8; NONCE_BYTES]) -> bool {
    let mut found = extensions.iter().filter(|extension| extension.id == NONCE);
    let is_it = |extension: &Extension<'_>| {
        <&OctetStringRef>::from_der(extension.value.as_bytes()).is_ok_and(|value| value.as_bytes() == nonce)
    };
    found.next().is_some_and(is_it) && found.next().is_none()
}

/// The parameters of SHA-1 are NULL or absent, as whoever wrote it likes.
fn is_same(one: &CertId<'_>, asked: &CertId<'_>) -> bool {
    one.hash.oid == SHA1
        && one.issuer_name_hash == asked.issuer_name_hash
        && one.issuer_key_hash == asked.issuer_key_hash
        && one.serial == asked.serial
}

fn seconds(time: GeneralizedTime) -> u64 {
    time.to_unix_duration().as_secs()
}

fn in_time(single: &SingleResponse<'_>, now_s: u64) -> Result<StatusAnswer, NotAnswered> {
    let this_update_s = seconds(single.this_update);
    let next_update_s = single.next_update.map(seconds);
    if this_update_s > now_s.saturating_add(SKEW_S) {
        return Err(NotAnswered::Early);
    }
    if next_update_s.is_some_and(|end| end.saturating_add(SKEW_S) < now_s || end < this_update_s) {
        return Err(NotAnswered::Over);
    }
    let status = status(single.status).ok_or(NotAnswered::Malformed)?;
    Ok(StatusAnswer { status, this_update_s, next_update_s })
}

fn status(written: AnyRef<'_>) -> Option<CertificateStatus> {
    let Tag::ContextSpecific { constructed, number } = written.tag() else { return None };
    match (number.value(), constructed) {
        (0, false) if written.value().is_empty() => Some(CertificateStatus::Good),
        (2, false) if written.value().is_empty() => Some(CertificateStatus::Unknown),
        (1, true) => {
            let info =
                AnyRef::new(Tag::Sequence, written.value()).ok()?.decode_as::<RevokedInfo<'_>>().ok()?;
            Some(CertificateStatus::Revoked { at_s: seconds(info.at) })
        }
        _ => None,
    }
}
