//! `motte tunnel wg`: a network of WireGuard between this host and its devices, with one address for each.

mod conf;
mod keys;
mod record;

use std::fs::OpenOptions;
use std::io::Write as _;
use std::net::{Ipv6Addr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use motte_seal::SecretString;

use crate::cli::{TunnelArgs, TunnelKind, WgAction};
use crate::state::{State, check_name};
use crate::verb::Fault;
use record::{Device, Record, Tunnel};

/// Most characters of a device's name: it is part of the names of files.
const NAME_MAX: usize = 128;

pub(crate) fn run(args: &TunnelArgs) -> Result<(), Fault> {
    let TunnelKind::Wg { action } = &args.kind;
    match action {
        WgAction::Init { network, endpoint, listen_port, state } => {
            let port = endpoint_port(endpoint)?;
            let record =
                Record::new(network, endpoint, listen_port.filter(|port| *port > 0).unwrap_or(port))?;
            init(&Tunnel::create(&State::at(state), record)?)
        }
        WgAction::Add { device, public_key, preshared_key, state } => {
            add(&mut Tunnel::open(&State::at(state))?, device, public_key.as_deref(), *preshared_key)
        }
        WgAction::Export { device, out, rekey, state } => {
            export(&mut Tunnel::open(&State::at(state))?, device, out, *rekey)
        }
        WgAction::List { policy, state } => list(&Tunnel::open(&State::at(state))?, *policy),
        WgAction::Remove { device, state } => remove(&mut Tunnel::open(&State::at(state))?, device),
    }
}

fn init(tunnel: &Tunnel) -> Result<(), Fault> {
    let host = tunnel.record.host()?;
    println!("made a tunnel with the addresses {}; this host has {host}", tunnel.record.network);
    println!("  configuration  {} (it has the key of this host)", tunnel.host_conf().display());
    println!(
        "bring it up with `wg-quick up {}`, and let a listener listen there only:",
        tunnel.host_conf().display()
    );
    println!("  bind = [\"{}\"]", SocketAddr::new(host, 8883));
    println!("  allow = [\"{}\"]", tunnel.record.network);
    println!("its certificate has to have the address: `motte init --name {host}`");
    Ok(())
}

fn add(tunnel: &mut Tunnel, name: &str, public_key: Option<&str>, preshared: bool) -> Result<(), Fault> {
    check_device(name)?;
    if tunnel.record.devices.iter().any(|device| device.name == name) {
        let what = format!("the tunnel has a device `{name}` already");
        return Err(Fault::with_remedy(what, "choose another name, or `motte tunnel wg remove` it first"));
    }
    if let Some(key) = public_key {
        keys::check_public(key)?;
        let host = keys::public_key(&tunnel.host_key()?)?;
        let known = tunnel.record.devices.iter().filter_map(|device| device.public_key.as_deref());
        if known.chain([host.as_str()]).any(|known| known == key) {
            let what = "somebody else in this tunnel has this public key";
            return Err(Fault::with_remedy(what, "let each device make a key of its own"));
        }
    }
    let device = Device {
        name: name.to_owned(),
        address: tunnel.record.free_address()?,
        public_key: public_key.map(str::to_owned),
        preshared_key: preshared,
        own_key: public_key.is_some(),
    };
    if preshared {
        tunnel.keep_preshared_key(name, &keys::preshared_key()?)?;
    }
    println!("{name} has the address {}", device.address);
    if device.own_key {
        println!("its peer is in {}", tunnel.host_conf().display());
    } else {
        println!("it has no key yet: `motte tunnel wg export {name} --out FILE` makes it");
    }
    println!("in the policy, so that it comes from there only, and with its own name:");
    println!("{}", conf::policy(&device));
    tunnel.record.devices.push(device);
    tunnel.save()
}

fn export(tunnel: &mut Tunnel, name: &str, out: &Path, rekey: bool) -> Result<(), Fault> {
    let device = tunnel.record.device(name)?;
    let (own_key, has_key) = (device.own_key, device.public_key.is_some());
    if own_key && rekey {
        let what = format!("`{name}` made its key itself");
        return Err(Fault::with_remedy(what, "remove it, and add it with its new public key"));
    }
    if has_key && !own_key && !rekey {
        let what = format!("`{name}` was exported already, and its private key is kept nowhere here");
        return Err(Fault::with_remedy(
            what,
            "use what was exported, or --rekey: then that lets nobody in any more",
        ));
    }
    let private = if own_key { None } else { Some(keys::private_key()?) };
    if let Some(private) = &private {
        device.public_key = Some(keys::public_key(private)?);
    }
    let device = &*device;
    let device = Device { name: name.to_owned(), public_key: device.public_key.clone(), ..*device };
    let text = conf::of_device(tunnel, &device, private.as_ref())?;
    // The device first: a key that this host knows and nobody has would be of no use.
    write_new(out, &text)?;
    tunnel.save()?;
    println!("wrote {} for {name}, for its owner's eyes only", out.display());
    if private.is_some() {
        println!(
            "its private key is in that file and nowhere else on this host: move it to the device, over a channel you trust, and remove it here"
        );
    }
    println!("its peer is in {}; a running tunnel takes it in with", tunnel.host_conf().display());
    println!("  wg-quick strip {0} | wg syncconf wg0 /dev/stdin", tunnel.host_conf().display());
    Ok(())
}

fn list(tunnel: &Tunnel, policy: bool) -> Result<(), Fault> {
    if policy {
        tunnel.record.devices.iter().for_each(|device| println!("{}", conf::policy(device)));
        return Ok(());
    }
    let host = keys::public_key(&tunnel.host_key()?)?;
    println!("{:<39}  {host}  this host, {}", tunnel.record.host()?, tunnel.record.endpoint);
    for device in &tunnel.record.devices {
        let key = device.public_key.as_deref().unwrap_or("not exported yet");
        println!("{:<39}  {key:<44}  {}", device.address, device.name);
    }
    Ok(())
}

fn remove(tunnel: &mut Tunnel, name: &str) -> Result<(), Fault> {
    let address = tunnel.record.device(name)?.address;
    tunnel.record.devices.retain(|device| device.name != name);
    tunnel.save()?;
    tunnel.forget_preshared_key(name)?;
    println!(
        "{name} is no peer in {} any more; a running tunnel forgets it with",
        tunnel.host_conf().display()
    );
    println!("  wg-quick strip {0} | wg syncconf wg0 /dev/stdin", tunnel.host_conf().display());
    println!(
        "its address {address} may be another device's next: take its lines out of the policy, and revoke its credential"
    );
    Ok(())
}

/// Refuses what cannot be a part of a file's name, a line of a configuration and a Client Identifier.
fn check_device(name: &str) -> Result<(), Fault> {
    if name.len() > NAME_MAX {
        let what = format!("the name has more than {NAME_MAX} characters");
        return Err(Fault::with_remedy(what, "choose a shorter one"));
    }
    check_name(name)
}

/// The port of an endpoint, which must be one that can stand in a line of a configuration.
fn endpoint_port(text: &str) -> Result<u16, Fault> {
    let (host, port) = text.rsplit_once(':').unwrap_or((text, ""));
    let name = |host: &str| {
        !host.is_empty()
            && host.len() <= 253
            && !host.starts_with('-')
            && host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.'))
    };
    let inner = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let good = inner.map_or_else(|| name(host), |inner| inner.parse::<Ipv6Addr>().is_ok());
    let port = port.parse::<u16>().ok().filter(|port| good && *port > 0);
    port.ok_or_else(|| {
        let what = format!("`{}` is not an endpoint", text.escape_default());
        Fault::with_remedy(what, "write it as vpn.example.org:51820, 192.0.2.1:51820 or [2001:db8::1]:51820")
    })
}

/// Writes a file that was not there, for its owner alone; nothing is left of it when that fails.
fn write_new(path: &Path, text: &SecretString) -> Result<(), Fault> {
    let fault = |error: std::io::Error| {
        let what = format!("cannot write {}: {error}", path.display());
        Fault::with_remedy(what, "name a file that is not there yet, in a directory that is")
    };
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(path).map_err(fault)?;
    file.write_all(text.expose().as_bytes()).and_then(|()| file.sync_all()).map_err(|error| {
        let _ = std::fs::remove_file(path);
        fault(error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_cannot_end_a_line() {
        for good in ["vpn.example.org:51820", "192.0.2.1:1", "[2001:db8::1]:51820"] {
            assert!(endpoint_port(good).is_ok(), "{good}");
        }
        for wrong in [
            "",
            ":1",
            "a:0",
            "a:65536",
            "a",
            "a\nb:1",
            "a:1\n",
            "a b:1",
            "[x]:1",
            "2001:db8::1:1",
            "-a:1",
            "a\r:1",
        ] {
            assert!(endpoint_port(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn networks_have_room_or_are_refused() {
        let record = |network: &str| Record::new(network, "a:1", 1);
        let first = |network: &str| {
            let record = record(network).unwrap();
            (record.host().unwrap().to_string(), record.free_address().unwrap().to_string())
        };
        assert_eq!(first("10.77.0.0/24"), ("10.77.0.1".into(), "10.77.0.2".into()));
        assert_eq!(first("10.77.0.0/31"), ("10.77.0.0".into(), "10.77.0.1".into()));
        assert_eq!(first("fd77::/64"), ("fd77::1".into(), "fd77::2".into()));
        for (wrong, told) in [
            ("10.77.0.1/24", "not the network"),
            ("10.77.0.0", "not a network"),
            ("10.77.0.0/33", "not a network"),
            ("10.77.0.0/24\n", "not a network"),
            ("0.0.0.0/0", "cannot be"),
            ("127.0.0.0/8", "cannot be"),
            ("10.77.0.0/32", "exhausted"),
        ] {
            let fault = record(wrong).unwrap_err().to_string();
            assert!(fault.contains(told) && fault.contains("remedy: "), "{wrong:?}: {fault}");
        }
    }
}
