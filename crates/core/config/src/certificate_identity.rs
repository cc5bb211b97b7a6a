//! Which name of a client certificate is the identity: one of its names, or a template of several.

use toml::Spanned;

use crate::error::Faults;

/// Which name of a certificate is the identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CertificateIdentity {
    /// Common Name.
    Cn,
    /// First DNS alternative name.
    SanDns,
    /// First URI alternative name.
    SanUri,
    /// The SPIFFE ID: the only URI alternative name.
    Spiffe,
    /// Several, with text between them.
    Template(Vec<IdentityPiece>),
}

/// A piece of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IdentityPiece {
    /// As it stands.
    Text(String),
    /// What the certificate says there.
    Field(CertificateField),
}

/// A name that a certificate can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertificateField {
    /// Common Name.
    Cn,
    /// Organizational Unit.
    Ou,
    /// Organization.
    O,
    /// The only DNS alternative name.
    Dns,
    /// The only URI alternative name.
    Uri,
    /// Serial number, in hexadecimal.
    Serial,
}

const FIELDS: [(&str, CertificateField); 6] = [
    ("cn", CertificateField::Cn),
    ("ou", CertificateField::Ou),
    ("o", CertificateField::O),
    ("dns", CertificateField::Dns),
    ("uri", CertificateField::Uri),
    ("serial", CertificateField::Serial),
];

impl CertificateIdentity {
    pub(crate) fn from_written(written: Option<&Spanned<String>>, faults: &mut Faults<'_>) -> Self {
        let Some(written) = written else { return Self::Cn };
        match written.get_ref().as_str() {
            "cn" => Self::Cn,
            "san_dns" => Self::SanDns,
            "san_uri" => Self::SanUri,
            "spiffe" => Self::Spiffe,
            template if template.contains(['{', '}']) => match pieces(template) {
                Ok(pieces) => Self::Template(pieces),
                Err((what, remedy)) => {
                    faults.add(written.span().start, format!("certificate_identity: {what}"), remedy);
                    Self::Cn
                }
            },
            other => {
                let what = format!("certificate_identity = \"{other}\" is not known");
                let remedy = "use cn, san_dns, san_uri, spiffe or a template such as {cn}@{o}";
                faults.add(written.span().start, what, remedy);
                Self::Cn
            }
        }
    }

    /// As it is written.
    pub fn written(&self) -> String {
        match self {
            Self::Cn => "cn".to_owned(),
            Self::SanDns => "san_dns".to_owned(),
            Self::SanUri => "san_uri".to_owned(),
            Self::Spiffe => "spiffe".to_owned(),
            Self::Template(pieces) => pieces.iter().map(IdentityPiece::written).collect(),
        }
    }
}

impl IdentityPiece {
    fn written(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Field(field) => {
                let name = FIELDS.iter().find(|(_, known)| known == field).map_or("", |(name, _)| *name);
                format!("{{{name}}}")
            }
        }
    }
}

type Fault = (String, String);

fn pieces(template: &str) -> Result<Vec<IdentityPiece>, Fault> {
    let mut pieces = Vec::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, tail) = after
            .split_once('}')
            .ok_or_else(|| ("a placeholder is opened and not closed".to_owned(), "add `}`".to_owned()))?;
        let known = || FIELDS.iter().map(|(known, _)| *known).collect::<Vec<_>>().join("}, {");
        let (_, field) = FIELDS.iter().find(|(known, _)| *known == name).ok_or_else(|| {
            (format!("`{{{name}}}` is no name of a certificate"), format!("use one of {{{}}}", known()))
        })?;
        let is_first = pieces.is_empty();
        if !before.is_empty() {
            pieces.push(IdentityPiece::Text(before.to_owned()));
        } else if !is_first {
            let remedy = "write a text between them, such as `@`, which no value may then hold";
            return Err((
                "two placeholders touch, so that two certificates could mean one identity".into(),
                remedy.into(),
            ));
        }
        pieces.push(IdentityPiece::Field(*field));
        rest = tail;
    }
    if !rest.is_empty() {
        pieces.push(IdentityPiece::Text(rest.to_owned()));
    }
    if template.chars().any(|c| matches!(c, '+' | '#') || c.is_control()) || rest.contains('}') {
        let remedy = "leave out `+`, `#`, braces and control characters";
        return Err(("the text around the placeholders cannot be in an identity".into(), remedy.into()));
    }
    Ok(pieces)
}
