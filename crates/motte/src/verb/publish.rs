//! `motte pub`.

use std::io::{BufRead, Read};

use motte_client::{Client, OutMessage};
use motte_wire::ReasonCode;

use crate::cli::PubArgs;
use crate::verb::Fault;
use crate::verb::connecting::{connect, qos};

pub(crate) fn run(args: &PubArgs) -> Result<(), Fault> {
    let user = args.properties.iter().map(|text| property(text)).collect::<Result<Vec<_>, _>>()?;
    let template = OutMessage {
        qos: qos(args.qos),
        retain: args.retain,
        expiry_s: args.expiry,
        content_type: args.content_type.clone(),
        response_topic: args.response_topic.clone(),
        correlation_data: args.correlation.as_ref().map(|data| data.as_bytes().to_vec()),
        user,
        ..OutMessage::new(args.topic.clone(), Vec::new())
    };
    let payload = if args.lines { None } else { Some(payload(args)?) };
    let (mut client, _) = connect(&args.connect)?;
    let mut published = 0_u64;
    match payload {
        Some(payload) => {
            let message = OutMessage { payload, ..template };
            for _ in 0..args.count {
                publish(&mut client, &message)?;
                published += 1;
            }
        }
        None => {
            for line in std::io::stdin().lock().lines() {
                let line =
                    line.map_err(|error| Fault::new(format!("cannot read standard input: {error}")))?;
                publish(&mut client, &OutMessage { payload: line.into_bytes(), ..template.clone() })?;
                published += 1;
            }
        }
    }
    client.disconnect(ReasonCode::NORMAL_DISCONNECTION).map_err(|error| Fault::new(error.to_string()))?;
    if args.connect.json {
        println!("{}", serde_json::json!({ "published": published, "topic": args.topic, "qos": args.qos }));
    }
    Ok(())
}

fn publish(client: &mut Client, message: &OutMessage) -> Result<(), Fault> {
    let reason = client.publish(message).map_err(|error| Fault::new(error.to_string()))?;
    if !reason.is_failure() {
        return Ok(());
    }
    let remedy = match reason {
        ReasonCode::NOT_AUTHORIZED => {
            "grant this identity `publish` on the topic (and `retain` for --retain) in the policy"
        }
        ReasonCode::QUOTA_EXCEEDED => "the broker is at a limit: see its log",
        _ => "look at the broker's log: it names the cause",
    };
    let what = format!("`{}` was not taken: {} (0x{:02x})", message.topic, reason.name(), reason.0);
    Err(Fault::with_remedy(what, remedy))
}

fn payload(args: &PubArgs) -> Result<Vec<u8>, Fault> {
    if let Some(message) = &args.message {
        return Ok(message.as_bytes().to_vec());
    }
    if let Some(file) = &args.file {
        return std::fs::read(file)
            .map_err(|error| Fault::new(format!("cannot read {}: {error}", file.display())));
    }
    let mut bytes = Vec::new();
    std::io::stdin()
        .read_to_end(&mut bytes)
        .map_err(|error| Fault::new(format!("cannot read standard input: {error}")))?;
    Ok(bytes)
}

fn property(text: &str) -> Result<(String, String), Fault> {
    text.split_once('=')
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .ok_or_else(|| Fault::with_remedy(format!("`{text}` is no User Property"), "write it as NAME=VALUE"))
}
