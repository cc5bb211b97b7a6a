//! Dates of exceptions.

use jiff::civil::Date;

/// A date as written, `2027-03-31`.
pub(crate) fn date(text: &str) -> Option<Date> {
    text.parse().ok()
}
