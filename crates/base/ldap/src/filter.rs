//! Filters of a search (RFC 4511, 4.5.1.7), with places for a user name and the name of an entry. A value is put into a
//! filter that was read before: it can match or not, and never be a part of the filter's form.

use asn1_rs::{Class, Tag};

use crate::ber::{put, put_octets};

/// A piece of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    Text(Vec<u8>),
    /// The user name.
    User,
    /// The name of the user's entry.
    Entry,
}

/// A value that is known when the filter is used.
pub(crate) type Value = Vec<Piece>;

/// A filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter(pub(crate) Node);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Node {
    And(Vec<Node>),
    Or(Vec<Node>),
    Not(Box<Node>),
    /// Attribute, operator and value.
    Compare(String, Comparison, Value),
    Substrings {
        attribute: String,
        initial: Option<Value>,
        any: Vec<Value>,
        last: Option<Value>,
    },
    Present(String),
    Extensible {
        rule: Option<String>,
        attribute: Option<String>,
        value: Value,
        of_name: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comparison {
    Equal = 3,
    GreaterOrEqual = 5,
    LessOrEqual = 6,
    Approximate = 8,
}

/// What a filter is filled with.
#[derive(Debug, Clone, Copy)]
pub struct Values<'a> {
    /// The user name.
    pub user: &'a str,
    /// The name of the user's entry.
    pub entry: &'a str,
}

impl Values<'_> {
    pub(crate) fn fill(self, value: &[Piece]) -> Vec<u8> {
        let bytes = value.iter().map(|piece| match piece {
            Piece::Text(bytes) => bytes.as_slice(),
            Piece::User => self.user.as_bytes(),
            Piece::Entry => self.entry.as_bytes(),
        });
        bytes.collect::<Vec<_>>().concat()
    }
}

impl Filter {
    /// The filter in bytes, as a search sends it.
    pub fn encode(&self, values: Values<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        self.0.encode(values, &mut out);
        out
    }

    /// Whether the user name stands in it.
    pub fn has_user(&self) -> bool {
        self.0.has(&Piece::User)
    }

    /// Whether the name of an entry stands in it.
    pub fn has_entry(&self) -> bool {
        self.0.has(&Piece::Entry)
    }

    /// The attribute that is compared with the user name alone, where there is one.
    pub fn user_attribute(&self) -> Option<&str> {
        self.0.user_attribute()
    }
}

impl Node {
    fn encode(&self, values: Values<'_>, out: &mut Vec<u8>) {
        let own = |out: &mut Vec<u8>, constructed, tag, content: &[u8]| {
            put(out, Class::ContextSpecific, constructed, tag, content);
        };
        let mut content = Vec::new();
        match self {
            Self::And(nodes) | Self::Or(nodes) => {
                for node in nodes {
                    node.encode(values, &mut content);
                }
                own(out, true, u32::from(matches!(self, Self::Or(_))), &content);
            }
            Self::Not(node) => {
                node.encode(values, &mut content);
                own(out, true, 2, &content);
            }
            Self::Compare(attribute, comparison, value) => {
                put_octets(&mut content, attribute.as_bytes());
                put_octets(&mut content, &values.fill(value));
                own(out, true, *comparison as u32, &content);
            }
            Self::Substrings { attribute, initial, any, last } => {
                let mut parts = Vec::new();
                let initial = initial.iter().map(|value| (0, value));
                let last = last.iter().map(|value| (2, value));
                for (tag, value) in initial.chain(any.iter().map(|value| (1, value))).chain(last) {
                    own(&mut parts, false, tag, &values.fill(value));
                }
                put_octets(&mut content, attribute.as_bytes());
                put(&mut content, Class::Universal, true, Tag::Sequence.0, &parts);
                own(out, true, 4, &content);
            }
            Self::Present(attribute) => own(out, false, 7, attribute.as_bytes()),
            Self::Extensible { rule, attribute, value, of_name } => {
                if let Some(rule) = rule {
                    own(&mut content, false, 1, rule.as_bytes());
                }
                if let Some(attribute) = attribute {
                    own(&mut content, false, 2, attribute.as_bytes());
                }
                own(&mut content, false, 3, &values.fill(value));
                if *of_name {
                    own(&mut content, false, 4, &[0xff]);
                }
                own(out, true, 9, &content);
            }
        }
    }

    fn has(&self, piece: &Piece) -> bool {
        match self {
            Self::And(nodes) | Self::Or(nodes) => nodes.iter().any(|node| node.has(piece)),
            Self::Not(node) => node.has(piece),
            Self::Compare(_, _, value) | Self::Extensible { value, .. } => value.contains(piece),
            Self::Substrings { initial, any, last, .. } => {
                initial.iter().chain(any).chain(last).any(|value| value.contains(piece))
            }
            Self::Present(_) => false,
        }
    }

    fn user_attribute(&self) -> Option<&str> {
        match self {
            Self::And(nodes) => nodes.iter().find_map(Self::user_attribute),
            Self::Compare(attribute, Comparison::Equal, value) if value == &[Piece::User] => Some(attribute),
            Self::Or(_)
            | Self::Not(_)
            | Self::Compare(..)
            | Self::Substrings { .. }
            | Self::Present(_)
            | Self::Extensible { .. } => None,
        }
    }
}
