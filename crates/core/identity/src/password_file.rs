//! The password file: one line for each identity, `identity:hash`. A fault anywhere refuses the whole file, so that a bad
//! line can never become a user without a password.

use std::collections::BTreeMap;

use motte_seal::PasswordHash;

use crate::certificate::is_name;

/// Identities and their password hashes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PasswordFile {
    entries: BTreeMap<String, PasswordHash>,
}

/// A fault in a password file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}; {remedy}")]
pub struct PasswordFileError {
    /// Line, from 1.
    pub line: usize,
    /// What is wrong. Never holds the hash.
    pub what: String,
    /// What to do.
    pub remedy: &'static str,
}

impl PasswordFile {
    /// Reads a file's text. Empty lines and lines that begin with `#` are skipped.
    ///
    /// # Errors
    /// The first fault.
    pub fn parse(text: &str) -> Result<Self, PasswordFileError> {
        let mut entries = BTreeMap::new();
        for (index, line) in text.lines().enumerate() {
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            let fault = |what: String, remedy| PasswordFileError { line: index + 1, what, remedy };
            let Some((identity, hash)) = line.split_once(':') else {
                return Err(fault(
                    "no `:` between identity and hash".into(),
                    "write the line with `motte passwd set`",
                ));
            };
            if !is_name(identity) {
                let remedy = "use a name without `+`, `#` and control characters";
                return Err(fault("the identity is empty or not permitted".into(), remedy));
            }
            let hash = PasswordHash::parse(hash).map_err(|error| {
                fault(format!("`{identity}` has {error}"), "write the line with `motte passwd set`")
            })?;
            if entries.insert(identity.to_owned(), hash).is_some() {
                return Err(fault(format!("`{identity}` stands twice"), "remove one of the lines"));
            }
        }
        Ok(Self { entries })
    }

    /// The hash of an identity.
    pub fn hash(&self, identity: &str) -> Option<&PasswordHash> {
        self.entries.get(identity)
    }

    /// Sets an identity's hash. `false`: the name is not permitted.
    pub fn set(&mut self, identity: &str, hash: PasswordHash) -> bool {
        let permitted = is_name(identity) && !identity.contains(':') && !identity.starts_with('#');
        if permitted {
            self.entries.insert(identity.to_owned(), hash);
        }
        permitted
    }

    /// Removes an identity. `false`: it was not there.
    pub fn remove(&mut self, identity: &str) -> bool {
        self.entries.remove(identity).is_some()
    }

    /// The identities.
    pub fn identities(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }
}

impl std::fmt::Display for PasswordFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "# Identities and Argon2id hashes; changed with `motte passwd`, read anew on reload.")?;
        for (identity, hash) in &self.entries {
            writeln!(f, "{identity}:{hash}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use motte_seal::HashParameters;
    use proptest::prelude::*;

    use super::*;

    const CHEAP: HashParameters = HashParameters { memory_kib: 64, passes: 1, lanes: 1 };

    #[test]
    fn one_bad_line_refuses_the_whole_file() {
        let hash = PasswordHash::create(b"x", CHEAP).unwrap();
        let good = format!("# note\n\ndev-1:{hash}\n");
        assert!(PasswordFile::parse(&good).unwrap().hash("dev-1").unwrap().verify(b"x"));
        for bad in ["dev-2", "dev-2:", "dev-2:plain", ":x", "a+b:x"] {
            let error = PasswordFile::parse(&format!("{good}{bad}\n")).unwrap_err();
            assert_eq!(error.line, 4, "{bad}");
        }
        assert!(PasswordFile::parse(&format!("{good}{good}")).unwrap_err().what.contains("twice"));
    }

    proptest! {
        #[test]
        fn no_text_panics_and_what_is_written_reads_back(text in ".{0,200}", name in "[a-z:#+ ]{0,12}") {
            let _ = PasswordFile::parse(&text);
            let mut file = PasswordFile::default();
            let set = file.set(&name, PasswordHash::decoy());
            let again = PasswordFile::parse(&file.to_string()).unwrap();
            prop_assert_eq!(again.hash(&name).is_some(), set);
        }
    }
}
