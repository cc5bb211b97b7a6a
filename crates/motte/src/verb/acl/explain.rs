//! `motte acl explain`: why a client may or may not.

use std::sync::Arc;

use motte_access::analysis::{Cited, Explained, Inquiry, ListenerFacts, Way, World};
use motte_access::{CertificateFacts, ClientPrincipal, Methods, Security, TokenFacts, TokenTopics};
use serde_json::{Value, json};

use super::{Answer, line, source};
use crate::cli::{AclExplainArgs, MethodArg};
use crate::verb::Fault;

/// The identity of clients that nobody asked.
const ANONYMOUS: &str = "anonymous";

pub(super) fn run(args: &AclExplainArgs) -> Result<Answer, Fault> {
    let world = source::world(&args.source)?;
    let (way, target) = wanted(args)?;
    let client = client(args, &world)?;
    let inquiry = Inquiry { client, way, target: target.clone(), qos: args.qos, payload_bytes: args.bytes };
    let explained = world.explain(&inquiry).map_err(|error| {
        Fault::with_remedy(
            format!("`{target}`: {error}"),
            "topics have no wildcards, filters have them as whole levels",
        )
    })?;
    let text = if args.source.json {
        format!("{}\n", value(args, &inquiry, &explained))
    } else {
        text(&inquiry, &explained)
    };
    Ok(Answer::new(text, explained.permitted))
}

/// What is asked, and for which topic or filter.
fn wanted(args: &AclExplainArgs) -> Result<(Way, String), Fault> {
    let all = [
        (Way::Publish, &args.publish),
        (Way::Retain, &args.retain),
        (Way::Will, &args.will),
        (Way::Subscribe, &args.subscribe),
        (Way::Receive, &args.receive),
    ];
    let Some((way, text)) = all.into_iter().find_map(|(way, text)| Some((way, text.clone()?))) else {
        return Err(Fault::with_remedy("nothing is asked", "give --publish, --subscribe or --receive"));
    };
    let shared = text.strip_prefix("$share/").and_then(|rest| rest.split_once('/'));
    Ok(match (way, shared) {
        (Way::Subscribe, Some((_, filter))) => (Way::Share, filter.to_owned()),
        _ => (way, text),
    })
}

fn client(args: &AclExplainArgs, world: &World) -> Result<ClientPrincipal, Fault> {
    let listener = listener(args, world)?;
    let is_anonymous = args.identity == ANONYMOUS && listener.methods.contains(&Methods::ANONYMOUS);
    let certificate = certificate(args, world)?;
    let token = token(args, listener)?;
    let methods = match args.method {
        _ if is_anonymous => Methods::ANONYMOUS,
        Some(MethodArg::Certificate) => Methods::CERTIFICATE,
        Some(MethodArg::Password) => Methods::PASSWORD,
        Some(MethodArg::Both) => Methods::CERTIFICATE.and(Methods::PASSWORD),
        Some(MethodArg::Http) => Methods::HTTP,
        Some(MethodArg::Token) => Methods::TOKEN,
        None if token.is_some() => {
            let known = listener.methods.iter().copied().find(|methods| methods.has(Methods::TOKEN));
            known.unwrap_or(Methods::TOKEN)
        }
        None if certificate.is_some() && listener.methods.contains(&Methods::CERTIFICATE) => {
            Methods::CERTIFICATE
        }
        None => {
            let known = listener.methods.iter().copied().find(|methods| methods.has(Methods::PASSWORD));
            known.or_else(|| listener.methods.first().copied()).unwrap_or(Methods::PASSWORD)
        }
    };
    let own = || CertificateFacts { cn: Some(args.identity.clone()), ..CertificateFacts::default() };
    Ok(ClientPrincipal {
        identity: Arc::from(args.identity.as_str()),
        client_id: Arc::from(args.client_id.as_deref().unwrap_or(&args.identity)),
        user_name: methods.has(Methods::PASSWORD).then(|| Arc::from(args.identity.as_str())),
        token: token.filter(|_| methods.has(Methods::TOKEN)).map(Arc::new),
        ends_s: None,
        directory: None,
        certificate: methods.has(Methods::CERTIFICATE).then(|| Arc::new(certificate.unwrap_or_else(own))),
        methods,
        listener: Arc::from(listener.name.as_str()),
        security: listener.security.first().copied().unwrap_or(Security::Tls),
        address: args.from,
        credential: 0,
    })
}

fn listener<'w>(args: &AclExplainArgs, world: &'w World) -> Result<&'w ListenerFacts, Fault> {
    let all = world.listeners();
    let found = match &args.listener {
        Some(name) => all.iter().find(|one| one.name == *name),
        None => all.first(),
    };
    found.ok_or_else(|| {
        let names: Vec<&str> = all.iter().map(|one| one.name.as_str()).collect();
        let what = match &args.listener {
            Some(name) => format!("there is no listener `{name}`"),
            None => "the configuration has no listener".to_owned(),
        };
        Fault::with_remedy(what, &format!("use one of: {}", names.join(", ")))
    })
}

/// What is known of the certificate: what was given, else what the state directory has.
fn certificate(args: &AclExplainArgs, world: &World) -> Result<Option<CertificateFacts>, Fault> {
    if args.cert.is_empty() {
        return Ok(world.certificate(&args.identity).cloned());
    }
    let mut facts = CertificateFacts { cn: Some(args.identity.clone()), ..CertificateFacts::default() };
    for one in &args.cert {
        let (key, value) = one.split_once('=').unwrap_or((one, ""));
        let field = match key {
            "cn" => &mut facts.cn,
            "ou" => &mut facts.ou,
            "o" => &mut facts.o,
            _ => {
                let what = format!("`{one}` is no fact of a certificate");
                return Err(Fault::with_remedy(what, "write cn=NAME, ou=NAME or o=NAME"));
            }
        };
        *field = Some(value.to_owned());
    }
    Ok(Some(facts))
}

/// What its token says, if it is said to have one: roles that an issuer of the listener may grant, and topics.
fn token(args: &AclExplainArgs, listener: &ListenerFacts) -> Result<Option<TokenFacts>, Fault> {
    let is_meant =
        args.method == Some(MethodArg::Token) || !args.token_role.is_empty() || !args.token_topic.is_empty();
    if !is_meant {
        return Ok(None);
    }
    let may_grant = |roles: &Vec<String>| args.token_role.iter().all(|role| roles.contains(role));
    let is_known = listener.token_roles.is_empty() || listener.token_roles.iter().any(may_grant);
    if !args.token_role.is_empty() && !is_known {
        let what = format!(
            "no issuer grants {} together at listener {}",
            args.token_role.join(" and "),
            listener.name
        );
        return Err(Fault::with_remedy(what, "name roles that stand in `roles` of one [[auth.jwt]]"));
    }
    let (mut publish, mut subscribe) = (Vec::new(), Vec::new());
    for one in &args.token_topic {
        match one.split_once('=') {
            Some(("publish", filter)) => publish.push(filter),
            Some(("subscribe", filter)) => subscribe.push(filter),
            _ => {
                let what = format!("`{one}` is nothing that a token says of topics");
                return Err(Fault::with_remedy(what, "write publish=FILTER or subscribe=FILTER"));
            }
        }
    }
    let topics = if args.token_topic.is_empty() {
        None
    } else {
        let remedy = "give at most 32 filters of at most 256 bytes for each direction";
        Some(TokenTopics::parse(&publish, &subscribe).map_err(|what| Fault::with_remedy(what, remedy))?)
    };
    Ok(Some(TokenFacts { roles: args.token_role.clone(), topics, ..TokenFacts::default() }))
}

fn who(inquiry: &Inquiry) -> String {
    let client = &inquiry.client;
    let mut parts = vec![format!("by {}", client.methods.names()), format!("listener {}", client.listener)];
    if client.client_id != client.identity {
        parts.push(format!("Client Identifier {}", client.client_id));
    }
    if let Some(facts) = &client.certificate {
        let names = [("ou", &facts.ou), ("o", &facts.o)];
        parts.extend(names.iter().filter_map(|(key, value)| Some(format!("{key}={}", value.as_ref()?))));
    }
    if let Some(topics) = client.token.as_ref().and_then(|token| token.topics.as_ref()) {
        for (direction, filters) in [("publish", &topics.publish), ("subscribe", &topics.subscribe)] {
            let filters: Vec<String> = filters.iter().map(ToString::to_string).collect();
            let said = if filters.is_empty() { "nothing".to_owned() } else { filters.join(" ") };
            parts.push(format!("a token for {direction} of {said}"));
        }
    }
    format!("{} ({})", client.identity, parts.join(", "))
}

fn text(inquiry: &Inquiry, explained: &Explained) -> String {
    let verdict = if explained.permitted { "PERMITTED" } else { "DENIED" };
    let mut text = format!("{verdict}  {}\n", explained.answer);
    text.push_str(&line("who", who(inquiry)));
    let roles = if explained.roles.is_empty() { "none".to_owned() } else { explained.roles.join(", ") };
    text.push_str(&line("roles", roles));
    if explained.by_token {
        text.push_str(&line("decides", "the token: what lies outside of its topics no rule permits"));
    } else if explained.by_registry {
        text.push_str(&line("decides", "the topic registry: to what it does not know nobody publishes"));
    } else if explained.decides.is_none() && !explained.permitted {
        text.push_str(&line("decides", "no rule: what no rule permits is denied"));
    }
    for (key, cited) in [("decides", &explained.decides), ("nearest", &explained.nearest)] {
        let Some(cited) = cited else { continue };
        // A shape of the topic registry belongs to no role.
        let role = if cited.role.is_empty() { String::new() } else { format!(" (role {})", cited.role) };
        text.push_str(&line(key, format!("{}:{}{role}", cited.file, cited.line)));
        text.push_str(&line("", &cited.rule));
        text.push_str(&line("", &cited.why));
    }
    text
}

fn value(args: &AclExplainArgs, inquiry: &Inquiry, explained: &Explained) -> Value {
    let cited = |cited: &Option<Cited>| {
        cited.as_ref().map(|one| {
            json!({ "file": one.file, "line": one.line, "role": one.role, "rule": one.rule, "why": one.why })
        })
    };
    json!({
        "permitted": explained.permitted,
        "answer": explained.answer,
        "identity": args.identity,
        "client_id": &*inquiry.client.client_id,
        "listener": &*inquiry.client.listener,
        "method": inquiry.client.methods.names(),
        "way": inquiry.way.name(),
        "target": inquiry.target,
        "roles": explained.roles,
        "by_token": explained.by_token,
        "by_registry": explained.by_registry,
        "decides": cited(&explained.decides),
        "nearest": cited(&explained.nearest),
    })
}
