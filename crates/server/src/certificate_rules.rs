//! Rules for client certificates, from the configuration of a listener and its file of pins.

use motte_config::{CertificateField, CertificateIdentity, IdentityPiece, Listener};
use motte_identity::{CertificateName, CertificateRules, NameField, NamePiece, Pins, SpeaksFor};
use motte_transport::UNLIMITED;

use crate::assemble::{Faults, text};

/// Reads the rules of a listener; `None` when its pins cannot be used.
pub(crate) fn read(listener: &Listener, faults: &mut Faults<'_>) -> Option<CertificateRules> {
    let pins = match &listener.certificate_pins {
        None => Pins::default(),
        Some(path) => {
            let parsed = Pins::parse(&text(path, "file of pins", faults)?);
            let told = parsed.map_err(|error| {
                let (what, remedy) = (error.what, error.remedy);
                faults.push(format!("{}:{}: {what}\n  remedy: {remedy}", path.display(), error.line));
            });
            told.ok()?
        }
    };
    Some(CertificateRules {
        name: name(&listener.certificate_identity),
        authorities: authorities(listener),
        pins,
    })
}

fn authorities(listener: &Listener) -> Vec<SpeaksFor> {
    let Some(tls) = listener.tls.as_ref().filter(|tls| !tls.authorities.is_empty()) else {
        return Vec::new();
    };
    let named = tls
        .authorities
        .iter()
        .map(|one| SpeaksFor { authority: one.name.clone(), identities: one.identities.clone() });
    let unlimited = SpeaksFor { authority: UNLIMITED.to_owned(), identities: vec!["*".to_owned()] };
    named.chain([unlimited]).collect()
}

fn name(written: &CertificateIdentity) -> CertificateName {
    match written {
        CertificateIdentity::Cn => CertificateName::CommonName,
        CertificateIdentity::SanDns => CertificateName::DnsName,
        CertificateIdentity::SanUri => CertificateName::Uri,
        CertificateIdentity::Spiffe => CertificateName::Spiffe,
        CertificateIdentity::Template(pieces) => {
            CertificateName::Template(pieces.iter().map(piece).collect())
        }
    }
}

fn piece(written: &IdentityPiece) -> NamePiece {
    match written {
        IdentityPiece::Text(text) => NamePiece::Text(text.clone()),
        IdentityPiece::Field(field) => NamePiece::Field(match field {
            CertificateField::Cn => NameField::CommonName,
            CertificateField::Ou => NameField::Unit,
            CertificateField::O => NameField::Organization,
            CertificateField::Dns => NameField::DnsName,
            CertificateField::Uri => NameField::Uri,
            CertificateField::Serial => NameField::Serial,
        }),
    }
}
