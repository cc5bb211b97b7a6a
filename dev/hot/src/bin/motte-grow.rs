//! What one subscription or one Retained Message costs when there are many: `motte-grow WHAT COUNT` prints one line of JSON with
//! the bytes and the time of each. `cargo xtask bench` calls it with growing counts.
#![expect(clippy::print_stdout, reason = "the line is the result")]

use std::process::ExitCode;
use std::time::Instant;

use motte_hot::{Site, publish};
use motte_wire::QoS;

/// As in the product, so that the bytes are the product's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Subscriptions of one client.
const SUBSCRIPTIONS: u32 = 100;
/// Times that using is measured.
const USES: u32 = 20_000;
/// Topics that are used again and again.
const HOT_TOPICS: u32 = 100;

/// Bytes of memory each, nanoseconds to make each, to use one for the first time, and to use it again.
struct Cost {
    bytes: f64,
    make_ns: f64,
    first_ns: f64,
    again_ns: f64,
}

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let what = words.next().unwrap_or_default();
    let count = words.next().and_then(|count| count.parse::<u32>().ok()).unwrap_or(0);
    let cost = match what.as_str() {
        "subscriptions" if count >= SUBSCRIPTIONS => subscriptions(count),
        "retained" if count >= SUBSCRIPTIONS => retained(count),
        _ => {
            eprintln!("motte-grow subscriptions|retained COUNT; at least {SUBSCRIPTIONS}");
            return ExitCode::from(2);
        }
    };
    let Cost { bytes, make_ns, first_ns, again_ns } = cost;
    println!(
        "{{\"what\":\"{what}\",\"count\":{count},\"bytes\":{bytes:.1},\"make_ns\":{make_ns:.1},\"first_ns\":{first_ns:.1},\"again_ns\":{again_ns:.1}}}"
    );
    ExitCode::SUCCESS
}

/// Clients with a hundred subscriptions each: seven of ten end in `+`, two are of `#`, one is without wildcard.
fn subscriptions(count: u32) -> Cost {
    let mut site = Site::new(0);
    let publisher = site.connect("publisher");
    let clients: Vec<_> =
        (0..count / SUBSCRIPTIONS).map(|client| site.connect(&format!("client-{client}"))).collect();
    let before = resident_bytes();
    let begun = Instant::now();
    for (client, conn) in (0_u32..).zip(&clients) {
        for device in 0..SUBSCRIPTIONS {
            let filter = match device % 10 {
                0..7 => format!("hot/{}/{client}/{device}/+", client % 100),
                7..9 => format!("hot/+/{client}/{device}/#"),
                _ => format!("hot/{}/{client}/{device}/state", client % 100),
            };
            site.subscribe(*conn, &filter, QoS::AtMostOnce);
        }
        site.forget_output(*conn);
    }
    let make_ns = nanoseconds(begun, count);
    let bytes = (resident_bytes() - before) / f64::from(count);
    let topic = |use_number: u32| {
        // Spread over all clients and devices.
        let item = u64::from(use_number) * 2_654_435_761 % u64::from(count);
        let (client, device) = (item / u64::from(SUBSCRIPTIONS), item % u64::from(SUBSCRIPTIONS));
        format!("hot/{}/{client}/{device}/state", client % 100)
    };
    let packets = |uses: &mut dyn Iterator<Item = u32>| -> Vec<Vec<u8>> {
        uses.map(|number| {
            let mut packet = Vec::new();
            publish(&mut packet, &topic(number), (QoS::AtMostOnce, false), 0, &[7; 64]);
            packet
        })
        .collect()
    };
    let first = packets(&mut (0..USES.min(count / 2)));
    let again = packets(&mut (0..HOT_TOPICS).cycle().take(first.len()));
    let mut measure = |packets: &[Vec<u8>]| {
        let begun = Instant::now();
        for packet in packets {
            site.bytes(publisher, packet);
        }
        nanoseconds(begun, u32::try_from(packets.len()).unwrap_or(1))
    };
    let (first_ns, again_ns) = (measure(&first), measure(&again));
    Cost { bytes, make_ns, first_ns, again_ns }
}

/// Retained Messages of 64 bytes, a hundred below each of their second levels; used by a subscription that matches one of them by
/// `#`, and again by one with `+`.
fn retained(count: u32) -> Cost {
    let mut site = Site::new(count as usize);
    let publisher = site.connect("publisher");
    let before = resident_bytes();
    let mut packet = Vec::new();
    let begun = Instant::now();
    for item in 0..count {
        packet.clear();
        let topic = format!("hot/{}/{}/state", item / SUBSCRIPTIONS, item % SUBSCRIPTIONS);
        publish(&mut packet, &topic, (QoS::AtMostOnce, true), 0, &[7; 64]);
        site.bytes(publisher, &packet);
    }
    let make_ns = nanoseconds(begun, count);
    let bytes = (resident_bytes() - before) / f64::from(count);
    let reader = site.connect("reader");
    let mut measure = |tail: &str| {
        let uses = USES / 10;
        let begun = Instant::now();
        for number in 0..uses {
            let item = u64::from(number) * 2_654_435_761 % u64::from(count);
            let (group, one) = (item / u64::from(SUBSCRIPTIONS), item % u64::from(SUBSCRIPTIONS));
            site.subscribe(reader, &format!("hot/{group}/{one}/{tail}"), QoS::AtMostOnce);
            site.forget_output(reader);
        }
        nanoseconds(begun, uses)
    };
    let (first_ns, again_ns) = (measure("#"), measure("+"));
    Cost { bytes, make_ns, first_ns, again_ns }
}

fn nanoseconds(begun: Instant, count: u32) -> f64 {
    begun.elapsed().as_secs_f64() * 1e9 / f64::from(count.max(1))
}

/// Resident memory of this process, of pages of 4 KiB.
fn resident_bytes() -> f64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = text.split_whitespace().nth(1).and_then(|pages| pages.parse::<u32>().ok());
    f64::from(pages.unwrap_or(0)) * 4_096.0
}
