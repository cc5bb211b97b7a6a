//! TLS for servers: 1.3 and 1.2, authenticated encryption with forward secrecy only, the hybrid post-quantum group first.

use std::sync::Arc;

use motte_pki::Facts;
use rustls::crypto::{CryptoProvider, SupportedKxGroup, aws_lc_rs};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::{CertifiedKey, SigningKey};
use rustls::{ServerConfig, SupportedCipherSuite, SupportedProtocolVersion};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};

use crate::certificate_faults::words;
use crate::channel_binding::Bindings;
use crate::client_certificates::{Authorities, authorities, verifier};

/// The name of the authorities that have none of their own.
pub const UNLIMITED: &str = "client_ca";

/// Whether clients show certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAuth {
    /// They are not asked.
    None,
    /// They may.
    Optional,
    /// They must.
    Required,
}

/// What a TLS listener is made of. Everything has been read already.
#[derive(Debug)]
pub struct TlsOptions {
    /// Chains and their keys; the client's server name chooses, the first is the default.
    pub certificates: Vec<(Vec<CertificateDer<'static>>, Arc<dyn SigningKey>)>,
    /// Whether 1.2 is offered.
    pub v12: bool,
    /// Whether 1.3 is offered.
    pub v13: bool,
    /// Names of suites; empty: all.
    pub suites: Vec<String>,
    /// Names of groups in order; empty: all, the hybrid post-quantum one first.
    pub groups: Vec<String>,
    /// Whether clients show certificates.
    pub client_auth: ClientAuth,
    /// Authorities of client certificates.
    pub client_ca: Vec<CertificateDer<'static>>,
    /// Further ones that are told apart by their names.
    pub authorities: Vec<(String, Vec<CertificateDer<'static>>)>,
    /// Revocation lists; where there is one, a certificate whose status is not known is refused.
    pub crls: Vec<CertificateRevocationListDer<'static>>,
    /// What is wanted of revocation lists.
    pub revocation: Revocation,
}

/// What is wanted of revocation lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Revocation {
    /// Lists are to be there: without any, nobody's status is known.
    pub is_expected: bool,
    /// A status that is not known, and a list past its end, are no reason to refuse.
    pub accepts_stale: bool,
}

/// Why TLS cannot be offered.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// Key and certificate do not belong together, or the key's kind is unknown.
    #[error("the key does not fit its certificate: {0}")]
    Key(rustls::Error),
    /// A certificate that is none.
    #[error("a certificate cannot be read")]
    Certificate,
    /// An unknown suite.
    #[error("`{name}` is not an offered cipher suite; use {known}")]
    Suite {
        /// As written.
        name: String,
        /// What there is.
        known: String,
    },
    /// An unknown group.
    #[error("`{name}` is not an offered key exchange group; use {known}")]
    Group {
        /// As written.
        name: String,
        /// What there is.
        known: String,
    },
    /// Suites and versions leave nothing.
    #[error("these versions, suites and groups leave nothing to offer: {0}")]
    Nothing(rustls::Error),
    /// Authorities or revocation lists cannot be used.
    #[error("client certificates cannot be checked: {0}")]
    Verifier(String),
}

/// A TLS configuration in force, and the verifier to look at live clients again.
#[derive(Clone)]
pub struct ServerTls {
    pub(crate) config: Arc<ServerConfig>,
    verifier: Option<Arc<dyn ClientCertVerifier>>,
    authorities: Authorities,
    makings: Arc<Makings>,
}

/// What a configuration is made of beside revocation lists.
pub(crate) struct Makings {
    pub(crate) provider: Arc<CryptoProvider>,
    versions: Vec<&'static SupportedProtocolVersion>,
    resolver: Arc<Names>,
    pub(crate) client_auth: ClientAuth,
    /// All authorities of client certificates.
    pub(crate) client_ca: Vec<CertificateDer<'static>>,
    /// The same by their names, where they are told apart.
    pub(crate) authorities: Vec<(String, Vec<CertificateDer<'static>>)>,
    pub(crate) revocation: Revocation,
}

impl std::fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ServerTls")
    }
}

impl ServerTls {
    /// Builds a configuration.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn new(options: TlsOptions) -> Result<Self, TlsError> {
        let provider = Arc::new(provider(&options)?);
        let mut versions: Vec<&'static SupportedProtocolVersion> = Vec::new();
        if options.v13 {
            versions.push(&rustls::version::TLS13);
        }
        if options.v12 {
            versions.push(&rustls::version::TLS12);
        }
        let resolver = Arc::new(Names::new(options.certificates)?);
        let TlsOptions { client_auth, mut client_ca, mut authorities, revocation, crls, .. } = options;
        let limited: Vec<_> = authorities.iter().flat_map(|(_, roots)| roots).cloned().collect();
        if !authorities.is_empty() && !client_ca.is_empty() {
            authorities.push((UNLIMITED.to_owned(), client_ca.clone()));
        }
        client_ca.extend(limited);
        Self::make(
            Arc::new(Makings {
                provider,
                versions,
                resolver,
                client_auth,
                client_ca,
                authorities,
                revocation,
            }),
            &crls,
        )
    }

    /// The same with other revocation lists.
    ///
    /// # Errors
    /// [`TlsError::Verifier`].
    pub fn with_lists(&self, lists: &[CertificateRevocationListDer<'static>]) -> Result<Self, TlsError> {
        Self::make(Arc::clone(&self.makings), lists)
    }

    /// Authorities of client certificates.
    pub fn client_ca(&self) -> &[CertificateDer<'static>] {
        &self.makings.client_ca
    }

    fn make(
        makings: Arc<Makings>,
        lists: &[CertificateRevocationListDer<'static>],
    ) -> Result<Self, TlsError> {
        let verifier = verifier(&makings, lists)?;
        let authorities = authorities(&makings, lists)?;
        let builder = ServerConfig::builder_with_provider(Arc::clone(&makings.provider))
            .with_protocol_versions(&makings.versions)
            .map_err(TlsError::Nothing)?;
        let resolver = Arc::clone(&makings.resolver);
        let mut config = match &verifier {
            Some(verifier) => builder.with_client_cert_verifier(Arc::clone(verifier)),
            None => builder.with_no_client_auth(),
        }
        .with_cert_resolver(resolver);
        // A resumed session skips the check of the client's certificate, so a revoked one could come back by it: no
        // resumption where clients show certificates. Elsewhere tickets keep the server without state.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.key_log = Arc::new(Bindings);
        if verifier.is_none() {
            if let Ok(ticketer) = aws_lc_rs::Ticketer::new() {
                config.ticketer = ticketer;
            }
        } else {
            config.send_tls13_tickets = 0;
        }
        Ok(Self { config: Arc::new(config), verifier, authorities, makings })
    }

    /// Whether a client must show a certificate.
    pub fn requires_certificate(&self) -> bool {
        self.verifier.as_ref().is_some_and(|verifier| verifier.client_auth_mandatory())
    }

    /// Names of the authorities that vouch for certificates that were verified; [`UNLIMITED`] for those without a name of
    /// their own. None where authorities are not told apart.
    pub fn authorities_of(&self, chain: &[CertificateDer<'static>], now_s: u64) -> Vec<String> {
        let Some((leaf, rest)) = chain.split_first() else { return Vec::new() };
        let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(now_s));
        let vouches =
            |verifier: &dyn ClientCertVerifier| verifier.verify_client_cert(leaf, rest, now).is_ok();
        let found = self.authorities.iter().filter(|(_, verifier)| vouches(&**verifier));
        found.map(|(name, _)| name.clone()).collect()
    }

    /// Whether the certificates that a live client showed would still be taken now.
    ///
    /// # Errors
    /// Why not.
    pub fn still_trusted(&self, chain: &[CertificateDer<'static>], now_s: u64) -> Result<(), String> {
        let Some(verifier) = &self.verifier else { return Ok(()) };
        let Some((leaf, rest)) = chain.split_first() else { return Ok(()) };
        let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(now_s));
        verifier.verify_client_cert(leaf, rest, now).map(|_| ()).map_err(|error| words(&error))
    }
}

fn provider(options: &TlsOptions) -> Result<CryptoProvider, TlsError> {
    let base = aws_lc_rs::default_provider();
    let suites = choose(&options.suites, &base.cipher_suites, SupportedCipherSuite::suite)
        .map_err(|(name, known)| TlsError::Suite { name, known })?;
    let all: Vec<&'static dyn SupportedKxGroup> = vec![
        aws_lc_rs::kx_group::X25519MLKEM768,
        aws_lc_rs::kx_group::X25519,
        aws_lc_rs::kx_group::SECP256R1,
        aws_lc_rs::kx_group::SECP384R1,
    ];
    let groups = choose(&options.groups, &all, |group| group.name())
        .map_err(|(name, known)| TlsError::Group { name, known })?;
    Ok(CryptoProvider { cipher_suites: suites, kx_groups: groups, ..base })
}

fn choose<T: Copy, N: std::fmt::Debug>(
    wanted: &[String],
    all: &[T],
    name: impl Fn(&T) -> N,
) -> Result<Vec<T>, (String, String)> {
    if wanted.is_empty() {
        return Ok(all.to_vec());
    }
    let named = |item: &T| format!("{:?}", name(item));
    let find = |wanted: &String| {
        all.iter()
            .copied()
            .find(|item| named(item).eq_ignore_ascii_case(wanted))
            .ok_or_else(|| (wanted.clone(), all.iter().map(named).collect::<Vec<_>>().join(", ")))
    };
    wanted.iter().map(find).collect()
}

/// Chooses a certificate by the client's server name.
#[derive(Debug)]
struct Names {
    keys: Vec<(Option<Facts>, Arc<CertifiedKey>)>,
}

impl Names {
    fn new(certificates: Vec<(Vec<CertificateDer<'static>>, Arc<dyn SigningKey>)>) -> Result<Self, TlsError> {
        let mut keys = Vec::new();
        for (chain, key) in certificates {
            let facts = chain.first().and_then(|leaf| motte_pki::inspect(leaf));
            if facts.is_none() {
                return Err(TlsError::Certificate);
            }
            let certified = CertifiedKey::new(chain, key);
            match certified.keys_match() {
                // A key that does not tell its public half cannot be compared.
                Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {}
                Err(error) => return Err(TlsError::Key(error)),
            }
            keys.push((facts, Arc::new(certified)));
        }
        if keys.is_empty() { Err(TlsError::Certificate) } else { Ok(Self { keys }) }
    }
}

impl ResolvesServerCert for Names {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let named = hello.server_name().and_then(|name| {
            self.keys.iter().find(|(facts, _)| facts.as_ref().is_some_and(|facts| facts.covers(name)))
        });
        named.or_else(|| self.keys.first()).map(|(_, key)| Arc::clone(key))
    }
}
