//! Principals to records and back: enough to ask the Gate about them after a restart.

use std::sync::Arc;

use motte_access::{CertificateFacts, ClientPrincipal, Methods, Principal, Security};
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
            certificate: client.certificate.as_deref().map(facts_to_record),
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
            certificate: record.certificate.as_deref().map(|pairs| Arc::new(facts_from_record(pairs))),
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

fn facts_to_record(facts: &CertificateFacts) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    let mut put = |name: &str, value: &str| pairs.push((name.to_owned(), value.to_owned()));
    for (name, value) in [("cn", &facts.cn), ("ou", &facts.ou), ("o", &facts.o)] {
        if let Some(value) = value {
            put(name, value);
        }
    }
    facts.dns_names.iter().for_each(|value| put("dns", value));
    facts.uris.iter().for_each(|value| put("uri", value));
    put("serial", &facts.serial);
    put("fingerprint", &facts.fingerprint);
    pairs
}

fn facts_from_record(pairs: &[(String, String)]) -> CertificateFacts {
    let mut facts = CertificateFacts::default();
    for (name, value) in pairs {
        let value = value.clone();
        match name.as_str() {
            "cn" => facts.cn = Some(value),
            "ou" => facts.ou = Some(value),
            "o" => facts.o = Some(value),
            "dns" => facts.dns_names.push(value),
            "uri" => facts.uris.push(value),
            "serial" => facts.serial = value,
            "fingerprint" => facts.fingerprint = value,
            _ => {}
        }
    }
    facts
}
