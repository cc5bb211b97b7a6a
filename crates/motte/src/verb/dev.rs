//! `motte dev`: plaintext, anonymous, everything permitted, on this machine only.

use std::net::SocketAddr;

use motte_access::{CompiledPolicy, PolicyGeneration};
use motte_config::{Config, Durability, Endpoint, Kind, Listener, LogFormat, SandboxMode, WebSocket};
use motte_server::{Options, SelfConfinement, Server};

use crate::cli::DevArgs;
use crate::verb::Fault;
use crate::verb::connecting::read;
use crate::verb::serve::wait;

pub(crate) fn run(args: &DevArgs) -> Result<(), Fault> {
    for address in [Some(args.bind), args.ws].into_iter().flatten() {
        if !address.ip().to_canonical().is_loopback() {
            let what = format!(
                "development mode does not listen on {address}: it has no encryption and no authentication"
            );
            return Err(Fault::with_remedy(
                what,
                "use 127.0.0.1 or [::1], or `motte up --bind` for a secured broker",
            ));
        }
    }
    let config = config(args)?;
    let again = config.clone();
    let options = Options {
        signals: true,
        policy: Some(CompiledPolicy::development_allow_all(PolicyGeneration(1))),
        confine: Some(SelfConfinement::default()),
        read_config: Some(Box::new(move || Ok(again.clone()))),
        ..Options::default()
    };
    let server = Server::start(config, options).map_err(|error| Fault::new(error.to_string()))?;
    for bound in server.addresses() {
        println!("motte dev: {} on {} (no encryption, no authentication)", bound.listener, bound.address);
    }
    wait(server)
}

fn config(args: &DevArgs) -> Result<Config, Fault> {
    let mut config = match &args.config {
        Some(path) => motte_config::parse_development(&read(path)?, &path.display().to_string())
            .map_err(|errors| Fault::new(errors.to_string()))?,
        None => Config::default(),
    };
    config.state_dir.clone_from(&args.state);
    if args.state.is_none() {
        config.limits.durability = Durability::Memory;
    }
    // Everybody comes from this machine.
    config.limits.connections_per_address_max = config.limits.connections_max;
    config.workers = args.workers;
    // Development goes on on every kernel.
    config.sandbox.mode = Some(SandboxMode::BestEffort);
    if args.json {
        config.log_format = LogFormat::Json;
    }
    config.listeners.push(listener("mqtt", Kind::Tcp, args.bind, &config));
    if let Some(address) = args.ws {
        config.listeners.push(listener("websocket", Kind::Ws, address, &config));
    }
    Ok(config)
}

fn listener(name: &str, kind: Kind, address: SocketAddr, config: &Config) -> Listener {
    let mut listener = Listener::new(name, kind, vec![Endpoint::Tcp(address)], config.limits.clone());
    listener.anonymous = true;
    listener.methods = Vec::new();
    if kind == Kind::Ws {
        listener.websocket = Some(WebSocket { path: "/mqtt".into(), origins: vec!["*".into()] });
    }
    listener
}
