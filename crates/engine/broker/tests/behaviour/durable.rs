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
fn what_nobody_keeps_goes_to_other_shards_while_the_disk_refuses() {
    let [mut first, mut second] = Shard::two_keeping();
    let (writer, reader) = (first.at_home(0), second.at_home(1));
    subscribe(&mut second, reader);
    second.keep();
    assert_eq!(second.seen(reader), [Seen::Subscribed(1)]);
    first.send_publish(writer, "a/b", 0, false, "before");
    first.turn_over();
    assert_eq!(first.sent(), 1);
    // Without an acknowledgement, so that the refusal does not end the connection.
    first.send_publish(writer, "state", 0, true, "x");
    let (tag, batch) = first.turn_over().remove(0);
    first.committed(tag, CommitResult::Refused { batch, cause: "no room".into() });
    first.sent();
    first.send_publish(writer, "a/b", 0, false, "now");
    first.turn_over();
    assert_eq!(first.sent(), 1, "it does not wait for the disk");
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
    let mark = shard.kept_mark();
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
    assert!(!shard.is_kept(mark), "it is on its way");
    shard.committed(tag, CommitResult::Durable);
    assert!(shard.is_kept(mark));
    assert!(shard.told().contains(&"keep.store_recovered"));
    shard.send_publish(slot, "a/b", 1, false, "fourth");
    shard.keep();
    assert_eq!(shard.seen(slot).last(), Some(&Seen::Taken(0)));
}

#[test]
fn what_the_disk_refused_is_tried_again_batch_by_batch() {
    let mut shard = with_subscriber();
    let slot = writer(&mut shard);
    // Another shard may have got a message of the first, and have sent one that the second refers to.
    let batches = ["first", "second"].map(|payload| {
        shard.send_publish(slot, "a/b", 1, false, payload);
        shard.turn_over().remove(0)
    });
    let [first, second] = batches.map(|(tag, batch)| {
        let bytes = batch.bytes();
        shard.committed(tag, CommitResult::Refused { batch, cause: "no room".into() });
        bytes
    });
    let slot = shard.connect("writer", Hello::default());
    shard.seen(slot);
    shard.wait(1);
    let (tag, again) = shard.turn_over().remove(0);
    assert_eq!(again.bytes(), first);
    assert!(shard.turn_over().is_empty(), "one after the other");
    shard.committed(tag, CommitResult::Refused { batch: again, cause: "no room".into() });
    shard.wait(1);
    for bytes in [first, second] {
        let handed_over = shard.turn_over();
        let (tag, again) = &handed_over[0];
        assert_eq!((handed_over.len(), again.bytes()), (1, bytes));
        assert!(!shard.told().contains(&"keep.store_recovered"));
        shard.committed(*tag, CommitResult::Durable);
    }
    assert!(shard.told().contains(&"keep.store_recovered"), "all of it is kept");
    shard.send_publish(slot, "a/b", 1, false, "third");
    shard.keep();
    assert_eq!(shard.seen(slot).last(), Some(&Seen::Taken(0)));
}

#[test]
fn what_is_known_with_qos_2_is_not_refused_when_it_comes_again_while_the_disk_refuses() {
    let mut shard = with_subscriber();
    let slot = shard.connect("writer", RESUME);
    shard.keep();
    shard.seen(slot);
    shard.send_publish(slot, "a/b", 2, false, "once");
    let (tag, batch) = shard.turn_over().remove(0);
    shard.committed(tag, CommitResult::Refused { batch, cause: "no room".into() });
    assert_eq!(shard.seen(slot), [Seen::Goodbye(0x97)], "it was promised what is not kept");
    let slot = shard.connect("writer", RESUME);
    assert_eq!(shard.seen(slot), [Seen::Answer(0)]);
    // It was delivered, and will be kept: refused now, it would be delivered once more when it comes again.
    let before = shard.queued();
    assert_eq!(shard.send_publish(slot, "a/b", 2, false, "once"), 0xff, "not before it is kept");
    shard.wait(1);
    let (tag, _) = shard.turn_over().remove(0);
    shard.committed(tag, CommitResult::Durable);
    shard.keep();
    assert_eq!(shard.seen(slot), [Seen::Taken(0)]);
    assert_eq!(shard.queued(), before);
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
fn nothing_is_acknowledged_by_what_is_in_doubt_until_the_disk_answers_again() {
    let mut shard = with_subscriber();
    let slot = shard.connect("writer", RESUME);
    shard.keep();
    shard.seen(slot);
    shard.send_publish(slot, "a/b", 2, false, "once");
    let (tag, _) = shard.turn_over().remove(0);
    shard.committed(tag, CommitResult::InDoubt { cause: "the device failed".into() });
    assert_eq!(shard.seen(slot), [Seen::Goodbye(0x97)]);
    // Its identifier is known here, and perhaps nowhere else.
    let slot = shard.connect("writer", RESUME);
    shard.send_publish(slot, "a/b", 2, false, "once");
    for _ in 0..2 {
        shard.wait(1);
        let (tag, batch) = shard.turn_over().remove(0);
        assert!(batch.is_empty(), "the disk is asked whether all before is there");
        shard.committed(tag, CommitResult::Refused { batch, cause: "it fails".into() });
        assert!(!shard.seen(slot).contains(&Seen::Taken(0)));
    }
    shard.wait(1);
    let (tag, _) = shard.turn_over().remove(0);
    shard.committed(tag, CommitResult::Durable);
    shard.keep();
    assert_eq!(shard.seen(slot).last(), Some(&Seen::Taken(0)));
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
