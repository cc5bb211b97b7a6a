//! What a directory is asked about a client, and what comes of it: the body of a request to it and of its answer.

use motte_ldap::{Denial, GROUPS_MAX, NAME_BYTES_MAX, Outcome, PASSWORD_BYTES_MAX, USER_BYTES_MAX};
use zeroize::Zeroizing;

use crate::cursor::{Cursor, Malformed, put_bytes, put_count};
use crate::message::Message;

/// Who wants in, and how it proves that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryQuestion {
    /// At most [`USER_BYTES_MAX`].
    pub user: String,
    /// At most [`PASSWORD_BYTES_MAX`].
    pub password: Zeroizing<Vec<u8>>,
}

impl Message for DirectoryQuestion {
    const BYTES_MAX: usize = USER_BYTES_MAX + PASSWORD_BYTES_MAX + 16;

    fn encode(&self, out: &mut Vec<u8>) {
        put_bytes(out, self.user.as_bytes());
        put_bytes(out, &self.password);
    }

    fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(bytes);
        let user = cursor.text(USER_BYTES_MAX)?;
        let password = Zeroizing::new(cursor.bytes(PASSWORD_BYTES_MAX)?.to_vec());
        cursor.end()?;
        Ok(Self { user, password })
    }
}

/// What a directory says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryAnswer(pub Outcome);

impl Message for DirectoryAnswer {
    const BYTES_MAX: usize = (GROUPS_MAX + 1) * (NAME_BYTES_MAX + 4) + 16;

    fn encode(&self, out: &mut Vec<u8>) {
        match &self.0 {
            Outcome::Allowed { entry, groups } => {
                out.push(1);
                put_bytes(out, entry.as_bytes());
                put_count(out, groups.len());
                for group in groups {
                    put_bytes(out, group.as_bytes());
                }
            }
            Outcome::Denied(denial) => out.extend([2, denial.byte()]),
        }
    }

    fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(bytes);
        let outcome = match cursor.u8()? {
            1 => Outcome::Allowed {
                entry: cursor.text(NAME_BYTES_MAX)?,
                groups: cursor.list(GROUPS_MAX, |cursor| cursor.text(NAME_BYTES_MAX))?,
            },
            2 => Outcome::Denied(Denial::of(cursor.u8()?).ok_or(Malformed::Unknown)?),
            _ => return Err(Malformed::Unknown),
        };
        cursor.end()?;
        Ok(Self(outcome))
    }
}
