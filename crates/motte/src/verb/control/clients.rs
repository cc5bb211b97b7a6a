//! `motte clients`: who is there, one of them, and the end of a connection.

use motte_event::escaped;
use motte_roles::{CLIENTS_PAGE_MAX, ClientDetail, ClientPage, ClientSummary, CoreAnswer, CoreRequest};
use serde_json::{Value, json};

use super::{Broker, time};
use crate::cli::{ClientsAction, ClientsArgs};
use crate::verb::Fault;

pub(crate) fn run(args: &ClientsArgs) -> Result<(), Fault> {
    let broker = Broker::find(&args.socket)?;
    match &args.action {
        ClientsAction::List { after, limit, all, connected, json } => {
            let most = if *all { CLIENTS_PAGE_MAX } else { *limit };
            let ask = |after| page(&broker, after, *connected, most);
            let mut found = ask(after.clone())?;
            while *all && found.more {
                let last = found.clients.last().map(|client| client.client_id.clone());
                let next = ask(last.clone())?;
                // A broker that does not go on is not asked for ever.
                if next.clients.first().is_none_or(|client| Some(&client.client_id) <= last.as_ref()) {
                    return Err(broker.nonsense());
                }
                found.clients.extend(next.clients);
                found.more = next.more;
            }
            list(&found, *json);
            Ok(())
        }
        ClientsAction::Show { client_id, json } => {
            match broker.core(CoreRequest::Client { client_id: client_id.clone() })? {
                CoreAnswer::Client { client } if *json => println!("{:#}", detail_json(&client)),
                CoreAnswer::Client { client } => show(&client),
                CoreAnswer::Status { .. }
                | CoreAnswer::Clients { .. }
                | CoreAnswer::Done
                | CoreAnswer::Bans { .. }
                | CoreAnswer::Vault { .. }
                | CoreAnswer::VaultChallenge { .. }
                | CoreAnswer::SecondFactors { .. }
                | CoreAnswer::Refused { .. } => return Err(broker.nonsense()),
            }
            Ok(())
        }
        ClientsAction::Disconnect { client_id } => {
            match broker.core(CoreRequest::Disconnect { client_id: client_id.clone() })? {
                CoreAnswer::Done => println!("disconnected {}", escaped(client_id)),
                CoreAnswer::Status { .. }
                | CoreAnswer::Clients { .. }
                | CoreAnswer::Client { .. }
                | CoreAnswer::Bans { .. }
                | CoreAnswer::Vault { .. }
                | CoreAnswer::VaultChallenge { .. }
                | CoreAnswer::SecondFactors { .. }
                | CoreAnswer::Refused { .. } => return Err(broker.nonsense()),
            }
            Ok(())
        }
    }
}

fn page(broker: &Broker, after: Option<String>, connected: bool, most: u16) -> Result<ClientPage, Fault> {
    match broker.core(CoreRequest::Clients { after, connected, most })? {
        CoreAnswer::Clients { page } => Ok(page),
        CoreAnswer::Status { .. }
        | CoreAnswer::Client { .. }
        | CoreAnswer::Done
        | CoreAnswer::Bans { .. }
        | CoreAnswer::Vault { .. }
        | CoreAnswer::VaultChallenge { .. }
        | CoreAnswer::SecondFactors { .. }
        | CoreAnswer::Refused { .. } => Err(broker.nonsense()),
    }
}

fn list(page: &ClientPage, json: bool) {
    if json {
        let clients: Vec<Value> = page.clients.iter().map(summary_json).collect();
        println!("{:#}", json!({ "clients": clients, "more": page.more }));
        return;
    }
    for client in &page.clients {
        println!("{}", line(client));
    }
    match page.clients.last() {
        Some(last) if page.more => {
            println!("there are more: --after '{}', or --all", escaped(&last.client_id));
        }
        Some(_) => {}
        None => println!("no clients"),
    }
}

/// One client in one line; what clients choose can neither make a line nor steer a terminal.
fn line(client: &ClientSummary) -> String {
    let since = if client.connected {
        format!("connected since {}", time(client.since_unix_ms))
    } else {
        "not connected".to_owned()
    };
    let from = if client.address.is_empty() { "local" } else { client.address.as_str() };
    format!(
        "{}  identity {}  {since}  listener {}  from {}  subscriptions {}  queued {}",
        escaped(&client.client_id),
        escaped(&client.identity),
        escaped(&client.listener),
        escaped(from),
        client.subscriptions,
        client.queued
    )
}

fn show(client: &ClientDetail) {
    println!("{}", line(&client.summary));
    let protocol = match client.protocol {
        3 => "MQTT 3.1",
        4 => "MQTT 3.1.1",
        5 => "MQTT 5.0",
        _ => "no connection",
    };
    println!("{protocol}; not acknowledged {}; {} bytes wait", client.in_flight, client.queued_bytes);
    for filter in &client.filters {
        println!("  {}", escaped(filter));
    }
    let shown = u32::try_from(client.filters.len()).unwrap_or(u32::MAX);
    if shown < client.summary.subscriptions {
        println!("  and {} more", client.summary.subscriptions - shown);
    }
}

fn summary_json(client: &ClientSummary) -> Value {
    json!({
        "client_id": client.client_id,
        "identity": client.identity,
        "connected": client.connected,
        "listener": client.listener,
        "address": client.address,
        "since_unix_ms": client.since_unix_ms,
        "subscriptions": client.subscriptions,
        "queued": client.queued,
    })
}

fn detail_json(client: &ClientDetail) -> Value {
    let mut all = summary_json(&client.summary);
    if let Value::Object(fields) = &mut all {
        fields.insert("protocol".to_owned(), json!(client.protocol));
        fields.insert("in_flight".to_owned(), json!(client.in_flight));
        fields.insert("queued_bytes".to_owned(), json!(client.queued_bytes));
        fields.insert("filters".to_owned(), json!(client.filters));
    }
    all
}
