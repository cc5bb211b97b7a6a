//! Files of credentials: password files, certificates, keys and revocation lists. Whatever they hold, they are read or
//! refused; a password file that is read is written as itself.

use motte_identity::PasswordFile;

/// Runs the bytes as each of the files.
///
/// # Panics
/// If the invariant does not hold.
pub fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    match PasswordFile::parse(&text) {
        Ok(passwords) => {
            let written = passwords.to_string();
            match PasswordFile::parse(&written) {
                Ok(again) => assert!(again.to_string() == written, "written as another file"),
                Err(error) => {
                    super::fail(format!("written as a bad file, line {}: {}", error.line, error.what))
                }
            }
        }
        Err(error) => {
            let lines = text.lines().count();
            assert!((1..=lines).contains(&error.line), "a place outside the file: {}", error.line);
        }
    }
    if let Ok(chain) = motte_pki::certificates(&text) {
        for certificate in &chain {
            if let Some(facts) = motte_pki::inspect(certificate) {
                let _ = (facts.covers("localhost"), facts.days_left(0));
            }
            let _ = (motte_pki::serial_number(certificate), motte_identity::facts(certificate));
        }
    }
    let _ = (motte_pki::private_key(&text, None), motte_pki::revocation_list(&text));
    // The DER below PEM, where the interesting faults are.
    let _ =
        (motte_pki::inspect(data), motte_pki::inspect_revocation_list(data), motte_pki::serial_number(data));
    let _ = motte_identity::facts(data);
}
