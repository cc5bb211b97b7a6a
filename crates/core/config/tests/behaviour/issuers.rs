//! Issuers of tokens, and where their keys come from.

use motte_config::{KeySource, Purpose};

use crate::{jwt, listener, read};

fn issuer(name: &str, more: &str) -> String {
    format!("[[auth.jwt]]\nissuer = \"{name}\"\naudience = [\"a\"]\n{more}\n")
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table, one row a fault")]
fn each_fault_of_an_issuer_is_named_with_its_remedy() {
    let tcp = "kind = \"tcp\"\nbind = [\"127.0.0.1:1883\"]";
    let cases: &[(String, &[&str])] = &[
        (format!("{}{}", listener(tcp), jwt("topics_claim = \"\"")), &["topics_claim is empty"]),
        (
            format!("{}{}", listener(tcp), jwt("groups_claim = \"groups\"")),
            &["groups_claim, and no group that gives a role", "[auth.jwt.groups]"],
        ),
        (
            format!("{}{}", listener(tcp), jwt("[auth.jwt.groups]\nops = [\"operator\"]")),
            &["groups give roles, and no claim names them", "write groups_claim"],
        ),
        (
            format!("{}{}", listener(tcp), jwt("groups_claim = \"g\"\n[auth.jwt.groups]\n\"ops-*\" = []")),
            &[
                "`ops-*` is not the name of a group",
                "there are no patterns",
                "the group `ops-*` gives no role",
            ],
        ),
        (
            format!("{}{}", listener(tcp), jwt("identities = []")),
            &["an issuer that may speak for nobody", "identities = [\"site-a-*\"]"],
        ),
        (
            format!("{}{}", listener(tcp), jwt("identities = [\"a/#\"]")),
            &["`a/#` is no pattern of identities"],
        ),
        (
            format!("{}{}", listener(tcp), jwt("keys_refresh_s = 60")),
            &["keys in a file are not fetched", "read again by a reload"],
        ),
        (
            format!("{}{}", listener(tcp), jwt("keys_url = \"https://h/keys\"")),
            &["an issuer whose keys come from several places", "keep one of"],
        ),
        (
            format!(
                "{}{}{}",
                listener(tcp),
                issuer("i", "keys_file = \"k\""),
                issuer("i", "keys_file = \"k\"")
            ),
            &["two entries for one issuer", "`iss` of a token chooses"],
        ),
        (
            format!(
                "{}{}",
                listener(tcp),
                (0..9).map(|n| issuer(&format!("i{n}"), "keys_file = \"k\"")).collect::<String>()
            ),
            &["more than 8 issuers"],
        ),
        (
            format!("{}{}", listener(tcp), issuer("i", "")),
            &["an issuer without keys", "keys_url or discover"],
        ),
        (
            format!("{}{}", listener(tcp), issuer("i", "keys_url = \"http://h/keys\"")),
            &["anybody on the way could put keys of their own in", "use https://"],
        ),
        (
            format!(
                "{}{}",
                listener(tcp),
                issuer("i", "keys_url = \"https://h/\"\nkeys_refresh_s = 600\nkeys_stale_s = 500")
            ),
            &["keys_stale_s ends before keys are fetched again"],
        ),
        (
            format!(
                "{}{}",
                listener(tcp),
                issuer("i", "keys_url = \"https://h/\"\nkeys_origins = [\"https://o\"]")
            ),
            &["keys_origins, and nothing is discovered"],
        ),
        (
            format!("{}{}", listener(tcp), issuer("http://127.0.0.1/", "discover = true")),
            &["an issuer that cannot be discovered", "name its keys with keys_url"],
        ),
        (
            format!(
                "{}{}",
                listener(tcp),
                issuer("https://h/", "discover = true\nkeys_origins = [\"https://o/path\", \"http://o\"]")
            ),
            &["`https://o/path` is no origin", "`http://o` is no origin", "without a path"],
        ),
        (
            format!(
                "[roles]\nkeys = \"inside\"\n{}{}",
                listener(tcp),
                issuer("https://h/", "discover = true")
            ),
            &["takes a process of its own", "discover of [[auth.jwt]]"],
        ),
    ];
    for (text, expected) in cases {
        let told = read(text).unwrap_err().to_string();
        for part in *expected {
            assert!(told.contains(part), "for\n{text}\nit said\n{told}\nwithout\n{part}");
        }
        assert!(told.contains("motte.toml:") && told.contains("remedy: "), "{told}");
    }
}

#[test]
fn several_issuers_are_written_one_after_the_other_and_one_may_be_a_single_table() {
    let tcp = listener("kind = \"tcp\"\nbind = [\"127.0.0.1:1883\"]");
    let one = read(&format!("{tcp}{}", jwt(""))).unwrap();
    assert_eq!(one.tokens[0].keys, KeySource::File("keys.json".into()));
    let text = format!(
        "{tcp}{}{}{}",
        issuer(
            "a",
            "keys_file = \"a.json\"\ngroups_claim = \"/groups\"\n[auth.jwt.groups]\n\"/ops\" = [\"operator\"]"
        ),
        issuer("b", "keys_url = \"https://b.example:8443/keys\"\nca = [\"b.pem\"]\nidentities = [\"b-*\"]"),
        issuer("https://c.example/realm/", "discover = true\nkeys_origins = [\"https://keys.example:99\"]"),
    );
    let config = read(&text).unwrap();
    assert_eq!(read(&config.to_toml()).unwrap().tokens, config.tokens);
    assert_eq!(config.tokens[1].identities, ["b-*"]);
    assert_eq!(config.tokens[0].groups, [("/ops".to_owned(), vec!["operator".to_owned()])]);
    let outward = config.outward();
    let places: Vec<_> = outward.iter().map(|one| (one.url.as_str(), one.purpose)).collect();
    let document = "https://c.example/realm/.well-known/openid-configuration";
    assert_eq!(places, [("https://b.example:8443/keys", Purpose::TokenKeys), (document, Purpose::Discovery)]);
    let described = outward[1].described.as_ref().unwrap();
    assert_eq!((described.issuer.as_str(), described.origins.len()), ("https://c.example/realm/", 2));
    assert_eq!(config.outward_ports(), [99, 443, 8_443].into());
}
