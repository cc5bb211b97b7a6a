//! Revocation lists from addresses and directories.

use std::io::{Read, Write};
use std::path::Path;
use std::time::Instant;

use motte_config::{Config, StaleList, Url};
use motte_pki::{Authority, Revoked};
use motte_server::Options;

use crate::harness::*;
use crate::outward::{Http, way_out};
use crate::secured::{dial, now_s, secured};

/// A configuration whose lists come from this server, every second.
fn fetching(directory: &Path, http: &Http) -> (Config, Authority) {
    let (mut config, authority) = secured(directory);
    let tls = config.listeners[0].tls.as_mut().unwrap();
    tls.crl_url = vec![Url::parse(&format!("http://{}/list.crl", http.address)).unwrap()];
    tls.crl_refresh_s = 1;
    (config, authority)
}

fn run(config: Config) -> Running {
    let outward = Some(way_out(&config));
    start_with(config, Options { outward, ..Options::default() })
}

fn is_refused(running: &Running, directory: &Path) -> bool {
    let mut device = dial(running, directory);
    device.write_all(&hello("device-2")).is_err() || device.read_exact(&mut [0; 4]).is_err()
}

fn serial(directory: &Path) -> Vec<u8> {
    let pem = std::fs::read_to_string(directory.join("device.pem")).unwrap();
    motte_pki::serial_number(&motte_pki::certificates(&pem).unwrap()[0]).unwrap()
}

fn list(authority: &Authority, revoked: &[Vec<u8>], number: u64, at_s: u64) -> Vec<u8> {
    let revoked: Vec<Revoked> =
        revoked.iter().map(|serial| Revoked { serial: serial.clone(), at_s: now_s() }).collect();
    authority.revocation_list(&revoked, number, at_s).unwrap().into_bytes()
}

#[test]
fn a_list_that_is_fetched_reaches_who_is_connected_and_garbage_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let http = Http::start(|_, _| (404, Vec::new()));
    let (config, authority) = fetching(path, &http);
    let first = list(&authority, &[], 1, now_s());
    let good = first.clone();
    http.change(move |_, _| (200, good.clone()));
    let running = run(config);
    running.lines.expect("life.revocation_list_fetched");
    assert!(!is_refused(&running, path), "at once after the start");
    let mut live = dial(&running, path);
    live.write_all(&hello("device")).unwrap();
    live.read_exact(&mut [0; 4]).unwrap();

    let refused = "life.revocation_list_unfetched";
    let (stranger, _) = Authority::create("test", now_s()).unwrap();
    let (serial, at_s) = (serial(path), now_s());
    let bad: Vec<(Vec<u8>, &str)> = vec![
        (b"<html>not found</html>".to_vec(), "is no revocation list"),
        (list(&stranger, std::slice::from_ref(&serial), 9, at_s), "not signed by an authority"),
        (list(&authority, std::slice::from_ref(&serial), 0, at_s - 60), "older than the one that is held"),
    ];
    for (answer, cause) in bad {
        http.change(move |_, _| (200, answer.clone()));
        running.lines.expect(cause);
        assert!(!is_refused(&running, path), "{cause}");
    }
    http.change(|_, _| (503, Vec::new()));
    running.lines.expect("status 503");
    running.lines.expect(refused);
    live.write_all(&[0xc0, 0]).unwrap();
    live.read_exact(&mut [0; 2]).unwrap();

    let newer = list(&authority, &[serial], 2, now_s());
    http.change(move |_, _| (200, newer.clone()));
    running.lines.expect("number=2");
    let since = Instant::now();
    assert_eq!(live.read(&mut [0; 4]).unwrap_or(0), 0);
    assert!(since.elapsed().as_secs_f64() < 1.0, "it reaches the live connection within a second");
    running.lines.expect("rule.revoked");
    assert!(is_refused(&running, path));
    running.stop();
}

#[test]
fn without_a_list_nobody_gets_in_unless_that_is_accepted() {
    for (stale, refused) in [(StaleList::Refuse, true), (StaleList::Accept, false)] {
        let directory = tempfile::tempdir().unwrap();
        let http = Http::start(|_, _| (500, Vec::new()));
        let (mut config, authority) = fetching(directory.path(), &http);
        config.listeners[0].tls.as_mut().unwrap().crl_stale = stale;
        let running = run(config);
        running.lines.expect("life.revocation_list_missing");
        running.lines.expect("life.revocation_list_unfetched");
        assert_eq!(is_refused(&running, directory.path()), refused);

        // Past its end: no better than none, but what it names is refused in any case.
        let ended = now_s() - 4_000 * 86_400;
        let stale_list = list(&authority, &[], 1, ended);
        http.change(move |_, _| (200, stale_list.clone()));
        running.lines.expect("life.revocation_list_expired");
        assert_eq!(is_refused(&running, directory.path()), refused);
        let naming = list(&authority, &[serial(directory.path())], 2, ended);
        http.change(move |_, _| (200, naming.clone()));
        running.lines.expect("number=2");
        wait_for(|| is_refused(&running, directory.path()), || "what a list names is refused".to_owned());

        let good = list(&authority, &[], 3, now_s());
        http.change(move |_, _| (200, good.clone()));
        running.lines.expect("number=3");
        wait_for(|| !is_refused(&running, directory.path()), || "a good list came".to_owned());
        running.stop();
    }
}

#[test]
fn an_answer_without_an_authoritys_list_does_not_take_away_the_one_that_is_held() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let http = Http::start(|_, _| (404, Vec::new()));
    let (mut config, authority) = fetching(path, &http);
    let (other, issued) = Authority::create("another", now_s()).unwrap();
    std::fs::write(path.join("other.pem"), issued.certificate_pem).unwrap();
    let tls = config.listeners[0].tls.as_mut().unwrap();
    tls.client_ca.push(path.join("other.pem"));
    tls.crl_stale = StaleList::Accept;
    let both = [list(&other, &[], 5, now_s()), list(&authority, &[serial(path)], 1, now_s())].concat();
    http.change(move |_, _| (200, both.clone()));
    let running = run(config);
    running.lines.expect("number=5");
    assert!(is_refused(&running, path));
    let one = list(&other, &[], 6, now_s());
    http.change(move |_, _| (200, one.clone()));
    running.lines.expect("number=6");
    assert!(is_refused(&running, path), "what is revoked stays so");
    running.stop();
}

#[test]
fn an_address_that_a_reload_brings_is_fetched_before_it_counts() {
    let directory = tempfile::tempdir().unwrap();
    let http = Http::start(|_, _| (404, Vec::new()));
    let (fetching, authority) = fetching(directory.path(), &http);
    let good = list(&authority, &[], 1, now_s());
    http.change(move |_, _| (200, good.clone()));
    let mut before = fetching.clone();
    let url = before.listeners[0].tls.as_mut().unwrap().crl_url.remove(0);
    // The port is one that is connected to already.
    before.listeners[0].tls.as_mut().unwrap().crl_url = vec![Url::parse(&format!("{url}?old")).unwrap()];
    let mut outward = fetching.clone();
    outward.listeners[0]
        .tls
        .as_mut()
        .unwrap()
        .crl_url
        .extend(before.listeners[0].tls.clone().unwrap().crl_url);
    let (now, client) = (fetching.clone(), way_out(&before));
    let options = Options {
        outward: Some(client.clone()),
        read_config: Some(Box::new(move || Ok(now.clone()))),
        ..Options::default()
    };
    let running = start_with(before, options);
    let mut live = dial(&running, directory.path());
    live.write_all(&hello("device")).unwrap();
    live.read_exact(&mut [0; 4]).unwrap();
    // The process that connects out does not know the new address: nothing is held, so nobody is trusted.
    running.server.handle().reload().unwrap();
    running.lines.expect("life.revocation_list_missing");
    assert_eq!(live.read(&mut [0; 4]).unwrap_or(0), 0);
    running.stop();
}

#[test]
fn a_directory_may_hold_lists_and_the_newest_counts() {
    let directory = tempfile::tempdir().unwrap();
    let (mut config, authority) = secured(directory.path());
    let lists = directory.path().join("lists");
    std::fs::create_dir(&lists).unwrap();
    config.listeners[0].tls.as_mut().unwrap().crl = vec![lists.clone()];
    let at_s = now_s();
    std::fs::write(lists.join("a.pem"), list(&authority, &[], 1, at_s)).unwrap();
    std::fs::write(lists.join("README"), "not a list, and not named like one").unwrap();
    let running = start_with(config, Options::default());
    assert!(!is_refused(&running, directory.path()));
    std::fs::write(lists.join("b.crl"), list(&authority, &[serial(directory.path())], 2, at_s)).unwrap();
    running.server.handle().reload().unwrap();
    assert!(is_refused(&running, directory.path()), "the newer one of the same authority");
    std::fs::write(lists.join("c.pem"), "garbage").unwrap();
    let error = running.server.handle().reload().unwrap_err().to_string();
    assert!(error.contains("c.pem"), "{error}");
    assert!(is_refused(&running, directory.path()), "the old ones stay in force");
    running.stop();
}

#[test]
fn a_restart_does_not_depend_on_the_server_of_lists() {
    let directory = tempfile::tempdir().unwrap();
    let http = Http::start(|_, _| (404, Vec::new()));
    let (mut config, authority) = fetching(directory.path(), &http);
    let state = directory.path().join("state");
    config.state_dir = Some(state.clone());
    let good = list(&authority, &[], 1, now_s());
    http.change(move |_, _| (200, good.clone()));
    run(config.clone()).stop();

    http.change(|_, _| (503, Vec::new()));
    let running = run(config.clone());
    assert!(!is_refused(&running, directory.path()));
    running.stop();

    // What lies there is believed no more than what comes over the network.
    let kept = std::fs::read_dir(state.join("fetched-lists")).unwrap().next().unwrap().unwrap().path();
    let (stranger, _) = Authority::create("test", now_s()).unwrap();
    std::fs::write(kept, list(&stranger, &[], 9, now_s())).unwrap();
    let running = run(config);
    running.lines.expect("life.revocation_list_missing");
    assert!(is_refused(&running, directory.path()));
    running.stop();
}
