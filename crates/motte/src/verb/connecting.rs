//! What `motte pub`, `motte sub` and `motte bench` share: where to connect, as whom, and how.

use std::io::{IsTerminal, Read};
use std::path::Path;

use motte_client::{Accepted, Client, ConnectOptions, OutMessage, WillOptions};
use motte_pki::{certificates, private_key};
use motte_roles::key_file_fault;
use motte_seal::SecretString;
use motte_transport::{ClientStream, ClientTarget, ClientTls};
use motte_wire::{ProtocolVersion, QoS};

use crate::cli::{ConnectArgs, CredentialArgs};
use crate::state::State;
use crate::verb::Fault;

/// Connects as the arguments say.
pub(crate) fn connect(args: &ConnectArgs) -> Result<(Client, Accepted), Fault> {
    let tls = tls(&args.credential)?;
    let port = port(args.port, tls.as_ref());
    let target = match &args.unix {
        Some(path) => ClientTarget::Unix(path.clone()),
        None => ClientTarget::Tcp { host: args.host.clone(), port, websocket: args.ws.clone() },
    };
    if args.unix.is_none() {
        check_clear(&args.host, tls.as_ref(), &args.credential)?;
    }
    let options = options(args)?;
    let stream = ClientStream::connect(&target, tls).map_err(|error| Fault::new(error.to_string()))?;
    Client::connect(stream, &options).map_err(|error| Fault::new(error.to_string()))
}

/// The port that was given, or the one that is usual.
pub(crate) fn port(given: Option<u16>, tls: Option<&ClientTls>) -> u16 {
    given.unwrap_or(if tls.is_some() { 8883 } else { 1883 })
}

/// Refuses to send a password in the clear over a network.
pub(crate) fn check_clear(
    host: &str,
    tls: Option<&ClientTls>,
    credential: &CredentialArgs,
) -> Result<(), Fault> {
    if tls.is_some() || credential.user.is_none() || is_this_machine(host) {
        return Ok(());
    }
    let what = format!("the password of this user would cross the network to {host} in the clear");
    Err(Fault::with_remedy(what, "use TLS: give the server's authority with --ca"))
}

fn is_this_machine(host: &str) -> bool {
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
}

/// TLS as the arguments say; `None`: plain TCP.
pub(crate) fn tls(args: &CredentialArgs) -> Result<Option<ClientTls>, Fault> {
    let state = State::at(&args.state);
    let named = args.identity.as_deref().map(|name| state.identity(name));
    if let (Some(name), Some((certificate, _))) = (&args.identity, &named)
        && !certificate.exists()
    {
        let what = format!("there is no identity `{name}` in {}", args.state.display());
        return Err(Fault::with_remedy(
            what,
            "make it with `motte device add`, or name the directory with --state",
        ));
    }
    let own = match (&args.cert, &args.key) {
        (Some(certificate), Some(key)) => Some((certificate.clone(), key.clone())),
        _ => named,
    };
    let ca = args.ca.clone().or_else(|| args.identity.as_ref().map(|_| state.path("ca.pem")));
    let Some(ca) = ca else {
        if own.is_some() {
            return Err(Fault::with_remedy(
                "a certificate without an authority",
                "give the server's authority with --ca",
            ));
        }
        return Ok(None);
    };
    let roots =
        certificates(&read(&ca)?).map_err(|error| Fault::new(format!("{}: {error}", ca.display())))?;
    let identity = match own {
        Some((certificate, key)) => {
            if let Some(fault) = key_file_fault(&key) {
                return Err(Fault::new(fault));
            }
            let chain = certificates(&read(&certificate)?)
                .map_err(|error| Fault::new(format!("{}: {error}", certificate.display())))?;
            let text = SecretString::new(read(&key)?);
            let key = open_key(&key, &text)?;
            Some((chain, key))
        }
        None => None,
    };
    Ok(Some(ClientTls { roots, identity, server_name: args.tls_name.clone() }))
}

fn open_key(path: &Path, text: &SecretString) -> Result<motte_transport::PrivateKeyDer<'static>, Fault> {
    match private_key(text.expose(), None) {
        Err(motte_pki::PemError::PassphraseMissing) => {
            let passphrase = prompt(&format!("passphrase of {}: ", path.display()), "")?;
            private_key(text.expose(), Some(&passphrase))
        }
        done => done,
    }
    .map_err(|error| Fault::new(format!("{}: {error}", path.display())))
}

fn options(args: &ConnectArgs) -> Result<ConnectOptions, Fault> {
    let credential = &args.credential;
    let id = match (&args.id, &credential.identity, &credential.user) {
        (Some(id), _, _) => id.clone(),
        // An identity may use Client Identifiers that begin with its own name.
        (None, Some(name), _) | (None, None, Some(name)) => format!("{name}-{}", random_suffix()),
        (None, None, None) if args.resume || args.session_expiry.is_some() => {
            return Err(Fault::with_remedy(
                "a Session that is kept needs a name",
                "give a Client Identifier with -i",
            ));
        }
        (None, None, None) => format!("motte-{}", random_suffix()),
    };
    let mut options = ConnectOptions::new(id);
    options.version = match args.version.as_str() {
        "3.1" | "31" => ProtocolVersion::V31,
        "3.1.1" | "311" | "4" => ProtocolVersion::V311,
        "5" | "5.0" => ProtocolVersion::V5,
        other => return Err(Fault::with_remedy(format!("there is no MQTT {other}"), "use 3.1, 3.1.1 or 5")),
    };
    options.clean_start = !args.resume;
    options.session_expiry_s = args.session_expiry;
    options.keep_alive_s = args.keep_alive;
    options.user_name.clone_from(&credential.user);
    options.password = password(credential)?.map(|password| password.expose().as_bytes().to_vec());
    if let Some(topic) = &args.will_topic {
        let mut message = OutMessage::new(topic.clone(), args.will_message.as_bytes());
        message.qos = qos(args.will_qos);
        message.retain = args.will_retain;
        options.will = Some(WillOptions { message, delay_s: args.will_delay });
    }
    Ok(options)
}

/// The password of the user that was given, from the file or the terminal.
pub(crate) fn password(args: &CredentialArgs) -> Result<Option<SecretString>, Fault> {
    match (&args.user, &args.password_file) {
        (Some(_), Some(path)) => read_secret(path).map(Some),
        (Some(user), None) => prompt(&format!("password of {user}: "), "--password-file").map(Some),
        (None, _) => Ok(None),
    }
}

/// QoS from a checked number.
pub(crate) fn qos(number: u8) -> QoS {
    QoS::from_bits(number).unwrap_or(QoS::AtMostOnce)
}

/// Asks for a secret at the terminal; `instead` is the option that gives it in a file, empty where there is none.
pub(crate) fn prompt(question: &str, instead: &str) -> Result<SecretString, Fault> {
    if !std::io::stdin().is_terminal() {
        let what = "a secret is wanted and there is no terminal to ask at";
        if instead.is_empty() {
            return Err(Fault::with_remedy(
                what,
                "run this at a terminal; a configuration may name a passphrase_file instead",
            ));
        }
        return Err(Fault::with_remedy(
            what,
            &format!("give it with {instead} FILE, or `-` for standard input"),
        ));
    }
    rpassword::prompt_password(question)
        .map(SecretString::new)
        .map_err(|error| Fault::new(format!("cannot read from the terminal: {error}")))
}

/// Reads a secret from the first line of a file, or of standard input for `-`.
pub(crate) fn read_secret(path: &Path) -> Result<SecretString, Fault> {
    let text = if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin()
            .read_to_string(&mut text)
            .map_err(|error| Fault::new(format!("cannot read standard input: {error}")))?;
        SecretString::new(text)
    } else {
        SecretString::new(read(path)?)
    };
    Ok(SecretString::new(text.expose().lines().next().unwrap_or_default().to_owned()))
}

/// Reads a text file.
pub(crate) fn read(path: &Path) -> Result<String, Fault> {
    std::fs::read_to_string(path).map_err(|error| {
        Fault::with_remedy(
            format!("cannot read {}: {error}", path.display()),
            "check the path and its permissions",
        )
    })
}

fn random_suffix() -> String {
    let mut bytes = [0_u8; 4];
    // Without randomness the number of the process tells clients of this machine apart.
    if getrandom::fill(&mut bytes).is_err() {
        bytes = std::process::id().to_be_bytes();
    }
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
