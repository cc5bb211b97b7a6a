//! The two messages of a client that proves a password by SCRAM. The first line is the first message, what follows is the last;
//! nobody comes in by chance.

use std::sync::{Arc, OnceLock};

use motte_access::{Methods, Security};
use motte_identity::{
    Account, Authenticator, Credentials, Learned, Origin, Password, PasswordFile, Requirements, ScramOffer,
    Verdict,
};
use motte_seal::{ScramKeys, StoredHash};

fn authenticator() -> &'static Authenticator {
    static MADE: OnceLock<Authenticator> = OnceLock::new();
    MADE.get_or_init(|| {
        let mut file = PasswordFile::default();
        if let (Ok(_), Ok(keys)) = (file.key_or_new(), ScramKeys::create("pencil", ScramKeys::ITERATIONS_MIN))
        {
            let password = Password::new(StoredHash::Scram(keys), Origin::Person, 1);
            file.insert("user", Account { passwords: vec![password], ..Account::default() });
        }
        Authenticator::new(Arc::new(file), Arc::new(Learned::nothing(0)))
    })
}

/// Runs the bytes as both messages, bound to TLS and not.
///
/// # Panics
/// If somebody is let in.
pub fn run(data: &[u8]) {
    let wanted =
        Requirements { any_of: Methods::PASSWORD, all_of: Methods::default(), certificates: Arc::default() };
    let (first, last) = data.iter().position(|byte| *byte == b'\n').map_or((data, data), |at| {
        let (first, last) = data.split_at(at);
        (first, last.get(1..).unwrap_or_default())
    });
    for (plus, exporter) in [(false, None), (false, Some([7; 32])), (true, Some([7; 32]))] {
        for first in [first, b"n,,n=user,r=0123456789abcdef", b"p=tls-exporter,,n=user,r=0123456789abcdef"] {
            let credentials = Credentials {
                user_name: None,
                password: None,
                certificate: None,
                listener: Arc::from("main"),
                security: Security::Tls,
                address: None,
            };
            let offer = ScramOffer { first, plus, exporter };
            let Ok((exchange, said)) = authenticator().scram_begin(credentials, &wanted, offer) else {
                continue;
            };
            assert!(said.len() <= 2 * motte_identity::SCRAM_MESSAGE_BYTES_MAX, "a long answer");
            let end = authenticator().scram_finish(*exchange, &wanted, last, 1);
            if matches!(end.verdict, Verdict::Accepted(_)) {
                super::fail("somebody came in without the password");
            }
        }
    }
}
