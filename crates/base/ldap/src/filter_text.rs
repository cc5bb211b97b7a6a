//! Filters as people write them (RFC 4515), with `{user}` and `{dn}` in values.

use crate::filter::{Comparison, Filter, Node, Piece, Value};
use crate::name::{USER, attribute};

/// Longest filter, in bytes.
const BYTES_MAX: usize = 4_096;
/// How deep parentheses may stand in each other.
const DEPTH_MAX: u8 = 16;
/// What stands for the name of the user's entry.
const ENTRY: &str = "{dn}";

/// What is wrong with a filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what} at byte {at}")]
pub struct FilterFault {
    /// For people.
    pub what: &'static str,
    /// Where, in bytes from its beginning.
    pub at: usize,
}

impl Filter {
    /// Reads a filter.
    ///
    /// # Errors
    /// [`FilterFault`].
    pub fn parse(text: &str) -> Result<Self, FilterFault> {
        if text.len() > BYTES_MAX {
            return Err(FilterFault { what: "it is longer than 4096 bytes", at: BYTES_MAX });
        }
        let mut reader = Reader { text, at: 0 };
        let node = reader.node(0)?;
        if reader.at == text.len() { Ok(Self(node)) } else { Err(reader.fault("it goes on behind its end")) }
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn fault(&self, what: &'static str) -> FilterFault {
        FilterFault { what, at: self.at }
    }

    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn take(&mut self, wanted: &str) -> bool {
        let is_there = self.rest().starts_with(wanted);
        if is_there {
            self.at += wanted.len();
        }
        is_there
    }

    fn node(&mut self, depth: u8) -> Result<Node, FilterFault> {
        if depth >= DEPTH_MAX {
            return Err(self.fault("parentheses stand too deep in each other"));
        }
        if !self.take("(") {
            return Err(self.fault("a parenthesis is missing"));
        }
        let node = if self.take("&") {
            Node::And(self.nodes(depth)?)
        } else if self.take("|") {
            Node::Or(self.nodes(depth)?)
        } else if self.take("!") {
            Node::Not(Box::new(self.node(depth + 1)?))
        } else {
            self.item()?
        };
        if self.take(")") { Ok(node) } else { Err(self.fault("a parenthesis is missing")) }
    }

    fn nodes(&mut self, depth: u8) -> Result<Vec<Node>, FilterFault> {
        let mut nodes = Vec::new();
        while self.rest().starts_with('(') {
            nodes.push(self.node(depth + 1)?);
        }
        if nodes.is_empty() { Err(self.fault("nothing is combined")) } else { Ok(nodes) }
    }

    fn item(&mut self) -> Result<Node, FilterFault> {
        let Some(length) = self.rest().find(['=', '~', '<', '>', ':', '(', ')', '*']) else {
            return Err(self.fault("an operator is missing"));
        };
        let written = self.rest().get(..length).unwrap_or_default().to_owned();
        if self.rest().get(length..).is_some_and(|rest| rest.starts_with(':')) {
            return self.extensible(&written);
        }
        let Some(attribute) = described(&written) else {
            return Err(self.fault("an attribute is missing"));
        };
        self.at += length;
        let unequal = [
            ("~=", Comparison::Approximate),
            (">=", Comparison::GreaterOrEqual),
            ("<=", Comparison::LessOrEqual),
        ];
        for (operator, comparison) in unequal {
            if self.take(operator) {
                return Ok(Node::Compare(attribute, comparison, self.value()?));
            }
        }
        if !self.take("=") {
            return Err(self.fault("an operator is missing"));
        }
        let mut parts = vec![self.value()?];
        while self.take("*") {
            parts.push(self.value()?);
        }
        let last = parts.pop().unwrap_or_default();
        if parts.is_empty() {
            return Ok(Node::Compare(attribute, Comparison::Equal, last));
        }
        let initial = parts.remove(0);
        if parts.is_empty() && initial.is_empty() && last.is_empty() {
            return Ok(Node::Present(attribute));
        }
        if parts.iter().any(Vec::is_empty) {
            return Err(self.fault("two asterisks with nothing in between"));
        }
        let some = |value: Value| (!value.is_empty()).then_some(value);
        Ok(Node::Substrings { attribute, initial: some(initial), any: parts, last: some(last) })
    }

    /// `attribute:dn:rule:=value`, all but one of attribute and rule left out or not.
    fn extensible(&mut self, written: &str) -> Result<Node, FilterFault> {
        let attribute = if written.is_empty() { None } else { described(written) };
        if attribute.is_none() && !written.is_empty() {
            return Err(self.fault("an attribute is missing"));
        }
        self.at += written.len();
        let of_name = self.take(":dn");
        let mut rule = None;
        if !self.take(":=") {
            if !self.take(":") {
                return Err(self.fault("an operator is missing"));
            }
            let length = self.rest().find(":=").unwrap_or(0);
            rule = described(self.rest().get(..length).unwrap_or_default());
            if rule.is_none() {
                return Err(self.fault("a matching rule is missing"));
            }
            self.at += length + 2;
        }
        if attribute.is_none() && rule.is_none() {
            return Err(self.fault("an attribute or a matching rule is missing"));
        }
        Ok(Node::Extensible { rule, attribute, value: self.value()?, of_name })
    }

    /// A value up to an asterisk, a parenthesis or the end.
    fn value(&mut self) -> Result<Value, FilterFault> {
        let (mut value, mut bytes) = (Vec::new(), Vec::new());
        loop {
            let placeholder = if self.take(USER) {
                Some(Piece::User)
            } else if self.take(ENTRY) {
                Some(Piece::Entry)
            } else {
                None
            };
            if let Some(piece) = placeholder {
                if !bytes.is_empty() {
                    value.push(Piece::Text(std::mem::take(&mut bytes)));
                }
                value.push(piece);
                continue;
            }
            match self.rest().chars().next() {
                None | Some(')' | '*') => break,
                Some('(' | '\0') => return Err(self.fault("a character that must be written by its number")),
                Some('{') => return Err(self.fault("a placeholder that is none; there are {user} and {dn}")),
                Some('\\') => {
                    let digits =
                        self.rest().get(1..3).filter(|two| two.bytes().all(|one| one.is_ascii_hexdigit()));
                    let Some(byte) = digits.and_then(|two| u8::from_str_radix(two, 16).ok()) else {
                        return Err(self.fault("a backslash without two digits behind it"));
                    };
                    bytes.push(byte);
                    self.at += 3;
                }
                Some(character) => {
                    bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                    self.at += character.len_utf8();
                }
            }
        }
        if !bytes.is_empty() {
            value.push(Piece::Text(bytes));
        }
        Ok(value)
    }
}

/// An attribute with options, or a matching rule, as it was written.
fn described(text: &str) -> Option<String> {
    let mut parts = text.split(';');
    let begins = parts.next().and_then(attribute).is_some();
    let options = parts
        .all(|one| !one.is_empty() && one.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'));
    (begins && options && !text.contains(' ')).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::filter::Values;

    fn encoded(text: &str, user: &str) -> Vec<u8> {
        let values = Values { user, entry: "uid=u,dc=x" };
        Filter::parse(text).unwrap_or_else(|fault| panic!("{text}: {fault}")).encode(values)
    }

    #[test]
    fn filters_have_the_bytes_of_the_standard() {
        for (text, expected) in [
            ("(uid={user})", &b"\xa3\x0b\x04\x03uid\x04\x04a*b("[..]),
            ("(cn=a\\2a)", b"\xa3\x08\x04\x02cn\x04\x02a*"),
            ("(objectClass=*)", b"\x87\x0bobjectClass"),
            ("(!(a=b))", b"\xa2\x08\xa3\x06\x04\x01a\x04\x01b"),
            ("(&(a=b)(|(c>=d)(e<=f)(g~=h)))", b"\xa0\x22\xa3\x06\x04\x01a\x04\x01b\xa1\x18\xa5\x06\x04\x01c\x04\x01d\xa6\x06\x04\x01e\x04\x01f\xa8\x06\x04\x01g\x04\x01h"),
            ("(a=x*y*z)", b"\xa4\x0e\x04\x01a\x30\x09\x80\x01x\x81\x01y\x82\x01z"),
            ("(m:1.2.3:={dn})", b"\xa9\x16\x81\x051.2.3\x82\x01m\x83\x0auid=u,dc=x"),
            ("(o:dn:=x)", b"\xa9\x09\x82\x01o\x83\x01x\x84\x01\xff"),
        ] {
            assert_eq!(encoded(text, "a*b("), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_filter_is_refused_with_its_place() {
        for (text, what, at) in [
            ("", "parenthesis", 0),
            ("uid={user}", "parenthesis", 0),
            ("(uid={user}", "parenthesis", 11),
            ("(uid={user}))", "behind its end", 12),
            ("(uid={usr})", "placeholder", 5),
            ("(uid=a(b)", "by its number", 6),
            ("(uid=\\4)", "backslash", 5),
            ("(&)", "nothing", 2),
            ("(=a)", "attribute", 1),
            ("(a b=c)", "attribute", 1),
            ("(uid)", "operator", 4),
            ("(a=b**c)", "asterisks", 7),
            ("(:=x)", "matching rule", 3),
        ] {
            let fault = Filter::parse(text).unwrap_err();
            assert!(fault.what.contains(what) && fault.at == at, "{text}: {fault}");
        }
        assert!(Filter::parse(&("(!".repeat(17) + "(a=b)" + &")".repeat(17))).is_err());
    }

    #[test]
    fn a_filter_says_what_it_asks_for() {
        let filter = Filter::parse("(&(objectClass=person)(uid={user}))").unwrap();
        assert_eq!(
            (filter.has_user(), filter.has_entry(), filter.user_attribute()),
            (true, false, Some("uid"))
        );
        let filter = Filter::parse("(|(uid={user})(mail={user}))").unwrap();
        assert_eq!((filter.has_user(), filter.user_attribute()), (true, None));
        assert!(Filter::parse("(member={dn})").unwrap().has_entry());
    }

    proptest! {
        #[test]
        fn no_value_changes_the_form_of_a_filter(user in "\\PC{1,40}|[*()\\\\|&!=\0a{}usern]{1,20}") {
            let text = "(&(objectClass=person)(|(uid={user})(mail={user}@*)))";
            // The same filter with the value written by its numbers is the same bytes: nothing of it was taken for form.
            let numbers: String = user.bytes().map(|byte| format!("\\{byte:02x}")).collect();
            prop_assert_eq!(encoded(text, &user), encoded(&text.replace(USER, &numbers), ""));
        }

        #[test]
        fn any_text_is_a_filter_or_a_fault_within_it(text in "\\PC{0,40}|[(&|!a=*:)\\\\{}user]{0,24}") {
            if let Err(fault) = Filter::parse(&text) {
                prop_assert!(fault.at <= text.len());
            }
        }
    }
}
