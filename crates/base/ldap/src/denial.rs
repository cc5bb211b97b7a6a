//! Why a user is not let in. A client is told none of it.

/// Why a directory, or what is asked of it, does not let a user in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denial {
    /// A user name that is empty, too long or no text.
    Name,
    /// The password is empty.
    NoPassword,
    /// A password that is too long or has a zero in it.
    Password,
    /// The account that searches has no password.
    NoAccount,
    /// The directory says so, of name and password.
    Wrong,
    /// The directory says so, of this account.
    Closed,
    /// Nobody was found.
    Unknown,
    /// More than one was found.
    Several,
    /// The name is spelled otherwise there.
    Spelling,
    /// Somebody without a name was found.
    Nameless,
    /// The user cannot read its own entry.
    Hidden,
    /// The user is in more groups than may be.
    Groups,
    /// The directory answers more than may be.
    TooMuch,
}

impl Denial {
    const ALL: [Self; 13] = [
        Self::Name,
        Self::NoPassword,
        Self::Password,
        Self::NoAccount,
        Self::Wrong,
        Self::Closed,
        Self::Unknown,
        Self::Several,
        Self::Spelling,
        Self::Nameless,
        Self::Hidden,
        Self::Groups,
        Self::TooMuch,
    ];

    /// For the log.
    pub fn cause(self) -> &'static str {
        match self {
            Self::Name => "no directory is asked about such a user name",
            Self::NoPassword => "the password is empty",
            Self::Password => "no directory is asked about such a password",
            Self::NoAccount => "the account that searches the directory has no password",
            Self::Wrong => "the directory says that user name or password is wrong",
            Self::Closed => "the directory does not let this user in",
            Self::Unknown => "the directory has no such user",
            Self::Several => "more than one entry of the directory has this user name",
            Self::Spelling => "the user name is not written as in the directory",
            Self::Nameless => "the directory found an entry without a name",
            Self::Hidden => "the directory does not show the user's entry to the user",
            Self::Groups => "the user is in more groups than may be",
            Self::TooMuch => "the directory says more of the user than may be",
        }
    }

    /// As a number, for another process.
    pub fn byte(self) -> u8 {
        Self::ALL.iter().position(|one| *one == self).and_then(|at| u8::try_from(at).ok()).unwrap_or(u8::MAX)
    }

    /// Of a number.
    pub fn of(byte: u8) -> Option<Self> {
        Self::ALL.get(usize::from(byte)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_a_number_and_words_of_its_own() {
        let mut words: Vec<&str> = Denial::ALL.iter().map(|one| one.cause()).collect();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), Denial::ALL.len());
        for one in Denial::ALL {
            assert_eq!(Denial::of(one.byte()), Some(one));
        }
        assert_eq!(Denial::of(13), None);
    }
}
