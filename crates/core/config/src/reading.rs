//! From text to what is written: every fault that the TOML reader can find is found, not only the first; and where each
//! path is named is kept, so that a file that cannot be read is reported with its place.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue, Deserializer};

use crate::error::{Faults, line_and_column};

/// Faults after which reading stops: a file with more is something else than a configuration.
const FAULTS_MAX: usize = 20;

/// Keys whose values are paths of files that must be there.
const PATH_KEYS: [&str; 18] = [
    "bind_password_file",
    "ca",
    "chain",
    "key",
    "client_ca",
    "crl",
    "files",
    "headers_file",
    "list",
    "password_file",
    "passphrase_file",
    "state_dir",
    "file",
    "pin_file",
    "certificate_pins",
    "jwks_file",
    "keys_file",
    "revoked_file",
];

/// Reads `text`, noting what cannot be taken: an entry with a fault is left out and reading goes on, so that each further
/// fault is found as well. `None` when there is any fault.
pub(crate) fn read<T: DeserializeOwned>(text: &str, faults: &mut Faults<'_>) -> Option<T> {
    let (mut table, errors) = DeTable::parse_recoverable(text);
    for error in errors.iter().take(FAULTS_MAX) {
        faults.add_syntax(error);
    }
    if !errors.is_empty() {
        return None;
    }
    for _ in 0..FAULTS_MAX {
        match T::deserialize(Deserializer::from(table.clone())) {
            Ok(written) => return faults.is_empty().then_some(written),
            Err(error) => {
                faults.add_syntax(&error);
                let left_out = error.span().is_some_and(|at| leave_out(table.get_mut(), &at));
                if !left_out {
                    return None;
                }
            }
        }
    }
    None
}

/// Removes the entry or element that begins and ends where the fault does; whether there was one.
fn leave_out(table: &mut DeTable<'_>, at: &std::ops::Range<usize>) -> bool {
    let before = table.len();
    let all = std::mem::replace(table, DeTable::new());
    *table = all.into_iter().filter(|(key, value)| key.span() != *at && value.span() != *at).collect();
    if table.len() < before {
        return true;
    }
    table.iter_mut().any(|(_, value)| leave_out_of(value.get_mut(), at))
}

fn leave_out_of(value: &mut DeValue<'_>, at: &std::ops::Range<usize>) -> bool {
    match value {
        DeValue::Table(table) => leave_out(table, at),
        DeValue::Array(array) => {
            let before = array.len();
            let all: Vec<_> = std::mem::replace(array, DeArray::new()).into_iter().collect();
            *array = all.into_iter().filter(|element| element.span() != *at).collect();
            array.len() < before || array.iter_mut().any(|element| leave_out_of(element.get_mut(), at))
        }
        _ => false,
    }
}

/// Where a configuration names its files. Two are equal whatever they hold: where something stands is not what it means.
#[derive(Debug, Clone, Default)]
pub struct Places(Vec<(PathBuf, String)>);

impl PartialEq for Places {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Places {
    /// The places of all paths in a text that was read without fault.
    pub(crate) fn of(text: &str, file: &str) -> Self {
        let mut places = Self::default();
        let (table, _) = DeTable::parse_recoverable(text);
        places.walk(table.get_ref(), text, file);
        places
    }

    /// Where this path is named, as `file:line:column`.
    pub fn of_path(&self, path: &Path) -> Option<&str> {
        self.0.iter().find(|(named, _)| named == path).map(|(_, place)| place.as_str())
    }

    /// Calls `each` with every path.
    pub(crate) fn for_each_path(&mut self, each: impl FnMut(&mut PathBuf)) {
        self.0.iter_mut().map(|(path, _)| path).for_each(each);
    }

    fn walk(&mut self, table: &DeTable<'_>, text: &str, file: &str) {
        for (key, value) in table {
            let is_path = PATH_KEYS.contains(&key.get_ref().as_ref());
            self.value(is_path, value, text, file);
        }
    }

    fn value(&mut self, is_path: bool, value: &Spanned<DeValue<'_>>, text: &str, file: &str) {
        match value.get_ref() {
            DeValue::String(path) if is_path => {
                let (line, column) = line_and_column(text, value.span().start);
                self.0.push((PathBuf::from(path.as_ref()), format!("{file}:{line}:{column}")));
            }
            DeValue::Array(array) => {
                for element in array {
                    self.value(is_path, element, text, file);
                }
            }
            DeValue::Table(table) => self.walk(table, text, file),
            _ => {}
        }
    }
}
