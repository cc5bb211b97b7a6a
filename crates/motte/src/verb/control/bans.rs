//! `motte bans`: who is turned away, who is to be, and who is not any more.

use motte_event::escaped;
use motte_roles::{BanStatus, CoreAnswer, CoreRequest};
use serde_json::{Value, json};

use super::{Broker, step_up, time};
use crate::cli::{BansAction, BansArgs};
use crate::verb::Fault;

pub(crate) fn run(args: &BansArgs) -> Result<(), Fault> {
    let step_up = match &args.action {
        BansAction::Add { step_up: args, .. } | BansAction::Remove { step_up: args, .. } => step_up(args)?,
        BansAction::List { .. } | BansAction::Export { .. } => None,
    };
    let broker = Broker::find(&args.socket)?.stepping_up(step_up);
    match &args.action {
        BansAction::List { json } => list(&all(&broker)?, *json),
        BansAction::Add { subject, for_s, cause, json, .. } => {
            let (subject, cause, for_s) = (subject.clone(), cause.clone(), *for_s);
            let told = json!({ "banned": subject, "for_s": for_s });
            let text = format!("banned {} for {for_s} s", escaped(&subject));
            done(&broker, CoreRequest::Ban { subject, cause, for_s }, *json, &told, &text)?;
        }
        BansAction::Remove { subject, json, .. } => {
            let (told, text) = (json!({ "lifted": subject }), format!("lifted {}", escaped(subject)));
            done(&broker, CoreRequest::Unban { subject: subject.clone() }, *json, &told, &text)?;
        }
        BansAction::Export { nft: _ } => print!("{}", nft(&all(&broker)?, now_ms())),
    }
    Ok(())
}

fn done(broker: &Broker, request: CoreRequest, json: bool, told: &Value, text: &str) -> Result<(), Fault> {
    let CoreAnswer::Done = broker.core(request)? else { return Err(broker.nonsense()) };
    if json {
        println!("{told:#}");
    } else {
        println!("{text}");
    }
    Ok(())
}

/// All bans, page after page.
fn all(broker: &Broker) -> Result<Vec<BanStatus>, Fault> {
    let mut found = Vec::new();
    loop {
        let from = u32::try_from(found.len()).unwrap_or(u32::MAX);
        let CoreAnswer::Bans { page } = broker.core(CoreRequest::Bans { from })? else {
            return Err(broker.nonsense());
        };
        // A broker that does not go on is not asked for ever.
        if page.more && page.bans.is_empty() || found.len() > motte_identity::bans::BANS_MAX {
            return Err(broker.nonsense());
        }
        found.extend(page.bans);
        if !page.more {
            return Ok(found);
        }
    }
}

fn list(bans: &[BanStatus], json: bool) {
    if json {
        let bans: Vec<Value> = bans
            .iter()
            .map(|ban| {
                json!({
                    "subject": ban.subject,
                    "cause": ban.cause,
                    "by": ban.by,
                    "since_unix_ms": ban.since_unix_ms,
                    "until_unix_ms": ban.until_unix_ms,
                })
            })
            .collect();
        println!("{:#}", json!({ "bans": bans }));
        return;
    }
    for ban in bans {
        println!(
            "{}  since {}  until {}  by {}  {}",
            escaped(&ban.subject),
            time(ban.since_unix_ms),
            time(ban.until_unix_ms),
            escaped(ban.by.as_deref().unwrap_or("motte")),
            escaped(&ban.cause)
        );
    }
    if bans.is_empty() {
        println!("nobody is banned");
    }
}

fn now_ms() -> u64 {
    u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or_default()
}

/// The banned addresses as commands: a table with a set for each family, filled anew. Only what is an address or a network is
/// written, as the standard library prints it; what lies in another banned network is left to the broker once that ends.
fn nft(bans: &[BanStatus], now_ms: u64) -> String {
    let mut banned: Vec<(ipnet::IpNet, u64)> = Vec::new();
    for ban in bans {
        let subject = motte_identity::bans::BanSubject::parse(&ban.subject);
        let left_s = ban.until_unix_ms.saturating_sub(now_ms).div_ceil(1_000);
        if let Ok(motte_identity::bans::BanSubject::Addresses(net)) = subject
            && left_s > 0
        {
            banned.push((net, left_s));
        }
    }
    // By address, a network in front of what lies in it.
    banned.sort_unstable_by_key(|(net, _)| (net.network(), net.prefix_len()));
    let mut text = String::from("add table inet motte\n");
    for (set, kind, v4) in [("banned_v4", "ipv4_addr", true), ("banned_v6", "ipv6_addr", false)] {
        text.push_str(&format!("add set inet motte {set} {{ type {kind}; flags interval, timeout; }}\n"));
        text.push_str(&format!("flush set inet motte {set}\n"));
        let mut last: Option<ipnet::IpNet> = None;
        for (net, left_s) in &banned {
            // Sets take nothing that lies in what they hold already: then they would take none of it all.
            let is_covered = last.is_some_and(|last| last.contains(net));
            if net.addr().is_ipv4() == v4 && !is_covered {
                text.push_str(&format!("add element inet motte {set} {{ {net} timeout {left_s}s }}\n"));
                last = Some(*net);
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_go_to_the_packet_filter_and_each_with_its_end() {
        let ban = |subject: &str, until_unix_ms| BanStatus {
            subject: subject.to_owned(),
            cause: String::new(),
            by: None,
            since_unix_ms: 0,
            until_unix_ms,
        };
        let bans = [
            ban("192.0.2.1", 61_000),
            ban("2001:db8::/64", 31_000),
            ban("identity:a } ; flush ruleset", 61_000),
            ban("192.0.2.2", 1_000),
            ban("192.0.2.3 }; flush ruleset", 61_000),
            ban("198.51.100.7", 61_000),
            ban("198.51.100.0/24", 31_000),
        ];
        assert_eq!(
            nft(&bans, 1_000),
            "add table inet motte\nadd set inet motte banned_v4 { type ipv4_addr; flags interval, timeout; }\nflush set inet motte banned_v4\nadd element inet motte banned_v4 { 192.0.2.1/32 timeout 60s }\nadd element inet motte banned_v4 { 198.51.100.0/24 timeout 30s }\nadd set inet motte banned_v6 { type ipv6_addr; flags interval, timeout; }\nflush set inet motte banned_v6\nadd element inet motte banned_v6 { 2001:db8::/64 timeout 30s }\n"
        );
    }
}
