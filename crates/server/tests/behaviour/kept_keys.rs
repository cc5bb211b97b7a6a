//! Keys of issuers over a restart: those that were fetched before are in force while the issuer cannot be reached, and no others.

use std::path::{Path, PathBuf};

use motte_config::Config;
use motte_server::kept_file::ISSUER_KEYS;

use crate::harness::*;
use crate::outward::Http;
use crate::token_keys::{REFUSED, UNAVAILABLE, come, https, issuer, publish, run, taking};
use crate::tokens::Issuer;

/// An issuer whose keys are at an address, and a broker that keeps what it fetches.
struct Place {
    directory: tempfile::TempDir,
    http: Http,
    authority: String,
    own: Issuer,
}

impl Place {
    fn new() -> Self {
        let (http, authority) = https();
        let own = Issuer::new();
        publish(&http, &[own.jwk("k1")]);
        Self { directory: tempfile::tempdir().unwrap(), http, authority, own }
    }

    fn state(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    fn file(&self) -> PathBuf {
        self.state().join(ISSUER_KEYS)
    }

    /// Keys at this path of the server.
    fn config(&self, path: &str) -> Config {
        let url = format!("keys_url = \"https://localhost:{}/{path}\"", self.http.address.port());
        let mut config = taking(self.directory.path(), &issuer("test", &url));
        config.state_dir = Some(self.state());
        config
    }

    fn token(&self) -> String {
        self.own.token("k1", 600, "")
    }

    /// A run in which keys are fetched and kept; then the issuer is away.
    fn fetched(self) -> Self {
        let running = run(self.config("keys"), &self.authority);
        assert_eq!(come(&running, &self.token()), 0);
        wait_for(|| self.file().exists(), || "they are kept".to_owned());
        running.stop();
        self.http.change(|_, _| (503, Vec::new()));
        self
    }

    /// A run that has no keys, in which this is told.
    fn nobody_comes(&self, config: Config, told: &str) {
        let running = run(config, &self.authority);
        running.lines.expect(told);
        running.lines.expect("life.token_keys_missing");
        assert_eq!(come(&running, &self.token()), UNAVAILABLE);
        running.stop();
    }
}

fn change(path: &Path, how: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(path).unwrap();
    how(&mut bytes);
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn a_token_is_taken_after_a_restart_while_its_issuer_is_away() {
    let place = Place::new().fetched();
    let running = run(place.config("keys"), &place.authority);
    running.lines.expect("status 503");
    running.lines.expect("life.token_keys_kept");
    assert_eq!(come(&running, &place.token()), 0);
    let stranger = Issuer::new().token("k1", 600, "");
    assert_eq!(come(&running, &stranger), REFUSED, "nobody else's");
    running.stop();

    // And once more: they are kept although they were not fetched in the last run.
    let mut config = place.config("keys");
    config.tokens[0].keys_refresh_s = 1;
    let running = run(config, &place.authority);
    running.lines.expect("life.token_keys_kept");
    assert_eq!(come(&running, &place.token()), 0);
    let new = Issuer::new();
    publish(&place.http, &[new.jwk("k2")]);
    wait_for(|| come(&running, &place.token()) == REFUSED, || "what the issuer took back is gone".to_owned());
    assert_eq!(come(&running, &new.token("k2", 600, "")), 0);
    running.stop();
}

#[test]
fn a_key_that_was_taken_back_while_nobody_ran_opens_nothing() {
    let place = Place::new().fetched();
    publish(&place.http, &[Issuer::new().jwk("k2")]);
    let running = run(place.config("keys"), &place.authority);
    assert_eq!(come(&running, &place.token()), REFUSED, "the first round is waited for");
    running.stop();
}

#[test]
fn kept_keys_that_are_too_old_open_nothing() {
    let place = Place::new().fetched();
    let config = || {
        let mut config = place.config("keys");
        config.tokens[0].keys_stale_s = 1;
        config
    };
    let kept = std::fs::metadata(place.file()).unwrap().modified().unwrap();
    wait_for(|| kept.elapsed().is_ok_and(|age| age.as_secs() >= 2), || "time goes on".to_owned());
    place.nobody_comes(config(), "status 503");
    // It is their age, and nothing else.
    let running = run(place.config("keys"), &place.authority);
    running.lines.expect("life.token_keys_kept");
    assert_eq!(come(&running, &place.token()), 0);
    running.stop();
}

#[test]
fn keys_of_another_address_open_nothing() {
    let place = Place::new().fetched();
    place.nobody_comes(place.config("elsewhere"), "status 503");
}

#[test]
fn keys_of_another_issuer_open_nothing() {
    let place = Place::new().fetched();
    let mut config = place.config("keys");
    config.tokens[0].issuer = "other".to_owned();
    let running = run(config, &place.authority);
    running.lines.expect("life.token_keys_missing");
    assert_eq!(come(&running, &place.own.token_of("other", "k1", 600, "")), UNAVAILABLE);
    running.stop();
}

#[test]
fn a_changed_byte_is_told_and_nothing_of_it_taken() {
    let place = Place::new().fetched();
    change(&place.file(), |bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
    });
    place.nobody_comes(place.config("keys"), "keep.state_file_refused");
    assert!(place.state().join("issuers.keys.damaged").exists() && !place.file().exists());
}

#[test]
fn keys_that_somebody_put_there_are_told_and_not_taken() {
    let place = Place::new().fetched();
    let sealed = std::fs::read(place.file()).unwrap();
    std::fs::write(place.file(), motte_identity::KeptKeys::encode(&[])).unwrap();
    place.nobody_comes(place.config("keys"), "keep.state_file_refused");

    // An older copy is none that was written last.
    publish(&place.http, &[place.own.jwk("k1")]);
    let place = place.fetched();
    assert_ne!(std::fs::read(place.file()).unwrap(), sealed);
    std::fs::write(place.file(), sealed).unwrap();
    place.nobody_comes(place.config("keys"), "an older copy");

    // Of a state directory of somebody else, which another key opens.
    publish(&place.http, &[place.own.jwk("k1")]);
    let (place, other) = (place.fetched(), Place::new().fetched());
    std::fs::copy(other.file(), place.file()).unwrap();
    place.nobody_comes(place.config("keys"), "keep.state_file_refused");
}

#[test]
fn a_state_directory_that_does_not_take_them_is_told_and_they_are_in_force() {
    let place = Place::new();
    std::fs::create_dir_all(place.state().join("issuers.keys.new")).unwrap();
    let running = run(place.config("keys"), &place.authority);
    running.lines.expect("keep.issuer_keys_not_kept");
    assert_eq!(come(&running, &place.token()), 0);
    running.stop();
}
