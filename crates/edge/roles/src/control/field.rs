//! Fields, records and choices as bytes. A record is its fields in order, a choice the number of what was chosen and its
//! fields; whoever declares one gets both ways of it.

use crate::cursor::{Cursor, Malformed, put_bytes, put_count, put_text_cut};

/// Longest text: a Client Identifier or a Topic Name is no longer.
pub(super) const TEXT_BYTES_MAX: usize = 65_535;
/// Longest list.
pub(super) const LIST_MAX: usize = 4_096;

/// Something that has one form as bytes.
pub(crate) trait Field: Sized {
    fn put(&self, out: &mut Vec<u8>);
    fn take(cursor: &mut Cursor<'_>) -> Result<Self, Malformed>;
}

macro_rules! numbers {
    ($($number:ident)*) => {$(
        impl Field for $number {
            fn put(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }
            fn take(cursor: &mut Cursor<'_>) -> Result<Self, Malformed> {
                cursor.array().map(Self::from_le_bytes)
            }
        }
    )*};
}
numbers! { u8 u16 u32 u64 }

impl Field for bool {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }

    fn take(cursor: &mut Cursor<'_>) -> Result<Self, Malformed> {
        match cursor.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed::Unknown),
        }
    }
}

/// Longer text is cut.
impl Field for String {
    fn put(&self, out: &mut Vec<u8>) {
        put_text_cut(out, self, TEXT_BYTES_MAX);
    }

    fn take(cursor: &mut Cursor<'_>) -> Result<Self, Malformed> {
        cursor.text(TEXT_BYTES_MAX)
    }
}

impl<F: Field> Field for Option<F> {
    fn put(&self, out: &mut Vec<u8>) {
        self.is_some().put(out);
        if let Some(field) = self {
            field.put(out);
        }
    }

    fn take(cursor: &mut Cursor<'_>) -> Result<Self, Malformed> {
        if bool::take(cursor)? { F::take(cursor).map(Some) } else { Ok(None) }
    }
}

/// A longer list is cut.
impl<F: Field> Field for Vec<F> {
    fn put(&self, out: &mut Vec<u8>) {
        put_count(out, self.len().min(LIST_MAX));
        self.iter().take(LIST_MAX).for_each(|field| field.put(out));
    }

    fn take(cursor: &mut Cursor<'_>) -> Result<Self, Malformed> {
        cursor.list(LIST_MAX, F::take)
    }
}

impl<F: Field> Field for Box<F> {
    fn put(&self, out: &mut Vec<u8>) {
        self.as_ref().put(out);
    }

    fn take(cursor: &mut Cursor<'_>) -> Result<Self, Malformed> {
        F::take(cursor).map(Box::new)
    }
}

/// Bytes as they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Exactly<const N: usize>(pub(super) [u8; N]);

impl<const N: usize> Field for Exactly<N> {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0);
    }

    fn take(cursor: &mut Cursor<'_>) -> Result<Self, Malformed> {
        cursor.array().map(Self)
    }
}

/// Bytes of any kind, with their length before them.
impl Field for std::path::PathBuf {
    fn put(&self, out: &mut Vec<u8>) {
        put_bytes(out, std::os::unix::ffi::OsStrExt::as_bytes(self.as_os_str()));
    }

    fn take(cursor: &mut Cursor<'_>) -> Result<Self, Malformed> {
        cursor.path()
    }
}

/// Declares a structure whose fields are sent in order.
macro_rules! record {
    ($(#[$about:meta])* pub struct $name:ident { $($(#[$doc:meta])* $field:ident: $kind:ty,)* }) => {
        $(#[$about])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $name { $($(#[$doc])* pub $field: $kind,)* }

        impl $crate::control::field::Field for $name {
            fn put(&self, out: &mut Vec<u8>) {
                $($crate::control::field::Field::put(&self.$field, out);)*
            }
            fn take(cursor: &mut $crate::cursor::Cursor<'_>) -> Result<Self, $crate::cursor::Malformed> {
                Ok(Self { $($field: $crate::control::field::Field::take(cursor)?,)* })
            }
        }
    };
}

/// Declares an enumeration that is sent as the number before each variant and that variant's fields.
macro_rules! choice {
    ($(#[$about:meta])* pub enum $name:ident {
        $($(#[$doc:meta])* $number:literal => $variant:ident $({ $($(#[$field_doc:meta])* $field:ident: $kind:ty),* $(,)? })?,)*
    }) => {
        $(#[$about])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum $name { $($(#[$doc])* $variant $({ $($(#[$field_doc])* $field: $kind),* })?,)* }

        impl $crate::control::field::Field for $name {
            fn put(&self, out: &mut Vec<u8>) {
                match self {
                    $(Self::$variant $({ $($field),* })? => {
                        out.push($number);
                        $($($crate::control::field::Field::put($field, out);)*)?
                    })*
                }
            }
            fn take(cursor: &mut $crate::cursor::Cursor<'_>) -> Result<Self, $crate::cursor::Malformed> {
                match cursor.u8()? {
                    $($number => Ok(Self::$variant $({ $($field: $crate::control::field::Field::take(cursor)?),* })?),)*
                    _ => Err($crate::cursor::Malformed::Unknown),
                }
            }
        }
    };
}

/// Makes a record or a choice a message of its own, of at most so many bytes.
macro_rules! message {
    ($name:ident, $most:expr) => {
        impl $crate::message::Message for $name {
            const BYTES_MAX: usize = $most;

            fn encode(&self, out: &mut Vec<u8>) {
                $crate::control::field::Field::put(self, out);
            }

            fn decode(bytes: &[u8]) -> Result<Self, $crate::cursor::Malformed> {
                let mut cursor = $crate::cursor::Cursor::new(bytes);
                let message = $crate::control::field::Field::take(&mut cursor)?;
                cursor.end()?;
                Ok(message)
            }
        }
    };
}

pub(super) use {choice, message, record};
