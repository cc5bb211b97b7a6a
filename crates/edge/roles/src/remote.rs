//! A key whose private half is in the key process, as rustls uses keys.

use std::sync::Arc;

use rustls::sign::{Signer, SigningKey};
use rustls::{OtherError, SignatureAlgorithm, SignatureScheme};
use rustls_pki_types::SubjectPublicKeyInfoDer;

use crate::client::KeyClient;
use crate::key::{KeyId, PublicKey};

/// A key that signs elsewhere.
#[derive(Debug)]
pub struct RemoteKey {
    client: KeyClient,
    public: PublicKey,
}

impl RemoteKey {
    /// The key with this public half.
    pub fn new(client: KeyClient, public: PublicKey) -> Self {
        Self { client, public }
    }
}

impl SigningKey for RemoteKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let schemes = self.public.schemes.iter().copied().map(SignatureScheme::from);
        let scheme = schemes.into_iter().find(|scheme| offered.contains(scheme))?;
        Some(Box::new(RemoteSigner { client: self.client.clone(), key: self.public.id, scheme }))
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        Some(SubjectPublicKeyInfoDer::from(self.public.spki.as_slice()))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::from(self.public.algorithm)
    }
}

#[derive(Debug)]
struct RemoteSigner {
    client: KeyClient,
    key: KeyId,
    scheme: SignatureScheme,
}

impl Signer for RemoteSigner {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        self.client
            .sign(self.key, u16::from(self.scheme), message)
            .map_err(|error| rustls::Error::Other(OtherError(Arc::new(error))))
    }

    fn scheme(&self) -> SignatureScheme {
        self.scheme
    }
}
