//! Session expiry: how long Session State outlives its connection.

use motte_wire::ProtocolVersion;

/// How long a Session is kept after its connection closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionExpiry {
    /// It ends with the connection (5.0: Session Expiry Interval 0; 3.x: clean session).
    AtClose,
    /// It is kept for this many seconds.
    Seconds(u32),
}

impl SessionExpiry {
    /// What CONNECT asks for, lowered to `max_s` seconds.
    ///
    /// In 3.1 and 3.1.1 a Session without clean session has no end of its own; it gets `max_s`.
    pub fn from_connect(version: ProtocolVersion, clean: bool, interval_s: Option<u32>, max_s: u32) -> Self {
        match version {
            ProtocolVersion::V5 => Self::from_interval(interval_s.unwrap_or(0), max_s),
            ProtocolVersion::V31 | ProtocolVersion::V311 => {
                if clean {
                    Self::AtClose
                } else {
                    Self::from_interval(u32::MAX, max_s)
                }
            }
        }
    }

    /// An interval in seconds, lowered to `max_s`.
    pub fn from_interval(interval_s: u32, max_s: u32) -> Self {
        match interval_s.min(max_s) {
            0 => Self::AtClose,
            seconds => Self::Seconds(seconds),
        }
    }

    /// The interval in seconds; 0 when the Session ends with its connection.
    pub fn seconds(self) -> u32 {
        match self {
            Self::AtClose => 0,
            Self::Seconds(seconds) => seconds,
        }
    }

    /// Whether the Session outlives its connection.
    pub fn outlives_connection(self) -> bool {
        self != Self::AtClose
    }

    /// The moment it ends, in unix milliseconds, if its connection closed at `closed_ms`; `u32::MAX` seconds is never
    /// (5.0 section 3.1.2.11.2).
    pub fn ends_at_ms(self, closed_ms: u64) -> Option<u64> {
        match self {
            Self::AtClose => Some(closed_ms),
            Self::Seconds(u32::MAX) => None,
            Self::Seconds(seconds) => Some(closed_ms.saturating_add(u64::from(seconds) * 1_000)),
        }
    }
}
