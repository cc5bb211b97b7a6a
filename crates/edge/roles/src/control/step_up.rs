//! What an operator shows beside his user where a request is of high risk: an account with a second factor, and its code.

use zeroize::Zeroizing;

use super::field::{Field, record};
use crate::cursor::{Cursor, Malformed, put_text_cut};

/// Longest code, in bytes: a recovery code has 19.
const CODE_BYTES_MAX: usize = 64;

record! {
    /// As whom an operator asks, and the code that proves it.
    pub struct StepUp {
        /// An account of the password file.
        account: String,
        /// Its code of now, or a recovery code.
        code: Code,
    }
}

/// A code of a second factor, which is written nowhere.
#[derive(Clone, PartialEq, Eq)]
pub struct Code(Zeroizing<String>);

impl Code {
    /// Takes a code over.
    pub fn new(code: String) -> Self {
        Self(Zeroizing::new(code))
    }

    /// The code, for the moment of use.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Code(hidden)")
    }
}

/// A longer one is cut, and then wrong.
impl Field for Code {
    fn put(&self, out: &mut Vec<u8>) {
        put_text_cut(out, &self.0, CODE_BYTES_MAX);
    }

    fn take(cursor: &mut Cursor<'_>) -> Result<Self, Malformed> {
        cursor.text(CODE_BYTES_MAX).map(Self::new)
    }
}
