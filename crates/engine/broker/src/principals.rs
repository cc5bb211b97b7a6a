//! Principals to records and back: enough to ask the Gate about them after a restart.

use std::sync::Arc;

use motte_access::{CertificateFacts, ClientPrincipal, Methods, Principal, Security, TokenFacts};
use motte_store::PrincipalRecord;

/// The record of a principal.
pub(crate) fn to_record(principal: &Principal) -> PrincipalRecord {
    let named = |kind: u8, name: &str| PrincipalRecord {
        kind,
        identity: name.to_owned(),
        ..PrincipalRecord::default()
    };
    match principal {
        Principal::Client(client) => PrincipalRecord {
            kind: 0,
            identity: client.identity.to_string(),
            client_id: client.client_id.to_string(),
            user_name: client.user_name.as_deref().map(str::to_owned),
            methods: client.methods.0,
            listener: client.listener.to_string(),
            security: match client.security {
                Security::Plain => 0,
                Security::Tls => 1,
                Security::Local => 2,
            },
            address: client.address.map(|address| address.to_string()),
            certificate: facts_to_record(client),
        },
        Principal::Bridge { name } => named(1, name),
        Principal::Operator { name } => named(2, name),
        Principal::Node { name } => named(3, name),
        Principal::System => named(4, ""),
    }
}

/// The principal of a record; `None` when the record does not make sense.
pub(crate) fn from_record(record: &PrincipalRecord) -> Option<Principal> {
    let name = || Arc::from(record.identity.as_str());
    Some(match record.kind {
        0 => Principal::Client(ClientPrincipal {
            identity: name(),
            client_id: Arc::from(record.client_id.as_str()),
            user_name: record.user_name.as_deref().map(Arc::from),
            token: token_from_record(record).map(Arc::new),
            certificate: facts_from_record(record).map(Arc::new),
            methods: Methods(record.methods),
            listener: Arc::from(record.listener.as_str()),
            security: match record.security {
                0 => Security::Plain,
                1 => Security::Tls,
                2 => Security::Local,
                _ => return None,
            },
            address: record.address.as_ref().and_then(|address| address.parse().ok()),
            credential: 0,
        }),
        1 => Principal::Bridge { name: name() },
        2 => Principal::Operator { name: name() },
        3 => Principal::Node { name: name() },
        4 => Principal::System,
        _ => return None,
    })
}

/// What begins the names of a token's facts.
const TOKEN: &str = "token.";

fn facts_to_record(client: &ClientPrincipal) -> Option<Vec<(String, String)>> {
    let mut pairs = Vec::new();
    let mut put = |name: &str, value: &str| pairs.push((name.to_owned(), value.to_owned()));
    if let Some(facts) = &client.certificate {
        for (name, value) in [("cn", &facts.cn), ("ou", &facts.ou), ("o", &facts.o)] {
            if let Some(value) = value {
                put(name, value);
            }
        }
        facts.dns_names.iter().for_each(|value| put("dns", value));
        facts.uris.iter().for_each(|value| put("uri", value));
        put("serial", &facts.serial);
        put("fingerprint", &facts.fingerprint);
        facts.authorities.iter().for_each(|value| put("authority", value));
    }
    if let Some(facts) = &client.token {
        put("token.iss", &facts.issuer);
        put("token.key", &facts.key);
        facts.id.iter().for_each(|value| put("token.jti", value));
        facts.roles.iter().for_each(|value| put("token.role", value));
        put("token.exp", &facts.ends_s.to_string());
    }
    (!pairs.is_empty()).then_some(pairs)
}

fn facts_from_record(record: &PrincipalRecord) -> Option<CertificateFacts> {
    let mut found = None;
    for (name, value) in record.certificate.iter().flatten().filter(|(name, _)| !name.starts_with(TOKEN)) {
        let (value, facts) = (value.clone(), found.get_or_insert_with(CertificateFacts::default));
        match name.as_str() {
            "cn" => facts.cn = Some(value),
            "ou" => facts.ou = Some(value),
            "o" => facts.o = Some(value),
            "dns" => facts.dns_names.push(value),
            "uri" => facts.uris.push(value),
            "serial" => facts.serial = value,
            "fingerprint" => facts.fingerprint = value,
            "authority" => facts.authorities.push(value),
            _ => {}
        }
    }
    found
}

fn token_from_record(record: &PrincipalRecord) -> Option<TokenFacts> {
    let mut found = None;
    for (name, value) in record.certificate.iter().flatten() {
        let Some(name) = name.strip_prefix(TOKEN) else { continue };
        let (value, facts) = (value.clone(), found.get_or_insert_with(TokenFacts::default));
        match name {
            "iss" => facts.issuer = value,
            "key" => facts.key = value,
            "jti" => facts.id = Some(value),
            "role" => facts.roles.push(value),
            "exp" => facts.ends_s = value.parse().unwrap_or(0),
            _ => {}
        }
    }
    found
}
