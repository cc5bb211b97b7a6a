//! A broker that is reached through a tunnel of WireGuard only: two network namespaces, joined by a pair of veth, with wireguard-go
//! in each and what `motte tunnel wg` wrote. Needs root, for the namespaces.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use motte_testkit::{Broker, binary, finish, wait_until};

use crate::keys::shell;

const POLICY: &str = "version = 1
[role.device]
rules = [{ allow = [\"publish\"], topics = [\"devices/{identity}/#\"] }]
[authenticated]
roles = [\"device\"]
";

const CONFIG: &str = "state_dir = \"motte-state/store\"
[log]
format = \"json\"
[policy]
files = [\"policy.toml\"]
[[listener]]
name = \"tunnel\"
kind = \"tls\"
bind = [\"10.77.0.1:8883\"]
[listener.tls]
certificates = [{ chain = \"motte-state/server.pem\", key = \"motte-state/server.key\" }]
client_certificates = \"required\"
client_ca = [\"motte-state/ca.pem\"]
";

/// What wireguard-go needs of the kernel.
const TUN: &str = "/dev/net/tun";

/// Two namespaces and the processes in them; gone when this is dropped, each by its own name or number.
struct Lab {
    host: String,
    device: String,
    /// Interfaces of WireGuard: their sockets lie in one directory, whatever the namespace.
    ends: [String; 2],
    tunnels: Vec<Child>,
}

fn within(namespace: &str, words: &[&str]) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", namespace]).args(words);
    command
}

impl Lab {
    fn start() -> Self {
        for tool in ["wireguard-go", "wg", "wg-quick", "ip"] {
            let there = finish(Command::new("sh").args(["-c", &format!("command -v {tool}")])).0;
            assert!(there, "{tool} is missing; run interop/setup.sh");
        }
        let own = std::process::id();
        let lab = Self {
            host: format!("motte-host-{own}"),
            device: format!("motte-device-{own}"),
            ends: [format!("wgh{own}"), format!("wgd{own}")],
            tunnels: Vec::new(),
        };
        let (host, device) = (&lab.host, &lab.device);
        let root = Path::new("/");
        shell(root, &format!("ip netns add {host}; ip netns add {device}"));
        shell(
            root,
            &format!(
                "ip link add vh{own} netns {host} type veth peer name vd{own} netns {device}
                 ip -n {host} addr add 192.168.77.1/30 dev vh{own}; ip -n {host} link set vh{own} up; ip -n {host} link set lo up
                 ip -n {device} addr add 192.168.77.2/30 dev vd{own}; ip -n {device} link set vd{own} up"
            ),
        );
        lab
    }

    /// Starts wireguard-go in both, the host with its configuration.
    fn raise(&mut self, conf: &Path) {
        for (namespace, end) in [&self.host, &self.device].into_iter().zip(&self.ends) {
            let mut command = within(namespace, &["wireguard-go", "-f", end]);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            self.tunnels.push(command.spawn().expect("it is there"));
        }
        for (namespace, end) in [&self.host, &self.device].into_iter().zip(&self.ends) {
            wait_until("wireguard-go answers", || finish(&mut within(namespace, &["wg", "show", end])).0);
        }
        configure(&self.host, &self.ends[0], conf, "10.77.0.1/24");
    }

    /// Makes the device's end another device.
    fn become_device(&self, conf: &Path, address: &str) {
        shell(Path::new("/"), &format!("ip -n {} addr flush dev {}", self.device, self.ends[1]));
        configure(&self.device, &self.ends[1], conf, &format!("{address}/32"));
        shell(
            Path::new("/"),
            &format!("ip -n {} route replace 10.77.0.0/24 dev {}", self.device, self.ends[1]),
        );
    }
}

/// As `wg-quick up` would, but for the name of the interface.
fn configure(namespace: &str, end: &str, conf: &Path, address: &str) {
    let conf = conf.display();
    shell(
        Path::new("/"),
        &format!(
            "wg-quick strip {conf} | ip netns exec {namespace} wg setconf {end} /dev/stdin
             ip -n {namespace} addr add {address} dev {end}; ip -n {namespace} link set {end} up"
        ),
    );
}

impl Drop for Lab {
    fn drop(&mut self) {
        for tunnel in &mut self.tunnels {
            // `ip netns exec` became wireguard-go, so this is its number.
            let _ = tunnel.kill();
            let _ = tunnel.wait();
        }
        for namespace in [&self.host, &self.device] {
            let _ = finish(Command::new("ip").args(["netns", "del", namespace]));
        }
        for end in &self.ends {
            let _ = std::fs::remove_file(format!("/var/run/wireguard/{end}.sock"));
        }
    }
}

fn motte(dir: &Path, words: &[&str]) -> String {
    let (good, text) = finish(Command::new(binary()).current_dir(dir).args(words));
    assert!(good, "{words:?}: {text}");
    text
}

/// Publishes from the device's namespace with the credential of an identity; whether that went well, and what was said.
fn publish(
    lab: &Lab,
    dir: &Path,
    host: &str,
    identity: &str,
    client_id: &str,
    more: &[&str],
) -> (bool, String) {
    let own = format!("motte-state/identities/{identity}");
    let mut command =
        within(&lab.device, &["timeout", "20", "mosquitto_pub", "-V", "5", "-q", "1", "-h", host]);
    command.args(["-p", "8883", "--cafile", "motte-state/ca.pem", "--cert", &format!("{own}/cert.pem")]);
    command.args(["--key", &format!("{own}/key.pem"), "-i", client_id, "-m", "1"]);
    command.args(["-t", &format!("devices/{identity}/x")]).args(more);
    finish(command.current_dir(dir))
}

#[test]
fn a_broker_is_reached_through_the_tunnel_only_and_each_device_by_its_own_address_and_name() {
    if !Path::new(TUN).exists() {
        // No package brings it.
        eprintln!("no tunnel was tried: this machine's kernel has no {TUN}");
        return;
    }
    let dir = tempfile::tempdir().expect("a temporary directory");
    let dir = dir.path();
    motte(dir, &["init", "--name", "10.77.0.1", "--name", "192.168.77.1"]);
    motte(dir, &["tunnel", "wg", "init", "--endpoint", "192.168.77.1:51820"]);
    for device in ["pump", "valve"] {
        motte(dir, &["device", "add", device]);
        motte(dir, &["tunnel", "wg", "add", device, "--preshared-key"]);
        motte(dir, &["tunnel", "wg", "export", device, "--out", &format!("{device}.conf")]);
    }
    let bound = motte(dir, &["tunnel", "wg", "list", "--policy"]);
    std::fs::write(dir.join("policy.toml"), format!("{POLICY}{bound}")).expect("ours");
    std::fs::write(dir.join("motte.toml"), CONFIG).expect("ours");

    let mut lab = Lab::start();
    lab.raise(&dir.join("motte-state/tunnel/wg0.conf"));
    let mut command = within(&lab.host, &[]);
    command
        .arg(binary())
        .args(["serve", "--config", "motte.toml"])
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    let broker = Broker::of(dir, command);
    broker.event("life.listening");

    lab.become_device(&dir.join("pump.conf"), "10.77.0.2");
    // Outside of the tunnel nothing listens, whoever asks.
    let (good, text) = publish(&lab, dir, "192.168.77.1", "pump", "pump", &[]);
    assert!(!good && text.to_lowercase().contains("refused"), "{text}");
    assert!(broker.events("gate.handshake_done").is_empty(), "nobody came so far");

    let (good, text) = publish(&lab, dir, "10.77.0.1", "pump", "pump", &[]);
    assert!(good, "through the tunnel: {text}");
    let came = broker.event("gate.authenticated");
    assert_eq!((came.field("identity"), came.field("address")), ("pump".to_owned(), "10.77.0.2".to_owned()));

    // A valid tunnel and a valid certificate, with the Client Identifier of another device.
    for other in ["valve", "pump-2"] {
        let (good, text) = publish(&lab, dir, "10.77.0.1", "pump", other, &[]);
        assert!(!good, "{other}: {text}");
        broker.event_where("gate.client_id_refused", |event| event.field("client_id") == other);
    }
    // Somebody who has the other's credential, in a tunnel of its own.
    let (good, text) = publish(&lab, dir, "10.77.0.1", "valve", "valve", &[]);
    assert!(!good, "{text}");
    let refused = broker.event("gate.source_refused");
    assert_eq!(
        (refused.field("identity"), refused.field("address")),
        ("valve".to_owned(), "10.77.0.2".to_owned())
    );
    // Nor does it get anywhere with the other's address: the tunnel lets out of a peer only what is from its address.
    shell(Path::new("/"), &format!("ip -n {} addr add 10.77.0.3/32 dev {}", lab.device, lab.ends[1]));
    let (good, text) = publish(&lab, dir, "10.77.0.1", "valve", "valve", &["-A", "10.77.0.3"]);
    assert!(!good, "{text}");
    assert_eq!(broker.events("gate.authenticated").len(), 1, "nobody else came in");

    // The other device itself comes in, by its own tunnel and address.
    lab.become_device(&dir.join("valve.conf"), "10.77.0.3");
    let (good, text) = publish(&lab, dir, "10.77.0.1", "valve", "valve", &["-A", "10.77.0.3"]);
    assert!(good, "{text}");
    let came = broker.event_where("gate.authenticated", |event| event.field("identity") == "valve");
    assert_eq!(came.field("address"), "10.77.0.3");
    assert!(broker.terminate());
}
