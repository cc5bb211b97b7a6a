//! Answers made here, good ones and each kind of bad one. Those of a real responder are in `interop`.

use std::time::{Duration, SystemTime};

use der::asn1::{AnyRef, BitStringRef, GeneralizedTime, OctetStringRef};
use der::{Decode, Encode};
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SigningKey};
use rustls_pki_types::CertificateDer;

use super::form::{
    Algorithm, BASIC, BasicResponse, Extension, NONCE, OcspResponse, Outcome, ResponseBytes, ResponseData,
    RevokedInfo, SingleResponse,
};
use super::*;
use crate::{Authority, certificates, serial_number};

const NOW: u64 = 1_790_000_000;
const GOOD: [u8; 2] = [0x80, 0];

fn at(seconds: u64) -> GeneralizedTime {
    GeneralizedTime::from_unix_duration(Duration::from_secs(seconds)).unwrap()
}

fn moment(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

/// What an answer says, and who says it.
struct Made<'a> {
    question: &'a StatusQuestion,
    status: Vec<u8>,
    this_update: u64,
    next_update: Option<u64>,
    extensions: Option<Vec<Extension<'a>>>,
    times: usize,
    key: &'a KeyPair,
    certificates: Vec<CertificateDer<'static>>,
}

impl<'a> Made<'a> {
    fn by(question: &'a StatusQuestion, key: &'a KeyPair) -> Self {
        Self {
            question,
            status: GOOD.to_vec(),
            this_update: NOW - 60,
            next_update: Some(NOW + 60),
            extensions: None,
            times: 1,
            key,
            certificates: Vec::new(),
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let id = self.question.id().unwrap();
        let single = SingleResponse {
            about: id,
            status: AnyRef::from_der(&self.status).unwrap(),
            this_update: at(self.this_update),
            next_update: self.next_update.map(at),
            extensions: None,
        };
        let responder = [0xa2, 22, 4, 20].into_iter().chain([7; 20]).collect::<Vec<u8>>();
        let data = ResponseData {
            version: None,
            responder: AnyRef::from_der(&responder).unwrap(),
            produced_at: at(self.this_update),
            responses: vec![single; self.times],
            extensions: self.extensions.clone(),
        };
        let tbs = data.to_der().unwrap();
        let signature = self.key.sign(&tbs).unwrap();
        let algorithm = Algorithm { oid: "1.2.840.10045.4.3.2".parse().unwrap(), parameters: None };
        let shown: Vec<AnyRef<'_>> =
            self.certificates.iter().map(|der| AnyRef::from_der(der).unwrap()).collect();
        let basic = BasicResponse {
            tbs: AnyRef::from_der(&tbs).unwrap(),
            algorithm,
            signature: BitStringRef::from_bytes(&signature).unwrap(),
            certificates: (!shown.is_empty()).then_some(shown),
        };
        let basic = basic.to_der().unwrap();
        let bytes = ResponseBytes { kind: BASIC, response: OctetStringRef::new(&basic).unwrap() };
        OcspResponse { outcome: Outcome::Successful, bytes: Some(bytes) }.to_der().unwrap()
    }
}

struct Site {
    authority: Authority,
    root: CertificateDer<'static>,
    leaf: CertificateDer<'static>,
    question: StatusQuestion,
}

fn site() -> Site {
    let (authority, own) = Authority::create("test", NOW).unwrap();
    let root = certificates(&own.certificate_pem).unwrap().remove(0);
    let device = authority.client("device-1", "device", NOW).unwrap();
    let leaf = certificates(&device.certificate_pem).unwrap().remove(0);
    let found = issuer_of(&leaf, &[], std::slice::from_ref(&root)).unwrap();
    assert_eq!(found, root);
    let issuer = StatusIssuer::new(found).unwrap();
    let question = StatusQuestion::new(issuer, &serial_number(&leaf).unwrap()).unwrap();
    Site { authority, root, leaf, question }
}

/// A certificate for whoever answers for an authority, with its key.
fn delegate(
    by: &Issuer<'static, KeyPair>,
    change: impl FnOnce(&mut CertificateParams),
) -> (KeyPair, CertificateDer<'static>) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.not_before = moment(NOW - 100).into();
    params.not_after = moment(NOW + 100).into();
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::OcspSigning];
    change(&mut params);
    let certificate = params.signed_by(&key, by).unwrap();
    (key, certificate.der().clone())
}

#[test]
fn the_authority_says_of_a_certificate_what_it_knows() {
    let site = site();
    let key = site.authority.issuer().key();
    let judged = |made: &Made<'_>| site.question.judge(&made.bytes(), None, NOW);
    let mut made = Made::by(&site.question, key);
    let good = StatusAnswer {
        status: CertificateStatus::Good,
        this_update_s: NOW - 60,
        next_update_s: Some(NOW + 60),
    };
    assert_eq!(judged(&made), Ok(good));
    made.next_update = None;
    assert_eq!(judged(&made).unwrap().next_update_s, None);
    made.status = vec![0x82, 0];
    assert_eq!(judged(&made).unwrap().status, CertificateStatus::Unknown);
    let reason = [0x0a, 1, 1];
    for reason in [None, Some(AnyRef::from_der(&reason).unwrap())] {
        made.status = RevokedInfo { at: at(NOW - 500), reason }.to_der().unwrap();
        made.status[0] = 0xa1;
        assert_eq!(judged(&made).unwrap().status, CertificateStatus::Revoked { at_s: NOW - 500 });
    }
    for none in [&[0x83, 0][..], &[0x80, 1, 0], &[0x81, 0], &[0xa1, 0], &[5, 0]] {
        made.status = none.to_vec();
        assert_eq!(judged(&made), Err(NotAnswered::Malformed), "{none:?}");
    }
}

#[test]
fn an_answer_is_about_now() {
    let site = site();
    let key = site.authority.issuer().key();
    let judged = |this_update, next_update| {
        let made = Made { this_update, next_update, ..Made::by(&site.question, key) };
        site.question.judge(&made.bytes(), None, NOW).map(|answer| answer.status)
    };
    assert_eq!(judged(NOW + 299, None), Ok(CertificateStatus::Good), "clocks are not the same everywhere");
    assert_eq!(judged(NOW + 301, None), Err(NotAnswered::Early));
    assert_eq!(judged(NOW - 900, Some(NOW - 299)), Ok(CertificateStatus::Good));
    assert_eq!(judged(NOW - 900, Some(NOW - 301)), Err(NotAnswered::Over));
    assert_eq!(judged(NOW, Some(NOW - 10)), Err(NotAnswered::Over), "it ends before it begins");
}

#[test]
fn an_answer_is_about_the_certificate_that_was_asked_about() {
    let (site, other) = (site(), site());
    let key = site.authority.issuer().key();
    let issuer = site.question.issuer().clone();
    let another = StatusQuestion::new(issuer.clone(), &[1, 2, 3]).unwrap();
    let of_other = StatusQuestion::new(other.question.issuer().clone(), site.question.serial()).unwrap();
    for about in [&another, &of_other] {
        let bytes = Made::by(about, key).bytes();
        assert_eq!(site.question.judge(&bytes, None, NOW), Err(NotAnswered::AboutAnother));
    }
    let twice = Made { times: 2, ..Made::by(&site.question, key) }.bytes();
    assert_eq!(site.question.judge(&twice, None, NOW), Err(NotAnswered::Malformed));
    assert_eq!(StatusQuestion::new(issuer.clone(), &[]), None);
    assert_eq!(StatusQuestion::new(issuer, &[1; 22]), None);
}

#[test]
fn nobody_answers_for_an_authority_but_whom_it_names_for_that() {
    let (site, other) = (site(), site());
    let authority = site.authority.issuer();
    let judged = |(key, certificate): (KeyPair, CertificateDer<'static>)| {
        let made = Made { certificates: vec![certificate], ..Made::by(&site.question, &key) };
        site.question.judge(&made.bytes(), None, NOW).map(|answer| answer.status)
    };
    assert_eq!(judged(delegate(authority, |_| ())), Ok(CertificateStatus::Good));
    let strangers: [(&str, (KeyPair, CertificateDer<'static>)); 7] = [
        ("another authority of the same name", delegate(other.authority.issuer(), |_| ())),
        (
            "a client",
            delegate(authority, |p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]),
        ),
        (
            "for everything",
            delegate(authority, |p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::Any]),
        ),
        ("for nothing", delegate(authority, |p| p.extended_key_usages.clear())),
        ("signs no data", delegate(authority, |p| p.key_usages = vec![KeyUsagePurpose::KeyEncipherment])),
        ("expired", delegate(authority, |p| p.not_after = moment(NOW - 1).into())),
        ("not valid yet", delegate(authority, |p| p.not_before = moment(NOW + 1_000).into())),
    ];
    for (who, stranger) in strangers {
        assert_eq!(judged(stranger), Err(NotAnswered::Stranger), "{who}");
    }
    // With the certificate of somebody who may, but another key; and with no certificate at all.
    let (_, certificate) = delegate(authority, |_| ());
    assert_eq!(judged((KeyPair::generate().unwrap(), certificate)), Err(NotAnswered::Stranger));
    let bare = Made::by(&site.question, other.authority.issuer().key()).bytes();
    assert_eq!(site.question.judge(&bare, None, NOW), Err(NotAnswered::Stranger));
    assert_eq!(judged((KeyPair::generate().unwrap(), site.root.clone())), Err(NotAnswered::Stranger));
}

fn nonce(value: &[u8]) -> Extension<'_> {
    Extension { id: NONCE, is_critical: false, value: OctetStringRef::new(value).unwrap() }
}

#[test]
fn a_nonce_is_repeated_where_one_was_sent() {
    let site = site();
    let key = site.authority.issuer().key();
    let (asked, other) = ([7; NONCE_BYTES], [8; NONCE_BYTES]);
    let value = |nonce: &[u8]| OctetStringRef::new(nonce).unwrap().to_der().unwrap();
    let (right, wrong) = (value(&asked), value(&other));
    let with = |values: &[&[u8]]| {
        let extensions = Some(values.iter().map(|value| nonce(value)).collect());
        Made { extensions, ..Made::by(&site.question, key) }.bytes()
    };
    let judged = |bytes: &[u8]| site.question.judge(bytes, Some(&asked), NOW).map(|_| ());
    assert_eq!(judged(&with(&[&right])), Ok(()));
    for bad in [with(&[&wrong]), with(&[&right, &wrong]), with(&[&asked])] {
        assert_eq!(judged(&bad), Err(NotAnswered::Nonce));
    }
    assert_eq!(judged(&Made::by(&site.question, key).bytes()), Err(NotAnswered::Nonce));
}

#[test]
fn what_is_not_whole_or_not_signed_as_it_stands_is_no_answer() {
    let site = site();
    let bytes = Made::by(&site.question, site.authority.issuer().key()).bytes();
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        assert!(site.question.judge(&changed, None, NOW).is_err(), "byte {at}");
        assert!(site.question.judge(&bytes[..at], None, NOW).is_err(), "cut at {at}");
    }
    assert_eq!(site.question.judge(&[&bytes[..], &[0]].concat(), None, NOW), Err(NotAnswered::Malformed));
    assert_eq!(site.question.judge(b"<html>", None, NOW), Err(NotAnswered::Malformed));
    let later = [0x30, 3, 0x0a, 1, 3];
    assert_eq!(site.question.judge(&later, None, NOW), Err(NotAnswered::Refused("tryLater")));
    assert_eq!(site.question.judge(&[0x30, 3, 0x0a, 1, 0], None, NOW), Err(NotAnswered::Malformed));
}

#[test]
fn an_issuer_comes_from_a_trusted_one_by_signatures() {
    let (site, other) = (site(), site());
    assert_eq!(issuer_of(&site.leaf, &[], std::slice::from_ref(&other.root)), None, "of the same name");
    assert_eq!(
        issuer_of(&site.leaf, std::slice::from_ref(&site.root), std::slice::from_ref(&other.root)),
        None,
        "only shown"
    );
    let roots = [other.root.clone(), site.root.clone()];
    assert_eq!(issuer_of(&site.leaf, &[other.root], &roots), Some(site.root));
    assert_eq!(issuer_of(b"", &[], &roots), None);
}

#[test]
fn a_question_is_what_openssl_would_ask() {
    let site = site();
    let plain = site.question.encode(None).unwrap();
    let with = site.question.encode(Some(&[7; NONCE_BYTES])).unwrap();
    assert!(plain.len() < 128 && with.len() < 192, "{} {}", plain.len(), with.len());
    assert!(with.windows(NONCE_BYTES + 2).any(|w| w[..2] == [4, 32] && w[2..] == [7; 32]));
    assert!(plain.windows(site.question.serial().len()).any(|w| w == site.question.serial()));
}
