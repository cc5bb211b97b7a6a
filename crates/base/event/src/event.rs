//! An event and its declaration, and the two forms in which it is written.

use std::fmt::Write as _;

use crate::text;

/// How much an event matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Normal life.
    Info,
    /// Worth a look when something is wrong.
    Notice,
    /// Something was refused or dropped.
    Warning,
    /// Something does not work.
    Error,
    /// The broker cannot keep a promise.
    Critical,
}

impl Severity {
    /// Its name, padded by the caller.
    pub fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Notice => "notice",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Critical => "critical",
        }
    }

    /// From its name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Info, Self::Notice, Self::Warning, Self::Error, Self::Critical]
            .into_iter()
            .find(|severity| severity.name() == name)
    }
}

/// A field of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FieldSpec {
    /// Its name.
    pub name: &'static str,
    /// What it holds.
    pub meaning: &'static str,
}

/// The declaration of an event.
#[derive(Debug, PartialEq, Eq)]
pub struct EventSpec {
    /// Stable identifier, `MOTTE-G-0001`.
    pub id: &'static str,
    /// Name, `gate.connect_refused`.
    pub name: &'static str,
    /// Severity.
    pub severity: Severity,
    /// Fields in the order they are written.
    pub fields: &'static [FieldSpec],
    /// What it says.
    pub meaning: &'static str,
    /// What to do.
    pub remedy: &'static str,
}

/// The value of a field. There is no way from a secret type to one of these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Text, escaped when written.
    Text(String),
    /// A number.
    Number(u64),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text::cut(text).to_owned())
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    spec: &'static EventSpec,
    values: Vec<Value>,
}

impl Event {
    /// Made by the constructors of the catalogue, which give a value for each field.
    pub(crate) fn new(spec: &'static EventSpec, values: Vec<Value>) -> Self {
        Self { spec, values }
    }

    /// Its declaration.
    pub fn spec(&self) -> &'static EventSpec {
        self.spec
    }

    /// Fields and values in order.
    pub fn fields(&self) -> impl Iterator<Item = (&'static str, &Value)> {
        self.spec.fields.iter().map(|field| field.name).zip(&self.values)
    }

    /// One line for people: severity, name, fields. Never more than one line, whatever the values hold.
    pub fn to_line(&self) -> String {
        let mut line = format!("{:<8} {}", self.spec.severity.name(), self.spec.name);
        for (name, value) in self.fields() {
            let _ = match value {
                Value::Text(value) => write!(line, " {name}={}", text::quoted(value)),
                Value::Number(value) => write!(line, " {name}={value}"),
            };
        }
        line
    }

    /// One JSON object; `time` is what the caller's clock says, in RFC 3339.
    pub fn to_json(&self, time: &str) -> String {
        let mut object = serde_json::Map::new();
        let mut put = |key: &str, value: serde_json::Value| object.insert(key.to_owned(), value);
        put("time", time.into());
        put("id", self.spec.id.into());
        put("event", self.spec.name.into());
        put("severity", self.spec.severity.name().into());
        let mut fields = serde_json::Map::new();
        for (name, value) in self.fields() {
            let value = match value {
                Value::Text(value) => text::escaped(value).into(),
                Value::Number(value) => (*value).into(),
            };
            fields.insert(name.to_owned(), value);
        }
        put("fields", serde_json::Value::Object(fields));
        serde_json::Value::Object(object).to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::gate;

    proptest! {
        #[test]
        fn no_text_makes_a_second_line_or_another_field(text in ".{0,400}") {
            let event = gate::connect_refused(&text, "10.0.0.1", "main", "0x87 Not authorized", "because");
            let line = event.to_line();
            prop_assert_eq!(line.lines().count(), 1);
            prop_assert!(!line.chars().any(char::is_control));
            prop_assert_eq!(line.matches(" address=").count() - text.matches(" address=").count().min(1), 1);
            let json: serde_json::Value = serde_json::from_str(&event.to_json("now")).unwrap();
            prop_assert_eq!(json["fields"].as_object().unwrap().len(), 5);
        }
    }
}
