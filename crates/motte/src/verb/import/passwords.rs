//! A mosquitto `password_file`: hashes are taken and put under Argon2id; passwords stay as they are.

use std::fmt::Write as _;

use motte_identity::PasswordFile;

use crate::accounts::strengthen;
use crate::verb::import::report::{About, Report};

/// Identities and their hashes.
#[derive(Debug, Default)]
pub(super) struct Passwords {
    entries: Vec<(String, String)>,
}

impl Passwords {
    /// Reads a file's text on top of what is there.
    pub(super) fn read(&mut self, text: &str, file: &str, report: &mut Report) -> Vec<String> {
        let mut names = Vec::new();
        for (at, line) in
            text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'))
        {
            let place = format!("{file}:{}", at + 1);
            let Some((name, hash)) = line.trim_end().split_once(':') else {
                report.add(About::NotTaken, &place, "a line without `:` between user name and hash");
                continue;
            };
            if !(hash.starts_with("$6$") || hash.starts_with("$7$")) {
                report.add(About::Insecure, &place, format!("the password of `{name}` is not hashed"));
                report.add(About::ToDo, &place, format!("give `{name}` a new password: `motte user passwd`"));
                continue;
            }
            if hash.starts_with("$6$") {
                let what = "a salted SHA-512 ($6$), which is guessed a billion times a second; here it is put under Argon2id. Who has a copy of the old file guesses on: set these passwords anew with `motte user passwd`";
                report.add(About::Insecure, file, what);
            }
            match self.entries.iter().find(|(one, _)| one == name) {
                Some((_, known)) if known != hash => {
                    let what = format!(
                        "`{name}` has another password here than in another file; the first is taken"
                    );
                    report.add(About::NotTaken, &place, what);
                    continue;
                }
                Some(_) => {}
                None => self.entries.push((name.to_owned(), hash.to_owned())),
            }
            names.push(name.to_owned());
        }
        names
    }

    /// The password file, with its name. Where a build cannot verify these hashes it is written aside.
    pub(super) fn written(&self, report: &mut Report) -> (&'static str, String) {
        let text = self.entries.iter().fold(String::new(), |mut text, (name, hash)| {
            let _ = writeln!(text, "{name}:{hash}");
            text
        });
        match PasswordFile::parse(&text).map(|mut file| (strengthen(&mut file, |_| true), file)) {
            Ok((Ok(_), file)) => return ("passwords", file.to_string()),
            // Without memory for Argon2id they are taken as they are.
            Ok((Err(_), _)) => return ("passwords", text),
            Err(error) => report.add(About::ToDo, "", error.to_string()),
        }
        let what = "passwords.mosquitto holds what this build cannot verify; give these identities new passwords with `motte passwd set`";
        report.add(About::ToDo, "", what);
        ("passwords.mosquitto", text)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_taken_and_plain_passwords_are_not() {
        let (mut passwords, mut report) = (Passwords::default(), Report::default());
        let names = passwords.read(
            "# a\na:$7$101$c2FsdA==$aGFzaA==\nb:$6$c2FsdA==$aGFzaA==\nc:open\nd\n",
            "pw",
            &mut report,
        );
        assert_eq!(names, ["a", "b"]);
        let (_, text) = passwords.written(&mut report);
        assert_eq!(text, "a:$7$101$c2FsdA==$aGFzaA==\nb:$6$c2FsdA==$aGFzaA==\n");
        let report = report.to_string();
        for part in ["pw:4: the password of `c` is not hashed", "pw:5: a line without", "salted SHA-512"] {
            assert!(report.contains(part), "{part}: {report}");
        }
        assert!(!report.contains("open"), "{report}");
    }
}
