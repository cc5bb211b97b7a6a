//! Answers of a responder: whatever they are, they are refused or say what the responder signed, about the certificate that was
//! asked about.

use motte_pki::{CertificateStatus, NONCE_BYTES, StatusIssuer, StatusQuestion, certificates, issuer_of};

use crate::corpus::answers::{AUTHORITY, NOW_S};

/// How far clocks may be apart, in seconds.
const SKEW_S: u64 = 300;

/// Runs the bytes as an answer, and as a certificate that is asked about.
///
/// # Panics
/// If an answer is taken that says something else than was signed.
pub fn run(data: &[u8]) {
    let roots = certificates(AUTHORITY).unwrap_or_default();
    let Some(issuer) = roots.first().cloned().and_then(StatusIssuer::new) else {
        super::fail("the authority of the corpus cannot be read")
    };
    for (serial, signed) in [(0, "good"), (1, "revoked"), (2, "unknown")] {
        let Some(question) = StatusQuestion::new(issuer.clone(), &[0x10, serial]) else { continue };
        assert!(
            question.judge(data, Some(&[7; NONCE_BYTES]), NOW_S).is_err(),
            "a nonce that nobody was asked"
        );
        let Ok(answer) = question.judge(data, None, NOW_S) else { continue };
        let said = match answer.status {
            CertificateStatus::Good => "good",
            CertificateStatus::Revoked { .. } => "revoked",
            CertificateStatus::Unknown => "unknown",
        };
        assert!(said == signed, "{said}, and {signed} was signed");
        assert!(answer.this_update_s <= NOW_S + SKEW_S, "of the future");
        assert!(answer.next_update_s.is_none_or(|end| end + SKEW_S >= NOW_S), "past its end");
    }
    let _ = (issuer_of(data, &roots, &roots), StatusIssuer::new(data.to_vec().into()));
}
