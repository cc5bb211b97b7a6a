//! Text from outside, made harmless: bounded, one line, nothing invisible.

use std::fmt::Write as _;

/// Bytes of a value that are kept.
const BYTES_MAX: usize = 256;

/// The front of a text, cut at a character.
pub(crate) fn cut(text: &str) -> &str {
    if text.len() <= BYTES_MAX {
        return text;
    }
    let end = (0..=BYTES_MAX).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    text.get(..end).unwrap_or_default()
}

/// Whether a character may stand as it is: no controls, no marks that turn or hide text.
fn plain(c: char) -> bool {
    !c.is_control()
        && !matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{61c}')
}

/// Text with everything that is not plain written as `\u{…}`: no controls, no line ends, no marks that turn or hide text.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if plain(c) {
            out.push(c);
        } else {
            let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
        }
    }
    out
}

/// Text for a line of `name=value`: in quotes when it holds anything but letters, digits and harmless signs.
pub(crate) fn quoted(text: &str) -> String {
    let bare = !text.is_empty()
        && text
            .chars()
            .all(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | ':' | '/' | '@' | '+' | '#' | '$'));
    if bare {
        return text.to_owned();
    }
    let mut out = String::from('"');
    for c in escaped(text).chars() {
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
    out
}
