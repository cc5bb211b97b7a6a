//! Every way by which a message reaches a subscriber, with a policy that changes in between. What other brokers have paid for
//! is named by its CVE.

use crate::shard::{Hello, Seen, Shard, Slot};

/// Who may do what in these tests: the writer writes below `a`, readers read it.
const OPEN: &str = r#"
version = 1
[role.writer]
rules = [{ allow = ["publish", "retain"], topics = ["a/#"] }]
[role.reader]
rules = [{ allow = ["subscribe", "share"], topics = ["a/#", "b/#"] }]
[identity.writer]
roles = ["writer"]
[identity.reader]
roles = ["reader"]
[identity.second]
roles = ["reader"]
"#;

/// The writer has lost its rights.
fn silenced() -> String {
    OPEN.replace("topics = [\"a/#\"]", "topics = [\"elsewhere\"]")
}

/// All readers have lost theirs.
fn closed() -> String {
    OPEN.replace("topics = [\"a/#\", \"b/#\"]", "topics = [\"b/#\"]")
}

/// A rule that denies stands beside theirs.
fn denied() -> String {
    let denying = "rules = [{ deny = [\"receive\"], topics = [\"a/secret/#\", \"a/t\"] }, ";
    OPEN.replace("rules = [{ allow = [\"subscribe\"", &format!("{denying}{{ allow = [\"subscribe\""))
}

const NONE: [&str; 0] = [];

fn writer_and_reader(shard: &mut Shard) -> (Slot, Slot) {
    let pair = (shard.client("writer"), shard.client("reader"));
    assert_eq!(shard.subscribe(pair.1, "a/#"), 1);
    pair
}

#[test]
fn a_policy_without_rules_permits_nothing() {
    // CVE-2018-12550
    for empty in
        ["", "# nothing\n", "version = 1\n", "version = 1\n[role.r]\n[authenticated]\nroles = [\"r\"]\n"]
    {
        let mut shard = Shard::under(empty);
        let client = shard.client("writer");
        assert_eq!(shard.publish(client, "a/t", false), 0x87, "{empty:?}");
        for filter in ["a/t", "#", "+", "$share/g/a", "$SYS/#"] {
            assert_eq!(shard.subscribe(client, filter), 0x87, "{filter} under {empty:?}");
        }
    }
}

#[test]
fn a_wildcard_does_not_reach_around_a_grant() {
    // CVE-2026-49186
    let mut shard = Shard::under(OPEN);
    let (writer, reader) = (shard.client("writer"), shard.client("reader"));
    for filter in ["#", "+/#", "+/t", "$share/g/#", "$share/g/+/t", "/#", "a/#/b"] {
        if !filter.ends_with("#/b") {
            assert_eq!(shard.subscribe(reader, filter), 0x87, "{filter}");
        }
    }
    assert_eq!(shard.publish(writer, "a/t", false), 0);
    assert_eq!(shard.messages(reader), NONE);
}

#[test]
fn publish_is_decided_anew_after_a_reload() {
    let mut shard = Shard::under(OPEN);
    let (writer, reader) = writer_and_reader(&mut shard);
    // Twice, so that the decision is remembered.
    assert_eq!((shard.publish(writer, "a/t", false), shard.publish(writer, "a/t", false)), (0, 0));
    assert_eq!(shard.messages(reader), ["a/t", "a/t"]);
    shard.reload(&silenced());
    assert_eq!(shard.publish(writer, "a/t", false), 0x87);
    assert_eq!(shard.messages(reader), NONE);
    shard.reload(OPEN);
    assert_eq!(shard.publish(writer, "a/t", false), 0);
    assert_eq!(shard.messages(reader), ["a/t"]);
}

#[test]
fn a_subscription_does_not_outlive_its_right() {
    // CVE-2021-34434
    for policy in [closed(), denied()] {
        let mut shard = Shard::under(OPEN);
        let (writer, reader) = writer_and_reader(&mut shard);
        assert_eq!(shard.publish(writer, "a/t", false), 0);
        assert_eq!(shard.messages(reader), ["a/t"]);
        shard.reload(&policy);
        assert_eq!(shard.publish(writer, "a/t", false), 0);
        assert_eq!(shard.messages(reader), NONE, "{policy}");
    }
}

#[test]
fn a_message_of_qos_2_is_decided_when_it_comes_and_not_by_its_identifier() {
    let mut shard = Shard::under(OPEN);
    let (writer, reader) = writer_and_reader(&mut shard);
    assert_eq!(shard.send_publish(writer, "a/t", 2, false, "once"), 0);
    assert_eq!(shard.messages(reader), ["a/t"]);
    shard.reload(&silenced());
    // PUBREL completes what was taken, and brings nothing again.
    shard.send(writer, 0x62, &[0, 7]);
    assert_eq!(shard.messages(reader), NONE);
    assert_eq!(shard.send_publish(writer, "a/t", 2, false, "twice"), 0x87);
    assert_eq!(shard.messages(reader), NONE);
}

#[test]
fn a_retained_message_does_not_outlive_its_writers_right() {
    // CVE-2018-12546
    let mut shard = Shard::under(OPEN);
    let (writer, reader) = (shard.client("writer"), shard.client("reader"));
    assert_eq!(shard.publish(writer, "a/t", true), 0);
    assert_eq!(shard.subscribe(reader, "a/t"), 1);
    assert_eq!(shard.messages(reader), ["a/t"]);
    shard.reload(&silenced());
    assert_eq!(shard.subscribe(reader, "a/t"), 1);
    assert_eq!(shard.messages(reader), NONE);
}

#[test]
fn a_retained_message_goes_to_nobody_who_may_not_receive_it() {
    let mut shard = Shard::under(OPEN);
    let (writer, reader) = (shard.client("writer"), shard.client("reader"));
    for topic in ["a/t", "a/secret/x", "a/open"] {
        assert_eq!(shard.publish(writer, topic, true), 0);
    }
    shard.reload(
        &denied().replace("[\"subscribe\", \"share\"], ", "[\"subscribe\", \"share\"], narrow = true, "),
    );
    assert_eq!(shard.subscribe(reader, "a/#"), 1, "it is narrowed");
    assert_eq!(shard.messages(reader), ["a/open"]);
}

#[test]
fn retain_needs_its_own_right_each_time() {
    let mut shard = Shard::under(&OPEN.replace("[\"publish\", \"retain\"]", "[\"publish\"]"));
    let (writer, reader) = (shard.client("writer"), shard.client("reader"));
    assert_eq!(shard.publish(writer, "a/t", false), 0);
    assert_eq!(shard.publish(writer, "a/t", true), 0x87);
    assert_eq!(shard.subscribe(reader, "a/t"), 1);
    assert_eq!(shard.messages(reader), NONE);
}

#[test]
fn what_waits_for_an_absent_client_is_decided_when_it_comes_back() {
    for policy in [closed(), denied()] {
        let mut shard = Shard::under(OPEN);
        let (writer, reader) = writer_and_reader(&mut shard);
        shard.lose(reader);
        assert_eq!(shard.publish(writer, "a/t", false), 0);
        shard.reload(&policy);
        let back = shard.connect("reader", Hello { resume: true, ..Hello::default() });
        assert_eq!(shard.messages(back), NONE, "{policy}");
    }
    // What was taken from a writer stays taken when the writer's right ends: it was permitted when it came.
    for policy in [OPEN.to_owned(), silenced()] {
        let mut shard = Shard::under(OPEN);
        let (writer, reader) = writer_and_reader(&mut shard);
        shard.lose(reader);
        assert_eq!(shard.publish(writer, "a/t", false), 0);
        shard.reload(&policy);
        let back = shard.connect("reader", Hello { resume: true, ..Hello::default() });
        assert_eq!(shard.messages(back), ["a/t"], "{policy}");
    }
}

#[test]
fn a_will_is_decided_at_connect_and_when_it_fires() {
    let will = |topic: &'static str, delay_s| Hello { will: Some((topic, delay_s)), ..Hello::default() };
    for topic in ["b/t", "$SYS/broker/load", "$motte/x", "$SYS"] {
        let mut shard = Shard::under(OPEN);
        let writer = shard.connect("writer", will(topic, 0));
        assert_eq!(shard.seen(writer), [Seen::Answer(0x87)], "{topic}");
    }
    for (delay_s, retained) in [(0, false), (60, false), (0, true), (60, true)] {
        for (policy, heard) in [(OPEN.to_owned(), 1), (silenced(), 0), (closed(), 0), (denied(), 0)] {
            let mut shard = Shard::under(OPEN);
            let reader = shard.client("reader");
            assert_eq!(shard.subscribe(reader, "a/#"), 1);
            let writer = shard.connect("writer", Hello { will_retained: retained, ..will("a/t", delay_s) });
            assert_eq!(shard.seen(writer), [Seen::Answer(0)]);
            shard.seen(reader);
            if delay_s == 0 {
                shard.reload(&policy);
            }
            shard.lose(writer);
            if delay_s > 0 {
                assert_eq!(shard.messages(reader), NONE, "it is delayed");
                shard.reload(&policy);
                shard.wait(delay_s.into());
            }
            assert_eq!(shard.messages(reader).len(), heard, "delay {delay_s}, retained {retained}: {policy}");
            // And nothing of it is retained where it was denied.
            shard.reload(OPEN);
            assert_eq!(shard.subscribe(reader, "a/t"), 1);
            let kept = usize::from(retained && policy != silenced());
            assert_eq!(shard.messages(reader).len(), kept, "delay {delay_s}, retained {retained}: {policy}");
        }
    }
}

#[test]
fn a_shared_subscription_passes_by_who_may_no_longer_receive() {
    let mut shard = Shard::under(OPEN);
    let (writer, reader, second) = (shard.client("writer"), shard.client("reader"), shard.client("second"));
    for member in [reader, second] {
        assert_eq!(shard.subscribe(member, "$share/g/a/#"), 1);
    }
    let only_second = OPEN.replace("[identity.reader]\nroles = [\"reader\"]", "[identity.reader]");
    shard.reload(&only_second);
    for _ in 0..4 {
        assert_eq!(shard.publish(writer, "a/t", false), 0);
    }
    assert_eq!((shard.messages(reader).len(), shard.messages(second).len()), (0, 4));
    shard.reload(&closed());
    assert_eq!(shard.publish(writer, "a/t", false), 0);
    assert_eq!((shard.messages(reader).len(), shard.messages(second).len()), (0, 0));
}

#[test]
fn a_shared_message_that_has_expired_passes_to_no_other_member() {
    let mut shard = Shard::under(OPEN);
    let (writer, reader) = (shard.client("writer"), shard.client("reader"));
    assert_eq!(shard.subscribe(reader, "$share/g/a/#"), 1);
    shard.lose(reader);
    shard.publish_for(writer, "a/short", 5);
    shard.publish_for(writer, "a/long", 100);
    let second = shard.client("second");
    assert_eq!(shard.subscribe(second, "$share/g/a/#"), 1);
    shard.wait(10);
    // Its Session is over, and what waited for it goes to the other one.
    shard.connect("reader", Hello::default());
    assert_eq!(shard.messages(second), ["a/long"]);
}

#[test]
fn what_waits_for_a_member_is_decided_when_it_comes_back() {
    let mut shard = Shard::under(OPEN);
    let (writer, reader) = (shard.client("writer"), shard.client("reader"));
    assert_eq!(shard.subscribe(reader, "$share/g/a/#"), 1);
    shard.lose(reader);
    assert_eq!(shard.publish(writer, "a/t", false), 0);
    shard.reload(&closed());
    let back = shard.connect("reader", Hello { resume: true, ..Hello::default() });
    assert_eq!(shard.messages(back), NONE);
}

#[test]
fn a_takeover_brings_no_right_of_the_one_before() {
    let mut shard = Shard::under(OPEN);
    let (writer, reader) = writer_and_reader(&mut shard);
    // Somebody else with its Client Identifier is refused, and it is not disturbed.
    let thief =
        shard.connect("second", Hello { client_id: Some("reader"), resume: true, ..Hello::default() });
    assert_eq!(shard.seen(thief), [Seen::Answer(0x85)]);
    assert_eq!(shard.publish(writer, "a/t", false), 0);
    assert_eq!((shard.messages(reader), shard.messages(thief)), (vec!["a/t".to_owned()], vec![]));
    // The same identity takes over, under a policy that moved in between.
    shard.reload(&closed());
    let again = shard.connect("reader", Hello { resume: true, ..Hello::default() });
    assert_eq!(shard.publish(writer, "a/t", false), 0);
    assert_eq!((shard.messages(reader), shard.messages(again)), (vec![], vec![]));
}

#[test]
fn a_client_identifier_for_all_is_still_not_somebody_elses_session() {
    let policy = format!("{OPEN}[authenticated]\nclient_ids = [\"shared\"]\n");
    let mut shard = Shard::under(&policy);
    let hello = Hello { client_id: Some("shared"), resume: true, ..Hello::default() };
    let reader = shard.connect("reader", hello);
    assert_eq!(shard.seen(reader).first(), Some(&Seen::Answer(0)));
    assert_eq!(shard.subscribe(reader, "a/#"), 1);
    shard.lose(reader);
    let thief = shard.connect("writer", hello);
    let answer = shard.seen(thief);
    assert_ne!(answer.first(), Some(&Seen::Answer(0)), "{answer:?}");
}

#[test]
fn names_that_are_wildcards_grant_nothing() {
    // CVE-2017-7650
    let policy = "version = 1\n[role.r]\nrules = [{ allow = [\"publish\", \"subscribe\"], topics = [\"own/{client_id}/#\"] }]\n[authenticated]\nroles = [\"r\"]\nclient_ids = [\"*\"]\n";
    let mut shard = Shard::under(policy);
    let owner = shard.client("owner");
    assert_eq!(shard.subscribe(owner, "own/owner/#"), 1);
    for name in ["+", "#", "owner/x", "+/#"] {
        let hostile = shard.client(name);
        assert_eq!(shard.publish(hostile, "own/owner/x", false), 0x87, "{name}");
        for filter in ["own/+/#", "own/#", "own/owner/x", "own/owner/#"] {
            assert_eq!(shard.subscribe(hostile, filter), 0x87, "{name} with {filter}");
        }
    }
    assert_eq!(shard.messages(owner), NONE);
}

#[test]
fn an_identifier_of_qos_2_that_comes_again_is_one_message() {
    // CVE-2023-28366
    let mut shard = Shard::under(OPEN);
    let (writer, reader) = writer_and_reader(&mut shard);
    for _ in 0..1_000 {
        assert_eq!(shard.send_publish(writer, "a/t", 2, false, "again"), 0);
    }
    assert_eq!(shard.messages(reader), ["a/t"]);
}

#[test]
fn topics_of_the_broker_are_nobodys_and_break_nothing() {
    // CVE-2018-12543
    let policy = OPEN.replace("topics = [\"a/#\"]", "topics = [\"#\", \"$SYS/#\", \"$x/#\"]");
    let mut shard = Shard::under(&policy);
    let writer = shard.client("writer");
    for topic in ["$SYS", "$SYS/", "$SYS/broker/load"] {
        assert_eq!(shard.publish(writer, topic, false), 0x87, "{topic}");
        assert_eq!(shard.publish(writer, topic, true), 0x87, "{topic}");
    }
    for topic in ["$", "$x", "$x/y", "$share", "$queue/x"] {
        shard.publish(writer, topic, true);
    }
    assert_eq!(shard.publish(writer, "a/t", false), 0, "it goes on");
}
