//! Files as they are written by hand and by the tool.

use motte_seal::{HashParameters, PasswordHash, SiteKey, StoredHash};
use proptest::prelude::*;

use super::*;
use crate::account::{Closed, EXPOSED_MAX, FORMER_MAX, Origin, ReuseMark};

const CHEAP: HashParameters = HashParameters { memory_kib: 64, passes: 1, lanes: 1 };

fn argon2id(password: &[u8]) -> StoredHash {
    PasswordHash::create(password, CHEAP).unwrap().into()
}

#[test]
fn one_bad_line_refuses_a_whole_file_of_version_1() {
    let hash = PasswordHash::create(b"x", CHEAP).unwrap();
    let good = format!("# note\n\ndev-1:{hash}\n");
    let read = PasswordFile::parse(&good).unwrap();
    assert!(read.is_old() && read.hash("dev-1").unwrap().verify(b"x", None));
    for bad in ["dev-2", "dev-2:", "dev-2:plain", ":x", "a+b:x"] {
        let error = PasswordFile::parse(&format!("{good}{bad}\n")).unwrap_err();
        assert_eq!(error.line, 4, "{bad}");
    }
    assert!(PasswordFile::parse(&format!("{good}{good}")).unwrap_err().what.contains("twice"));
    assert!(!PasswordFile::parse(&read.to_string()).unwrap().is_old(), "it is written in version 2");
}

#[test]
fn one_bad_line_refuses_a_whole_file_of_version_2() {
    let hash = argon2id(b"x");
    let good = format!("motte-credentials 2\nidentity dev 1\n  password {hash} origin=person created=7\n");
    let read = PasswordFile::parse(&good).unwrap();
    assert_eq!(read.account("dev 1").unwrap().passwords[0].created_s, 7);
    for (bad, told) in [
        ("identity dev 1", "twice"),
        ("identity a+b", "not permitted"),
        ("identity", "not permitted"),
        ("identity dev-2", "no password"),
        ("nonsense", "not known"),
        ("disabled yes", "not known"),
        ("created soon", "not a number"),
        ("exposed 12", "hexadecimal"),
        ("key AAAA", "not known"),
        ("former plain", "not a hash"),
        ("totp AAAA since=1", "base32"),
        ("totp GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ", "since="),
        (&format!("recovery {hash}"), "no keyed hash"),
        (&format!("password {hash}"), "no origin"),
        (&format!("password {hash} origin=nobody"), "not known"),
        (&format!("password {hash} origin=person x=y"), "not known"),
        (&format!("password {hash} origin=person\npassword {hash} origin=person"), "more"),
        ("password $keyed$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA origin=generated", "no key"),
    ] {
        let error = PasswordFile::parse(&format!("{good}  {bad}\n")).unwrap_err();
        assert!(error.what.contains(told), "{bad}: {error}");
        assert!(error.line >= 4 && !error.remedy.is_empty(), "{bad}: {error}");
    }
    let newer = good.replace("credentials 2", "credentials 3");
    assert_eq!(PasswordFile::parse(&newer).unwrap_err().line, 1);
}

#[test]
fn everything_of_an_account_survives_its_text_form() {
    let mut file = PasswordFile::default();
    let key = file.key_or_new().unwrap().clone();
    let mut account = Account { created_s: 1, expires_s: Some(99), disabled: true, ..Account::default() };
    for n in 0..FORMER_MAX + 2 {
        account.set(Password::new(argon2id(&[u8::try_from(n).unwrap()]), Origin::Person, 2));
    }
    account.expose();
    account.set(Password::new(StoredHash::Keyed(key.keyed(b"made")), Origin::Generated, 3));
    let mut next = Password::new(argon2id(b"next"), Origin::Imported, 4);
    next.mark = Some(ReuseMark { key: 5, mark: 6 });
    account.rotate(next, 50);
    account.second = Some(crate::second_factor::SecondFactor::generate(&key, 8).unwrap().0);
    assert!(file.insert("dev-1", account));
    assert_eq!(PasswordFile::parse(&file.to_string()).unwrap(), file);
    assert_eq!(file.key().map(SiteKey::id), Some(key.id()));
}

#[test]
fn an_exposed_account_is_closed_until_it_has_another_password() {
    let mut account = Account::from(PasswordHash::create(b"old", CHEAP).unwrap());
    let old = account.passwords[0].hash.fingerprint();
    account.expose();
    assert_eq!(account.open(0), Err(Closed::Exposed));
    assert_eq!(account.exposed, [old]);
    assert!(account.knows(b"old", FORMER_MAX, None) && !account.knows(b"new", FORMER_MAX, None));
    account.set(Password::new(argon2id(b"new"), Origin::Person, 0));
    assert_eq!(account.open(0), Ok(()));
    for _ in 0..=EXPOSED_MAX {
        account.set(Password::new(argon2id(b"again"), Origin::Person, 0));
        account.expose();
    }
    assert_eq!(account.exposed.len(), EXPOSED_MAX);
}

#[test]
fn the_old_password_of_a_rotation_ends() {
    let mut account = Account::from(PasswordHash::create(b"old", CHEAP).unwrap());
    account.rotate(Password::new(argon2id(b"new"), Origin::Person, 10), 20);
    assert!(account.passwords.iter().all(|password| password.is_current(19, None)));
    assert!(!account.passwords[1].is_current(20, None));
    account.rotate(Password::new(argon2id(b"newer"), Origin::Person, 15), 90);
    assert_eq!((account.passwords.len(), account.former.len()), (2, 1));
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

    #[test]
    fn lines_in_any_order_are_read_or_refused_with_their_place(
        lines in prop::collection::vec(prop_oneof![
            Just("identity a".to_owned()), Just("identity b".to_owned()), Just("  disabled".to_owned()),
            Just("  created 5".to_owned()), Just("  expires 6".to_owned()),
            Just("  exposed 00000000000000ff".to_owned()), Just("# note".to_owned()), Just(String::new()),
            Just(format!("  password {} origin=person", PasswordHash::decoy())),
            Just(format!("  former {}", PasswordHash::decoy())), "[a-z$= ]{0,20}",
        ], 0..12),
    ) {
        let text = format!("{HEADER}\n{}\n", lines.join("\n"));
        match PasswordFile::parse(&text) {
            Ok(file) => prop_assert_eq!(PasswordFile::parse(&file.to_string()).unwrap(), file),
            Err(error) => prop_assert!((2..=lines.len() + 1).contains(&error.line), "{}", error),
        }
    }
}

#[test]
fn weaker_hashes_are_put_under_argon2id_and_what_was_exposed_stays_exposed() {
    let [low, high] = [64, 128].map(|memory_kib| HashParameters { memory_kib, passes: 1, lanes: 1 });
    let hash = |password: &[u8]| StoredHash::from(PasswordHash::create(password, low).unwrap());
    let mut account = Account::default();
    for password in [b"first".as_slice(), b"second", b"third"] {
        account.set(Password::new(hash(password), Origin::Person, 1));
    }
    account.expose();
    account.set(Password::new(hash(b"fourth"), Origin::Person, 1));
    assert_eq!(account.strengthen(high).unwrap(), 4);
    assert_eq!(account.strengthen(high).unwrap(), 0);
    assert!(account.passwords[0].hash.verify(b"fourth", None));
    assert!(account.knows(b"third", 0, None), "it was exposed and may not come again");
    assert!(!account.knows(b"second", 0, None) && account.knows(b"second", 2, None));
    account.rotate(Password::new(hash(b"fifth"), Origin::Person, 1), 9);
    let new = account.passwords[0].hash.clone();
    assert_eq!(account.strengthen(high).unwrap(), 0);
    assert_eq!(account.passwords[0].hash, new, "the new password of a rotation is left");
    let mut file = PasswordFile::default();
    assert!(file.insert("a", account));
    assert_eq!(PasswordFile::parse(&file.to_string()).unwrap(), file);
}
