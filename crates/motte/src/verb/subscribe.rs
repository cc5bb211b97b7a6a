//! `motte sub`.

use std::io::Write;
use std::time::{Duration, Instant};

use motte_client::{Incoming, Message};
use motte_wire::{ReasonCode, RetainHandling, SubscribeOptions};

use crate::cli::SubArgs;
use crate::verb::Fault;
use crate::verb::connecting::{connect, qos};

pub(crate) fn run(args: &SubArgs) -> Result<(), Fault> {
    let (mut client, _) = connect(&args.connect)?;
    let options = SubscribeOptions {
        qos: qos(args.qos),
        no_local: args.no_local,
        retain_as_published: args.retain_as_published,
        retain_handling: match args.retain_handling {
            1 => RetainHandling::IfNew,
            2 => RetainHandling::Never,
            _ => RetainHandling::Always,
        },
    };
    let filters: Vec<(&str, SubscribeOptions)> =
        args.topics.iter().map(|topic| (topic.as_str(), options)).collect();
    let codes = client.subscribe(&filters).map_err(|error| Fault::new(error.to_string()))?;
    for (topic, code) in args.topics.iter().zip(&codes) {
        if code.is_failure() {
            let remedy = match *code {
                ReasonCode::NOT_AUTHORIZED => {
                    "grant this identity `subscribe` on everything the filter matches"
                }
                ReasonCode::TOPIC_FILTER_INVALID => {
                    "`+` stands for one whole level, `#` alone for the last ones"
                }
                _ => "look at the broker's log: it names the cause",
            };
            let what = format!("the subscription `{topic}` was refused: {} (0x{:02x})", code.name(), code.0);
            return Err(Fault::with_remedy(what, remedy));
        }
    }
    if !args.connect.json {
        eprintln!("subscribed to {}", args.topics.join(", "));
    }
    let mut received = 0;
    let mut last = Instant::now();
    while args.count.is_none_or(|count| received < count) {
        let idle = args.timeout.map(Duration::from_secs);
        let wait = idle.map_or(Duration::from_secs(3_600), |idle| idle.saturating_sub(last.elapsed()));
        match client.next(wait).map_err(|error| Fault::new(error.to_string()))? {
            Some(Incoming::Message(message)) => {
                received += 1;
                last = Instant::now();
                print(&message, args)?;
            }
            Some(Incoming::Disconnected(reason)) => {
                return Err(Fault::new(format!(
                    "the broker said goodbye: {} (0x{:02x})",
                    reason.name(),
                    reason.0
                )));
            }
            Some(Incoming::Published(..) | Incoming::Subscribed(..)) => {}
            None if idle.is_some() => break,
            None => {}
        }
    }
    client.disconnect(ReasonCode::NORMAL_DISCONNECTION).map_err(|error| Fault::new(error.to_string()))?;
    match args.count {
        Some(count) if received < count => {
            Err(Fault::new(format!("{received} of {count} messages came within the time")))
        }
        _ => Ok(()),
    }
}

fn print(message: &Message, args: &SubArgs) -> Result<(), Fault> {
    let mut out = std::io::stdout().lock();
    let written = if args.connect.json {
        writeln!(out, "{}", json(message))
    } else {
        let prefix =
            if args.verbose { out.write_all(format!("{} ", message.topic).as_bytes()) } else { Ok(()) };
        prefix.and_then(|()| out.write_all(&message.payload)).and_then(|()| out.write_all(b"\n"))
    };
    written.and_then(|()| out.flush()).map_err(|error| Fault::new(format!("cannot write: {error}")))
}

fn json(message: &Message) -> serde_json::Value {
    let text = std::str::from_utf8(&message.payload);
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    serde_json::json!({
        "topic": message.topic,
        "payload": text.ok(),
        "payload_hex": if text.is_err() { Some(hex(&message.payload)) } else { None },
        "qos": message.qos as u8,
        "retain": message.retain,
        "dup": message.dup,
        "expiry_s": message.expiry_s,
        "content_type": message.content_type,
        "response_topic": message.response_topic,
        "correlation_hex": message.correlation_data.as_deref().map(hex),
        "subscription_identifiers": message.identifiers,
        "user_properties": message.user,
    })
}
