//! Limits: every one has a safe default and a cost that is said in the annotated example.

use serde::Deserialize;

use crate::store::Durability;

/// Bounds of the store of Retained Messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetainedBounds {
    /// Topics with a Retained Message.
    pub messages_max: usize,
    /// Bytes of all of them.
    pub bytes_max: usize,
}

macro_rules! limits {
    ($($(#[doc = $doc:literal])* $key:ident: $kind:ty = $default:expr, $min:expr => $max:expr;)*) => {
        /// Limits as written: each may be left out.
        #[derive(Debug, Clone, Default, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub(crate) struct LimitsWritten {
            $(pub(crate) $key: Option<toml::Spanned<$kind>>,)*
            pub(crate) maximum_qos: Option<toml::Spanned<u8>>,
            pub(crate) retain_available: Option<bool>,
            pub(crate) wildcard_available: Option<bool>,
            pub(crate) shared_available: Option<bool>,
            pub(crate) subscription_identifiers_available: Option<bool>,
            pub(crate) control_characters_refused: Option<bool>,
            pub(crate) non_characters_refused: Option<bool>,
            pub(crate) payload_format_checked: Option<bool>,
        }

        /// Limits as meant.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct Limits {
            $($(#[doc = $doc])* pub $key: $kind,)*
            /// Highest QoS.
            pub maximum_qos: u8,
            /// Whether messages may be retained.
            pub retain_available: bool,
            /// Whether subscriptions may have wildcards.
            pub wildcard_available: bool,
            /// Whether subscriptions may be shared.
            pub shared_available: bool,
            /// Whether subscriptions may have identifiers.
            pub subscription_identifiers_available: bool,
            /// Whether control characters in text are refused.
            pub control_characters_refused: bool,
            /// Whether non-characters in text are refused.
            pub non_characters_refused: bool,
            /// Whether payloads said to be UTF-8 are checked.
            pub payload_format_checked: bool,
            /// How far an acknowledgement of what is kept must have got; written in `[store]` or at a listener.
            pub durability: Durability,
        }

        impl Default for Limits {
            fn default() -> Self {
                Self {
                    $($key: $default,)*
                    maximum_qos: 2,
                    retain_available: true,
                    wildcard_available: true,
                    shared_available: true,
                    subscription_identifiers_available: true,
                    control_characters_refused: false,
                    non_characters_refused: false,
                    payload_format_checked: false,
                    durability: Durability::Disk,
                }
            }
        }

        impl Limits {
            /// These limits with what is written changed.
            pub(crate) fn with(&self, written: &LimitsWritten, faults: &mut crate::error::Faults<'_>) -> Self {
                let mut limits = self.clone();
                $(if let Some(value) = &written.$key {
                    let (min, max): ($kind, $kind) = ($min, $max);
                    if (min..=max).contains(value.get_ref()) {
                        limits.$key = *value.get_ref();
                    } else {
                        let what = format!("{} = {} is out of bounds", stringify!($key), value.get_ref());
                        faults.add(value.span().start, what, format!("write a number from {min} to {max}"));
                    }
                })*
                if let Some(qos) = &written.maximum_qos {
                    if *qos.get_ref() <= 2 {
                        limits.maximum_qos = *qos.get_ref();
                    } else {
                        faults.add(qos.span().start, "maximum_qos is above 2", "write 0, 1 or 2");
                    }
                }
                for (to, from) in [
                    (&mut limits.retain_available, written.retain_available),
                    (&mut limits.wildcard_available, written.wildcard_available),
                    (&mut limits.shared_available, written.shared_available),
                    (&mut limits.subscription_identifiers_available, written.subscription_identifiers_available),
                    (&mut limits.control_characters_refused, written.control_characters_refused),
                    (&mut limits.non_characters_refused, written.non_characters_refused),
                    (&mut limits.payload_format_checked, written.payload_format_checked),
                ] {
                    *to = from.unwrap_or(*to);
                }
                limits
            }

            /// The limits that differ from `defaults`, as TOML lines.
            pub(crate) fn difference_to_toml(&self, defaults: &Self) -> String {
                let (own, theirs) = (self.to_toml(), defaults.to_toml());
                own.lines().zip(theirs.lines()).filter(|(own, other)| own != other).map(|(own, _)| format!("{own}\n")).collect()
            }

            /// The limits as TOML lines.
            pub(crate) fn to_toml(&self) -> String {
                let mut lines = String::new();
                $(lines.push_str(&format!("{} = {}\n", stringify!($key), self.$key));)*
                for (key, value) in [
                    ("maximum_qos", self.maximum_qos.to_string()),
                    ("retain_available", self.retain_available.to_string()),
                    ("wildcard_available", self.wildcard_available.to_string()),
                    ("shared_available", self.shared_available.to_string()),
                    ("subscription_identifiers_available", self.subscription_identifiers_available.to_string()),
                    ("control_characters_refused", self.control_characters_refused.to_string()),
                    ("non_characters_refused", self.non_characters_refused.to_string()),
                    ("payload_format_checked", self.payload_format_checked.to_string()),
                ] {
                    lines.push_str(&format!("{key} = {value}\n"));
                }
                lines
            }
        }
    };
}

limits! {
    /// Seconds from accept to CONNECT, TLS and WebSocket handshakes included.
    connect_timeout_s: u16 = 10, 1 => 300;
    /// Largest packet once authenticated, in bytes.
    packet_bytes_max: u32 = 1_048_576, 1_024 => 268_435_460;
    /// Shortest Keep Alive in seconds.
    keep_alive_s_min: u16 = 0, 0 => 3_600;
    /// Longest Keep Alive in seconds; 0: no bound.
    keep_alive_s_max: u16 = 0, 0 => u16::MAX;
    /// Bytes of a topic.
    topic_bytes_max: u16 = 4_096, 16 => u16::MAX;
    /// Levels of a topic.
    topic_levels_max: u16 = 128, 2 => u16::MAX;
    /// Subscriptions of one Session.
    subscriptions_per_session_max: u32 = 1_000, 1 => 10_000_000;
    /// QoS 2 publications that a client may have open (Receive Maximum).
    receive_maximum: u16 = 1_024, 1 => u16::MAX;
    /// QoS 1 and 2 publications on their way to one client.
    inflight_out_max: u16 = 1_024, 1 => u16::MAX;
    /// Messages waiting for one Session.
    queued_messages_max: u32 = 100_000, 0 => u32::MAX;
    /// Bytes waiting for one Session.
    queued_bytes_max: u64 = 67_108_864, 0 => u64::MAX >> 1;
    /// Retained Messages in all.
    retained_messages_max: u32 = 1_000_000, 0 => u32::MAX;
    /// Bytes of Retained Messages in all.
    retained_bytes_max: u64 = 268_435_456, 0 => u64::MAX >> 1;
    /// Connections in all.
    connections_max: u32 = 16_384, 1 => 10_000_000;
    /// Connections from one address.
    connections_per_address_max: u32 = 8_192, 1 => 10_000_000;
    /// Connections of one identity.
    connections_per_identity_max: u32 = 1_000, 1 => 10_000_000;
    /// Sessions of one identity, connected or kept.
    sessions_per_identity_max: u32 = 1_000, 1 => 10_000_000;
    /// Longest Session Expiry Interval in seconds; 4,294,967,295 is for ever.
    session_expiry_s_max: u32 = 604_800, 0 => u32::MAX;
    /// Highest Topic Alias taken from a client.
    topic_alias_maximum: u16 = 64, 0 => 4_096;
    /// Most Topic Aliases used towards a client.
    topic_alias_out_maximum: u16 = 64, 0 => 4_096;
    /// Bytes waiting to be written to one connection.
    write_buffer_bytes_max: u32 = 1_048_576, 4_096 => 1_073_741_824;
    /// Budget in bytes of all that waits and is retained.
    memory_bytes_max: u64 = 1_073_741_824, 1_048_576 => u64::MAX >> 1;
}

impl LimitsWritten {
    /// Notes the limits that hold for the whole process and cannot stand at a listener.
    pub(crate) fn refuse_process_wide(&self, faults: &mut crate::error::Faults<'_>) {
        let places = [
            ("retained_messages_max", self.retained_messages_max.as_ref().map(toml::Spanned::span)),
            ("retained_bytes_max", self.retained_bytes_max.as_ref().map(toml::Spanned::span)),
            ("connections_max", self.connections_max.as_ref().map(toml::Spanned::span)),
            ("memory_bytes_max", self.memory_bytes_max.as_ref().map(toml::Spanned::span)),
        ];
        for (key, place) in places {
            if let Some(place) = place {
                faults.add(place.start, format!("{key} bounds the whole process"), "move it to [limits]");
            }
        }
    }
}

impl Limits {
    /// These limits with what is written at a listener changed.
    pub(crate) fn of_listener(
        &self,
        written: Option<&LimitsWritten>,
        durability: Option<&toml::Spanned<String>>,
        faults: &mut crate::error::Faults<'_>,
    ) -> Self {
        let mut limits = self.clone();
        if let Some(written) = written {
            written.refuse_process_wide(faults);
            limits = self.with(written, faults);
        }
        limits.durability = Durability::from_written(durability, faults).unwrap_or(self.durability);
        limits
    }

    /// The bounds of Retained Messages.
    pub fn retained(&self) -> RetainedBounds {
        RetainedBounds {
            messages_max: self.retained_messages_max as usize,
            bytes_max: usize::try_from(self.retained_bytes_max).unwrap_or(usize::MAX),
        }
    }
}
