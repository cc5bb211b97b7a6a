//! Exchanges from beginning to end, with a client made of the standard's own words.

use aws_lc_rs::{digest, hmac, pbkdf2};
use motte_access::{CertificateFacts, Security};
use motte_seal::{HashParameters, PasswordHash};
use proptest::prelude::*;

use super::*;
use crate::account::{Origin, Password};

const FEW: u32 = ScramKeys::ITERATIONS_MIN;

fn account(password: &str) -> Account {
    let hash = StoredHash::Scram(ScramKeys::create(password, FEW).unwrap());
    Account { passwords: vec![Password::new(hash, Origin::Person, 1)], ..Account::default() }
}

fn file() -> PasswordFile {
    let mut file = PasswordFile::default();
    file.key_or_new().unwrap();
    assert!(file.insert("user", account("pencil")));
    let cheap = HashParameters { memory_kib: 64, passes: 1, lanes: 1 };
    assert!(file.set("plain", PasswordHash::create(b"pencil", cheap).unwrap()));
    file
}

fn authenticator(file: PasswordFile) -> Authenticator {
    Authenticator::new(Arc::new(file), Arc::new(Learned::nothing(0)))
}

fn credentials(user_name: Option<&str>, cn: Option<&str>) -> Credentials {
    let certificate = cn.map(|cn| CertificateFacts { cn: Some(cn.into()), ..CertificateFacts::default() });
    Credentials {
        user_name: user_name.map(str::to_owned),
        password: None,
        certificate: certificate.map(Arc::new),
        listener: Arc::from("main"),
        security: Security::Tls,
        address: None,
    }
}

fn wanted(any_of: Methods, all_of: Methods) -> Requirements {
    Requirements { any_of, all_of, certificates: Arc::default() }
}

fn password_wanted() -> Requirements {
    wanted(Methods::PASSWORD, Methods::default())
}

fn offer(first: &str) -> ScramOffer<'_> {
    ScramOffer { first: first.as_bytes(), plus: false, exporter: None }
}

/// A client's last message, and what it expects of the server.
fn client(password: &str, first_bare: &str, server_first: &str, binding: &[u8]) -> (String, String) {
    let mut parts = server_first.split(',');
    let mut part = |prefix: &str| parts.next().unwrap().strip_prefix(prefix).unwrap().to_owned();
    let (nonce, salt, iterations) = (part("r="), part("s="), part("i="));
    let mut salted = [0; 32];
    let iterations = iterations.parse().unwrap();
    let salt = BASE64.decode(salt).unwrap();
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, iterations, &salt, password.as_bytes(), &mut salted);
    let mac =
        |key: &[u8], text: &[u8]| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text).as_ref().to_vec();
    let client_key = mac(&salted, b"Client Key");
    let stored_key = digest::digest(&digest::SHA256, &client_key);
    let without = format!("c={},r={nonce}", BASE64.encode(binding));
    let message = format!("{first_bare},{server_first},{without}");
    let signature = mac(stored_key.as_ref(), message.as_bytes());
    let proof: Vec<u8> = client_key.iter().zip(signature).map(|(key, byte)| key ^ byte).collect();
    let expected = mac(&mac(&salted, b"Server Key"), message.as_bytes());
    (format!("{without},p={}", BASE64.encode(proof)), format!("v={}", BASE64.encode(expected)))
}

fn told(end: &ScramEnd) -> Result<(String, Methods), &'static str> {
    match &end.verdict {
        Verdict::Accepted(client) => Ok((client.identity.to_string(), client.methods)),
        Verdict::Refused { cause, .. } => Err(cause),
    }
}

/// A whole exchange of somebody with a password.
fn enter(
    authenticator: &Authenticator,
    name: &str,
    password: &str,
) -> Result<(String, Methods), &'static str> {
    let bare = format!("n={name},r=12345678");
    let first = format!("n,,{bare}");
    let begun = authenticator.scram_begin(credentials(None, None), &password_wanted(), offer(&first));
    let (exchange, said) = begun.unwrap();
    let (last, expected) = client(password, &bare, std::str::from_utf8(&said).unwrap(), b"n,,");
    let end = authenticator.scram_finish(*exchange, &password_wanted(), last.as_bytes(), 10);
    let told = told(&end);
    if told.is_ok() {
        assert_eq!(end.server_final, expected.as_bytes(), "the server proves itself");
    }
    told
}

#[test]
fn who_knows_the_password_comes_in_and_nobody_else() {
    let mut file = file();
    file.insert("closed", Account { disabled: true, ..account("pencil") });
    let (second, _) = crate::SecondFactor::generate(file.key().unwrap(), 0).unwrap();
    file.insert("two", Account { second: Some(second), ..account("pencil") });
    file.insert("exposed", account("pencil"));
    file.account_mut("exposed").unwrap().expose();
    let a = authenticator(file);
    assert_eq!(enter(&a, "user", "pencil"), Ok(("user".into(), Methods::PASSWORD)));
    assert_eq!(enter(&a, "user", "pencils"), Err("the proof is wrong"));
    assert_eq!(enter(&a, "nobody", "pencil"), Err("there is no such identity"));
    assert_eq!(enter(&a, "closed", "pencil"), Err("the identity is disabled"));
    assert_eq!(enter(&a, "two", "pencil"), Err("its second factor cannot be given by SCRAM"));
    assert_eq!(enter(&a, "exposed", "pencil"), Err("its password was exposed and has not been changed"));
    assert_eq!(
        enter(&a, "plain", "pencil"),
        Err("the password is not kept for SCRAM: motte user passwd --scram")
    );
}

#[test]
fn who_does_not_exist_is_told_the_same_each_time_also_after_a_restart() {
    let text = file().to_string();
    let salt = |name: &str| {
        let a = authenticator(PasswordFile::parse(&text).unwrap());
        let first = format!("n,,n={name},r=12345678");
        let (exchange, _) =
            a.scram_begin(credentials(None, None), &password_wanted(), offer(&first)).unwrap();
        (exchange.opening.salt, exchange.opening.iterations)
    };
    assert_eq!(salt("nobody"), salt("nobody"));
    assert_ne!(salt("nobody").0, salt("anybody").0);
    assert_eq!(salt("nobody").1, salt("user").1, "iterations are those of somebody");
    assert_eq!(salt("plain"), salt("plain"));
    assert_eq!(salt("nobody").0.len(), salt("user").0.len());
}

#[test]
fn both_passwords_of_a_rotation_fit_one_exchange_until_the_new_one_is_used() {
    let mut file = file();
    let StoredHash::Scram(old) = file.hash("user").unwrap().clone() else { unreachable!() };
    let new = StoredHash::Scram(old.beside("eraser").unwrap());
    file.account_mut("user").unwrap().rotate(Password::new(new, Origin::Person, 2), 1_000);
    let a = authenticator(file);
    assert!(enter(&a, "user", "pencil").is_ok());
    assert!(enter(&a, "user", "eraser").is_ok());
    let bare = "n=user,r=12345678";
    let begun = a.scram_begin(credentials(None, None), &password_wanted(), offer("n,,n=user,r=12345678"));
    let (exchange, said) = begun.unwrap();
    let (last, _) = client("eraser", bare, std::str::from_utf8(&said).unwrap(), b"n,,");
    let end = a.scram_finish(*exchange, &password_wanted(), last.as_bytes(), 10);
    end.rotated.expect("the first use is noted").note();
    assert!(enter(&a, "user", "pencil").is_err());
    assert!(enter(&a, "user", "eraser").is_ok());
}

#[test]
fn channel_binding_holds_to_its_connection_and_cannot_be_left_out_unseen() {
    let a = authenticator(file());
    let begin = |first: &'static str, plus, exporter| {
        let offer = ScramOffer { first: first.as_bytes(), plus, exporter };
        a.scram_begin(credentials(None, None), &password_wanted(), offer)
    };
    let (here, there) = (Some([1; 32]), [2; 32]);
    let bound = "p=tls-exporter,,n=user,r=12345678";
    for (binding, fits) in [([1; 32], true), (there, false)] {
        let (exchange, said) = begin(bound, true, here).unwrap();
        let binding = [b"p=tls-exporter,,".as_slice(), &binding].concat();
        let said = String::from_utf8(said).unwrap();
        let (last, _) = client("pencil", "n=user,r=12345678", &said, &binding);
        let end = a.scram_finish(*exchange, &password_wanted(), last.as_bytes(), 10);
        assert_eq!(told(&end).is_ok(), fits);
    }
    for (first, plus, exporter, taken) in [
        ("n,,n=user,r=12345678", false, here, true),
        ("y,,n=user,r=12345678", false, None, true),
        ("y,,n=user,r=12345678", false, here, false),
        ("n,,n=user,r=12345678", true, here, false),
        ("y,,n=user,r=12345678", true, here, false),
        (bound, true, None, false),
        (bound, false, here, false),
    ] {
        assert_eq!(begin(first, plus, exporter).is_ok(), taken, "{first} {plus}");
    }
}

#[test]
fn what_else_is_wanted_must_be_there_and_name_the_same() {
    let a = authenticator(file());
    let both = Methods::PASSWORD.and(Methods::CERTIFICATE);
    let begin = |user, cn, all_of| {
        let wanted = wanted(Methods::PASSWORD, all_of);
        let begun = a.scram_begin(credentials(user, cn), &wanted, offer("n,,n=user,r=12345678"));
        begun.map(|_| ()).map_err(|verdict| match verdict {
            Verdict::Refused { cause, .. } => cause,
            Verdict::Accepted(_) => "accepted",
        })
    };
    assert_eq!(begin(None, Some("user"), both), Ok(()));
    assert_eq!(begin(Some("user"), Some("user"), both), Ok(()));
    assert_eq!(begin(Some("other"), None, Methods::default()), Err("user name and SCRAM name differ"));
    assert_eq!(begin(None, Some("other"), both), Err("certificate and SCRAM name differ"));
    assert_eq!(begin(None, None, both), Err("no client certificate was presented"));
    let totp = Methods::PASSWORD.and(Methods::TOTP);
    assert_eq!(begin(None, None, totp), Err("a second factor is wanted, which SCRAM does not carry"));
}

#[test]
fn a_proof_of_another_exchange_is_worth_nothing() {
    let a = authenticator(file());
    let begin = || {
        let first = offer("n,,n=user,r=12345678");
        a.scram_begin(credentials(None, None), &password_wanted(), first).unwrap()
    };
    let ((_, said), (other, _)) = (begin(), begin());
    let (last, _) = client("pencil", "n=user,r=12345678", &String::from_utf8(said).unwrap(), b"n,,");
    let end = a.scram_finish(*other, &password_wanted(), last.as_bytes(), 10);
    assert_eq!(told(&end), Err("the nonce is not the one of this exchange"));
}

proptest! {
    /// Whatever a stranger sends, he is not let in, and nothing panics.
    #[test]
    fn no_bytes_of_a_stranger_let_him_in(first in ".{0,80}", last in prop::collection::vec(any::<u8>(), 0..200)) {
        let a = authenticator(file());
        for first in [first.as_str(), "n,,n=user,r=12345678"] {
            if let Ok((exchange, _)) =
                a.scram_begin(credentials(None, None), &password_wanted(), offer(first))
            {
                let end = a.scram_finish(*exchange, &password_wanted(), &last, 10);
                prop_assert!(told(&end).is_err());
            }
        }
    }

    /// One changed letter of a good last message is a refusal, unless base64 or the letter means the same.
    #[test]
    fn a_changed_proof_is_refused(at in 0_usize..200, to in 33_u8..127) {
        let a = authenticator(file());
        let (exchange, said) = a
            .scram_begin(credentials(None, None), &password_wanted(), offer("n,,n=user,r=12345678"))
            .unwrap();
        let (last, _) = client("pencil", "n=user,r=12345678", &String::from_utf8(said).unwrap(), b"n,,");
        let mut bytes = last.into_bytes();
        let at = at % bytes.len();
        prop_assume!(bytes[at] != to);
        bytes[at] = to;
        prop_assert!(told(&a.scram_finish(*exchange, &password_wanted(), &bytes, 10)).is_err());
    }
}

#[test]
fn the_length_of_a_salt_tells_nobody_who_exists() {
    let salt_bytes = |a: &Authenticator, name: &str| {
        let first = format!("n,,n={name},r=12345678");
        let begun = a.scram_begin(credentials(None, None), &password_wanted(), offer(&first));
        let said = String::from_utf8(begun.unwrap().1).unwrap();
        let salt = said.split(',').nth(1).unwrap().strip_prefix("s=").unwrap().to_owned();
        BASE64.decode(salt).unwrap().len()
    };
    let imported = |bytes: usize| {
        let (salt, key) = (BASE64.encode(vec![7; bytes]), BASE64.encode([9; 32]));
        let hash = StoredHash::parse(&format!("$scram-sha-256$4096${salt}${key}${key}")).unwrap();
        Account { passwords: vec![Password::new(hash, Origin::Imported, 1)], ..Account::default() }
    };
    for lengths in [vec![24], vec![16, 24], vec![8, 64]] {
        let mut file = PasswordFile::default();
        file.key_or_new().unwrap();
        for bytes in &lengths {
            assert!(file.insert(&format!("user-{bytes}"), imported(*bytes)));
        }
        let a = authenticator(file);
        for bytes in &lengths {
            assert_eq!(salt_bytes(&a, &format!("user-{bytes}")), *bytes);
        }
        let mut found: Vec<usize> = (0..64).map(|n| salt_bytes(&a, &format!("nobody-{n}"))).collect();
        assert_eq!(found.first(), Some(&salt_bytes(&a, "nobody-0")), "the same each time");
        found.sort_unstable();
        found.dedup();
        assert_eq!(found, lengths);
    }
}
