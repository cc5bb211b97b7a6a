//! Login attempts: `[auth.attempts]`.

use serde::Deserialize;
use toml::Spanned;

use crate::error::Faults;

/// What somebody is answered who is held or banned.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum HeldAnswer {
    /// CONNACK with 0x9F Connection rate exceeded, or 0x8A Banned.
    #[default]
    Reason,
    /// Nothing: the connection is closed.
    Close,
}

impl HeldAnswer {
    fn name(self) -> &'static str {
        match self {
            Self::Reason => "reason",
            Self::Close => "close",
        }
    }
}

macro_rules! attempts {
    ($($(#[doc = $doc:literal])* $key:ident = $default:literal, $min:literal => $max:literal;)*) => {
        /// As written.
        #[derive(Debug, Default, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub(crate) struct AttemptsWritten {
            $($key: Option<Spanned<u32>>,)*
            answer: Option<Spanned<String>>,
        }

        /// How failed logins are held back.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub struct LoginAttempts {
            $($(#[doc = $doc])* pub $key: u32,)*
            /// What somebody is answered who is held or banned.
            pub answer: HeldAnswer,
        }

        impl Default for LoginAttempts {
            fn default() -> Self {
                Self { $($key: $default,)* answer: HeldAnswer::default() }
            }
        }

        impl LoginAttempts {
            pub(crate) fn from_written(written: &AttemptsWritten, faults: &mut Faults<'_>) -> Self {
                let mut meant = Self::default();
                $(if let Some(value) = &written.$key {
                    meant.$key = *value.get_ref();
                    if !($min..=$max).contains(value.get_ref()) {
                        let what = format!("{} = {} is out of bounds", stringify!($key), value.get_ref());
                        faults.add(value.span().start, what, format!("write a number from {} to {}", $min, $max));
                    }
                })*
                meant.finish(written, faults)
            }

            pub(crate) fn to_toml(self) -> String {
                let mut lines = format!("\n[auth.attempts]\nanswer = \"{}\"\n", self.answer.name());
                $(lines.push_str(&format!("{} = {}\n", stringify!($key), self.$key));)*
                lines
            }
        }
    };
}

attempts! {
    /// Seconds without a failure after which the earlier ones are forgotten.
    window_s = 900, 1 => 86_400;
    /// Failures without consequence.
    free = 8, 1 => 1_000;
    /// The first delay in milliseconds; each further failure doubles it.
    delay_base_ms = 1_000, 1 => 60_000;
    /// The longest delay in milliseconds.
    delay_max_ms = 30_000, 1 => 3_600_000;
    /// Failures from which on nobody is asked for a while.
    lockout_after = 32, 2 => 8_000;
    /// How long, in seconds.
    lockout_s = 900, 1 => 86_400;
    /// Bits of an IPv4 address that are its network.
    prefix_v4 = 24, 8 => 32;
    /// Bits of an IPv6 address that count as one address.
    address_v6 = 64, 32 => 128;
    /// Bits of an IPv6 address that are its network.
    prefix_v6 = 48, 19 => 128;
    /// Keys remembered of each of seven kinds, 40 bytes each.
    entries = 16_384, 256 => 4_194_304;
    /// New connections of one address in a second; 0: no bound.
    connections_per_second = 0, 0 => 1_000_000;
}

impl LoginAttempts {
    fn finish(mut self, written: &AttemptsWritten, faults: &mut Faults<'_>) -> Self {
        if let Some(answer) = &written.answer {
            match answer.get_ref().as_str() {
                "reason" => self.answer = HeldAnswer::Reason,
                "close" => self.answer = HeldAnswer::Close,
                other => {
                    let what = format!("answer = \"{other}\" is not known");
                    faults.add(answer.span().start, what, "use reason or close");
                }
            }
        }
        let place = |one: Option<&Spanned<u32>>, other: Option<&Spanned<u32>>| {
            one.or(other).map_or(0, |value| value.span().start)
        };
        if self.lockout_after <= self.free {
            let at = place(written.lockout_after.as_ref(), written.free.as_ref());
            faults.add(
                at,
                "lockout_after is not above free",
                "write a larger lockout_after or a smaller free",
            );
        }
        if self.delay_max_ms < self.delay_base_ms {
            let at = place(written.delay_max_ms.as_ref(), written.delay_base_ms.as_ref());
            faults.add(at, "delay_max_ms is below delay_base_ms", "write a longer delay_max_ms");
        }
        if self.prefix_v6 > self.address_v6 {
            let at = place(written.prefix_v6.as_ref(), written.address_v6.as_ref());
            faults.add(
                at,
                "the network of an IPv6 address is smaller than the address",
                "write prefix_v6 below address_v6",
            );
        }
        self
    }
}
