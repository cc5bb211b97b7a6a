//! Names of entries (RFC 4514): compared by what they mean, and made of a template and a value that cannot change its form.

/// The name of an entry, as two names are compared: types and values without regard to case and runs of spaces, the parts of
/// one level in any order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Vec<Vec<(String, String)>>);

impl Name {
    /// Reads a name; `None` when it is none. The name of nobody, which is empty, is none either.
    pub fn parse(text: &str) -> Option<Self> {
        let mut levels = Vec::new();
        let mut rest = text;
        loop {
            let mut level = Vec::new();
            let end = loop {
                let (kind, after) = rest.split_once('=')?;
                let (value, end, after) = value(after)?;
                level.push((attribute(kind)?, value));
                rest = after;
                if end != Some('+') {
                    break end;
                }
            };
            level.sort();
            levels.push(level);
            if end.is_none() {
                return Some(Self(levels));
            }
        }
    }
}

/// The type of an attribute: a word or a dotted number.
pub(crate) fn attribute(text: &str) -> Option<String> {
    let text = text.trim_matches(' ');
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"-.".contains(&byte);
    let begins = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    (begins && text.bytes().all(is_part)).then(|| text.to_ascii_lowercase())
}

/// A value, what ends it, and what comes behind that.
fn value(text: &str) -> Option<(String, Option<char>, &str)> {
    let text = text.trim_start_matches(' ');
    let (mut bytes, mut kept, mut at) = (Vec::new(), 0, 0);
    let hex = text.starts_with('#');
    let (end, rest) = loop {
        let left = text.get(at..)?;
        let Some(character) = left.chars().next() else { break (None, "") };
        match character {
            ',' | '+' => break (Some(character), left.get(1..)?),
            '"' | ';' | '<' | '>' | '\0' => return None,
            '\\' => {
                let pair = left.get(1..3).and_then(|pair| u8::from_str_radix(pair, 16).ok());
                let special = left.get(1..2).filter(|one| " \"#+,;<=>\\".contains(one));
                match (pair, special) {
                    (Some(byte), _) => {
                        bytes.push(byte);
                        at += 3;
                    }
                    (None, Some(one)) => {
                        bytes.extend_from_slice(one.as_bytes());
                        at += 2;
                    }
                    (None, None) => return None,
                }
                kept = bytes.len();
            }
            _ => {
                bytes.extend_from_slice(left.get(..character.len_utf8())?.as_bytes());
                at += character.len_utf8();
                if character != ' ' {
                    kept = bytes.len();
                }
            }
        }
    };
    // Spaces at the end count where they are escaped.
    bytes.truncate(kept);
    let value = String::from_utf8(bytes).ok()?;
    let is_hex = |digits: &str| {
        !digits.is_empty()
            && digits.len().is_multiple_of(2)
            && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    if value.is_empty() || hex && !value.strip_prefix('#').is_some_and(is_hex) {
        return None;
    }
    // The encoded form is not the value that it encodes: it is kept apart by a character that no value has.
    let mark = if hex { "\0" } else { "" };
    Some((mark.to_owned() + &folded(&value), end, rest))
}

/// A value without regard to case and runs of spaces.
pub(crate) fn folded(value: &str) -> String {
    value.to_lowercase().split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// A value as it stands in a name: everything that could mean something there is written by its number.
pub fn escaped(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for character in value.chars() {
        if character.is_ascii_alphanumeric() || "-_.@".contains(character) || !character.is_ascii() {
            out.push(character);
        } else {
            out.push_str(&format!("\\{:02x}", u32::from(character)));
        }
    }
    out
}

/// A name with a place for a user name: `uid={user},ou=people,dc=example`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameTemplate {
    before: String,
    behind: String,
    attribute: String,
}

/// What stands for the user name.
pub(crate) const USER: &str = "{user}";

impl NameTemplate {
    /// Reads a template.
    ///
    /// # Errors
    /// What is wrong with it, for people.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let Some((before, behind)) = text.split_once(USER) else { return Err("it has no {user}") };
        if behind.contains(USER) {
            return Err("it has {user} more than once");
        }
        let level = before.rsplit([',', '+']).next().unwrap_or_default();
        let Some((kind, begun)) = level.split_once('=') else {
            return Err("{user} stands where no value stands");
        };
        if begun.trim_start().starts_with('#') || begun.ends_with('\\') {
            return Err("{user} stands in something that is encoded");
        }
        let Some(attribute) = attribute(kind) else { return Err("it is not the name of an entry") };
        let own = Self { before: before.to_owned(), behind: behind.to_owned(), attribute };
        if Name::parse(&own.fill("a")).is_none() {
            return Err("it is not the name of an entry");
        }
        Ok(own)
    }

    /// The type of the value that the user name is, or is a part of.
    pub fn attribute(&self) -> &str {
        &self.attribute
    }

    /// The name of a user.
    pub fn fill(&self, user: &str) -> String {
        [&self.before, escaped(user).as_str(), &self.behind].concat()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn same(one: &str, other: &str) -> bool {
        let (one, other) = (Name::parse(one).expect(one), Name::parse(other).expect(other));
        one == other
    }

    #[test]
    fn names_are_the_same_by_what_they_mean() {
        assert!(same("CN=Operators, OU=Groups,DC=example", "cn=operators,ou=groups,dc=EXAMPLE"));
        assert!(same("cn=a\\2cb,dc=x", "cn=a\\,b,dc=x"));
        assert!(same("cn=a  b,dc=x", "cn= A B ,dc=x"));
        assert!(same("uid=a+cn=b,dc=x", "cn=b+uid=a,dc=x"));
        assert!(same("cn=\\c3\\bc", "cn=ü"));
        assert!(!same("cn=a\\,b,dc=x", "cn=a,b=b,dc=x"));
        assert!(!same("cn=a,dc=x", "cn=a,dc=x,dc=y"));
        assert!(!same("cn=#0401", "cn=\\#0401"));
        assert!(!same("cn=a+uid=b,dc=x", "cn=a,uid=b,dc=x"));
    }

    #[test]
    fn what_is_no_name_is_none() {
        for text in [
            "",
            "a",
            "=a",
            "cn=",
            "cn=a,",
            ",cn=a",
            "cn=a,b",
            "cn=\"a\"",
            "cn=a;dc=x",
            "cn=\\",
            "cn=\\zz",
            "cn=#0",
            "c n=a",
        ] {
            assert_eq!(Name::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_template_has_one_place_in_one_value() {
        let good = NameTemplate::parse("uid={user},ou=people,dc=example").unwrap();
        assert_eq!((good.attribute(), good.fill("a b").as_str()), ("uid", "uid=a\\20b,ou=people,dc=example"));
        assert_eq!(NameTemplate::parse("cn=dev-{user},dc=x").unwrap().fill("7"), "cn=dev-7,dc=x");
        for (text, what) in [
            ("uid=a,dc=x", "no {user}"),
            ("uid={user},cn={user}", "more than once"),
            ("{user}=a,dc=x", "no value"),
            ("uid=a,{user}", "no value"),
            ("{user}@example.com", "no value"),
            ("uid=#{user}0", "encoded"),
            ("uid=\\{user}", "encoded"),
            ("uid={user};x,dc=y", "not the name"),
        ] {
            assert!(NameTemplate::parse(text).unwrap_err().contains(what), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_value_changes_the_form_of_a_name(user in "\\PC{1,20}|[ ,+=\"\\\\<>;#*()\0a{}u]{1,12}") {
            let template = NameTemplate::parse("uid={user}+cn=x,ou=people,dc=example").unwrap();
            let Name(levels) = Name::parse(&template.fill(&user)).expect("a name");
            let Name(plain) = Name::parse(&template.fill("a")).expect("a name");
            prop_assert_eq!(&levels[1..], &plain[1..]);
            let mut expected = vec![("cn".to_owned(), "x".to_owned()), ("uid".to_owned(), folded(&user))];
            expected.sort();
            prop_assert_eq!(&levels[0], &expected);
        }

        #[test]
        fn any_text_is_a_name_or_none(text in "\\PC{0,40}|[a=,+\\\\# 0]{0,20}") {
            let _ = Name::parse(&text);
        }
    }
}
