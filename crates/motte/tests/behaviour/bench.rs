//! `motte bench`: what was asked for is sent, all of it arrives, and the result says so.

use serde_json::Value;

use crate::site::Site;

/// Messages of one run.
const MESSAGES: u64 = 203;

fn count(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no count"))
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

/// A run in which everything was delivered, once, in order, and measured.
fn assert_whole(result: &Value, sent: u64, deliveries: u64) {
    let messages = &result["messages"];
    for (field, expected) in [
        ("sent", sent),
        ("expected", deliveries),
        ("delivered", deliveries),
        ("lost", 0),
        ("duplicates", 0),
        ("out_of_order", 0),
        ("refused", 0),
        ("unsent", 0),
    ] {
        assert_eq!(count(&messages[field]), expected, "{field} of {result}");
    }
    let latency = &messages["latency"];
    assert_eq!(count(&latency["count"]), deliveries);
    let buckets = latency["buckets"].as_array().unwrap();
    assert_eq!(buckets.iter().map(|bucket| count(&bucket["count"])).sum::<u64>(), deliveries);
    let steps = ["min_us", "p50_us", "p90_us", "p99_us", "p999_us", "max_us"];
    assert!(steps.map(|step| number(&latency[step])).is_sorted(), "{latency}");
    assert!(number(&messages["delivered_per_s"]) > 0.0 && number(&result["measured_s"]) > 0.0);
    assert_eq!(result["ended_early"], false);
    assert_eq!(result["connections"]["failed"], 0);
    assert_eq!(result["connections"]["lost"], 0);
}

#[test]
fn every_shape_delivers_everything_at_every_qos() {
    let site = Site::open();
    // 203 messages of ten publishers: three of them send 21, seven send 20.
    let shapes: [(&str, &[&str], u64, u64); 4] = [
        ("pairs", &["--publishers", "10"], 20, MESSAGES),
        ("fan-in", &["--publishers", "10", "--subscribers", "3", "--topics", "2"], 13, MESSAGES),
        ("fan-out", &["--subscribers", "20"], 21, MESSAGES * 20),
        // Of twenty subscribers two take all by `#`. By `+` or by name the publishers 0 to 8 have two more each, and 9 none.
        ("mixed", &["--publishers", "10", "--subscribers", "20"], 30, MESSAGES * 2 + (MESSAGES - 20) * 2),
    ];
    for (shape, clients, connections, deliveries) in shapes {
        for qos in ["0", "1", "2"] {
            let total = MESSAGES.to_string();
            let arguments = [&["--shape", shape, "--qos", qos, "--messages", &total], clients].concat();
            let result = site.json(&arguments);
            assert_whole(&result, MESSAGES, deliveries);
            let settings = &result["settings"];
            assert_eq!(settings["shape"], shape);
            assert_eq!(settings["qos"].to_string(), qos);
            assert_eq!(settings["count"], MESSAGES);
            assert_eq!(result["motte_bench"], 1);
            assert_eq!(result["connections"]["accepted"], connections, "{shape}");
            assert_eq!(result["connections"]["handshake"]["count"], connections, "{shape}");
        }
    }
}

#[test]
fn threads_versions_and_large_payloads_change_nothing_but_the_speed() {
    let site = Site::open();
    for arguments in [["--threads", "3"], ["--protocol", "3.1.1"], ["--size", "70000"], ["--in-flight", "1"]]
    {
        let result = site.json(&[&["--qos", "1", "--messages", "100"], &arguments[..]].concat());
        assert_whole(&result, 100, 100);
    }
}

#[test]
fn by_a_rate_messages_are_sent_when_they_are_due() {
    let site = Site::open();
    let result = site.json(&["--rate", "1000", "--messages", "500"]);
    assert_whole(&result, 500, 500);
    // The last of them is due after 499 ms, however fast the broker is.
    assert!(number(&result["measured_s"]) >= 0.499, "{result}");
    assert_eq!(result["generator"]["lag"]["count"], 500);
}

#[test]
fn a_run_by_time_counts_what_was_due_in_it() {
    let site = Site::open();
    let result = site.json(&["--rate", "2000", "--seconds", "0.5", "--warmup", "0.1"]);
    assert_whole(&result, 1_000, 1_000);
    assert_eq!(result["generator"]["lag"]["count"], 1_000);
    assert!((number(&result["measured_s"]) - 0.5).abs() < 1e-9);
}

#[test]
fn by_tls_an_identity_loads_its_own_branch() {
    let site = Site::secured();
    let own = ["--as", "device-1", "--prefix", "devices/device-1/bench", "--qos", "1", "--messages", "100"];
    let result = site.json(&own);
    assert_whole(&result, 100, 100);
    assert_eq!(result["settings"]["tls"], true);
    let result = site.json(&["--as", "device-1", "--connect", "20"]);
    assert_eq!(result["connections"]["accepted"], 20);
}

#[test]
fn connections_are_counted_and_their_cost_is_told() {
    let site = Site::open();
    let pid = site.broker.process().to_string();
    let result = site.json(&["--connect", "100", "--pid", &pid]);
    assert_eq!(result["settings"]["shape"], "connect");
    assert_eq!(result["messages"], Value::Null);
    assert_eq!(result["connections"]["accepted"], 100);
    assert_eq!(result["connections"]["failed"], 0);
    assert_eq!(result["connections"]["handshake"]["count"], 100);
    assert!(number(&result["broker"]["cpu_us_each"]) > 0.0, "{result}");

    let result = site.json(&["--connect", "50", "--connect-rate", "200"]);
    assert_eq!(result["connections"]["accepted"], 50);
    assert!(number(&result["measured_s"]) >= 0.245, "{result}");

    let idle = ["--shape", "idle", "--connections", "40", "--seconds", "0.1", "--warmup", "0", "--pid", &pid];
    let result = site.json(&idle);
    assert_eq!(result["connections"]["accepted"], 40);
    assert!(number(&result["broker"]["resident_bytes_per_connection"]) >= 0.0, "{result}");
}

#[test]
fn the_broker_s_cost_of_a_delivery_is_told() {
    let site = Site::open();
    let pid = site.broker.process().to_string();
    let result = site.json(&["--messages", "5000", "--qos", "1", "--pid", &pid]);
    let broker = &result["broker"];
    assert_eq!(broker["pid"].to_string(), pid);
    assert!(number(&broker["cpu_us_each"]) > 0.0 && count(&broker["resident_bytes"]) > 0, "{result}");
}

#[test]
fn people_get_a_drawn_histogram_and_two_results_side_by_side() {
    let site = Site::open();
    let text = site.text(&["--messages", "500"]);
    for part in ["pairs, MQTT 5 over TCP, QoS 0", "500 of 500", "0 lost", "from sent to delivered, 500", "█"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    for name in ["a.json", "b.json"] {
        std::fs::write(site.dir.path().join(name), site.text(&["--messages", "500", "--json"])).unwrap();
    }
    let mut compare = std::process::Command::new(motte_testkit::binary());
    compare.current_dir(site.dir.path()).args(["bench", "--compare", "a.json", "b.json"]);
    let (good, text) = motte_testkit::finish(&mut compare);
    assert!(good && text.contains("A is a.json, B is b.json") && text.contains("latency p99"), "{text}");
    let columns: Vec<usize> =
        text.lines().skip_while(|line| !line.contains("B/A")).map(|line| line.chars().count()).collect();
    assert!(columns.len() > 5 && columns.iter().all(|width| *width == columns[0]), "{text}");
}
