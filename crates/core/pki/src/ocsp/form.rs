//! The messages of RFC 6960 section 4 as they are on the wire, as far as the profile of RFC 5019 goes. What is not looked
//! into stays as it came.

use der::asn1::{AnyRef, BitStringRef, GeneralizedTime, ObjectIdentifier, OctetStringRef};
use der::{Enumerated, Sequence};

/// id-pkix-ocsp-basic.
pub(super) const BASIC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.1.1");
/// id-pkix-ocsp-nonce.
pub(super) const NONCE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.1.2");
/// id-sha1, which only tells certificates apart here.
pub(super) const SHA1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.14.3.2.26");

#[derive(Debug, Clone, Copy, PartialEq, Eq, Sequence)]
pub(super) struct Algorithm<'a> {
    pub(super) oid: ObjectIdentifier,
    pub(super) parameters: Option<AnyRef<'a>>,
}

/// Which certificate: its authority by two digests, and its serial number as it stands in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Sequence)]
pub(super) struct CertId<'a> {
    pub(super) hash: Algorithm<'a>,
    pub(super) issuer_name_hash: &'a OctetStringRef,
    pub(super) issuer_key_hash: &'a OctetStringRef,
    pub(super) serial: AnyRef<'a>,
}

#[derive(Debug, Clone, PartialEq, Eq, Sequence)]
pub(super) struct Extension<'a> {
    pub(super) id: ObjectIdentifier,
    #[asn1(default = "no")]
    pub(super) is_critical: bool,
    pub(super) value: &'a OctetStringRef,
}

fn no() -> bool {
    false
}

#[derive(Debug, Clone, PartialEq, Eq, Sequence)]
pub(super) struct Request<'a> {
    pub(super) about: CertId<'a>,
}

#[derive(Debug, Clone, PartialEq, Eq, Sequence)]
pub(super) struct TbsRequest<'a> {
    pub(super) requests: Vec<Request<'a>>,
    #[asn1(context_specific = "2", tag_mode = "EXPLICIT", optional = "true")]
    pub(super) extensions: Option<Vec<Extension<'a>>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Sequence)]
pub(super) struct OcspRequest<'a> {
    pub(super) tbs: TbsRequest<'a>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Enumerated)]
#[repr(u32)]
pub(super) enum Outcome {
    Successful = 0,
    MalformedRequest = 1,
    InternalError = 2,
    TryLater = 3,
    SigRequired = 5,
    Unauthorized = 6,
}

#[derive(Debug, Clone, PartialEq, Eq, Sequence)]
pub(super) struct ResponseBytes<'a> {
    pub(super) kind: ObjectIdentifier,
    pub(super) response: &'a OctetStringRef,
}

#[derive(Debug, Clone, PartialEq, Eq, Sequence)]
pub(super) struct OcspResponse<'a> {
    pub(super) outcome: Outcome,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    pub(super) bytes: Option<ResponseBytes<'a>>,
}

/// What was signed is kept as it came, so that the signature is checked over just that.
#[derive(Debug, Clone, PartialEq, Eq, Sequence)]
pub(super) struct BasicResponse<'a> {
    pub(super) tbs: AnyRef<'a>,
    pub(super) algorithm: Algorithm<'a>,
    pub(super) signature: BitStringRef<'a>,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    pub(super) certificates: Option<Vec<AnyRef<'a>>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Sequence)]
pub(super) struct ResponseData<'a> {
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    pub(super) version: Option<u8>,
    /// Who signed says the signature, whatever stands here.
    pub(super) responder: AnyRef<'a>,
    pub(super) produced_at: GeneralizedTime,
    pub(super) responses: Vec<SingleResponse<'a>>,
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT", optional = "true")]
    pub(super) extensions: Option<Vec<Extension<'a>>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Sequence)]
pub(super) struct SingleResponse<'a> {
    pub(super) about: CertId<'a>,
    /// `[0]`: good, `[1]`: [`RevokedInfo`], `[2]`: unknown.
    pub(super) status: AnyRef<'a>,
    pub(super) this_update: GeneralizedTime,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    pub(super) next_update: Option<GeneralizedTime>,
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT", optional = "true")]
    pub(super) extensions: Option<Vec<Extension<'a>>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Sequence)]
pub(super) struct RevokedInfo<'a> {
    pub(super) at: GeneralizedTime,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    pub(super) reason: Option<AnyRef<'a>>,
}
