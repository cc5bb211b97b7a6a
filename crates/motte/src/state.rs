//! The state directory of `motte up`: what is in it, and how it is made.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::Write;
use std::net::{IpAddr, UdpSocket};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use motte_event::{Event, device};
use motte_pki::{Authority, Issued, RevocationFacts, Revoked, certificates, inspect};
use motte_seal::SecretString;

use crate::verb::Fault;

/// The policy that `motte up` begins with.
const POLICY: &str = include_str!("policy.toml");

/// A state directory.
#[derive(Debug, Clone)]
pub(crate) struct State {
    pub(crate) dir: PathBuf,
}

/// What was made when a state directory was opened: for people, and for the log.
#[derive(Debug, Default)]
pub(crate) struct Made {
    pub(crate) lines: Vec<String>,
    pub(crate) events: Vec<Event>,
}

impl Made {
    fn add(&mut self, line: String, event: Event) {
        self.lines.push(line);
        self.events.push(event);
    }
}

impl State {
    pub(crate) fn at(dir: &Path) -> Self {
        Self { dir: dir.to_path_buf() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    pub(crate) fn identity(&self, name: &str) -> (PathBuf, PathBuf) {
        let dir = self.dir.join("identities").join(name);
        (dir.join("cert.pem"), dir.join("key.pem"))
    }

    /// Makes what is missing: the credentials, and the policy.
    pub(crate) fn open(&self, names: &[String]) -> Result<Made, Fault> {
        let mut made = self.open_credentials(names)?;
        if !self.path("policy.toml").exists() {
            self.write("policy.toml", POLICY.as_bytes(), 0o600)?;
            made.lines.push("a least-privilege policy: policy.toml".into());
        }
        Ok(made)
    }

    /// Makes what is missing: authority, server certificate, operator, first device, revocation list, password file.
    pub(crate) fn open_credentials(&self, names: &[String]) -> Result<Made, Fault> {
        let mut made = Made::default();
        Self::make_dir(&self.dir)?;
        let now_s = now_s();
        if !self.path("ca.pem").exists() {
            let (_, issued) = Authority::create(&format!("Motte {}", host_name()), now_s)
                .map_err(|error| Fault::new(error.to_string()))?;
            self.write_secret("ca.key", &issued.key_pem)?;
            self.write("ca.pem", issued.certificate_pem.as_bytes(), 0o644)?;
            let event = device::authority_created(&self.path("ca.pem").display().to_string());
            made.add("a private certificate authority: ca.pem, ca.key".into(), event);
        }
        self.server_certificate(names, now_s, &mut made)?;
        for (name, unit) in [("operator", "operator"), ("device-1", "device")] {
            if !self.identity(name).0.exists() {
                self.issue_identity(name, unit, now_s)?;
                let line = format!("the credential of {name}: identities/{name}/cert.pem, key.pem");
                made.add(line, device::identity_created(name, unit));
            }
        }
        self.revocation_list(now_s)?;
        if !self.path("passwords").exists() {
            let empty = motte_identity::PasswordFile::default().to_string();
            self.write("passwords", empty.as_bytes(), 0o600)?;
        }
        Ok(made)
    }

    /// Issues a client certificate of this state's authority.
    pub(crate) fn issue_identity(&self, name: &str, unit: &str, now_s: u64) -> Result<(), Fault> {
        let issued =
            self.authority()?.client(name, unit, now_s).map_err(|error| Fault::new(error.to_string()))?;
        let dir = self.dir.join("identities");
        Self::make_dir(&dir)?;
        Self::make_dir(&dir.join(name))?;
        self.write_secret(&format!("identities/{name}/key.pem"), &issued.key_pem)?;
        self.write(&format!("identities/{name}/cert.pem"), issued.certificate_pem.as_bytes(), 0o644)
    }

    /// A revocation list that is good for a year at least; an empty one at first.
    fn revocation_list(&self, now_s: u64) -> Result<(), Fault> {
        let facts = self.revoked()?;
        if facts.number > 0 && facts.days_left(now_s).is_some_and(|days| days > 365) {
            return Ok(());
        }
        self.write_revocation_list(&facts.revoked, facts.number + 1, now_s)
    }

    /// What is revoked so far.
    fn revoked(&self) -> Result<RevocationFacts, Fault> {
        let path = self.path("crl.pem");
        if !path.exists() {
            return Ok(RevocationFacts::default());
        }
        let text = std::fs::read_to_string(&path).ok();
        text.and_then(|pem| motte_pki::revocation_list(&pem)).ok_or_else(|| {
            let what = format!("{} is not a revocation list", path.display());
            Fault::with_remedy(what, "restore it from a copy: without it revoked devices would come in again")
        })
    }

    fn write_revocation_list(&self, revoked: &[Revoked], number: u64, now_s: u64) -> Result<(), Fault> {
        let pem = self
            .authority()?
            .revocation_list(revoked, number, now_s)
            .map_err(|error| Fault::new(error.to_string()))?;
        self.write("crl.pem", pem.as_bytes(), 0o644)
    }

    /// Revokes an identity's certificate and moves it away, so that the name can be issued anew.
    pub(crate) fn revoke_identity(&self, name: &str, now_s: u64) -> Result<PathBuf, Fault> {
        let (certificate, _) = self.identity(name);
        let pem = std::fs::read_to_string(&certificate).map_err(|error| {
            let what = format!("cannot read {}: {error}", certificate.display());
            Fault::with_remedy(what, "check the name; `ls` in identities/ of the state directory shows them")
        })?;
        let serial = certificates(&pem).ok().and_then(|chain| motte_pki::serial_number(chain.first()?));
        let Some(serial) = serial else {
            return Err(Fault::new(format!("{} is not a certificate", certificate.display())));
        };
        let facts = self.revoked()?;
        let mut revoked = facts.revoked;
        let hex: String = serial.iter().map(|byte| format!("{byte:02x}")).collect();
        revoked.retain(|one| one.serial != serial);
        revoked.push(Revoked { serial, at_s: now_s });
        self.write_revocation_list(&revoked, facts.number + 1, now_s)?;
        let (from, to) = (self.dir.join("identities").join(name), self.dir.join("revoked"));
        Self::make_dir(&to)?;
        let to = to.join(format!("{name}-{hex}"));
        std::fs::rename(&from, &to)
            .map_err(|error| Fault::new(format!("cannot move {} away: {error}", from.display())))?;
        Ok(to)
    }

    fn authority(&self) -> Result<Authority, Fault> {
        let read = |name: &str| {
            std::fs::read_to_string(self.path(name)).map_err(|error| {
                let what = format!("cannot read {}: {error}", self.path(name).display());
                Fault::with_remedy(what, "restore the file, or move the state directory away to begin anew")
            })
        };
        let key = SecretString::new(read("ca.key")?);
        Authority::load(&read("ca.pem")?, &key).map_err(|error| Fault::new(error.to_string()))
    }

    /// A server certificate with these names, unless the one that is there has them and is good for 30 days more.
    fn server_certificate(&self, names: &[String], now_s: u64, made: &mut Made) -> Result<(), Fault> {
        let mut wanted = vec!["localhost".to_owned()];
        let host = host_name();
        for name in std::iter::once(&host).chain(names) {
            if name.parse::<IpAddr>().is_err() && !wanted.contains(name) {
                wanted.push(name.clone());
            }
        }
        let present = std::fs::read_to_string(self.path("server.pem")).ok();
        let facts = present.and_then(|pem| certificates(&pem).ok()).and_then(|chain| inspect(chain.first()?));
        let good = facts.as_ref().is_some_and(|facts| {
            facts.days_left(now_s).is_some_and(|days| days > 30)
                && wanted.iter().all(|name| facts.covers(name))
        });
        if good && self.path("server.key").exists() {
            return Ok(());
        }
        let mut addresses: Vec<IpAddr> =
            vec![IpAddr::from([127, 0, 0, 1]), IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1])];
        addresses.extend(own_addresses());
        addresses.extend(names.iter().filter_map(|name| name.parse::<IpAddr>().ok()));
        addresses.sort();
        addresses.dedup();
        // Names that an older certificate had are kept.
        for name in facts.iter().flat_map(|facts| &facts.dns_names) {
            if !wanted.contains(name) {
                wanted.push(name.clone());
            }
        }
        let Issued { certificate_pem, key_pem } = self
            .authority()?
            .server(&wanted, &addresses, now_s)
            .map_err(|error| Fault::with_remedy(error.to_string(), "check each --name"))?;
        self.write_secret("server.key", &key_pem)?;
        self.write("server.pem", certificate_pem.as_bytes(), 0o644)?;
        let line = format!("a server certificate for {}: server.pem, server.key", wanted.join(", "));
        let mut names = wanted;
        names.extend(addresses.iter().map(ToString::to_string));
        let file = self.path("server.pem").display().to_string();
        made.add(line, device::server_certificate_issued(&names.join(", "), &file));
        Ok(())
    }

    pub(crate) fn make_dir(dir: &Path) -> Result<(), Fault> {
        if dir.is_dir() {
            return Ok(());
        }
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|error| {
            let what = format!("cannot make the directory {}: {error}", dir.display());
            Fault::with_remedy(what, "choose another with --state, or mend its permissions")
        })
    }

    fn write_secret(&self, name: &str, secret: &SecretString) -> Result<(), Fault> {
        self.write(name, secret.expose().as_bytes(), 0o600)
    }

    fn write(&self, name: &str, bytes: &[u8], mode: u32) -> Result<(), Fault> {
        write_atomic(&self.path(name), bytes, mode)
    }
}

/// Refuses names that cannot be a directory and a Client Identifier.
pub(crate) fn check_name(name: &str) -> Result<(), Fault> {
    let safe = !name.is_empty()
        && !name.starts_with('.')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
    if safe {
        return Ok(());
    }
    let what = format!("`{}` cannot be the name of a device", name.escape_default());
    Err(Fault::with_remedy(what, "use letters, digits, `-`, `_` and `.`, not first a dot"))
}

/// Writes a file whole or not at all.
pub(crate) fn write_atomic(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Fault> {
    let fault = |error: std::io::Error| {
        let what = format!("cannot write {}: {error}", path.display());
        Fault::with_remedy(what, "check free space and the permissions of the directory")
    };
    // The whole name and more: an access control that goes by names tells the key's from the certificate's.
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".tmp");
    let temporary = PathBuf::from(temporary);
    // A left-over of an interrupted write may have other permissions.
    let _ = std::fs::remove_file(&temporary);
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary).map_err(fault)?;
    // What root changes still is its owner's: the broker's user has to read it.
    if rustix::process::geteuid().is_root()
        && let Ok(former) = std::fs::symlink_metadata(path)
        && former.is_file()
    {
        fchown(&file, Some(former.uid()), Some(former.gid())).map_err(fault)?;
    }
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(fault)?;
    std::fs::rename(&temporary, path).map_err(fault)?;
    let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty());
    File::open(directory.unwrap_or(Path::new("."))).and_then(|directory| directory.sync_all()).map_err(fault)
}

/// Unix seconds now.
pub(crate) fn now_s() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn host_name() -> String {
    let uname = rustix::system::uname();
    let name = uname.nodename().to_string_lossy().to_ascii_lowercase();
    let valid = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.'));
    if valid { name } else { "localhost".into() }
}

/// The addresses by which this machine reaches others. Asking the routing table sends nothing.
fn own_addresses() -> Vec<IpAddr> {
    let probe = |from: &str, to: &str| {
        let socket = UdpSocket::bind(from).ok()?;
        socket.connect(to).ok()?;
        socket.local_addr().ok().map(|address| address.ip())
    };
    [probe("0.0.0.0:0", "192.0.2.1:9"), probe("[::]:0", "[2001:db8::1]:9")].into_iter().flatten().collect()
}
