//! `motte up`: a secured broker from nothing.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use motte_config::{
    AuthMethod, CONTROL_SOCKET, Certificate, ClientCertificates, Config, Endpoint, Kind, Listener,
    ListenerTls, LogFormat, StaleList, TlsVersion,
};
use motte_roles::Configuration;
use motte_server::Bound;

use crate::cli::UpArgs;
use crate::role::supervise::{self, Plan};
use crate::state::{Made, State};
use crate::verb::Fault;
use crate::verb::serve::ask_passphrase;

pub(crate) fn run(args: &UpArgs) -> Result<(), Fault> {
    let state = State::at(&args.state);
    let config = config(args, &state);
    if args.print_config {
        print!("{}", config.to_toml());
        return Ok(());
    }
    let made = state.open(&args.names)?;
    // For people the screen below says what was made.
    if args.json {
        motte_server::write_events(config.log_format, &made.events);
    }
    let written = Configuration { text: config.to_toml(), file: String::new(), base: PathBuf::new() };
    let args = args.clone();
    supervise::run(Plan {
        read: Box::new(move || Ok(written.clone())),
        ask: ask_passphrase(),
        ready: Box::new(move |addresses| print_screen(&args, &state, &made, addresses)),
    })
}

fn config(args: &UpArgs, state: &State) -> Config {
    let mut config = Config {
        // The core may write here, and keys are no business of its.
        state_dir: Some(state.path("store")),
        workers: args.workers,
        password_file: Some(state.path("passwords")),
        policy_files: vec![state.path("policy.toml")],
        ..Config::default()
    };
    config.sandbox.mode = args.sandbox;
    // Beside the store, which is all that the core can write to.
    config.control.socket = Some(state.path(CONTROL_SOCKET));
    if args.json {
        config.log_format = LogFormat::Json;
    }
    let mut bind = vec![Endpoint::Tcp(SocketAddr::new(args.bind, args.port))];
    // `localhost` is both addresses on most machines.
    if args.bind == std::net::IpAddr::from([127, 0, 0, 1]) && args.port != 0 && has_ipv6_loopback() {
        bind.push(Endpoint::Tcp(SocketAddr::new([0, 0, 0, 0, 0, 0, 0, 1].into(), args.port)));
    }
    let mut listener = Listener::new("tls", Kind::Tls, bind, config.limits.clone());
    listener.methods = vec![AuthMethod::Certificate, AuthMethod::Password];
    listener.tls = Some(ListenerTls {
        certificates: vec![Certificate::plain(state.path("server.pem"), state.path("server.key"))],
        versions: vec![TlsVersion::V13, TlsVersion::V12],
        suites: Vec::new(),
        groups: Vec::new(),
        client_certificates: ClientCertificates::Optional,
        client_ca: vec![state.path("ca.pem")],
        authorities: Vec::new(),
        crl: vec![state.path("crl.pem")],
        crl_url: Vec::new(),
        crl_stale: StaleList::default(),
        crl_refresh_s: 3_600,
        ocsp: None,
    });
    config.listeners.push(listener);
    config
}

fn has_ipv6_loopback() -> bool {
    std::net::TcpListener::bind("[::1]:0").is_ok()
}

fn print_screen(args: &UpArgs, state: &State, made: &Made, addresses: &[Bound]) {
    let listening: Vec<String> = addresses.iter().map(|bound| bound.address.to_string()).collect();
    println!("motte {} listens with TLS on {}", env!("CARGO_PKG_VERSION"), listening.join(" and "));
    if args.bind.to_canonical().is_loopback() {
        println!("only this machine reaches it; --bind ADDRESS opens it to the network");
    }
    let dir = state.dir.display();
    if made.lines.is_empty() {
        println!("\nstarted from what is in {dir}");
    } else {
        println!("\nmade in {dir}:");
        for one in &made.lines {
            println!("  {one}");
        }
    }
    println!(
        "nobody is let in without a credential, and nothing is permitted that {dir}/policy.toml does not allow\n"
    );
    let motte = command();
    let port = addresses.iter().find_map(|bound| match bound.address {
        motte_server::BoundAddress::Socket(address) => Some(address.port()),
        motte_server::BoundAddress::Path(_) => None,
    });
    let port = port.unwrap_or(args.port);
    let mut more = if port == 8883 { String::new() } else { format!(" -p {port}") };
    if args.state != Path::new("motte-state") {
        more.push_str(&format!(" --state {dir}"));
    }
    let (certificate, key) = state.identity("device-1");
    println!("try it, each in a terminal of its own:");
    println!("  {motte} sub --as operator{more} -v -t 'devices/#'");
    println!("  {motte} pub --as device-1{more} -t devices/device-1/hello -m 'hello'");
    println!(
        "  mosquitto_sub -h localhost -p {port} --cafile {} --cert {} --key {} -i device-1-sub -t 'devices/device-1/#'",
        state.path("ca.pem").display(),
        certificate.display(),
        key.display()
    );
    println!(
        "another device:  {motte} device add NAME{}",
        if more.contains("--state") { format!(" --state {dir}") } else { String::new() }
    );
    println!("stop with Ctrl-C; events follow\n");
}

/// How this command is called from here.
fn command() -> String {
    let called = std::env::args().next().unwrap_or_else(|| "motte".into());
    // Called by its name alone, or by a path that works from here.
    if !called.contains('/') || Path::new(&called).exists() {
        return called;
    }
    "motte".into()
}
