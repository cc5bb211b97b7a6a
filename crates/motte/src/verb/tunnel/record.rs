//! What is known of a tunnel: no secrets, but the names of the files that have them.

use std::fs::{File, OpenOptions};
use std::io::Read as _;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use motte_seal::SecretString;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::keys;
use crate::state::{State, write_atomic};
use crate::verb::Fault;

/// Most devices of a tunnel.
const DEVICES_MAX: usize = 10_000;
/// Most bytes of the record; one device takes some 200.
const RECORD_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// Most bytes of a key in base64, with the end of its line.
const KEY_TEXT_MAX: u64 = 64;

/// The tunnel as it is kept.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Record {
    version: u32,
    #[serde(serialize_with = "written", deserialize_with = "parsed")]
    pub(super) network: IpNet,
    pub(super) endpoint: String,
    pub(super) listen_port: u16,
    pub(super) devices: Vec<Device>,
}

/// One device.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Device {
    pub(super) name: String,
    pub(super) address: IpAddr,
    /// None before its key was made.
    pub(super) public_key: Option<String>,
    pub(super) preshared_key: bool,
    /// The device made its key.
    pub(super) own_key: bool,
}

/// A tunnel in a state directory, which this process alone changes until it is dropped.
pub(super) struct Tunnel {
    pub(super) dir: PathBuf,
    pub(super) record: Record,
    _lock: File,
}

impl Record {
    /// # Errors
    /// A network that holds nobody, or is none.
    pub(super) fn new(network: &str, endpoint: &str, listen_port: u16) -> Result<Self, Fault> {
        let remedy = "write it as 10.77.0.0/24 or fd77::/64, with nothing behind the prefix";
        let fault = |what: String| Fault::with_remedy(what, remedy);
        let shown = network.escape_default();
        let network: IpNet =
            network.parse().map_err(|_| fault(format!("`{shown}` is not a network of addresses")))?;
        if network.trunc() != network {
            return Err(fault(format!("`{shown}` is an address in {}, not the network", network.trunc())));
        }
        let first = network.network();
        if network.prefix_len() < 8 || first.is_loopback() || first.is_multicast() {
            return Err(fault(format!("`{shown}` cannot be the network of a tunnel")));
        }
        let record =
            Self { version: 1, network, endpoint: endpoint.to_owned(), listen_port, devices: Vec::new() };
        record.free_address().map(|_| record)
    }

    fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        // The first of a prefix of IPv6 is that of any router (RFC 4291 section 2.6.1).
        let network = self.network;
        let anycast = network.addr().is_ipv6() && network.prefix_len() < 127;
        network.hosts().skip(usize::from(anycast))
    }

    /// The address of this host.
    pub(super) fn host(&self) -> Result<IpAddr, Fault> {
        self.addresses().next().ok_or_else(|| self.exhausted())
    }

    /// The first address that nobody has.
    pub(super) fn free_address(&self) -> Result<IpAddr, Fault> {
        let taken: std::collections::BTreeSet<IpAddr> =
            self.devices.iter().map(|device| device.address).collect();
        if taken.len() >= DEVICES_MAX {
            let what = format!("this tunnel has {DEVICES_MAX} devices, the most it can have");
            return Err(Fault::with_remedy(what, "remove some, or make another tunnel"));
        }
        self.addresses().skip(1).find(|address| !taken.contains(address)).ok_or_else(|| self.exhausted())
    }

    fn exhausted(&self) -> Fault {
        let what = format!("the network {} is exhausted: no address is left for a device", self.network);
        Fault::with_remedy(what, "remove a device, or make a tunnel with a larger network")
    }

    pub(super) fn device(&mut self, name: &str) -> Result<&mut Device, Fault> {
        self.devices.iter_mut().find(|device| device.name == name).ok_or_else(|| {
            Fault::with_remedy(
                format!("the tunnel has no device `{}`", name.escape_default()),
                "`motte tunnel wg list` shows those it has; `motte tunnel wg add` adds one",
            )
        })
    }
}

impl Tunnel {
    /// Makes a tunnel, where there is none yet.
    pub(super) fn create(state: &State, record: Record) -> Result<Self, Fault> {
        State::make_dir(&state.dir)?;
        let dir = state.path("tunnel");
        State::make_dir(&dir)?;
        let lock = lock(&dir)?;
        if dir.join("tunnel.json").exists() {
            let what = format!("{} has a tunnel already", state.dir.display());
            return Err(Fault::with_remedy(
                what,
                "add devices to it, or choose another directory with --state",
            ));
        }
        write_key(&dir.join("host.key"), &keys::private_key()?)?;
        let tunnel = Self { dir, record, _lock: lock };
        tunnel.save()?;
        Ok(tunnel)
    }

    /// Reads the tunnel of a state directory.
    pub(super) fn open(state: &State) -> Result<Self, Fault> {
        let dir = state.path("tunnel");
        let path = dir.join("tunnel.json");
        if !path.exists() {
            let what = format!("{} has no tunnel", state.dir.display());
            return Err(Fault::with_remedy(
                what,
                "make one with `motte tunnel wg init`, or name the directory with --state",
            ));
        }
        let lock = lock(&dir)?;
        let text = read_bounded(&path, RECORD_BYTES_MAX)?;
        let fault = |what: String| {
            Fault::with_remedy(format!("{}: {what}", path.display()), "restore the file from a copy")
        };
        let record: Record = serde_json::from_str(text.expose()).map_err(|error| fault(error.to_string()))?;
        if record.version != 1 {
            return Err(fault(format!("version {} is not known", record.version)));
        }
        // What stands there goes into the lines of configurations and the names of files.
        super::endpoint_port(&record.endpoint)?;
        record.devices.iter().try_for_each(|device| {
            super::check_device(&device.name)?;
            device.public_key.as_deref().map_or(Ok(()), keys::check_public)
        })?;
        Ok(Self { dir, record, _lock: lock })
    }

    /// Keeps the record, and writes the configuration of this host from it.
    pub(super) fn save(&self) -> Result<(), Fault> {
        let text =
            serde_json::to_string_pretty(&self.record).map_err(|error| Fault::new(error.to_string()))?;
        write_atomic(&self.dir.join("tunnel.json"), format!("{text}\n").as_bytes(), 0o600)?;
        let text = super::conf::of_host(self)?;
        write_atomic(&self.host_conf(), text.expose().as_bytes(), 0o600)
    }

    pub(super) fn host_conf(&self) -> PathBuf {
        self.dir.join("wg0.conf")
    }

    pub(super) fn host_key(&self) -> Result<SecretString, Fault> {
        read_key(&self.dir.join("host.key"))
    }

    fn preshared_file(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.psk"))
    }

    pub(super) fn preshared_key(&self, device: &Device) -> Result<Option<SecretString>, Fault> {
        let path = self.preshared_file(&device.name);
        device.preshared_key.then(|| read_key(&path)).transpose()
    }

    pub(super) fn keep_preshared_key(&self, name: &str, key: &SecretString) -> Result<(), Fault> {
        write_key(&self.preshared_file(name), key)
    }

    pub(super) fn forget_preshared_key(&self, name: &str) -> Result<(), Fault> {
        let path = self.preshared_file(name);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                let what = format!("cannot remove {}: {error}", path.display());
                Err(Fault::with_remedy(what, "remove it by hand: nothing needs it any more"))
            }
            _ => Ok(()),
        }
    }
}

fn written<S: Serializer>(network: &IpNet, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(network)
}

fn parsed<'de, D: Deserializer<'de>>(from: D) -> Result<IpNet, D::Error> {
    String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
}

fn lock(dir: &Path) -> Result<File, Fault> {
    let path = dir.join("lock");
    let fault = |error: std::io::Error| {
        let what = format!("cannot lock {}: {error}", path.display());
        Fault::with_remedy(what, "check the permissions of that file and of its directory")
    };
    let mut options = OpenOptions::new();
    let file = options.create(true).truncate(false).write(true).mode(0o600).open(&path).map_err(fault)?;
    flock(&file, FlockOperation::LockExclusive).map_err(|errno| fault(errno.into()))?;
    Ok(file)
}

fn write_key(path: &Path, key: &SecretString) -> Result<(), Fault> {
    let line = SecretString::new(format!("{}\n", key.expose()));
    write_atomic(path, line.expose().as_bytes(), 0o600)
}

/// A key from its file; a public half can be made of it, so it is one line of base64 and nothing else.
fn read_key(path: &Path) -> Result<SecretString, Fault> {
    let text = read_bounded(path, KEY_TEXT_MAX)?;
    let key = SecretString::new(text.expose().trim_end().to_owned());
    keys::public_key(&key)?;
    Ok(key)
}

fn read_bounded(path: &Path, bytes_max: u64) -> Result<SecretString, Fault> {
    let fault = |error: std::io::Error| {
        let what = format!("cannot read {}: {error}", path.display());
        Fault::with_remedy(what, "restore the file from a copy, and check its permissions")
    };
    let mut text = String::new();
    let file = File::open(path).map_err(fault)?;
    file.take(bytes_max.saturating_add(1)).read_to_string(&mut text).map_err(fault)?;
    if text.len() as u64 > bytes_max {
        let what = format!("{} has more than {bytes_max} bytes", path.display());
        return Err(Fault::with_remedy(what, "restore the file from a copy"));
    }
    Ok(SecretString::new(text))
}
