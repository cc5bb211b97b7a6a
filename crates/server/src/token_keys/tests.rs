//! What unknown keys and slow issuers may cost.

use super::*;

const SET: &str = "{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"k1\",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}]}";

/// A listener for tokens of these issuers, whose keys are fetched.
fn config(issuers: &[&str]) -> Config {
    let mut text = "[[listener]]\nname = \"main\"\nkind = \"tcp\"\nbind = [\"127.0.0.1:0\"]\n\
        [listener.auth]\nmethods = [\"jwt\"]\n[policy]\nfiles = [\"policy.toml\"]\n"
        .to_owned();
    for issuer in issuers {
        text.push_str(&format!(
            "[[auth.jwt]]\nissuer = \"{issuer}\"\naudience = [\"motte\"]\nkeys_url = \"https://localhost:9/{issuer}\"\n"
        ));
    }
    motte_config::parse(&text, "test.toml", jiff::civil::date(2026, 1, 1)).unwrap()
}

#[test]
fn keys_are_fetched_as_often_as_is_said_and_sooner_after_failures() {
    let about = |failed: u32, refresh_s: u64, wanted_s: u64| {
        let delay = delay(Duration::from_secs(refresh_s), failed).as_secs_f64();
        let wanted = Duration::from_secs(wanted_s).as_secs_f64();
        assert!(delay >= wanted * 0.89 && delay <= wanted * 1.11, "{delay} is not about {wanted}");
    };
    about(0, 600, 600);
    about(1, 600, 10);
    about(3, 600, 40);
    about(99, 600, 300);
    about(99, 20, 20);
}

#[test]
fn all_who_name_a_new_key_before_it_is_fetched_wait_for_it_and_nobody_fetches_twice() {
    let config = config(&["test"]);
    // Nobody is at the other end, so every attempt ends at once.
    let own = TokenKeys::new(Some(OutwardClient::new(Box::new(|| {}))));
    let keys = own.of(&config.tokens[0]);
    keys.put(KeySet::parse(SET).unwrap(), u64::MAX);
    own.plan(&config);
    let ended = || own.0.lock().places[0].ended;
    let may_ask = || own.way_to(&keys).is_some();
    assert!(may_ask(), "the first, who goes away before his turn");
    assert!(may_ask() && may_ask(), "and all who come at once");
    own.renew(&keys);
    assert_eq!(ended(), 1);
    own.renew(&keys);
    assert_eq!(ended(), 1, "it was fetched meanwhile");
    assert!(!may_ask(), "not again for a while");
}

#[test]
fn who_waits_for_one_issuer_holds_up_nobody_who_waits_for_another() {
    let config = config(&["one", "two"]);
    let own = TokenKeys::new(Some(OutwardClient::new(Box::new(|| {}))));
    let [one, two] = [0, 1].map(|at| own.of(&config.tokens[at]));
    for keys in [&one, &two] {
        keys.put(KeySet::parse(SET).unwrap(), u64::MAX);
    }
    own.plan(&config);
    let (slow, quick) = (own.way_to(&one).unwrap(), own.way_to(&two).unwrap());
    let (held, release) = std::sync::mpsc::channel::<()>();
    let release = Arc::new(Mutex::new(release));
    for _ in 0..ASKING.0 {
        let release = Arc::clone(&release);
        slow.run(Box::new(move || assert!(release.lock().unwrap().recv().is_err(), "nothing is sent")));
    }
    let (done, told) = std::sync::mpsc::channel();
    quick.run(Box::new(move || done.send(()).unwrap()));
    told.recv_timeout(Duration::from_secs(20)).expect("it does not wait for the other issuer");
    // Whoever waited goes on.
    drop(held);
    own.plan(&config);
    assert!(own.way_to(&one).is_some(), "after a reload, too");
}
