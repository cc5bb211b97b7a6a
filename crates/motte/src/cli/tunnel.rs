//! What can be written behind `motte tunnel`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Args)]
pub(crate) struct TunnelArgs {
    #[command(subcommand)]
    pub(crate) kind: TunnelKind,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TunnelKind {
    /// WireGuard: keys, addresses and configurations for the host of the broker and for each device
    Wg {
        #[command(subcommand)]
        action: WgAction,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum WgAction {
    /// Make the key of this host and its configuration, STATE/tunnel/wg0.conf
    Init {
        /// The addresses of the tunnel; this host has the first, each device one more
        #[arg(long, default_value = "10.77.0.0/24")]
        network: String,
        /// Where devices reach this host: HOST:PORT, as vpn.example.org:51820, 192.0.2.1:51820 or [2001:db8::1]:51820
        #[arg(long, value_name = "HOST:PORT")]
        endpoint: String,
        /// UDP port on which this host listens, where it is not that of the endpoint
        #[arg(long)]
        listen_port: Option<u16>,
        /// The state directory
        #[arg(long, default_value = "motte-state")]
        state: PathBuf,
    },
    /// Give a device an address; its key is made by `export`, or by itself
    Add {
        /// Name of the device: its identity and Client Identifier
        device: String,
        /// The public key that the device made for itself; its private key never leaves it then
        #[arg(long, value_name = "KEY")]
        public_key: Option<String>,
        /// A secret of these two beside their keys, which holds where keys are broken by quantum computers
        #[arg(long)]
        preshared_key: bool,
        /// The state directory
        #[arg(long, default_value = "motte-state")]
        state: PathBuf,
    },
    /// Write the configuration of a device, with a key made for it that is kept nowhere else; mode 0600
    Export {
        /// Name of the device
        device: String,
        /// The file to write; it must not be there yet
        #[arg(long)]
        out: PathBuf,
        /// Make another key for a device that has one already; the former lets nobody in any more
        #[arg(long)]
        rekey: bool,
        /// The state directory
        #[arg(long, default_value = "motte-state")]
        state: PathBuf,
    },
    /// List the devices with their addresses and public keys
    List {
        /// Write the lines for the policy that bind each identity to its address
        #[arg(long)]
        policy: bool,
        /// The state directory
        #[arg(long, default_value = "motte-state")]
        state: PathBuf,
    },
    /// Take a device out of the tunnel
    Remove {
        /// Name of the device
        device: String,
        /// The state directory
        #[arg(long, default_value = "motte-state")]
        state: PathBuf,
    },
}
