//! When a Will goes out, and when it is too late to take it back.

use crate::shard::{Hello, Seen, Shard};

const DELAYED: Hello<'static> =
    Hello { resume: true, will: Some(("gone", 5)), will_retained: false, client_id: None };

/// How many Wills a reader gets when a client comes back after so many milliseconds, before anybody was told the time.
fn wills_after(ms: u64) -> usize {
    let mut shard = Shard::keeping();
    let reader = shard.connect("reader", Hello::default());
    shard.keep();
    shard.subscribe(reader, "gone");
    shard.keep();
    let slot = shard.connect("client", DELAYED);
    shard.keep();
    shard.lose(slot);
    shard.now.mono_ms += ms;
    shard.now.unix_ms += ms;
    shard.connect("client", Hello { resume: true, ..Hello::default() });
    shard.keep();
    shard
        .seen(reader)
        .iter()
        .filter(|seen| matches!(seen, Seen::Message(topic, _) if topic == "gone"))
        .count()
}

#[test]
fn whoever_is_back_before_the_delay_is_over_takes_the_will_back() {
    assert_eq!(wills_after(4_999), 0);
}

#[test]
fn a_will_that_is_due_goes_out_although_its_client_is_back() {
    assert_eq!(wills_after(5_000), 1);
}
