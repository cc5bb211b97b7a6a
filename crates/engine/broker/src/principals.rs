//! Principals to records and back: enough to ask the Gate about them after a restart.

use std::sync::Arc;

use motte_access::{
    CertificateFacts, ClientPrincipal, DirectoryFacts, Methods, Principal, Security, TokenFacts, TokenTopics,
};
use motte_store::PrincipalRecord;
use motte_topic::TopicFilter;

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
            ends_s: ends_from_record(record),
            directory: directory_from_record(record).map(Arc::new),
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
/// The name of the end of a permission.
const ENDS: &str = "ends";
/// What begins the names of a directory's facts.
const DIRECTORY: &str = "directory.";

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
        facts.audience.iter().for_each(|value| put("token.aud", value));
        put("token.identity_claim", &facts.identity_claim);
        facts.roles_claim.iter().for_each(|value| put("token.roles_claim", value));
        facts.groups_claim.iter().for_each(|value| put("token.groups_claim", value));
        facts.groups.iter().for_each(|value| put("token.group", value));
        facts.group_roles.iter().for_each(|value| put("token.group_role", value));
        facts.topics_claim.iter().for_each(|value| put("token.topics_claim", value));
        facts.id.iter().for_each(|value| put("token.jti", value));
        facts.roles.iter().for_each(|value| put("token.role", value));
        put("token.exp", &facts.ends_s.to_string());
        if let Some(topics) = &facts.topics {
            put("token.topics", "");
            topics.publish.iter().for_each(|filter| put("token.publish", filter.as_str()));
            topics.subscribe.iter().for_each(|filter| put("token.subscribe", filter.as_str()));
        }
    }
    if let Some(ends_s) = client.ends_s {
        put(ENDS, &ends_s.to_string());
    }
    if let Some(facts) = &client.directory {
        put("directory.entry", &facts.entry);
        facts.groups.iter().for_each(|value| put("directory.group", value));
        facts.roles.iter().for_each(|value| put("directory.role", value));
    }
    (!pairs.is_empty()).then_some(pairs)
}

fn facts_from_record(record: &PrincipalRecord) -> Option<CertificateFacts> {
    let mut found = None;
    let is_of_certificate =
        |name: &str| !name.starts_with(TOKEN) && !name.starts_with(DIRECTORY) && name != ENDS;
    for (name, value) in record.certificate.iter().flatten().filter(|(name, _)| is_of_certificate(name)) {
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
            "aud" => facts.audience.push(value),
            "identity_claim" => facts.identity_claim = value,
            "roles_claim" => facts.roles_claim = Some(value),
            "groups_claim" => facts.groups_claim = Some(value),
            "group" => facts.groups.push(value),
            "group_role" => facts.group_roles.push(value),
            "topics_claim" => facts.topics_claim = Some(value),
            "jti" => facts.id = Some(value),
            "role" => facts.roles.push(value),
            "exp" => facts.ends_s = value.parse().unwrap_or(0),
            "topics" => facts.topics = Some(facts.topics.take().unwrap_or_default()),
            // A filter that cannot be read is left out, which makes the rest narrower.
            "publish" => topics(facts).publish.extend(TopicFilter::parse(&value)),
            "subscribe" => topics(facts).subscribe.extend(TopicFilter::parse(&value)),
            _ => {}
        }
    }
    found
}

fn directory_from_record(record: &PrincipalRecord) -> Option<DirectoryFacts> {
    let mut found = None;
    for (name, value) in record.certificate.iter().flatten() {
        let Some(name) = name.strip_prefix(DIRECTORY) else { continue };
        let (value, facts) = (value.clone(), found.get_or_insert_with(DirectoryFacts::default));
        match name {
            "entry" => facts.entry = value,
            "group" => facts.groups.push(value),
            "role" => facts.roles.push(value),
            _ => {}
        }
    }
    found
}

fn topics(facts: &mut TokenFacts) -> &mut TokenTopics {
    facts.topics.get_or_insert_default()
}

/// The end of a permission; one that cannot be read has ended.
fn ends_from_record(record: &PrincipalRecord) -> Option<u64> {
    let (_, value) = record.certificate.iter().flatten().find(|(name, _)| name == ENDS)?;
    Some(value.parse().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(token: Option<TokenFacts>, ends_s: Option<u64>) -> Principal {
        Principal::Client(ClientPrincipal {
            identity: Arc::from("dev-1"),
            client_id: Arc::from("dev-1-a"),
            user_name: None,
            certificate: None,
            token: token.map(Arc::new),
            ends_s,
            directory: None,
            methods: Methods::TOKEN,
            listener: Arc::from("main"),
            security: Security::Tls,
            address: None,
            credential: 0,
        })
    }

    #[test]
    fn what_narrows_a_principal_and_when_it_ends_comes_back_from_its_record() {
        let topics = |publish: &[&str], subscribe: &[&str]| TokenTopics::parse(publish, subscribe).unwrap();
        let token = |topics| {
            let (issuer, key) = ("https://issuer.example".to_owned(), "00ff".to_owned());
            Some(TokenFacts {
                issuer,
                key,
                audience: vec!["motte".to_owned(), "else".to_owned()],
                identity_claim: "sub".to_owned(),
                roles_claim: Some("/realm/roles".to_owned()),
                groups_claim: Some("groups".to_owned()),
                groups: vec!["ops".to_owned(), "all".to_owned()],
                group_roles: vec!["operator".to_owned()],
                topics_claim: Some("topics".to_owned()),
                id: None,
                roles: vec!["reader".to_owned()],
                topics,
                ends_s: 9,
            })
        };
        for principal in [
            client(None, Some(7)),
            client(token(None), None),
            client(token(Some(topics(&[], &[]))), None),
            client(token(Some(topics(&["a/+"], &["b/#", "$SYS/x"]))), Some(1)),
        ] {
            assert_eq!(from_record(&to_record(&principal)), Some(principal));
        }
        // What cannot be read is narrower, and has ended.
        let mut record = to_record(&client(token(Some(topics(&["a"], &["b"]))), Some(5)));
        for (_, value) in
            record.certificate.iter_mut().flatten().filter(|(name, _)| name != "token.subscribe")
        {
            *value = "#/damaged".to_owned();
        }
        let Some(Principal::Client(back)) = from_record(&record) else { unreachable!("it is a client") };
        let kept = back.token.as_ref().and_then(|token| token.topics.clone());
        assert_eq!((back.ends_s, kept), (Some(0), Some(topics(&[], &["b"]))));
    }
}
