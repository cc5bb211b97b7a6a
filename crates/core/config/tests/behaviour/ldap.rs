//! `[auth.ldap]`: what is taken, and where each fault is.

use motte_config::Purpose;

use crate::{listener, read};

const SEARCH: &str = "search_base = \"ou=people,dc=x\"\nsearch_filter = \"(uid={user})\"\nbind_dn = \"cn=m,dc=x\"\nbind_password_file = \"account\"\n";
const TEMPLATE: &str = "bind_as = \"uid={user},dc=x\"\n";
const LDAPS: &str = "url = \"ldaps://directory.example\"\n";
const GROUPS: &str = "[auth.ldap.groups]\n\"cn=a,dc=x\" = [\"r\"]\n";

/// A configuration whose `[auth.ldap]` begins in line 8.
fn ldap(more: &str) -> String {
    listener(&format!(
        "kind = \"tcp\"\nbind = [\"127.0.0.1:0\"]\n[listener.auth]\nmethods = [\"ldap\"]\n[auth.ldap]\n{more}"
    ))
}

#[test]
fn a_directory_is_one_more_address_with_its_secrets_for_nobody_but_who_connects() {
    let text = ldap(&format!(
        "{LDAPS}{SEARCH}ca = [\"ca.pem\"]\ntimeout_ms = 700\ngroup_attribute = \"memberOf\"\n{GROUPS}"
    ));
    let mut config = read(&text).unwrap();
    config.resolve_paths(std::path::Path::new("/etc/motte"));
    let outward = config.outward();
    let [one] = &outward[..] else { panic!("{outward:?}") };
    assert_eq!((one.purpose, one.url.port(), one.timeout_ms), (Purpose::Directory, 636, 700));
    let directory = one.directory.as_ref().unwrap();
    assert!(!directory.plaintext && directory.password_file.as_deref().unwrap().ends_with("motte/account"));
    assert!(config.files_read().iter().any(|file| file.ends_with("account")));
    assert!(!config.files_without_secrets().iter().any(|file| file.ends_with("account")), "not for the core");
    let again = read(&config.to_toml()).unwrap();
    assert_eq!(again.auth_ldap, config.auth_ldap);
    let plain = read(&ldap(&format!("url = \"ldap://[::1]\"\nplaintext = true\n{TEMPLATE}"))).unwrap();
    assert_eq!(plain.outward_ports().into_iter().collect::<Vec<_>>(), [389]);
}

#[test]
fn faults_of_a_directory_are_named_with_place_and_remedy() {
    let with = |more: &str| ldap(&format!("{LDAPS}{TEMPLATE}{more}"));
    let cases: &[(String, &[&str])] = &[
        (
            listener("kind = \"tcp\"\nbind = [\"127.0.0.1:0\"]\n[listener.auth]\nmethods = [\"ldap\"]\n"),
            &["motte.toml:2:8: listener a takes method ldap", "[auth.ldap]"],
        ),
        (
            ldap(&format!("url = \"https://x/\"\n{TEMPLATE}")),
            &["motte.toml:8:7: `https://x/` is not an address", "ldaps://host"],
        ),
        (ldap(&format!("url = \"ldaps://x/dc=x\"\n{TEMPLATE}")), &["motte.toml:8:7:", "behind the host"]),
        (ldap(&format!("url = \"ldaps://u:p@x\"\n{TEMPLATE}")), &["motte.toml:8:7:", "a user or password"]),
        (
            ldap(&format!("url = \"ldap://10.0.0.1\"\nplaintext = true\n{TEMPLATE}")),
            &["motte.toml:9:13: passwords would go over the network", "StartTLS"],
        ),
        (with("plaintext = true\n"), &["motte.toml:10:13: plaintext, and the address is one of TLS"]),
        (ldap(LDAPS), &["motte.toml:8:7: [auth.ldap] search_base: search_base is missing", "bind_as"]),
        (
            ldap(&format!("{LDAPS}bind_as = \"uid=ann\"\n")),
            &["motte.toml:9:11: [auth.ldap] bind_as: it has no {user}"],
        ),
        (
            ldap(&format!("{LDAPS}{}", SEARCH.replace("(uid={user})", "(uid=ann)"))),
            &["motte.toml:10:17: [auth.ldap] search_filter: it has no {user}", "same entry for everybody"],
        ),
        (
            ldap(&format!("{LDAPS}{}", SEARCH.replace("(uid={user})", "(uid={user}"))),
            &[
                "motte.toml:10:17: [auth.ldap] search_filter: it is not a filter: a parenthesis is missing at byte 11",
            ],
        ),
        (
            ldap(&format!("{LDAPS}{}", SEARCH.replace("bind_password_file = \"account\"\n", ""))),
            &["motte.toml:11:11: the account that searches has no password", "bind_password_file"],
        ),
        (with("bind_password_file = \"x\"\n"), &["motte.toml:10:22:", "nobody uses this password"]),
    ];
    are_told(cases);
}

#[test]
fn faults_of_groups_and_of_what_is_beside_are_named_with_place_and_remedy() {
    let with = |more: &str| ldap(&format!("{LDAPS}{TEMPLATE}{more}"));
    let cases: &[(String, &[&str])] = &[
        (
            with("group_attribute = \"memberOf\"\n"),
            &["motte.toml:10:19: groups are looked up, and none gives a role"],
        ),
        (with(GROUPS), &["motte.toml:11:1: groups give roles, and nothing says where", "memberOf"]),
        (
            with("group_attribute = \"m\"\n[auth.ldap.groups]\n\"operators\" = [\"r\"]\n"),
            &["motte.toml:12:1: `operators` is not the name of a group", "cn=operators"],
        ),
        (
            with("group_attribute = \"m\"\n[auth.ldap.groups]\n\"cn=a\" = [\"r\"]\n\"CN=A\" = [\"q\"]\n"),
            &["is named twice", "keep one"],
        ),
        (
            with("group_attribute = \"m\"\n[auth.ldap.groups]\n\"cn=a\" = []\n"),
            &["motte.toml:12:1: the group `cn=a` gives no role"],
        ),
        (with("outstanding = 0\n"), &["motte.toml:10:15: outstanding is out of bounds", "from 1 to 64"]),
        (
            with("").replace("methods = [\"ldap\"]", "methods = [\"http\", \"ldap\"]")
                + "[auth.http]\nurl = \"https://x/\"\n",
            &["motte.toml:2:8: listener a takes http and ldap"],
        ),
        (
            with("").replace("methods = [\"ldap\"]", "all_of = [\"password\", \"ldap\"]"),
            &["ldap and password are both about the one password"],
        ),
        (with("[roles]\nkeys = \"inside\"\n"), &["wants one process", "[auth.ldap]"]),
    ];
    are_told(cases);
}

fn are_told(cases: &[(String, &[&str])]) {
    for (text, wanted) in cases {
        let told = read(text).map_or_else(|told| told.to_string(), |_| format!("nothing, and takes {text}"));
        for part in *wanted {
            assert!(told.contains(part), "{part} is not in {told}");
        }
    }
}
