//! Packet types, flags and lengths (section 2).

use motte_wire::{DecodeRules, FrameError, frame};

use crate::bytes::{ALL, BELOW_5, V5, V31, V311, malformed, no_properties, packet, read, read_as, text};

/// Every packet but PUBLISH with the flags it must have, as a client or a server would send it.
fn with_right_flags(version: motte_wire::ProtocolVersion) -> Vec<Vec<u8>> {
    let filter = [&[0, 1][..], no_properties(version), &text("f")].concat();
    let codes = [&[0, 1][..], no_properties(version), &[0]].concat();
    let mut all = vec![
        crate::bytes::connect(version, 2, &[]),
        packet(0x20, &[&[0, 0], no_properties(version)]),
        packet(0x40, &[&[0, 1]]),
        packet(0x50, &[&[0, 1]]),
        packet(0x62, &[&[0, 1]]),
        packet(0x70, &[&[0, 1]]),
        packet(0x82, &[&filter, &[0]]),
        packet(0x90, &[&codes]),
        packet(0xa2, &[&filter]),
        if version == V5 { packet(0xb0, &[&codes]) } else { packet(0xb0, &[&[0, 1]]) },
        vec![0xc0, 0],
        vec![0xd0, 0],
        vec![0xe0, 0],
    ];
    if version == V5 {
        all.push(vec![0xf0, 0]);
    }
    all
}

#[test]
fn mqtt_2_1_3_1_reserved_flags_have_the_values_of_the_table() {
    // MQTT-2.1.3-1@5.0, MQTT-2.2.2-1@3.1.1, MQTT-2.2.2-2@3.1.1
    for version in ALL {
        for right in with_right_flags(version) {
            assert!(
                read_as(version, &right, &DecodeRules::from_server()).is_ok(),
                "{version:?} {right:02x?}"
            );
            for flags in 0..16 {
                let mut wrong = right.clone();
                wrong[0] = right[0] & 0xf0 | flags;
                let resent = version == V31 && matches!(wrong[0], 0x6a | 0x8a | 0xaa);
                if wrong != right && !resent {
                    malformed(version, &wrong);
                }
            }
        }
    }
}

#[test]
fn in_3_1_pubrel_subscribe_and_unsubscribe_may_be_sent_again_with_dup() {
    for first in [0x6a_u8, 0x8a, 0xaa] {
        let right = with_right_flags(V31).into_iter().find(|bytes| bytes[0] == first & 0xf7).unwrap();
        let again = [&[first], &right[1..]].concat();
        assert_eq!(read(V31, &again), read(V31, &right));
        malformed(V311, &again);
    }
}

#[test]
fn packet_type_0_is_forbidden() {
    for version in ALL {
        malformed(version, &[0x00, 0]);
    }
}

#[test]
fn packet_type_15_does_not_exist_below_5() {
    for version in BELOW_5 {
        malformed(version, &[0xf0, 0]);
        malformed(version, &[0xf0, 2, 0x18, 0]);
    }
}

#[test]
fn a_remaining_length_has_at_most_four_bytes() {
    for first in [0x10, 0x30, 0xc0, 0xe0] {
        let bytes = [first, 0x80, 0x80, 0x80, 0x80, 0x01];
        assert_eq!(frame(&bytes, u32::MAX).unwrap_err(), FrameError::MalformedLength);
        // The fourth byte says so already.
        assert_eq!(frame(&bytes[..5], u32::MAX).unwrap_err(), FrameError::MalformedLength);
        assert!(frame(&bytes[..4], u32::MAX).unwrap().is_none());
    }
}

#[test]
fn mqtt_1_5_5_1_a_remaining_length_is_as_short_as_can_be() {
    // MQTT-1.5.5-1@5.0
    for length in [&[0x80, 0][..], &[0x81, 0], &[0xff, 0x80, 0], &[0x80, 0x80, 0x80, 0]] {
        let bytes = [&[0xc0], length].concat();
        assert_eq!(frame(&bytes, u32::MAX).unwrap_err(), FrameError::MalformedLength, "{length:02x?}");
    }
}

#[test]
fn a_remaining_length_reads_as_the_standards_table_says() {
    let table: [(&[u8], u64); 8] = [
        (&[0], 0),
        (&[0x7f], 127),
        (&[0x80, 0x01], 128),
        (&[0xff, 0x7f], 16_383),
        (&[0x80, 0x80, 0x01], 16_384),
        (&[0xff, 0xff, 0x7f], 2_097_151),
        (&[0x80, 0x80, 0x80, 0x01], 2_097_152),
        (&[0xff, 0xff, 0xff, 0x7f], 268_435_455),
    ];
    for (length, value) in table {
        let bytes = [&[0x30], length].concat();
        let whole = value + bytes.len() as u64;
        let limit = u32::try_from(whole).unwrap() - 1;
        assert_eq!(frame(&bytes, limit).unwrap_err(), FrameError::TooLarge { bytes: whole, limit });
        assert_eq!(frame(&bytes, limit + 1).unwrap().is_some(), value == 0);
    }
}

#[test]
fn bytes_after_the_end_are_refused() {
    for version in ALL {
        for right in with_right_flags(version) {
            // The lists go on for as long as there are bytes, and one byte more is no filter.
            let longer = packet(right[0], &[&right[2..], &[0]]);
            let read = read_as(version, &longer, &DecodeRules::from_server());
            let goes_on = match right[0] {
                0x90 => true,
                0xb0 => version == V5,
                // A Reason Code, and no properties.
                0x40 | 0x50 | 0x62 | 0x70 | 0xe0 => version == V5,
                _ => false,
            };
            assert_eq!(read.is_ok(), goes_on, "{version:?} {longer:02x?}");
        }
    }
}

#[test]
fn a_ping_has_no_body() {
    for version in ALL {
        malformed(version, &[0xc0, 1, 0]);
        malformed(version, &[0xd0, 1, 0]);
    }
}
