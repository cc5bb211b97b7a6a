//! Keys that are in a token and never leave it: PKCS#11.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest::{SHA256, SHA384, digest};
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsPssParams};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::types::AuthPin;
use motte_seal::SecretString;
use motte_seal::envelope::{DataKey, KEY_BYTES};
use rustls::sign::{Signer, SigningKey};
use rustls::{OtherError, SignatureAlgorithm, SignatureScheme};
use rustls_pki_types::SubjectPublicKeyInfoDer;
use zeroize::Zeroizing;

use crate::der::{ec_public_key, ecdsa_signature, rsa_public_key};

/// Begins the name of a key in a token.
pub(crate) const SCHEME: &str = "pkcs11:";

/// OBJECT IDENTIFIERs of curves, with their headers.
const P256: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const P384: &[u8] = &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22];

/// Modules that are loaded. One can be loaded once in a process, and is until it ends.
static MODULES: Mutex<Option<HashMap<PathBuf, Pkcs11>>> = Mutex::new(None);

/// Where a key is, as RFC 7512 writes it: `pkcs11:token=NAME;object=NAME?module-path=FILE`.
#[derive(Debug, PartialEq, Eq)]
struct Address<'a> {
    token: &'a str,
    object: &'a str,
    module: &'a Path,
}

impl<'a> Address<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let (path, query) = text.strip_prefix(SCHEME)?.split_once('?')?;
        let find = |all: &'a str, separator: char, name: &str| {
            all.split(separator)
                .find_map(|one| one.split_once('=').filter(|(key, _)| *key == name))
                .map(|(_, v)| v)
        };
        let module = Path::new(find(query, '&', "module-path")?);
        let address = Self { token: find(path, ';', "token")?, object: find(path, ';', "object")?, module };
        // Names with other characters would have to be decoded; a file is loaded only where it is meant.
        (module.is_absolute() && !text.contains('%')).then_some(address)
    }
}

fn fault(text: &str, what: &dyn std::fmt::Display, remedy: &str) -> String {
    format!("{text}: {what}\n  remedy: {remedy}")
}

/// A session with the token of an address, and the name of the object there.
fn reach<'a>(text: &'a str, pin: &SecretString) -> Result<(Session, &'a str), String> {
    let fault = |what: &dyn std::fmt::Display, remedy: &str| fault(text, what, remedy);
    let address = Address::parse(text).ok_or_else(|| {
        fault(
            &"this is no address of a key in a token",
            "write pkcs11:token=NAME;object=NAME?module-path=/ABSOLUTE/FILE.so, names without `%`",
        )
    })?;
    let module = module(address.module)
        .map_err(|error| fault(&error, "check that module-path is the PKCS#11 module of the token"))?;
    let session = session(&module, address.token, pin).map_err(|error| match error {
        Some(Error::Pkcs11(RvError::PinIncorrect, _)) => fault(
            &"the token does not open with this PIN",
            "correct it; a token locks itself after a few wrong ones",
        ),
        Some(error) => fault(&error, "see what the token says"),
        None => fault(
            &"there is no such token",
            "`p11-kit list-modules` or the token's own tool names those there are",
        ),
    })?;
    Ok((session, address.object))
}

/// The key at an address.
///
/// # Errors
/// What is wrong, with the address and the remedy.
pub(crate) fn token_key(text: &str, pin: Option<&SecretString>) -> Result<Arc<dyn SigningKey>, String> {
    let fault = |what: &dyn std::fmt::Display, remedy: &str| fault(text, what, remedy);
    let pin = pin.ok_or_else(|| {
        fault(
            &"a token needs its PIN",
            "say where it is: passphrase_file, passphrase_credential or passphrase_prompt",
        )
    })?;
    let (session, object) = reach(text, pin)?;
    TokenKey::find(session, object)
        .map_err(|error| fault(&error, "see what the token says"))?
        .map(|key| Arc::new(key) as Arc<dyn SigningKey>)
        .ok_or_else(|| {
            let what = "the token has no pair of an ECDSA (P-256, P-384) or RSA key under this name";
            fault(&what, "make one with the token's tool, private and public half under the same label")
        })
}

fn module(path: &Path) -> Result<Pkcs11, Error> {
    let mut modules = MODULES.lock().unwrap_or_else(PoisonError::into_inner);
    let modules = modules.get_or_insert_default();
    if let Some(module) = modules.get(path) {
        return Ok(module.clone());
    }
    let module = Pkcs11::new(path)?;
    match module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
        Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
        Err(error) => return Err(error),
    }
    modules.insert(path.to_path_buf(), module.clone());
    Ok(module)
}

/// A session with a token; `None` when there is no such token.
fn session(module: &Pkcs11, token: &str, pin: &SecretString) -> Result<Session, Option<Error>> {
    for slot in module.get_slots_with_token().map_err(Some)? {
        if module.get_token_info(slot).map_err(Some)?.label() != token {
            continue;
        }
        let session = module.open_ro_session(slot).map_err(Some)?;
        let pin = AuthPin::new(pin.expose().to_owned().into_boxed_str());
        return match session.login(UserType::User, Some(&pin)) {
            Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(session),
            Err(error) => Err(Some(error)),
        };
    }
    Err(None)
}

/// What a key can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    P256,
    P384,
    Rsa,
}

impl Kind {
    fn schemes(self) -> &'static [SignatureScheme] {
        match self {
            Self::P256 => &[SignatureScheme::ECDSA_NISTP256_SHA256],
            Self::P384 => &[SignatureScheme::ECDSA_NISTP384_SHA384],
            Self::Rsa => &[
                SignatureScheme::RSA_PSS_SHA384,
                SignatureScheme::RSA_PSS_SHA256,
                SignatureScheme::RSA_PKCS1_SHA384,
                SignatureScheme::RSA_PKCS1_SHA256,
            ],
        }
    }
}

/// A private key that the token uses, in the one session that this key has.
struct Held {
    session: Mutex<Session>,
    private: ObjectHandle,
}

impl Held {
    fn sign(&self, scheme: SignatureScheme, message: &[u8]) -> Result<Vec<u8>, Error> {
        let pss = |hash_alg, mgf, s_len: u64| PkcsPssParams { hash_alg, mgf, s_len: s_len.into() };
        let (hash256, hash384) = (MechanismType::SHA256, MechanismType::SHA384);
        let session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        let sign = |mechanism: &Mechanism<'_>, data: &[u8]| session.sign(mechanism, self.private, data);
        match scheme {
            SignatureScheme::ECDSA_NISTP256_SHA256 => {
                sign(&Mechanism::Ecdsa, digest(&SHA256, message).as_ref()).map(|raw| ecdsa_signature(&raw))
            }
            SignatureScheme::ECDSA_NISTP384_SHA384 => {
                sign(&Mechanism::Ecdsa, digest(&SHA384, message).as_ref()).map(|raw| ecdsa_signature(&raw))
            }
            SignatureScheme::RSA_PSS_SHA256 => {
                sign(&Mechanism::Sha256RsaPkcsPss(pss(hash256, PkcsMgfType::MGF1_SHA256, 32)), message)
            }
            SignatureScheme::RSA_PSS_SHA384 => {
                sign(&Mechanism::Sha384RsaPkcsPss(pss(hash384, PkcsMgfType::MGF1_SHA384, 48)), message)
            }
            SignatureScheme::RSA_PKCS1_SHA256 => sign(&Mechanism::Sha256RsaPkcs, message),
            SignatureScheme::RSA_PKCS1_SHA384 => sign(&Mechanism::Sha384RsaPkcs, message),
            _ => Err(Error::NotSupported),
        }
    }
}

struct TokenKey {
    held: Arc<Held>,
    kind: Kind,
    spki: Vec<u8>,
}

impl std::fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenKey").field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl TokenKey {
    /// The pair under this label; `None` when there is none that TLS can use.
    fn find(session: Session, label: &str) -> Result<Option<Self>, Error> {
        let object = |class| {
            let template = [Attribute::Class(class), Attribute::Label(label.as_bytes().to_vec())];
            session.find_objects(&template).map(|found| found.first().copied())
        };
        let (Some(private), Some(public)) =
            (object(ObjectClass::PRIVATE_KEY)?, object(ObjectClass::PUBLIC_KEY)?)
        else {
            return Ok(None);
        };
        let Some((kind, spki)) = public_half(&session, public)? else { return Ok(None) };
        let held = Arc::new(Held { session: Mutex::new(session), private });
        Ok(Some(Self { held, kind, spki }))
    }
}

/// Kind and SubjectPublicKeyInfo of a public key; `None` when TLS cannot use it.
fn public_half(session: &Session, public: ObjectHandle) -> Result<Option<(Kind, Vec<u8>)>, Error> {
    let is_rsa = session
        .get_attributes(public, &[AttributeType::KeyType])?
        .contains(&Attribute::KeyType(KeyType::RSA));
    let wanted = if is_rsa {
        [AttributeType::Modulus, AttributeType::PublicExponent]
    } else {
        [AttributeType::EcParams, AttributeType::EcPoint]
    };
    Ok(match session.get_attributes(public, &wanted)?.as_slice() {
        [Attribute::Modulus(modulus), Attribute::PublicExponent(exponent)] => {
            Some((Kind::Rsa, rsa_public_key(modulus, exponent)))
        }
        [Attribute::EcParams(curve), Attribute::EcPoint(point)] => {
            let kind = match curve.as_slice() {
                P256 => Some(Kind::P256),
                P384 => Some(Kind::P384),
                _ => None,
            };
            kind.map(|kind| (kind, ec_public_key(curve, point)))
        }
        _ => None,
    })
}

impl SigningKey for TokenKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let scheme = self.kind.schemes().iter().copied().find(|scheme| offered.contains(scheme))?;
        Some(Box::new(TokenSigner { held: Arc::clone(&self.held), scheme }))
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        Some(SubjectPublicKeyInfoDer::from(self.spki.as_slice()))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        match self.kind {
            Kind::P256 | Kind::P384 => SignatureAlgorithm::ECDSA,
            Kind::Rsa => SignatureAlgorithm::RSA,
        }
    }
}

struct TokenSigner {
    held: Arc<Held>,
    scheme: SignatureScheme,
}

impl std::fmt::Debug for TokenSigner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenSigner").field("scheme", &self.scheme).finish_non_exhaustive()
    }
}

impl Signer for TokenSigner {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        self.held
            .sign(self.scheme, message)
            .map_err(|error| rustls::Error::Other(OtherError(Arc::new(error))))
    }

    fn scheme(&self) -> SignatureScheme {
        self.scheme
    }
}

/// Form of what a token sealed: AES-CBC without padding, the initialization vector before it. Every token has it. It says
/// nothing about changes, and need not: what is sealed is a random key with a known name, so a changed one has another name.
const AES_CBC: u8 = 1;
const VECTOR_BYTES: usize = 16;

/// An AES key in a token that seals and opens the key of a vault.
pub(crate) struct TokenSecret {
    session: Mutex<Session>,
    key: ObjectHandle,
    address: String,
}

impl TokenSecret {
    /// The AES key at an address.
    ///
    /// # Errors
    /// What is wrong, with the address and the remedy.
    pub(crate) fn find(text: &str, pin: &SecretString) -> Result<Self, String> {
        let (session, object) = reach(text, pin)?;
        let template = [
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::KeyType(KeyType::AES),
            Attribute::Label(object.as_bytes().to_vec()),
        ];
        let found = session
            .find_objects(&template)
            .map_err(|error| fault(text, &error, "see what the token says"))?;
        let key = found.first().copied().ok_or_else(|| {
            let remedy = "make one with the token's tool, AES with 256 bits that encrypts and decrypts, not extractable";
            fault(text, &"the token has no AES key under this name", remedy)
        })?;
        Ok(Self { session: Mutex::new(session), key, address: text.to_owned() })
    }

    /// Seals a key with a new initialization vector.
    ///
    /// # Errors
    /// What the token says.
    pub(crate) fn seal(&self, key: &[u8; KEY_BYTES]) -> Result<Vec<u8>, String> {
        let mut vector = [0; VECTOR_BYTES];
        aws_lc_rs::rand::fill(&mut vector).map_err(|_| "the system gave no randomness".to_owned())?;
        let session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        let sealed = session.encrypt(&Mechanism::AesCbc(vector), self.key, key);
        let sealed = sealed.map_err(|error| self.told(&error))?;
        Ok([&[AES_CBC], vector.as_slice(), &sealed].concat())
    }

    /// Opens what [`Self::seal`] gave; of something else it makes a key with another name.
    ///
    /// # Errors
    /// What the token says, or that this is nothing a token sealed.
    pub(crate) fn open(&self, sealed: &[u8]) -> Result<DataKey, String> {
        let no = || "this was not sealed by a token".to_owned();
        let (form, rest) = sealed.split_first().ok_or_else(no)?;
        let (vector, rest) = rest.split_first_chunk().filter(|_| *form == AES_CBC).ok_or_else(no)?;
        let session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        let opened = session.decrypt(&Mechanism::AesCbc(*vector), self.key, rest);
        let opened = Zeroizing::new(opened.map_err(|error| self.told(&error))?);
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        if opened.len() != KEY_BYTES {
            return Err(no());
        }
        key.iter_mut().zip(opened.iter()).for_each(|(to, from)| *to = *from);
        Ok(DataKey::from_bytes(key))
    }

    fn told(&self, error: &Error) -> String {
        fault(&self.address, error, "see what the token says; the key must encrypt and decrypt with AES-CBC")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_a_token_an_object_and_a_module() {
        let good = "pkcs11:token=motte;object=server?module-path=/usr/lib/softhsm/libsofthsm2.so";
        let address = Address::parse(good).unwrap();
        assert_eq!((address.token, address.object), ("motte", "server"));
        assert_eq!(address.module, Path::new("/usr/lib/softhsm/libsofthsm2.so"));
        for wrong in [
            "server.key",
            "pkcs11:token=motte;object=server",
            "pkcs11:object=server?module-path=/a.so",
            "pkcs11:token=motte;object=server?module-path=a.so",
            "pkcs11:token=a%20b;object=server?module-path=/a.so",
        ] {
            assert_eq!(Address::parse(wrong), None, "{wrong}");
        }
    }
}
