//! Configurations as people write them: the good ones, and what each bad one is told.

mod issuers;
mod ldap;
mod ocsp;

use jiff::civil::date;
use motte_config::{Config, ConfigErrors, Durability, parse, parse_development};

const EXAMPLE: &str = include_str!("../../../../../examples/configs/motte.toml");

fn read(text: &str) -> Result<Config, ConfigErrors> {
    parse(text, "motte.toml", date(2026, 11, 21))
}

#[test]
fn every_key_of_the_example_is_taken_and_its_limits_are_the_defaults() {
    let config = read(EXAMPLE).unwrap();
    assert_eq!(config.listeners.len(), 4);
    assert_eq!(config.limits, motte_config::Limits::default());
    assert_eq!(config.listeners[0].limits.packet_bytes_max, 262_144);
}

#[test]
fn the_example_documents_every_key() {
    // The effective configuration of the example names every key there is for limits.
    for line in read(EXAMPLE).unwrap().to_toml().lines() {
        if let Some((key, _)) = line.split_once(" = ") {
            assert!(EXAMPLE.contains(&format!("{key} = ")), "{key} is not in the example");
        }
    }
}

#[test]
fn the_printed_configuration_gives_itself_again() {
    let config = read(EXAMPLE).unwrap();
    assert_eq!(read(&config.to_toml()).unwrap(), config);
}

const TLS: &str = "kind = \"tls\"\nbind = [\"127.0.0.1:1\"]\n[listener.tls]\ncertificates = [{chain=\"c\",key=\"k\"}]\nclient_certificates = \"required\"\n";

#[test]
fn names_of_certificates_and_their_authorities_are_printed_as_they_were_written() {
    for identity in ["cn", "san_dns", "san_uri", "spiffe", "{cn}@{o}", "device-{serial}", "{dns}"] {
        let text = listener(&format!(
            "{TLS}[[listener.tls.authority]]\nfile = \"a.pem\"\nidentities = [\"site-a-*\"]\n[listener.auth]\nmethods = [\"certificate\"]\ncertificate_identity = \"{identity}\"\ncertificate_pins = \"pins\""
        ));
        let config = read(&text).unwrap();
        assert_eq!(config.listeners[0].certificate_identity.written(), identity);
        assert_eq!(read(&config.to_toml()).unwrap(), config, "{identity}");
        assert_eq!(config.files_without_secrets().len(), 3, "chain, authority and pins");
    }
}

fn jwt(more: &str) -> String {
    format!("[auth.jwt]\nissuer = \"i\"\naudience = [\"a\"]\njwks_file = \"keys.json\"\n{more}\n")
}

fn listener(more: &str) -> String {
    format!("[[listener]]\nname = \"a\"\n{more}\n")
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table, one row a fault")]
fn each_fault_is_named_with_its_place_and_remedy() {
    let tcp = "kind = \"tcp\"\nbind = [\"127.0.0.1:1883\"]";
    let cases: &[(String, &[&str])] = &[
        ("workerz = 3".into(), &["motte.toml:1:1: unknown field `workerz`", "did you mean `workers`?"]),
        (
            "[control]\ngroup = \"ops\"".into(),
            &["motte.toml:2:9: the group cannot enter the state directory", "name a socket"],
        ),
        (
            format!("[control]\nsocket = \"/{}\"", "x".repeat(107)),
            &["motte.toml:2:10: a path of 108 bytes can be no socket", "/run/motte/control.sock"],
        ),
        (
            "[roles]\nkeys = \"inside\"\n[control]\nsocket = \"/run/s\"".into(),
            &["motte.toml:4:10: roles.keys = \"inside\" makes one process", "write keys = \"process\""],
        ),
        (
            "[control]\nenabled = false\nsecond_factor = [\"alice\"]".into(),
            &[
                "motte.toml:3:17: there is no control socket on which a code could be given",
                "leave `enabled = false`",
            ],
        ),
        (
            "[roles]\nkeys = \"inside\"\n[control]\nsecond_factor = [\"alice\"]".into(),
            &["motte.toml:4:17: there is no control socket"],
        ),
        (
            "[control]\nsecond_factor = [\"a\", \"a\", \"\"]".into(),
            &[
                "motte.toml:2:17: the account `a` is named twice",
                "the account `` is named twice, or is none",
                "each once",
            ],
        ),
        (
            format!("[control]\nsecond_factor = {:?}", (0..65).map(|n| n.to_string()).collect::<Vec<_>>()),
            &["motte.toml:2:17: 65 accounts are more than may be named", "at most 64"],
        ),
        ("workers = \"x\"".into(), &["motte.toml:1:11: invalid type"]),
        (
            format!("[policy]\nrecord = true\n{}", listener(tcp)),
            &["motte.toml:2:10: record = true, and there is no state directory", "name one with state_dir"],
        ),
        (listener(&format!("{tcp}\n[listener.policy]\nrecord = true")), &["unknown field `record`"]),
        ("workers = 3\n".into(), &["no listener", "add [[listener]]"]),
        (
            listener("kind = \"mqtts\"\nbind = []"),
            &["motte.toml:3:8: kind = \"mqtts\" is not known", "tcp, tls, ws, wss or unix"],
        ),
        (
            listener("kind = \"tls\"\nbind = [\"127.0.0.1:8883\"]"),
            &["kind = \"tls\" needs a certificate", "[listener.tls]"],
        ),
        (
            listener("kind = \"tcp\"\nbind = [\"0.0.0.0:1883\"]"),
            &[
                "motte.toml:4:9: 0.0.0.0:1883 would be open to the network without encryption",
                "plaintext_until",
            ],
        ),
        (
            listener("kind = \"tcp\"\nbind = [\"0.0.0.0:1883\"]\nplaintext_until = \"2026-11-20\""),
            &["the exception for plaintext ended on 2026-11-20"],
        ),
        (
            listener(
                "kind = \"tcp\"\nbind = [\"0.0.0.0:1883\"]\nplaintext_until = \"2027-01-01\"\n[listener.auth]\nanonymous = true",
            ),
            &["anonymous = true on an address that the network reaches"],
        ),
        (listener("kind = \"tcp\"\nbind = [\"1883\"]"), &["`1883` is not an address and port"]),
        (listener("kind = \"unix\"\nbind = [\"127.0.0.1:1\"]"), &["kind = \"unix\" needs a path"]),
        (listener(&format!("{tcp}\n[listener.websocket]")), &["not ws or wss"]),
        (listener(&format!("{tcp}\n[listener.limits]\nmaximum_qos = 3")), &["maximum_qos is above 2"]),
        (
            listener(&format!("{tcp}\n[listener.limits]\nmemory_bytes_max = 2000000")),
            &["memory_bytes_max bounds the whole process", "move it to [limits]"],
        ),
        (
            listener(&format!(
                "{tcp}\n[listener.auth]\nanonymous = true\n[listener.proxy_protocol]\nfrom = [\"127.0.0.1\"]"
            )),
            &["itself or through a proxy"],
        ),
        (
            listener(&format!("{tcp}\n[listener.limits]\nconnect_timeout_s = 0")),
            &["connect_timeout_s = 0 is out of bounds", "from 1 to 300"],
        ),
        (listener(&format!("{tcp}\nallow = [\"10.0.0.0/99\"]")), &["`10.0.0.0/99` is not an address range"]),
        (
            listener(
                "kind = \"tls\"\nbind = [\"127.0.0.1:1\"]\n[listener.tls]\ncertificates = [{chain=\"c\",key=\"k\"}]\nclient_certificates = \"required\"",
            ),
            &["client certificates without an authority"],
        ),
        (
            listener(
                "kind = \"tls\"\nbind = [\"127.0.0.1:1\"]\n[listener.tls]\ncertificates = [{chain=\"c\",key=\"k\"}]\n[listener.auth]\nmethods = [\"certificate\"]",
            ),
            &["certificates are wanted for authentication, and clients are not asked for them"],
        ),
        (
            format!("{}{}", listener(tcp), listener(tcp)),
            &["two listeners are called `a`", "127.0.0.1:1883 is bound twice"],
        ),
        (
            format!("{}[sandbox]\nmode = \"maybe\"", listener(tcp)),
            &["sandbox mode maybe is not known", "use required, best-effort or off"],
        ),
        (
            format!("{}[metrics]\nbind = \"0.0.0.0:9464\"", listener(tcp)),
            &["metrics would be open to the network"],
        ),
        (
            format!("{}[store.key]\nfile = \"a\"\ncredential = \"b\"", listener(tcp)),
            &["[store.key] names not exactly one source", "leave [store.key] out"],
        ),
        (format!("{}[store.key]\n", listener(tcp)), &["names not exactly one source of the key"]),
        (
            format!("{}[store.key]\nfile = \"a\"\npin_file = \"b\"", listener(tcp)),
            &["a PIN that no token needs"],
        ),
        (
            format!("{}[store.key]\npkcs11 = \"a.key\"", listener(tcp)),
            &["this is no address of a key in a token", "pkcs11:token=NAME"],
        ),
        (format!("{}[log]\nlevel = \"loud\"", listener(tcp)), &["log level loud is not known"]),
        (
            format!("{}[auth.attempts]\nfree = 0", listener(tcp)),
            &["motte.toml:6:8: free = 0 is out of bounds", "from 1 to 1000"],
        ),
        (
            format!("{}[auth.attempts]\nlockout_after = 8\nanswer = \"shout\"", listener(tcp)),
            &["motte.toml:6:17: lockout_after is not above free", "answer = \"shout\" is not known"],
        ),
        (
            format!("{}[auth.attempts]\ndelay_max_ms = 1\nprefix_v6 = 65", listener(tcp)),
            &["delay_max_ms is below delay_base_ms", "smaller than the address"],
        ),
        (format!("{}[auth.attempts]\nfrree = 8", listener(tcp)), &["did you mean `free`?"]),
        (
            format!("{}[auth]\nhash_memory_mib = 0", listener(tcp)),
            &["hash_memory_mib is out of bounds", "MiB from 1"],
        ),
        (
            listener(&format!("{tcp}\n[listener.auth]\nmethods = [\"totp\"]")),
            &["totp proves nobody by itself", "all_of = [\"password\", \"totp\"]"],
        ),
        (
            format!("{}[auth.passwords]\nprofile = \"easy\"", listener(tcp)),
            &["password profile easy is not known", "use nist or classic"],
        ),
        (
            format!("{}[auth.passwords]\nmax_age_days = 9", listener(tcp)),
            &["max_age_days beside profile = \"nist\"", "profile = \"classic\""],
        ),
        (
            format!("{}[auth.passwords]\nprofile = \"classic\"\nhistory = 99", listener(tcp)),
            &["history = 99 is out of bounds", "from 0 to 24"],
        ),
        (
            listener(&format!("{tcp}\n[listener.auth]\ncertificate_identity = \"{{cn}}{{o}}\"")),
            &["motte.toml:6:24: certificate_identity: two placeholders touch", "write a text between them"],
        ),
        (
            listener(&format!("{tcp}\n[listener.auth]\ncertificate_identity = \"{{nick}}\"")),
            &["`{nick}` is no name of a certificate", "use one of {cn}, {ou}"],
        ),
        (
            listener(&format!("{tcp}\n[listener.auth]\ncertificate_identity = \"{{cn\"")),
            &["a placeholder is opened and not closed"],
        ),
        (
            listener(&format!("{tcp}\n[listener.auth]\ncertificate_identity = \"a+{{cn}}\"")),
            &["the text around the placeholders cannot be in an identity"],
        ),
        (
            listener(&format!("{tcp}\n[listener.auth]\ncertificate_identity = \"dn\"")),
            &["certificate_identity = \"dn\" is not known", "a template such as {cn}@{o}"],
        ),
        (
            listener(&format!("{TLS}[[listener.tls.authority]]\nfile = \"a.pem\"\nidentities = []")),
            &["an authority that may speak for nobody", "identities = [\"site-a-*\"]"],
        ),
        (
            listener(&format!(
                "{TLS}[[listener.tls.authority]]\nfile = \"a.pem\"\nidentities = [\"a/#\"]\n[[listener.tls.authority]]\nfile = \"b/a.pem\"\nidentities = [\"*\"]"
            )),
            &["`a/#` is no pattern of identities", "an authority cannot be called `a`, or two of them are"],
        ),
        (
            listener(&format!("{tcp}\n[listener.auth]\nmethods = [\"jwt\"]")),
            &["motte.toml:2:8: listener a takes method jwt, and no issuer is named", "add [[auth.jwt]]"],
        ),
        (
            format!(
                "{}{}",
                listener(&format!("{tcp}\n[listener.auth]\nall_of = [\"jwt\", \"password\"]")),
                jwt("")
            ),
            &[
                "wants a token and a password, and both come in one field",
                "all_of = [\"certificate\", \"jwt\"]",
            ],
        ),
        (
            format!("{}{}", listener(tcp), jwt("roles_claim = \"roles\"")),
            &["roles_claim, and no role that a token may grant", "list in roles"],
        ),
        (
            format!("{}{}", listener(tcp), jwt("roles = [\"a\"]")),
            &["roles for tokens, and no claim that names them"],
        ),
        (
            format!("{}{}", listener(tcp), jwt("leeway_s = 301")),
            &["leeway_s is out of bounds", "from 0 to 300"],
        ),
        (
            format!("{}{}", listener(tcp), jwt("lifetime_s_max = 1")),
            &["lifetime_s_max is out of bounds", "from 60 to 31622400"],
        ),
        (format!("{}{}", listener(tcp), jwt("identity_claim = \"\"")), &["identity_claim is empty"]),
        (
            format!("{}[auth.jwt]\nissuer = \"\"\naudience = []\njwks_file = \"a\"", listener(tcp)),
            &["issuer is empty", "audience is empty", "a token for another service must not open it"],
        ),
    ];
    for (text, expected) in cases {
        let told = read(text).unwrap_err().to_string();
        for part in *expected {
            assert!(told.contains(part), "for\n{text}\nit said\n{told}\nwithout\n{part}");
        }
        assert!(told.contains("remedy: "), "{told}");
    }
}

#[test]
fn several_faults_are_told_at_once() {
    let text = "workers = 99\n[[listener]]\nname = \"a\"\nkind = \"tcp\"\nbind = [\"x\"]\n[auth]\nhash_threads = 0\n";
    assert_eq!(read(text).unwrap_err().0.len(), 3);
}

#[test]
fn development_takes_limits_and_nothing_that_opens_a_door() {
    let config =
        parse_development("[limits]\nmaximum_qos = 1\n[log]\nformat = \"json\"\n", "dev.toml").unwrap();
    assert_eq!(config.limits.maximum_qos, 1);
    assert!(parse_development("[[listener]]\nname = \"a\"\n", "dev.toml").is_err());
}

proptest::proptest! {
    #[test]
    fn no_text_panics(text in ".{0,300}") {
        let _ = read(&text);
        let _ = parse_development(&text, "dev.toml");
    }
}

#[test]
fn every_fault_that_the_toml_reader_sees_is_named_at_once() {
    let text = "workerz = 3\nworkers = \"x\"\n[limitz]\na = 1\n[limits]\nconnections_max = true\n[[listener]]\nname = \"a\"\nkind = \"tcp\"\nbind = [7, \"127.0.0.1:1\"]\n[listener.auth]\nmethodes = []\n";
    let told = read(text).unwrap_err().to_string();
    for part in [
        "1:1: unknown field `workerz`",
        "2:11: ",
        "3:2: unknown field `limitz`",
        "6:19: ",
        "10:9: ",
        "12:1: unknown field `methodes`",
    ] {
        assert!(told.contains(part), "no `{part}` in\n{told}");
    }
    let torn = read("workers = \nname 3\n[[listener\n").unwrap_err();
    assert!(torn.0.len() > 1, "{torn}");
}

#[test]
fn the_place_of_each_named_file_is_known() {
    let mut config = read(EXAMPLE).unwrap();
    config.resolve_paths(std::path::Path::new("/etc/motte"));
    let place = config.places.of_path(std::path::Path::new("/etc/motte/passwords")).unwrap();
    let line: usize = place.split(':').nth(1).unwrap().parse().unwrap();
    assert!(EXAMPLE.lines().nth(line - 1).unwrap().starts_with("password_file"), "{place}");
    assert_eq!(config.places.of_path(std::path::Path::new("/elsewhere")), None);
}

#[test]
fn the_key_of_the_store_is_beside_the_state_directory_unless_it_is_named() {
    let base = "state_dir = \"/var/lib/motte/store\"\n[[listener]]\nname = \"a\"\nkind = \"tcp\"\nbind = [\"127.0.0.1:1\"]\n";
    let beside = std::path::PathBuf::from("/var/lib/motte/store.key");
    assert_eq!(read(base).unwrap().store_key_file(), Some(beside));
    let sources = [
        "file = \"/etc/motte/store.key\"",
        "credential = \"store\"",
        "passphrase_file = \"/a\"",
        "passphrase_prompt = true",
        "pkcs11 = \"pkcs11:token=a;object=b?module-path=/c.so\"",
        "pkcs11 = \"pkcs11:token=a;object=b?module-path=/c.so\"\npin_file = \"/pin\"",
        "pkcs11 = \"pkcs11:token=a;object=b?module-path=/c.so\"\npin_credential = \"pin\"",
    ];
    for source in sources {
        let config = read(&format!("{base}[store.key]\n{source}\n")).unwrap();
        assert_eq!(read(&config.to_toml()).unwrap(), config, "{source}");
        assert_eq!(config.store_key_file().is_some(), source.starts_with("file"), "{source}");
    }
}

#[test]
fn durability_is_that_of_the_store_unless_a_listener_has_its_own() {
    let listener = "[[listener]]\nname = \"a\"\nkind = \"tcp\"\nbind = [\"127.0.0.1:1\"]\n";
    let of = |head: &str, own: &str| read(&format!("{head}{listener}{own}")).unwrap();
    assert_eq!(of("", "").durability(), Durability::Memory, "there is nowhere to keep it");
    let config = of("state_dir = \"/state\"\n", "");
    assert_eq!(config.durability(), Durability::Disk);
    let config = of("state_dir = \"/state\"\nstore.durability = \"memory\"\n", "durability = \"os\"\n");
    assert_eq!(config.durability(), Durability::Os);
    assert_eq!(config.listeners[0].limits.durability, Durability::Os);
    assert_eq!(read(&config.to_toml()).unwrap(), config);
    for (head, own, place) in
        [("store.durability = \"tape\"\n", "", ":1:20:"), ("", "durability = 'tape'\n", ":5:14:")]
    {
        let error = read(&format!("{head}{listener}{own}")).unwrap_err().to_string();
        assert!(error.contains(place) && error.contains("write \"disk\", \"os\" or \"memory\""), "{error}");
    }
}

fn tls(more: &str) -> String {
    listener(&format!(
        "kind = \"tls\"\nbind = [\"127.0.0.1:0\"]\n[listener.tls]\ncertificates = [{{ chain = \"c\", key = \"k\" }}]\n{more}"
    ))
}

#[test]
fn what_connects_out_is_a_list_with_each_address_once() {
    let text = tls("crl_url = [\"http://ca.example/a\", \"http://ca.example/b\"]")
        + &tls("crl_url = [\"http://ca.example/b\", \"https://ca.example:8443/c\"]")
            .replace("name = \"a\"", "name = \"b\"")
        + "[auth.http]\nurl = \"https://accounts.example/\"\nca = [\"own.pem\"]\ntimeout_ms = 500\n[egress]\nca = [\"all.pem\"]\n";
    let mut config = read(&text).unwrap();
    config.resolve_paths(std::path::Path::new("/etc/motte"));
    let outward = config.outward();
    let urls: Vec<&str> = outward.iter().map(|one| one.url.as_str()).collect();
    let wanted = [
        "http://ca.example/a",
        "http://ca.example/b",
        "https://ca.example:8443/c",
        "https://accounts.example/",
    ];
    assert_eq!(urls, wanted);
    assert_eq!(config.outward_ports().into_iter().collect::<Vec<_>>(), [80, 443, 8443]);
    assert_eq!(outward[0].ca, [std::path::PathBuf::from("/etc/motte/all.pem")]);
    assert_eq!(outward[3].ca, [std::path::PathBuf::from("/etc/motte/own.pem")]);
    assert_eq!(
        (outward[3].timeout_ms, outward[3].connect_timeout_ms, outward[0].timeout_ms),
        (500, 500, 10_000)
    );
    assert!(config.files_read().iter().any(|file| file.ends_with("own.pem")));
    assert!(!config.files_without_secrets().iter().any(|file| file.ends_with("own.pem")), "not for the core");
    assert!(read(&listener("kind = \"tcp\"\nbind = [\"127.0.0.1:0\"]")).unwrap().outward().is_empty());
}

#[test]
fn faults_of_what_connects_out_are_named_with_place_and_remedy() {
    let plain = "kind = \"tcp\"\nbind = [\"127.0.0.1:0\"]\n[listener.auth]\n";
    let hook = |more: &str| listener(&format!("{plain}methods = [\"http\"]\n[auth.http]\n{more}"));
    let cases: &[(String, &[&str])] = &[
        (
            tls("crl_url = [\"ftp://ca.example/\"]"),
            &["motte.toml:7:12: `ftp://ca.example/` is not an address", "https://host/path"],
        ),
        (tls("crl_stale = \"perhaps\""), &["motte.toml:7:13: crl_stale = \"perhaps\"", "refuse or accept"]),
        (tls("crl_refresh_s = 0"), &["motte.toml:7:17: crl_refresh_s is out of bounds"]),
        (
            tls("crl_url = [\"http://a/\"]\n[roles]\nkeys = \"inside\""),
            &["wants one process", "roles.keys = \"process\""],
        ),
        (
            listener(&format!("{plain}methods = [\"http\"]")),
            &["motte.toml:2:8: listener a takes method http", "[auth.http]"],
        ),
        (
            hook("url = \"http://10.0.0.1/\""),
            &["motte.toml:8:7: passwords would go over the network", "https://"],
        ),
        (hook("url = \"https://u:p@h/\""), &["motte.toml:8:7:", "a user or password"]),
        (
            hook("url = \"https://h/\"\noutstanding = 65"),
            &["motte.toml:9:15: outstanding is out of bounds", "from 1 to 64"],
        ),
        (hook("url = \"https://h/\"\ntimeout_ms = 1"), &["motte.toml:9:14: timeout_ms is out of bounds"]),
        (
            hook("url = \"https://h/\"").replace("methods = [\"http\"]", "all_of = [\"http\", \"password\"]"),
            &["the one password of CONNECT", "keep one of them"],
        ),
    ];
    for (text, wanted) in cases {
        let told = read(text).expect_err(text).to_string();
        for part in *wanted {
            assert!(told.contains(part), "{part} is not in {told}");
        }
    }
}
