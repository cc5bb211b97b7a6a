//! The corpora: small inputs, deep inside each format, written with the encoders.

pub mod answers;
mod audits;
mod control;
mod directories;
mod gates;
mod journals;
mod packets;
mod roles;
mod snapshots;
mod texts;
mod tokens;

use motte_wire::ProtocolVersion;

/// A file of a corpus: its name and its bytes.
pub type Input = (&'static str, Vec<u8>);

/// The corpus of a target; empty if there is no such target.
pub fn of(target: &str) -> Vec<Input> {
    match target {
        "frame" => streams(),
        "packet_v31" => packets::of(ProtocolVersion::V31),
        "packet_v311" => packets::of(ProtocolVersion::V311),
        "packet_v5" => packets::of(ProtocolVersion::V5),
        "topic_filter" => texts::filters(),
        "policy" => texts::policies(),
        "snapshot" => snapshots::all(),
        "journal" => journals::segments(),
        "vault" => journals::vaults(),
        "state_file" => journals::state_files(),
        "config" => texts::configs(),
        "credentials" => gates::credentials(),
        "directory" => directories::answers(),
        "proxy_header" => gates::proxy_headers(),
        "websocket" => gates::websockets(),
        "roles" => [roles::messages(), control::messages()].concat(),
        "scram" => gates::scrams(),
        "usage" => texts::usages(),
        "tokens" => tokens::all(),
        "ocsp" => answers::all(),
        "audit" => audits::all(),
        _ => Vec::new(),
    }
}

/// A limit, and packets one after the other.
fn streams() -> Vec<Input> {
    let all = |version| packets::of(version).into_iter().flat_map(|(_, bytes)| bytes).collect::<Vec<u8>>();
    let limited = |limit: u16, bytes: &[u8]| [&limit.to_be_bytes(), bytes].concat();
    let long = [&[0x30, 0x80, 0x02], &[b'x'; 256][..]].concat();
    vec![
        ("all_of_3_1", limited(u16::MAX, &all(ProtocolVersion::V31))),
        ("all_of_3_1_1", limited(u16::MAX, &all(ProtocolVersion::V311))),
        ("all_of_5", limited(u16::MAX, &all(ProtocolVersion::V5))),
        ("cut_short", limited(100, &[0x30, 10, 0, 1, b'a'])),
        ("five_bytes_of_length", limited(100, &[0x30, 0x80, 0x80, 0x80, 0x80, 1])),
        ("length_not_shortest", limited(100, &[0xc0, 0x80, 0])),
        ("limit_of_nothing", limited(0, &[0xc0, 0])),
        ("limit_kept_exactly", limited(259, &long)),
        ("limit_missed_by_one", limited(258, &long)),
        ("longest_length", limited(u16::MAX, &[0x30, 0xff, 0xff, 0xff, 0x7f])),
        ("pings", limited(2, &[0xc0, 0, 0xd0, 0, 0xc0, 0])),
        ("two_bytes_of_length", limited(1000, &long)),
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use super::*;
    use crate::targets::TARGETS;

    #[test]
    fn every_target_has_a_corpus_it_holds_for() {
        for target in TARGETS {
            let inputs = of(target.name);
            assert!(inputs.len() >= 10, "{} has {}", target.name, inputs.len());
            for (name, bytes) in inputs {
                println!("{}/{name}", target.name);
                assert!(bytes.len() < 4096);
                (target.run)(&bytes);
            }
        }
    }

    #[test]
    fn the_files_are_what_the_encoders_write() {
        for target in TARGETS {
            let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpora").join(target.name);
            let files: BTreeMap<String, Vec<u8>> = std::fs::read_dir(&directory)
                .unwrap()
                .map(|entry| entry.unwrap())
                .map(|entry| (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap()))
                .collect();
            for (name, bytes) in of(target.name) {
                let kept = files.get(name).unwrap_or_else(|| panic!("{}/{name} is missing", target.name));
                assert!(*kept == bytes, "{}/{name}: run motte-fuzz --write-corpora", target.name);
            }
            // What is there beside them was found by fuzzing, and is still held.
            for bytes in files.values() {
                (target.run)(bytes);
            }
        }
    }
}
