//! Responders that are asked about certificates of clients.

use motte_config::{OcspRequire, Purpose, StaleList};

use crate::{read, tls};

/// TLS with client certificates, and who is asked about them.
fn asked(ocsp: &str) -> String {
    tls(&format!("client_certificates = \"required\"\nclient_ca = [\"ca.pem\"]\nocsp = {ocsp}\n"))
}

#[test]
fn responders_of_certificates_are_asked_where_the_configuration_says() {
    let text = asked("{ url = \"http://status.example/\", timeout_ms = 700 }")
        + "[[listener.tls.authority]]\nfile = \"b.pem\"\nidentities = [\"b-*\"]\nocsp = { url = \"https://b.example/ask\", require = \"when-known\", stale = \"accept\", nonce = true, refresh_s = 60, outstanding = 3, queue = 4, cache_max = 5, failures = 6, pause_ms = 7000 }\n"
        + &asked("{ url = \"http://status.example/\", timeout_ms = 900 }")
            .replace("name = \"a\"", "name = \"b\"");
    let config = read(&text).unwrap();
    let tls = config.listeners[0].tls.as_ref().unwrap();
    let own = tls.authorities[0].ocsp.as_ref().unwrap();
    assert_eq!((own.require, own.stale, own.nonce), (OcspRequire::WhenKnown, StaleList::Accept, true));
    assert_eq!((own.refresh_s, own.outstanding, own.queue, own.cache_max), (60, 3, 4, 5));
    assert_eq!((own.failures, own.pause_ms, own.timeout_ms), (6, 7_000, 3_000));
    let general = tls.ocsp.as_ref().unwrap();
    assert_eq!(
        (general.require, general.stale, general.nonce),
        (OcspRequire::Always, StaleList::Refuse, false)
    );
    assert_eq!((general.refresh_s, general.timeout_ms), (3_600, 700));
    let outward = config.outward();
    let urls: Vec<&str> = outward.iter().map(|one| one.url.as_str()).collect();
    assert_eq!(urls, ["https://b.example/ask", "http://status.example/"], "each once");
    assert_eq!((outward[1].outstanding_max, outward[1].timeout_ms), (32, 900), "for both listeners");
    assert!(outward.iter().all(|one| one.purpose == Purpose::Ocsp));
    assert_eq!(read(&config.to_toml()).unwrap(), config);
}

#[test]
fn faults_of_responders_are_named_with_place_and_remedy() {
    let cases: &[(String, &[&str])] = &[
        (
            asked("{ url = \"ldap://x/\" }"),
            &["motte.toml:9:16: `ldap://x/` is not an address", "https://host/path"],
        ),
        (asked("{ nonce = true }"), &["motte.toml:9:8:", "url"]),
        (asked("{ url = \"http://x/\", aia = true }"), &["motte.toml:9:", "aia"]),
        (
            asked("{ url = \"http://x/\", require = \"never\" }"),
            &["require = \"never\" is not known", "always or when-known"],
        ),
        (
            asked("{ url = \"http://x/\", stale = \"maybe\" }"),
            &["stale = \"maybe\" is not known", "refuse or accept"],
        ),
        (
            asked("{ url = \"http://x/\", refresh_s = 1 }"),
            &["refresh_s is out of bounds", "from 2 to 604800"],
        ),
        (
            asked("{ url = \"http://x/\", outstanding = 65 }"),
            &["outstanding is out of bounds", "from 1 to 64"],
        ),
        (asked("{ url = \"http://x/\", timeout_ms = 5 }"), &["timeout_ms is out of bounds", "milliseconds"]),
        (
            tls("ocsp = { url = \"http://x/\" }"),
            &["motte.toml:7:8: ocsp where clients show no certificates", "set client_certificates"],
        ),
        (
            asked("{ url = \"http://x/\" }\n[roles]\nkeys = \"inside\""),
            &["wants one process", "remove crl_url, ocsp"],
        ),
    ];
    for (text, parts) in cases {
        let error = read(text).unwrap_err().to_string();
        assert!(parts.iter().all(|part| error.contains(part)), "{error}");
    }
}
