//! A role that is tried out: let through and noted, denied from its day on.

use crate::shard::{Hello, Shard};

/// 14 November 2023, 22:13 is the time at which shards of these tests begin.
const POLICY: &str = r##"
version = 1
[role.device]
permissive_until = "2023-11-14"
rules = [
    { allow = ["publish"], topics = ["own/{identity}/#"] },
    { deny = ["publish", "subscribe"], topics = ["secret/#"] },
]
[role.reader]
rules = [{ allow = ["subscribe"], topics = ["#"] }]
wildcards = "allow"
[identity.device]
roles = ["device"]
[identity.reader]
roles = ["reader"]
"##;

#[test]
fn what_no_rule_grants_passes_and_is_noted_until_the_day_has_passed() {
    let mut shard = Shard::under(POLICY);
    let (device, reader) = (shard.client("device"), shard.client("reader"));
    assert_eq!(shard.subscribe(reader, "#"), 1);
    assert_eq!(shard.publish(device, "own/device/t", false), 0);
    assert_eq!((shard.let_pass(), shard.messages(reader).len()), (0, 1));
    for _ in 0..3 {
        assert_eq!(shard.publish(device, "elsewhere", false), 0);
    }
    assert_eq!(shard.messages(reader), ["elsewhere"; 3]);
    assert_eq!(shard.let_pass(), 3, "each use is counted");
    let told = shard.told().iter().filter(|name| **name == "rule.let_pass").count();
    assert!((1..3).contains(&told), "{told}: a remembered decision is not told again");
    assert_eq!(shard.subscribe(device, "elsewhere"), 1);
    // Rules that deny, and what no policy can grant, are in force.
    assert_eq!(shard.publish(device, "secret/x", false), 0x87);
    assert_eq!(shard.subscribe(device, "secret/#"), 0x87);
    assert_eq!(shard.publish(device, "$SYS/x", false), 0x87);
    assert_eq!(shard.subscribe(device, "$SYS/#"), 0x87);
    // The day passes: no reload, no reconnection.
    shard.told();
    shard.wait(2 * 3_600);
    assert_eq!(shard.told(), ["rule.permissive_ended"]);
    assert_eq!(
        shard.publish(device, "elsewhere", false),
        0x87,
        "a remembered decision does not outlive the day"
    );
    assert_eq!(shard.subscribe(device, "other"), 0x87);
    assert_eq!(shard.publish(device, "own/device/t", false), 0);
    assert_eq!(shard.messages(reader), ["own/device/t"]);
}

#[test]
fn a_subscription_from_permissive_days_brings_nothing_afterwards() {
    let mut shard = Shard::under(&POLICY.replace("[identity.reader]", "[identity.writer]\nroles = [\"writer\"]\n[role.writer]\nrules = [{ allow = [\"publish\"], topics = [\"#\"] }]\n[identity.reader]"));
    let (device, writer) = (shard.client("device"), shard.client("writer"));
    assert_eq!(shard.subscribe(device, "#"), 1);
    assert_eq!(shard.publish(writer, "elsewhere", false), 0);
    assert_eq!(shard.publish(writer, "secret/x", false), 0);
    assert_eq!(shard.messages(device), ["elsewhere"], "a rule that denies is in force at delivery");
    shard.wait(2 * 3_600);
    assert_eq!(shard.publish(writer, "elsewhere", false), 0);
    assert_eq!(shard.messages(device), Vec::<String>::new());
}

#[test]
fn a_will_is_let_through_only_while_its_role_is_permissive() {
    let mut shard = Shard::under(POLICY);
    let reader = shard.client("reader");
    assert_eq!(shard.subscribe(reader, "#"), 1);
    let hello = Hello { will: Some(("elsewhere", 3 * 3_600)), ..Hello::default() };
    let device = shard.connect("device", hello);
    assert!(shard.told().contains(&"rule.let_pass"));
    shard.lose(device);
    shard.wait(4 * 3_600);
    assert_eq!(shard.messages(reader), Vec::<String>::new());
    assert!(shard.told().contains(&"rule.injection_denied"), "it is decided again when it fires");
}
