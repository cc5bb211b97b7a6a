//! Configurations as `wg-quick` reads them, and the lines for the policy. Names and endpoints were checked before: nothing of
//! them ends a line.

use std::fmt::Write as _;

use ipnet::IpNet;
use motte_seal::SecretString;

use super::keys;
use super::record::{Device, Tunnel};
use crate::verb::Fault;

/// Seconds between packets that keep a way through NAT open.
const KEEP_ALIVE_S: u16 = 25;

/// The configuration of this host: one peer for each device that has a key, with one address each.
pub(super) fn of_host(tunnel: &Tunnel) -> Result<SecretString, Fault> {
    let record = &tunnel.record;
    let mut text = format!(
        "# Written by `motte tunnel wg`; what is changed by hand is lost with the next change.\n[Interface]\nPrivateKey = {}\nListenPort = {}\nAddress = {}/{}\n",
        tunnel.host_key()?.expose(),
        record.listen_port,
        record.host()?,
        record.network.prefix_len(),
    );
    for device in &record.devices {
        let Some(public) = &device.public_key else { continue };
        let _ = write!(text, "\n# {}\n[Peer]\nPublicKey = {public}\n", device.name);
        if let Some(secret) = tunnel.preshared_key(device)? {
            let _ = writeln!(text, "PresharedKey = {}", secret.expose());
        }
        let _ = writeln!(text, "AllowedIPs = {}", IpNet::from(device.address));
    }
    Ok(SecretString::new(text))
}

/// The configuration of a device; without its private key where it made that itself.
pub(super) fn of_device(
    tunnel: &Tunnel,
    device: &Device,
    private: Option<&SecretString>,
) -> Result<SecretString, Fault> {
    let record = &tunnel.record;
    let mut text = format!("# {}\n[Interface]\n", device.name);
    match private {
        Some(key) => {
            let _ = writeln!(text, "PrivateKey = {}", key.expose());
        }
        None => text.push_str("# PrivateKey = the one that the device made\n"),
    }
    let _ = write!(text, "Address = {}\n\n[Peer]\n", IpNet::from(device.address));
    let _ = writeln!(text, "PublicKey = {}", keys::public_key(&tunnel.host_key()?)?);
    if let Some(secret) = tunnel.preshared_key(device)? {
        let _ = writeln!(text, "PresharedKey = {}", secret.expose());
    }
    let _ = write!(
        text,
        "AllowedIPs = {}\nEndpoint = {}\nPersistentKeepalive = {KEEP_ALIVE_S}\n",
        IpNet::from(record.host()?),
        record.endpoint
    );
    Ok(SecretString::new(text))
}

/// The lines for the policy that hold a device's identity to its address and to its own name.
pub(super) fn policy(device: &Device) -> String {
    format!(
        "[identity.\"{}\"]\nfrom = [\"{}\"]\nclient_ids = [\"{{identity}}\"]\n",
        device.name,
        IpNet::from(device.address)
    )
}
