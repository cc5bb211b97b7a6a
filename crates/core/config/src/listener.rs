//! Listeners as meant.

use std::net::SocketAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use jiff::civil::Date;
use toml::Spanned;

use crate::certificate_identity::CertificateIdentity;
use crate::duration::date;
use crate::error::Faults;
use crate::limits::Limits;
use crate::listener_tls::{ClientAuthority, StaleList, tls};
use crate::method::AuthMethod;
use crate::ocsp::Ocsp;
use crate::url::Url;
use crate::written::{ListenerAuthWritten, ListenerWritten};

/// Where a listener listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// An address and port; port 0 lets the system choose.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

impl Endpoint {
    /// Whether only this machine reaches it.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().to_canonical().is_loopback(),
            Self::Unix(_) => true,
        }
    }
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// What is spoken below MQTT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// TCP.
    Tcp,
    /// TLS over TCP.
    Tls,
    /// WebSocket over TCP.
    Ws,
    /// WebSocket over TLS.
    Wss,
    /// A Unix socket.
    Unix,
}

impl Kind {
    /// Whether TLS is below.
    pub fn is_encrypted(self) -> bool {
        matches!(self, Self::Tls | Self::Wss)
    }

    /// Whether WebSocket is below.
    pub fn is_websocket(self) -> bool {
        matches!(self, Self::Ws | Self::Wss)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Ws => "ws",
            Self::Wss => "wss",
            Self::Unix => "unix",
        }
    }
}

/// A TLS version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsVersion {
    /// 1.2
    V12,
    /// 1.3
    V13,
}

/// Whether clients show certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientCertificates {
    /// They are not asked.
    None,
    /// They may.
    Optional,
    /// They must.
    Required,
}

/// A certificate and where its key is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// PEM file with the certificate and its intermediates.
    pub chain: PathBuf,
    /// PEM file with the key.
    pub key: PathBuf,
    /// File with the key's passphrase.
    pub passphrase_file: Option<PathBuf>,
    /// Name of a systemd credential with the passphrase.
    pub passphrase_credential: Option<String>,
    /// File descriptor to read the passphrase from.
    pub passphrase_fd: Option<u32>,
    /// Ask for the passphrase at the terminal.
    pub passphrase_prompt: bool,
}

/// TLS of a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerTls {
    /// Certificates; the client's server name chooses, the first is the default.
    pub certificates: Vec<Certificate>,
    /// Versions, at least one.
    pub versions: Vec<TlsVersion>,
    /// Names of cipher suites; empty: all that are strong.
    pub suites: Vec<String>,
    /// Names of key exchange groups; empty: the hybrid post-quantum group first, then the classical ones.
    pub groups: Vec<String>,
    /// Whether clients show certificates.
    pub client_certificates: ClientCertificates,
    /// PEM files of authorities that client certificates come from.
    pub client_ca: Vec<PathBuf>,
    /// Authorities of client certificates that may speak for some identities only.
    pub authorities: Vec<ClientAuthority>,
    /// PEM files with revocation lists, or directories of such files.
    pub crl: Vec<PathBuf>,
    /// Addresses that revocation lists are fetched from.
    pub crl_url: Vec<Url>,
    /// What a revocation list that is missing or past its end means.
    pub crl_stale: StaleList,
    /// How often lists are fetched at least, in seconds.
    pub crl_refresh_s: u32,
    /// Who is asked about certificates of clients whose authority has no responder of its own.
    pub ocsp: Option<Ocsp>,
}

/// WebSocket of a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebSocket {
    /// Path of the request.
    pub path: String,
    /// Origins that browsers may come from; empty: no browser page of another origin.
    pub origins: Vec<String>,
}

/// PROXY protocol of a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyProtocol {
    /// Addresses of proxies; only they may connect.
    pub from: Vec<IpNet>,
}

/// A listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Its name, unique.
    pub name: String,
    /// What is spoken.
    pub kind: Kind,
    /// Where.
    pub bind: Vec<Endpoint>,
    /// TLS, exactly for encrypted kinds.
    pub tls: Option<ListenerTls>,
    /// Methods of which one is enough, in order.
    pub methods: Vec<AuthMethod>,
    /// Methods that are all needed.
    pub all_of: Vec<AuthMethod>,
    /// Which name of a certificate is the identity.
    pub certificate_identity: CertificateIdentity,
    /// File with the certificates that identities are pinned to.
    pub certificate_pins: Option<PathBuf>,
    /// Nobody is asked who they are; on local endpoints only.
    pub anonymous: bool,
    /// Policy files of this listener alone, in place of the general ones; `None`: the general ones.
    pub policy_files: Option<Vec<PathBuf>>,
    /// WebSocket, exactly for those kinds.
    pub websocket: Option<WebSocket>,
    /// PROXY protocol.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// Address ranges admitted; empty: all.
    pub allow: Vec<IpNet>,
    /// Address ranges refused; they win.
    pub deny: Vec<IpNet>,
    /// Until when this listener may be open to the network without encryption.
    pub plaintext_until: Option<Date>,
    /// Its limits.
    pub limits: Limits,
}

impl Certificate {
    /// A chain and a key without passphrase.
    pub fn plain(chain: PathBuf, key: PathBuf) -> Self {
        Self {
            chain,
            key,
            passphrase_file: None,
            passphrase_credential: None,
            passphrase_fd: None,
            passphrase_prompt: false,
        }
    }
}

impl Listener {
    /// A listener that asks for passwords, with nothing else said.
    pub fn new(name: &str, kind: Kind, bind: Vec<Endpoint>, limits: Limits) -> Self {
        Self {
            name: name.to_owned(),
            kind,
            bind,
            tls: None,
            methods: vec![AuthMethod::Password],
            all_of: Vec::new(),
            certificate_identity: CertificateIdentity::Cn,
            certificate_pins: None,
            anonymous: false,
            policy_files: None,
            websocket: None,
            proxy_protocol: None,
            allow: Vec::new(),
            deny: Vec::new(),
            plaintext_until: None,
            limits,
        }
    }

    /// Calls `each` with every path of the listener.
    pub(crate) fn for_each_path(&mut self, mut each: impl FnMut(&mut PathBuf)) {
        for endpoint in &mut self.bind {
            if let Endpoint::Unix(path) = endpoint {
                each(path);
            }
        }
        self.policy_files.iter_mut().flatten().chain(&mut self.certificate_pins).for_each(&mut each);
        let Some(tls) = &mut self.tls else { return };
        for certificate in &mut tls.certificates {
            each(&mut certificate.chain);
            each(&mut certificate.key);
            certificate.passphrase_file.iter_mut().for_each(&mut each);
        }
        tls.authorities.iter_mut().map(|one| &mut one.file).for_each(&mut each);
        tls.client_ca.iter_mut().chain(&mut tls.crl).for_each(each);
    }

    pub(crate) fn from_written(
        written: &Spanned<ListenerWritten>,
        defaults: &Limits,
        today: Date,
        faults: &mut Faults<'_>,
    ) -> Option<Self> {
        let at = written.span().start;
        let body = written.get_ref();
        let kind_at = body.kind.span().start;
        let Some(kind) = kind(body.kind.get_ref()) else {
            let what = format!("kind = \"{}\" is not known", body.kind.get_ref());
            faults.add(kind_at, what, "use tcp, tls, ws, wss or unix");
            return None;
        };
        let bind = endpoints(&body.bind, kind, faults);
        if body.bind.is_empty() {
            faults.add(at, "a listener without an address", "write bind = [\"127.0.0.1:8883\"], for example");
        }
        let tls = tls(body.tls.as_ref(), kind, kind_at, faults);
        let (methods, all_of, certificate_identity, anonymous) = auth(body.auth.as_ref(), kind, faults);
        check_auth(body, &bind, tls.as_ref(), &methods, &all_of, anonymous, faults);
        let plaintext_until = plaintext(body, kind, &bind, today, faults);
        if let Some(websocket) = &body.websocket
            && !kind.is_websocket()
        {
            faults.add(
                websocket.span().start,
                "[listener.websocket] on a listener that is not ws or wss",
                "remove it, or set kind to ws or wss",
            );
        }
        let websocket = kind.is_websocket().then(|| match &body.websocket {
            Some(written) => WebSocket {
                path: written.get_ref().path.clone().unwrap_or_else(|| "/mqtt".into()),
                origins: written.get_ref().origins.clone(),
            },
            None => WebSocket { path: "/mqtt".into(), origins: Vec::new() },
        });
        Some(Self {
            name: body.name.get_ref().clone(),
            kind,
            bind,
            tls,
            methods,
            all_of,
            certificate_identity,
            certificate_pins: body.auth.as_ref().and_then(|auth| auth.certificate_pins.clone()),
            anonymous,
            policy_files: body.policy.as_ref().map(|policy| policy.files.clone()),
            websocket,
            proxy_protocol: body
                .proxy_protocol
                .as_ref()
                .map(|proxy| ProxyProtocol { from: ranges(&proxy.from, faults) }),
            allow: ranges(&body.allow, faults),
            deny: ranges(&body.deny, faults),
            plaintext_until,
            limits: defaults.of_listener(body.limits.as_ref(), body.durability.as_ref(), faults),
        })
    }
}

fn kind(name: &str) -> Option<Kind> {
    [Kind::Tcp, Kind::Tls, Kind::Ws, Kind::Wss, Kind::Unix].into_iter().find(|kind| kind.name() == name)
}

fn endpoints(written: &[Spanned<String>], kind: Kind, faults: &mut Faults<'_>) -> Vec<Endpoint> {
    let mut found = Vec::new();
    for one in written {
        let text = one.get_ref();
        let at = one.span().start;
        match (text.strip_prefix("unix:"), kind == Kind::Unix) {
            (Some(path), true) => found.push(Endpoint::Unix(PathBuf::from(path))),
            (Some(_), false) => {
                faults.add(at, "a Unix socket needs kind = \"unix\"", "change kind, or write address:port");
            }
            (None, true) => {
                faults.add(at, "kind = \"unix\" needs a path", "write bind = [\"unix:/run/motte.sock\"]");
            }
            (None, false) => match text.parse() {
                Ok(address) => found.push(Endpoint::Tcp(address)),
                Err(_) => faults.add(
                    at,
                    format!("`{text}` is not an address and port"),
                    "write 127.0.0.1:8883, 0.0.0.0:8883 or [::]:8883",
                ),
            },
        }
    }
    found
}

type Auth = (Vec<AuthMethod>, Vec<AuthMethod>, CertificateIdentity, bool);

fn auth(written: Option<&ListenerAuthWritten>, kind: Kind, faults: &mut Faults<'_>) -> Auth {
    let usual = if kind.is_encrypted() {
        vec![AuthMethod::Certificate, AuthMethod::Password]
    } else {
        vec![AuthMethod::Password]
    };
    let Some(written) = written else { return (usual, Vec::new(), CertificateIdentity::Cn, false) };
    let mut parse = |words: &[Spanned<String>]| {
        let mut found = Vec::new();
        for word in words {
            match AuthMethod::parse(word.get_ref()) {
                Some(method) => found.push(method),
                None => {
                    let what = format!("method `{}` is not known", word.get_ref());
                    faults.add(word.span().start, what, "use certificate, password, totp, http or jwt");
                }
            }
        }
        found
    };
    let (methods, all_of) = (parse(&written.methods), parse(&written.all_of));
    let certificate_identity =
        CertificateIdentity::from_written(written.certificate_identity.as_ref(), faults);
    let anonymous = written.anonymous.as_ref().is_some_and(|anonymous| *anonymous.get_ref());
    let methods = if methods.is_empty() && !anonymous { usual } else { methods };
    (methods, all_of, certificate_identity, anonymous)
}

fn check_auth(
    body: &ListenerWritten,
    bind: &[Endpoint],
    tls: Option<&ListenerTls>,
    methods: &[AuthMethod],
    all_of: &[AuthMethod],
    anonymous: bool,
    faults: &mut Faults<'_>,
) {
    let at = body.name.span().start;
    if anonymous && (body.proxy_protocol.is_some() || !bind.iter().all(Endpoint::is_local)) {
        let what = "anonymous = true on an address that the network reaches, itself or through a proxy";
        let at =
            body.auth.as_ref().and_then(|auth| auth.anonymous.as_ref()).map_or(at, |word| word.span().start);
        faults.add(at, what, "bind to 127.0.0.1 or a Unix socket, or give each client an identity");
    }
    if anonymous && !(body.auth.as_ref().is_none_or(|auth| auth.methods.is_empty()) && all_of.is_empty()) {
        faults.add(at, "anonymous = true beside methods of authentication", "keep one of them");
    }
    for service in [AuthMethod::Http, AuthMethod::Ldap] {
        if all_of.contains(&service) && all_of.contains(&AuthMethod::Password) {
            let what = format!("{} and password are both about the one password of CONNECT", service.name());
            faults.add(at, what, "keep one of them in all_of");
        }
    }
    if methods.contains(&AuthMethod::Totp)
        || (all_of.contains(&AuthMethod::Totp) && !all_of.contains(&AuthMethod::Password))
    {
        let what = "totp proves nobody by itself";
        faults.add(at, what, "write all_of = [\"password\", \"totp\"]");
    }
    let certificates = tls.map_or(ClientCertificates::None, |tls| tls.client_certificates);
    let stated = body.auth.as_ref().is_some_and(|auth| !auth.methods.is_empty());
    let wants = |list: &[AuthMethod]| list.contains(&AuthMethod::Certificate);
    if certificates == ClientCertificates::None
        && (wants(all_of) || (stated && wants(methods) && methods.len() == 1))
    {
        let what = "certificates are wanted for authentication, and clients are not asked for them";
        faults.add(at, what, "set client_certificates = \"required\" in [listener.tls]");
    }
}

/// Plaintext beyond this machine needs a dated exception.
fn plaintext(
    body: &ListenerWritten,
    kind: Kind,
    bind: &[Endpoint],
    today: Date,
    faults: &mut Faults<'_>,
) -> Option<Date> {
    let until = body.plaintext_until.as_ref().and_then(|written| {
        let parsed = date(written.get_ref());
        match parsed {
            None => faults.add(
                written.span().start,
                "plaintext_until is not a date",
                "write it as \"2027-03-31\"",
            ),
            Some(until) if until < today => faults.add(
                written.span().start,
                format!("the exception for plaintext ended on {until}"),
                "use kind = \"tls\", or renew the exception with a later date",
            ),
            Some(_) => {}
        }
        parsed
    });
    let open = bind.iter().find(|endpoint| !endpoint.is_local());
    if let (Some(endpoint), false, None) = (open, kind.is_encrypted(), until) {
        let at = body.bind.first().map_or(0, |one| one.span().start);
        faults.add(
            at,
            format!("{endpoint} would be open to the network without encryption"),
            "use kind = \"tls\" or bind to 127.0.0.1; if it must be, write plaintext_until = \"<date>\"",
        );
    }
    until
}

fn ranges(written: &[Spanned<String>], faults: &mut Faults<'_>) -> Vec<IpNet> {
    let mut found = Vec::new();
    for one in written {
        let text = one.get_ref();
        match text.parse::<IpNet>().or_else(|_| text.parse::<std::net::IpAddr>().map(IpNet::from)) {
            Ok(net) => found.push(net),
            Err(_) => faults.add(
                one.span().start,
                format!("`{text}` is not an address range"),
                "write it as 10.0.0.0/8 or 2001:db8::/32",
            ),
        }
    }
    found
}
