//! The hot path alone: bytes of packets through frame, decode, decision, route, session and encode, without a socket and
//! without a clock. `motte-hot WORK MESSAGES` does it so many times; the instructions of two runs with different counts give
//! the cost of one message (`cargo xtask instructions`).

use std::process::ExitCode;

use motte_hot::{Site, publish};
use motte_wire::QoS;

/// What can be measured: name, QoS, payload bytes, subscribers, topics.
const WORKS: [(&str, QoS, usize, u32, u32); 6] = [
    ("qos0", QoS::AtMostOnce, 64, 1, 1),
    ("qos0-1k", QoS::AtMostOnce, 1_024, 1, 1),
    ("qos0-topics", QoS::AtMostOnce, 64, 1, 1_000),
    ("qos0-fanout", QoS::AtMostOnce, 64, 100, 1),
    ("qos1", QoS::AtLeastOnce, 64, 1, 1),
    ("qos2", QoS::ExactlyOnce, 64, 1, 1),
];

/// Messages read in one turn: what a socket gives at once.
const BATCH: u32 = 32;
/// Batches that differ: enough for a thousand topics.
const BATCHES: u32 = 32;

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let work = words.next().and_then(|name| WORKS.into_iter().find(|work| work.0 == name));
    let count = words.next().and_then(|count| count.parse::<u32>().ok());
    let (Some((_, qos, bytes, subscribers, topics)), Some(count)) = (work, count) else {
        eprintln!("motte-hot WORK MESSAGES; WORK is one of {}", WORKS.map(|work| work.0).join(", "));
        return ExitCode::from(2);
    };
    let mut site = Site::new(0);
    let publisher = site.connect("publisher");
    for number in 0..subscribers {
        let conn = site.connect(&format!("subscriber-{number}"));
        site.subscribe(conn, "hot/#", qos);
    }
    let payload = vec![7; bytes];
    // Made before, so that making them is not counted with each message.
    let batches: Vec<Vec<u8>> = (0..BATCHES)
        .map(|batch| {
            let mut bytes = Vec::new();
            for number in batch * BATCH..(batch + 1) * BATCH {
                publish(&mut bytes, &format!("hot/{}", number % topics), (qos, false), number, &payload);
            }
            bytes
        })
        .collect();
    let rounds = count / BATCH;
    for bytes in batches.iter().cycle().take(rounds as usize) {
        site.bytes(publisher, bytes);
        site.answer_all(publisher);
    }
    let expected = u64::from(rounds * BATCH) * u64::from(subscribers);
    assert_eq!(site.delivered(), expected, "messages were lost, so the count would say nothing");
    println!("{expected}");
    ExitCode::SUCCESS
}
