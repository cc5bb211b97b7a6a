//! The second factor of an account: codes of RFC 6238, and recovery codes for when the device that makes them is lost.
//!
//! A code stands behind the password, after a colon: `password:123456`. Only accounts with a second factor have their
//! passwords cut there, at the last colon.

use motte_seal::{HashError, KeyedHash, SecretBytes, SecretString, SiteKey};
use totp_rs::{Algorithm, Builder, Secret, Totp};

/// Seconds of one code.
pub(crate) const STEP_S: u64 = 30;
/// Digits of a code.
const DIGITS: u8 = 6;
/// Steps that a clock may be off, in each direction.
pub(crate) const DRIFT: u16 = 1;
/// Bytes of a secret: as many as SHA-1 gives, as RFC 4226 asks.
const SECRET_BYTES: usize = 20;
/// Recovery codes of an account.
pub const RECOVERY_CODES: usize = 10;
/// Characters of a recovery code without its dashes: 80 bits.
const RECOVERY_LENGTH: usize = 16;

/// The secret from which codes are made. It stands in the password file as it is, for the broker has to make the codes too;
/// what keeps it is the file's mode.
#[derive(Clone, PartialEq, Eq)]
pub struct TotpSecret(Secret);

impl TotpSecret {
    /// A fresh one of 160 bits.
    ///
    /// # Errors
    /// The system gave no randomness.
    pub fn generate() -> Result<Self, HashError> {
        Ok(Self(Secret::from(SecretBytes::random(SECRET_BYTES)?.expose())))
    }

    /// Reads base32 without padding.
    pub fn parse(text: &str) -> Option<Self> {
        let secret =
            Secret::try_from_base32(text).ok().filter(|secret| secret.as_ref().len() >= SECRET_BYTES)?;
        // One text for one secret.
        (secret.to_base32() == text && text.len() <= 128).then_some(Self(secret))
    }

    /// As base32, for people and the file.
    pub fn text(&self) -> String {
        self.0.to_base32()
    }

    /// What an authenticator reads from a QR code.
    pub fn uri(&self, identity: &str, issuer: &str) -> String {
        let (identity, issuer) = (percent(identity), percent(issuer));
        let secret = self.text();
        format!(
            "otpauth://totp/{issuer}:{identity}?secret={secret}&issuer={issuer}&algorithm=SHA1&digits={DIGITS}&period={STEP_S}"
        )
    }

    /// The step that a code belongs to, among those that a clock may be off by.
    pub(crate) fn step_of(&self, code: &str, now_s: u64) -> Option<u64> {
        self.totp()?.check(code, now_s)
    }

    /// The code of a moment.
    pub fn code(&self, at_s: u64) -> String {
        self.totp().map(|totp| totp.generate(at_s).to_string()).unwrap_or_default()
    }

    fn totp(&self) -> Option<Totp> {
        Builder::new()
            .with_algorithm(Algorithm::SHA1)
            .with_digits(DIGITS)
            .with_skew(DRIFT)
            .with_step_duration(STEP_S)
            .with_secret(self.0.clone())
            .build()
            .ok()
    }
}

impl std::fmt::Debug for TotpSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TotpSecret(hidden)")
    }
}

/// The second factor of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecondFactor {
    /// From which codes are made.
    pub secret: TotpSecret,
    /// When it was enrolled, in Unix seconds.
    pub since_s: u64,
    /// Keyed hashes of its recovery codes, at most [`RECOVERY_CODES`].
    pub recovery: Vec<KeyedHash>,
}

impl SecondFactor {
    /// A fresh one, with the recovery codes that only its owner gets to see.
    ///
    /// # Errors
    /// The system gave no randomness.
    pub fn generate(key: &SiteKey, now_s: u64) -> Result<(Self, Vec<SecretString>), HashError> {
        let codes = (0..RECOVERY_CODES).map(|_| recovery_code()).collect::<Result<Vec<_>, _>>()?;
        let recovery = codes.iter().filter_map(|code| recovery_hash(key, code.expose())).collect();
        Ok((Self { secret: TotpSecret::generate()?, since_s: now_s, recovery }, codes))
    }
}

/// Whether a text looks like a recovery code, and what is kept of it.
pub(crate) fn recovery_hash(key: &SiteKey, code: &str) -> Option<KeyedHash> {
    let letters: String = code.chars().filter(|c| *c != '-').collect::<String>().to_lowercase();
    let fits = letters.len() == RECOVERY_LENGTH && letters.bytes().all(|b| b.is_ascii_alphanumeric());
    fits.then(|| key.keyed(format!("recovery {letters}").as_bytes()))
}

/// `abcd-efgh-jkmn-pqrs`.
fn recovery_code() -> Result<SecretString, HashError> {
    let random = SecretString::generate().map_err(|_| HashError::Randomness)?;
    let mut code = String::new();
    for (index, letter) in random.expose().chars().take(RECOVERY_LENGTH).enumerate() {
        if index > 0 && index % 4 == 0 {
            code.push('-');
        }
        code.push(letter);
    }
    Ok(SecretString::new(code))
}

/// Password and code of `password:code`; no code when there is no colon.
pub(crate) fn split(password: &SecretBytes) -> (SecretBytes, Option<SecretString>) {
    let bytes = password.expose();
    let Some(at) = bytes.iter().rposition(|byte| *byte == b':') else {
        return (SecretBytes::new(bytes.to_vec()), None);
    };
    let (password, code) = (bytes.get(..at).unwrap_or_default(), bytes.get(at + 1..).unwrap_or_default());
    let code = std::str::from_utf8(code).ok().map(|code| SecretString::new(code.to_owned()));
    (SecretBytes::new(password.to_vec()), code)
}

fn percent(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            other => format!("%{other:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6238, appendix B, SHA-1, cut to six digits.
    #[test]
    fn the_vectors_of_the_standard() {
        let secret = TotpSecret(Secret::from(&b"12345678901234567890"[..]));
        for (at_s, code) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            assert_eq!(secret.code(at_s), code);
            for (off_s, taken) in [(0, true), (STEP_S, true), (3 * STEP_S, false)] {
                assert_eq!(secret.step_of(code, at_s + off_s).is_some(), taken, "{at_s} + {off_s}");
            }
        }
    }

    #[test]
    fn a_secret_survives_its_text_form_and_is_given_to_authenticators() {
        let secret = TotpSecret::generate().unwrap();
        assert_eq!(TotpSecret::parse(&secret.text()), Some(secret.clone()));
        assert!(TotpSecret::parse("AAAA").is_none() && TotpSecret::parse("").is_none());
        let uri = secret.uri("alice@site", "Motte 1");
        assert!(uri.starts_with("otpauth://totp/Motte%201:alice%40site?secret="), "{uri}");
        assert!(!format!("{secret:?}").contains(&secret.text()));
    }

    #[test]
    fn a_password_is_cut_at_its_last_colon() {
        let cut = |text: &str| {
            let (password, code) = split(&SecretBytes::new(text.as_bytes().to_vec()));
            (password.expose().to_vec(), code.map(|code| code.expose().to_owned()))
        };
        assert_eq!(cut("secret:123456"), (b"secret".to_vec(), Some("123456".into())));
        assert_eq!(cut("se:cret:123456"), (b"se:cret".to_vec(), Some("123456".into())));
        assert_eq!(cut("secret"), (b"secret".to_vec(), None));
    }

    #[test]
    fn recovery_codes_are_known_with_and_without_dashes() {
        let key = SiteKey::generate().unwrap();
        let (second, codes) = SecondFactor::generate(&key, 0).unwrap();
        assert_eq!((second.recovery.len(), codes.len()), (RECOVERY_CODES, RECOVERY_CODES));
        let bare = codes[0].expose().replace('-', "").to_uppercase();
        assert_eq!(recovery_hash(&key, &bare).unwrap(), second.recovery[0]);
        assert!(recovery_hash(&key, "123456").is_none());
    }
}
