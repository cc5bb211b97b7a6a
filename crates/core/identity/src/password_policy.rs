//! What a password that a person chooses must be, by one of two profiles.
//!
//! `nist` asks for length and against what is known or guessable, after NIST SP 800-63B-4; `classic` for four classes of
//! characters, as older rules do. Whether two identities share a password is asked of the password file.

use std::collections::HashSet;

/// The list in the program.
const LIST: &str = include_str!("password_policy/list.txt");
/// Characters of a chosen password that is the only factor.
const LENGTH: usize = 15;
/// Characters beside a second factor, and of `classic`.
const LENGTH_SHORT: usize = 8;
/// Longer is nothing that a person types, and takes long to judge.
pub const LENGTH_MAX: usize = 256;
/// Shorter names are in too many good passwords.
const NAME_LENGTH: usize = 3;
/// Bits from which a generated password may be kept as a keyed hash.
pub const GENERATED_BITS: u32 = 112;

/// Which rules hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// Length, and nothing that is known or guessable.
    Nist,
    /// Four classes of characters.
    Classic,
}

/// What is wrong with a password, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct Weakness {
    /// What is wrong. Never holds the password.
    pub what: String,
    /// What to do.
    pub remedy: String,
}

impl Weakness {
    fn new(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { what: what.into(), remedy: remedy.into() }
    }
}

/// For whom a password is.
#[derive(Debug, Clone, Copy, Default)]
pub struct Purpose<'a> {
    /// The identity, if known.
    pub identity: Option<&'a str>,
    /// A second factor is asked for beside it.
    pub second_factor: bool,
}

/// The rules with their lists.
#[derive(Debug, Clone)]
pub struct PasswordPolicy {
    profile: Profile,
    refused: HashSet<String>,
    words: Vec<String>,
}

impl PasswordPolicy {
    /// By this profile, against a list of refused passwords (the program's own without one) and words of the place.
    pub fn new(profile: Profile, list: Option<&str>, words: &[String]) -> Self {
        let mut refused = HashSet::new();
        let lines = list.unwrap_or(LIST).lines().filter(|line| !line.starts_with("# "));
        // The program's own list has several on a line; in an operator's, a line may have spaces.
        for line in lines {
            match list {
                Some(_) => refuse(&mut refused, line),
                None => line.split_whitespace().for_each(|word| refuse(&mut refused, word)),
            }
        }
        for word in words {
            refuse(&mut refused, word);
        }
        Self { profile, refused, words: words.to_vec() }
    }

    /// Passwords of the program's own list.
    pub fn own_list() -> impl Iterator<Item = &'static str> {
        LIST.lines().filter(|line| !line.starts_with("# ")).flat_map(str::split_whitespace)
    }

    /// Everything that is wrong with a password; nothing: it may be used.
    pub fn weaknesses(&self, password: &str, purpose: Purpose<'_>) -> Vec<Weakness> {
        let mut found = Vec::new();
        let length = password.chars().count();
        if length == 0 {
            return vec![Weakness::new("it is empty", "give one, or `--generate`")];
        }
        if length > LENGTH_MAX {
            let what = format!("it has {length} characters");
            return vec![Weakness::new(what, format!("use at most {LENGTH_MAX}"))];
        }
        if password.chars().any(char::is_control) {
            found.push(Weakness::new("it has a control character", "use what can be typed and seen"));
        }
        let least = match self.profile {
            Profile::Nist if !purpose.second_factor => LENGTH,
            Profile::Nist | Profile::Classic => LENGTH_SHORT,
        };
        if length < least {
            let what = format!("it has {length} characters, fewer than {least}");
            found.push(Weakness::new(what, "use several words, or `--generate`"));
        }
        if self.is_listed(password) {
            let what = "it is, or is made from, a password that is known: used by many, shipped with devices, or a word of this place";
            found.push(Weakness::new(what, "choose another, or `--generate`"));
        }
        let lower = password.to_lowercase();
        let name = purpose.identity.map(str::to_lowercase).filter(|name| name.chars().count() >= NAME_LENGTH);
        if name.is_some_and(|name| lower.contains(&name)) {
            found.push(Weakness::new("it holds the identity's name", "choose another, or `--generate`"));
        }
        match self.profile {
            Profile::Classic => found.extend(classes(password)),
            Profile::Nist => found.extend(self.guessable(password, purpose)),
        }
        found
    }

    fn is_listed(&self, password: &str) -> bool {
        let lower = password.to_lowercase();
        self.refused.contains(lower.trim()) || normal(&lower).iter().any(|form| self.refused.contains(form))
    }

    fn guessable(&self, password: &str, purpose: Purpose<'_>) -> Option<Weakness> {
        let mut own: Vec<&str> = self.words.iter().map(String::as_str).collect();
        own.extend(purpose.identity);
        own.extend(["motte", "mqtt", "broker"]);
        let guesses = zxcvbn::zxcvbn(password, &own).guesses_log10();
        let least = if purpose.second_factor { 6.0 } else { 8.0 };
        (guesses < least).then(|| {
            let what =
                format!("it would be guessed in about 10^{guesses:.0} tries, fewer than 10^{least:.0}");
            Weakness::new(what, "use several words that do not belong together, or `--generate`")
        })
    }
}

/// The classes that a password lacks.
fn classes(password: &str) -> Option<Weakness> {
    let lacks: Vec<&str> = [
        ("no lower-case letter", password.chars().any(char::is_lowercase)),
        ("no upper-case letter", password.chars().any(char::is_uppercase)),
        ("no digit", password.chars().any(char::is_numeric)),
        ("no sign", password.chars().any(|c| !c.is_alphanumeric() && !c.is_control())),
    ]
    .into_iter()
    .filter_map(|(lack, has)| (!has).then_some(lack))
    .collect();
    let what = || format!("it has {}", lacks.join(", "));
    (!lacks.is_empty()).then(|| Weakness::new(what(), "use all four classes of characters"))
}

fn refuse(refused: &mut HashSet<String>, word: &str) {
    let lower = word.trim().to_lowercase();
    if !lower.is_empty() {
        refused.extend(normal(&lower));
        refused.insert(lower);
    }
}

/// A password in lower case without what is added to a word so that it passes for a password: digits and signs at its ends, and
/// the usual replacements of letters. Nothing when too little is left.
fn normal(lower: &str) -> Vec<String> {
    let added = |c: char| !c.is_alphabetic() && !matches!(c, '@' | '$');
    let end = lower.trim_end_matches(added);
    // What stands in front may have been added, or may stand for a letter.
    let cores = [end, end.trim_start_matches(added)];
    let decoded = |core: &str, one: char| {
        let letters = core.chars().filter(|c| !c.is_whitespace()).map(|c| match c {
            '0' => 'o',
            '1' | '!' => one,
            '3' => 'e',
            '4' | '@' => 'a',
            '5' | '$' => 's',
            '7' => 't',
            other => other,
        });
        letters.collect::<String>()
    };
    let forms = cores.iter().flat_map(|core| [decoded(core, 'l'), decoded(core, 'i')]);
    forms.filter(|form| form.chars().count() >= NAME_LENGTH).collect()
}

/// Bits that a text has at most, if it was generated: as many as its length gives in the smallest usual alphabet that it fits.
/// `None`: no generator writes such a text.
pub fn generated_bits(password: &str) -> Option<u32> {
    let all = |fits: fn(&u8) -> bool| password.bytes().all(|byte| fits(&byte));
    let bits_of_ten = if all(u8::is_ascii_digit) {
        33
    } else if all(u8::is_ascii_hexdigit) {
        40
    } else if all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        || all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
    {
        50
    } else if all(u8::is_ascii_graphic) {
        59
    } else {
        return None;
    };
    // A word said again and again is long and was not generated.
    let different = password.bytes().collect::<HashSet<u8>>().len();
    let length = u32::try_from(password.len()).ok().filter(|_| different >= 8)?;
    Some(length * bits_of_ten / 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weak(profile: Profile, password: &str) -> bool {
        let purpose = Purpose { identity: Some("pump-17"), second_factor: false };
        !PasswordPolicy::new(profile, None, &["acme".into()]).weaknesses(password, purpose).is_empty()
    }

    #[test]
    fn the_acceptance_checks_of_password_policy() {
        for password in ["Passw0rd!", "hunter2"] {
            assert!(weak(Profile::Nist, password) && weak(Profile::Classic, password), "{password}");
        }
        assert!(weak(Profile::Classic, "abcdefgh"));
        assert!(!weak(Profile::Classic, "Gx7#pLq2"));
        assert!(weak(Profile::Nist, "tall boat wade"), "14 characters");
        assert!(!weak(Profile::Nist, "tall boat waded"), "15 characters");
    }

    #[test]
    fn what_is_known_is_refused_however_it_is_dressed() {
        for password in
            ["P@$$w0rd2026!", "Mosquitto-2024", "Adm1n!!!", "XC3511", "4dm1n1strat0r#9", "ACME2026!"]
        {
            let policy = PasswordPolicy::new(Profile::Classic, None, &["acme".into()]);
            assert!(policy.is_listed(password), "{password}");
        }
        let own = PasswordPolicy::new(Profile::Classic, Some("Our Old Secret\n# a note\n"), &[]);
        assert!(own.is_listed("our old secret 17") && !own.is_listed("mosquitto"));
        assert!(PasswordPolicy::own_list().count() > 3_000);
    }

    #[test]
    fn the_name_of_the_identity_and_repetition_are_no_password() {
        assert!(weak(Profile::Nist, "my pump-17 password is long"));
        assert!(weak(Profile::Nist, "aaaaaaaaaaaaaaaaaaaaaaaa"));
        assert!(weak(Profile::Nist, "qwertyuiopasdfghjkl"));
        assert!(weak(Profile::Nist, &"x".repeat(LENGTH_MAX + 1)));
    }

    #[test]
    fn a_second_factor_makes_a_shorter_password_enough() {
        let policy = PasswordPolicy::new(Profile::Nist, None, &[]);
        let with = |second_factor| policy.weaknesses("wade;tqx", Purpose { identity: None, second_factor });
        assert!(with(true).is_empty(), "{:?}", with(true));
        assert!(!with(false).is_empty());
    }

    #[test]
    fn what_was_generated_is_told_from_what_is_merely_long() {
        let made = motte_seal::SecretString::generate().unwrap();
        assert!(generated_bits(made.expose()).unwrap() >= GENERATED_BITS);
        assert!(generated_bits("0123456789abcdef0123456789abcdef").unwrap() >= GENERATED_BITS);
        assert!(generated_bits("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa").is_none());
        assert!(generated_bits("correct horse battery staple").is_none());
        assert!(generated_bits("Gx7#pLq2").unwrap() < GENERATED_BITS);
    }

    #[test]
    fn what_is_missing_is_said() {
        assert_eq!(classes("abcdefgh").unwrap().what, "it has no upper-case letter, no digit, no sign");
        assert_eq!(classes("ABC").unwrap().what, "it has no lower-case letter, no digit, no sign");
    }
}
