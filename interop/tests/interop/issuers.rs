//! Tokens of an issuer that is discovered, with the real broker, its confined process that connects out, openssl for signatures and
//! mosquitto as the client.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use motte_testkit::{Broker, Signal, finish, wait_until};
use rustls::{ServerConnection, StreamOwned};

use crate::keys::shell;
use crate::site::{CONFIG, Site, server_config};

const POLICY: &str =
    "version = 1\n[role.plant]\nrules = [{ allow = [\"publish\"], topics = [\"plant/#\"] }]\n";

/// A server of TLS with the certificate of the site, which answers GET with the files of `dir/web`.
fn serve_files(dir: &Path) -> SocketAddr {
    let (config, web) = (server_config(&dir.join("motte-state")), dir.join("web"));
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("it is bound");
    std::thread::spawn(move || {
        for tcp in listener.incoming().flatten() {
            let connection = ServerConnection::new(Arc::clone(&config)).expect("a configuration");
            let mut reader = BufReader::new(StreamOwned::new(connection, tcp));
            let (mut first, mut line) = (String::new(), String::new());
            let _ = reader.read_line(&mut first);
            while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
                line.clear();
            }
            let name = first.split(' ').nth(1).unwrap_or_default().trim_start_matches('/').replace('/', "_");
            let found = std::fs::read(web.join(name));
            let status = if found.is_ok() { "200 OK" } else { "404 Not Found" };
            let body = found.unwrap_or_default();
            let head =
                format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
            let _ = reader.get_mut().write_all(&[head.as_bytes(), &body].concat());
        }
    });
    address
}

/// Makes a key of this name with openssl, and its public half as a JSON Web Key in `NAME.jwk`.
fn make_key(dir: &Path, name: &str) {
    shell(
        dir,
        &format!(
            "umask 077; openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out {name}.key 2>/dev/null
             n=$(openssl rsa -in {name}.key -noout -modulus | cut -d= -f2 | basenc --base16 -d | basenc --base64url -w0 | tr -d =)
             printf '{{\"kty\":\"RSA\",\"use\":\"sig\",\"kid\":\"{name}\",\"n\":\"%s\",\"e\":\"AQAB\"}}' \"$n\" > {name}.jwk"
        ),
    );
}

/// Publishes the keys of these names.
fn publish(dir: &Path, names: &[&str]) {
    let keys =
        names.iter().map(|name| std::fs::read_to_string(dir.join(format!("{name}.jwk"))).expect("made"));
    let set = format!("{{\"keys\":[{}]}}", keys.collect::<Vec<_>>().join(","));
    std::fs::write(dir.join("web/next"), set).expect("ours");
    // As a whole, for it is read meanwhile.
    std::fs::rename(dir.join("web/next"), dir.join("web/keys")).expect("ours");
}

/// A token of `dev-1` that openssl signed with the key of this name.
fn token(dir: &Path, issuer: &str, name: &str, more: &str) -> String {
    shell(
        dir,
        &format!(
            "encode() {{ basenc --base64url -w0 | tr -d =; }}
             head=$(printf '{{\"alg\":\"RS256\",\"typ\":\"JWT\",\"kid\":\"{name}\"}}' | encode)
             claims=$(printf '{{\"iss\":\"{issuer}\",\"aud\":\"motte\",\"sub\":\"dev-1\",\"roles\":[\"plant\"],\"exp\":%s{more}}}' $(($(date +%s) + 600)) | encode)
             printf '%s.%s' \"$head\" \"$claims\" > message
             printf '%s.%s' \"$(cat message)\" \"$(openssl dgst -sha256 -sign {name}.key message | encode)\" > token"
        ),
    );
    std::fs::read_to_string(dir.join("token")).expect("made")
}

#[test]
fn a_discovered_issuer_rotates_its_keys_and_its_tokens_are_taken_from_mosquitto() {
    let dir = tempfile::tempdir().expect("a directory");
    assert!(Broker::up(dir.path()).terminate());
    std::fs::create_dir(dir.path().join("web")).expect("ours");
    std::fs::write(dir.path().join("policy.toml"), POLICY).expect("ours");
    let (home, elsewhere) = (serve_files(dir.path()), serve_files(dir.path()));
    let issuer = format!("https://localhost:{}/realm", home.port());
    let document =
        format!("{{\"issuer\":\"{issuer}\",\"jwks_uri\":\"https://localhost:{}/keys\"}}", elsewhere.port());
    std::fs::write(dir.path().join("web/realm_.well-known_openid-configuration"), document).expect("ours");
    make_key(dir.path(), "k1");
    make_key(dir.path(), "k2");
    publish(dir.path(), &["k1"]);

    let place = CONFIG.find("[[listener]]\nname = \"wss\"").expect("there are several");
    let more = format!(
        "[listener.auth]\nmethods = [\"certificate\", \"jwt\"]\n[sandbox]\nmode = \"required\"\n[[auth.jwt]]\nissuer = \"{issuer}\"\naudience = [\"motte\"]\n\
         discover = true\nkeys_origins = [\"https://localhost:{}\"]\nca = [\"motte-state/ca.pem\"]\nroles_claim = \"roles\"\nroles = [\"plant\"]\n\
         topics_claim = \"topics\"\nkeys_refresh_s = 10\n",
        elsewhere.port()
    );
    let config = CONFIG[..place].replace("motte-state/policy.toml", "policy.toml") + &more;
    let broker = Broker::serve(dir.path(), &config);
    let site = Site { broker, dir };
    let fetched = site.broker.event("life.token_keys_fetched");
    assert_eq!((fetched.field("issuer"), fetched.field("new")), (issuer.clone(), "1".to_owned()));

    let here = site.dir.path();
    let publishes = |token: &str, topic: &str| {
        let port = site.address("tls").port().to_string();
        let arguments = ["-h", "localhost", "-p", &port, "--cafile", "motte-state/ca.pem", "-i", "dev-1"];
        let mut command = Command::new("mosquitto_pub");
        command.current_dir(here).args(arguments).args(["-u", "dev-1", "-P", token, "-V", "5", "-q", "1"]);
        let (good, text) = finish(command.args(["-t", topic, "-m", "21"]));
        good && !text.contains("ailed")
    };
    let old = token(here, &issuer, "k1", "");
    assert!(publishes(&old, "plant/7"));
    assert!(!publishes(&old, "other"), "a role is no more than it says");
    let narrow = token(here, &issuer, "k1", ",\"topics\":{\"publish\":[\"plant/7\",\"other\"]}");
    assert!(publishes(&narrow, "plant/7") && !publishes(&narrow, "plant/8") && !publishes(&narrow, "other"));

    // A key that nobody knows yet is fetched for the token that names it; a removed one stops.
    publish(here, &["k1", "k2"]);
    let new = token(here, &issuer, "k2", "");
    assert!(publishes(&new, "plant/7") && publishes(&old, "plant/7"));
    publish(here, &["k2"]);
    wait_until("the old key is gone", || !publishes(&old, "plant/7"));
    assert!(publishes(&new, "plant/7"));

    // While the process that connects out is away, known keys go on.
    site.broker.signal("egress", Signal::KILL);
    site.broker.event("life.outward_ended");
    assert!(publishes(&new, "plant/7"));
    site.broker.event("life.outward_ready");

    // An issuer that leads elsewhere is not followed.
    let document = format!("{{\"issuer\":\"{issuer}\",\"jwks_uri\":\"https://localhost:1/keys\"}}");
    std::fs::write(site.dir.path().join("web/realm_.well-known_openid-configuration"), document)
        .expect("ours");
    site.broker.hang_up();
    let cause = site.broker.event_where("life.token_keys_unfetched", |event| {
        event.field("cause").contains("https://localhost:1")
    });
    assert!(cause.field("cause").contains("keys_origins"), "{}", cause.field("cause"));
    assert!(publishes(&new, "plant/7"), "what is held goes on");
    assert!(site.broker.terminate());
}
