//! What is acknowledged is kept, and what is not kept is not acknowledged.

use motte_broker::CommitResult;

use crate::shard::{Hello, Seen, Shard, Slot, string};

const RESUME: Hello<'static> = Hello { resume: true, will: None, will_retained: false, client_id: None };

/// A subscriber whose Session is kept and who is away.
fn with_subscriber() -> Shard {
    let mut shard = Shard::keeping();
    let slot = shard.connect("reader", RESUME);
    shard.keep();
    assert_eq!(shard.seen(slot), [Seen::Answer(0)]);
    assert_eq!(subscribe(&mut shard, slot), [], "SUBACK waits");
    shard.keep();
    assert_eq!(shard.seen(slot), [Seen::Subscribed(1)]);
    shard.lose(slot);
    shard.keep();
    shard
}

fn subscribe(shard: &mut Shard, slot: Slot) -> Vec<Seen> {
    let mut body = vec![0, 9, 0];
    body.extend(string("a/#"));
    body.push(1);
    shard.send(slot, 0x82, &body);
    shard.seen(slot)
}

fn writer(shard: &mut Shard) -> Slot {
    let slot = shard.connect("writer", Hello::default());
    shard.keep();
    assert_eq!(shard.seen(slot).first(), Some(&Seen::Answer(0)));
    slot
}

#[test]
fn an_acknowledgement_waits_until_what_it_stands_for_is_kept() {
    let mut shard = with_subscriber();
    let slot = writer(&mut shard);
    shard.send_publish(slot, "a/b", 1, false, "kept");
    shard.send_publish(slot, "nobody", 1, false, "behind");
    let handed_over = shard.turn_over();
    assert_eq!((handed_over.len(), shard.seen(slot)), (1, vec![]));
    shard.committed(handed_over[0].0, CommitResult::Durable);
    assert_eq!(shard.seen(slot), [Seen::Taken(0), Seen::Taken(0)], "in the order they were made");
}

#[test]
fn nothing_is_handed_over_for_a_message_that_nobody_keeps() {
    let mut shard = with_subscriber();
    let slot = writer(&mut shard);
    assert_eq!(shard.send_publish(slot, "nobody", 1, false, "a"), 0);
    assert_eq!(shard.send_publish(slot, "a/b", 0, false, "b"), 0xff, "QoS 0 has no acknowledgement");
    assert!(shard.turn_over().is_empty());
}

#[test]
fn what_the_disk_refuses_is_refused_and_taken_again_when_there_is_room() {
    let mut shard = with_subscriber();
    let slot = writer(&mut shard);
    shard.send_publish(slot, "a/b", 1, false, "first");
    let (tag, batch) = shard.turn_over().remove(0);
    shard.committed(tag, CommitResult::Refused { batch, cause: "no room".into() });
    assert_eq!(shard.seen(slot), [Seen::Goodbye(0x97)], "it was promised what is not kept");
    assert_eq!(shard.told().last(), Some(&"gate.disconnected"));
    // Told at once from now on, and what need not be kept goes on.
    let slot = shard.connect("writer", Hello::default());
    assert_eq!(shard.seen(slot), [Seen::Answer(0)]);
    assert_eq!(shard.send_publish(slot, "a/b", 1, false, "second"), 0x97);
    assert_eq!(shard.send_publish(slot, "a/b", 1, true, "retained"), 0x97);
    assert_eq!(shard.send_publish(slot, "nobody", 1, false, "third"), 0);
    let other = shard.connect("new", RESUME);
    assert_eq!(shard.seen(other), [Seen::Answer(0x97)], "no new Session can be kept");
    assert!(shard.turn_over().is_empty(), "not tried at once");
    shard.wait(1);
    let (tag, batch) = shard.turn_over().remove(0);
    assert!(!batch.is_empty(), "the same is tried again");
    shard.committed(tag, CommitResult::Durable);
    assert!(shard.told().contains(&"keep.store_recovered"));
    shard.send_publish(slot, "a/b", 1, false, "fourth");
    shard.keep();
    assert_eq!(shard.seen(slot).last(), Some(&Seen::Taken(0)));
}

#[test]
fn what_is_in_doubt_is_not_answered() {
    let mut shard = with_subscriber();
    let slot = writer(&mut shard);
    shard.told();
    shard.send_publish(slot, "a/b", 2, false, "first");
    let (tag, _) = shard.turn_over().remove(0);
    shard.committed(tag, CommitResult::InDoubt { cause: "the device failed".into() });
    assert_eq!(shard.seen(slot), [Seen::Goodbye(0x97)]);
    let told = shard.told();
    assert!(told.contains(&"keep.store_in_doubt") && !told.contains(&"keep.store_refuses"), "{told:?}");
}

#[test]
fn a_message_with_qos_2_is_sent_once_its_identifier_is_kept() {
    let mut shard = Shard::keeping();
    let reader = shard.connect("reader", RESUME);
    shard.keep();
    let mut body = vec![0, 9, 0];
    body.extend(string("a/#"));
    body.push(2);
    shard.send(reader, 0x82, &body);
    shard.keep();
    shard.seen(reader);
    let slot = writer(&mut shard);
    shard.send_publish(slot, "a/b", 1, false, "at once");
    assert_eq!(shard.messages(reader), ["a/b"], "QoS 1 need not wait");
    shard.send_publish(slot, "a/b", 2, false, "later");
    assert!(shard.messages(reader).is_empty());
    shard.keep();
    assert_eq!(shard.messages(reader), ["a/b"]);
}
