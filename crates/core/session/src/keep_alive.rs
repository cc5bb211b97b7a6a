//! Keep Alive: how long a client may be silent.

use crate::limits::SessionLimits;

/// The Keep Alive in force for a connection, in seconds; zero means that silence is unlimited (MQTT-3.1.2-22).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeepAlive {
    seconds: u16,
    changed: bool,
}

impl KeepAlive {
    /// Chooses the Keep Alive for what the client asked, inside the bounds of `limits`.
    pub fn choose(asked_s: u16, limits: &SessionLimits) -> Self {
        let max = limits.keep_alive_s_max;
        let seconds = match (asked_s, max) {
            (asked, 0) => asked,
            (0, max) => max,
            (asked, max) => asked.min(max),
        };
        let seconds = if seconds == 0 { 0 } else { seconds.max(limits.keep_alive_s_min) };
        Self { seconds, changed: seconds != asked_s }
    }

    /// The value to announce as Server Keep Alive, if it differs from what was asked (MQTT-3.2.2-21).
    pub fn announced(self) -> Option<u16> {
        self.changed.then_some(self.seconds)
    }

    /// Milliseconds of silence after which the connection is closed: one and a half times the Keep Alive
    /// (MQTT-3.1.2-22); `None` when silence is unlimited.
    pub fn silence_ms(self) -> Option<u32> {
        (self.seconds > 0).then(|| u32::from(self.seconds) * 1_500)
    }
}
