//! What may stand in a UTF-8 string.

/// Characters that the standard allows and an operator may not want (5.0 section 1.5.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TextRules {
    /// Whether U+0001 to U+001F and U+007F to U+009F are taken.
    pub control_characters: bool,
    /// Whether code points that are no characters, such as U+FFFF, are taken.
    pub non_characters: bool,
}

impl Default for TextRules {
    /// Everything the standard allows.
    fn default() -> Self {
        Self { control_characters: true, non_characters: true }
    }
}

/// What is wrong with a string.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TextFault {
    NotUtf8,
    Nul,
    Control,
    NonCharacter,
}

impl TextFault {
    pub(crate) fn what(self) -> &'static str {
        match self {
            Self::NotUtf8 => "text that is not UTF-8",
            Self::Nul => "text with U+0000",
            Self::Control => "text with a control character, which this listener refuses",
            Self::NonCharacter => "text with a non-character, which this listener refuses",
        }
    }

    pub(crate) fn statement(self) -> &'static str {
        match self {
            Self::NotUtf8 => "MQTT-1.5.4-1",
            Self::Nul => "MQTT-1.5.4-2",
            Self::Control | Self::NonCharacter => "5.0 section 1.5.4",
        }
    }
}

impl TextRules {
    /// Checks bytes and gives them as text. Surrogates are no UTF-8, so they fall out there (MQTT-1.5.4-1).
    pub(crate) fn check(self, bytes: &[u8]) -> Result<&str, TextFault> {
        let text = simdutf8::basic::from_utf8(bytes).map_err(|_| TextFault::NotUtf8)?;
        if has_nul(bytes) {
            return Err(TextFault::Nul);
        }
        if !self.control_characters && text.chars().any(char::is_control) {
            return Err(TextFault::Control);
        }
        if !self.non_characters && text.chars().any(is_non_character) {
            return Err(TextFault::NonCharacter);
        }
        Ok(text)
    }
}

/// Whether a byte is zero. Topics are a few dozen bytes: eight at a time, without the set-up that a search of long texts
/// begins with.
fn has_nul(bytes: &[u8]) -> bool {
    const LOW: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    // The lowest zero byte borrows, and so sets its highest bit; a byte with that bit set before is no zero.
    let any = |eight: &[u8; 8]| {
        let word = u64::from_le_bytes(*eight);
        word.wrapping_sub(LOW) & !word & HIGH != 0
    };
    let (eights, rest) = bytes.as_chunks();
    eights.iter().any(any)
        || match bytes.last_chunk() {
            Some(last) => any(last),
            None => rest.contains(&0),
        }
}

fn is_non_character(c: char) -> bool {
    let code = u32::from(c);
    (0xfdd0..=0xfdef).contains(&code) || code & 0xfffe == 0xfffe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zero_byte_is_found_wherever_it_is_and_nothing_else_is_taken_for_one() {
        for length in 0..40 {
            for other in [1, 0x7f, 0x80, 0x81, 0xff] {
                assert!(!has_nul(&vec![other; length]), "{length} bytes of {other}");
                for at in 0..length {
                    let mut bytes = vec![other; length];
                    bytes[at] = 0;
                    assert!(has_nul(&bytes), "{at} of {length} bytes of {other}");
                }
            }
        }
    }
}
