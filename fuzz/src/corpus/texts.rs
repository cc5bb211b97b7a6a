//! Filters and policies, as people write them.

use super::Input;

/// Two filters and a name each.
pub(super) fn filters() -> Vec<Input> {
    [
        ("dollar", "$SYS/#\n#\n$SYS/broker"),
        ("dollar_below", "a/$b/+\n+/$b/c\na/$b/c"),
        ("empty_levels", "/\n+/+\n/"),
        ("everything", "#\n+/#\na"),
        ("hash_and_its_parent", "a/#\na\na"),
        ("literal", "a/b/c\na/b/c\na/b/c"),
        ("long", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/+\n+/b\naaaaaaaaaaaaaaaaaaaaa/b"),
        ("misplaced", "a+/b\na/#/b\na/b"),
        ("overlap", "plant/+/state\nplant/press/+\nplant/press/state"),
        ("pluses", "+/+/+/+\n+/#\na/b/c/d"),
        ("share", "$share/g/a/+\n$share/h/#\na/b"),
        ("share_without_filter", "$share/g\n$share//a\na"),
        ("unicode", "\u{e9}/\u{20ac}/+\n\u{e9}/#\n\u{e9}/\u{20ac}/\u{1d11e}"),
    ]
    .map(|(name, text)| (name, text.as_bytes().to_vec()))
    .to_vec()
}

/// Policy files, good ones and nearly good ones.
pub(super) fn policies() -> Vec<Input> {
    [
        ("anonymous", "version = 1\n[role.r]\nrules = [{ allow = [\"subscribe\"], topics = [\"#\"] }]\n[anonymous]\nroles = [\"r\"]\n"),
        ("bridge", "version = 1\n[role.r]\nrules = [{ allow = [\"publish\"], topics = [\"a/#\"] }]\n[bridge.site]\nroles = [\"r\"]\n[operator.ada]\nroles = [\"r\"]\n"),
        ("certificate", "version = 1\n[role.r]\n[[certificate]]\nou = \"line 7\"\nroles = [\"r\"]\n"),
        ("client_ids", "version = 1\n[role.r]\n[identity.press]\nroles = [\"r\"]\nclient_ids = [\"press\", \"{identity}-*\"]\n"),
        ("conditions", "version = 1\n[role.r]\nrules = [{ allow = [\"publish\", \"retain\"], topics = [\"a/+\"], qos_max = 1, payload_bytes_max = 99, listener = [\"main\"], security = [\"tls\"], method = [\"password\"], from = [\"10.0.0.0/8\"] }]\n[authenticated]\nroles = [\"r\"]\n"),
        ("deny", "version = 1\n[role.r]\nrules = [\n  { allow = [\"subscribe\", \"share\"], topics = [\"plant/#\"], narrow = true },\n  { deny = [\"receive\"], topics = [\"plant/press/#\"] },\n]\n[authenticated]\nroles = [\"r\"]\n"),
        ("empty", ""),
        ("groups", "version = 1\n[role.r]\n[group.g]\nroles = [\"r\"]\n[identity.press]\ngroups = [\"g\"]\n"),
        ("not_toml", "version = 1\n[role.r\n"),
        ("not_utf_8", "version = 1 # \u{fffd}\n"),
        ("lines", "version = 1\n[role.r]\nrules = [\n  { allow = [ 'publish',\"retain\" ], topics = [ # one\n \"\"\"a/b\"\"\", 'c/{identity}' ], qos_max = 1 }  , # two\n  { allow = [\"share\"], topics = [\"a\"] } ]\n[authenticated]\nroles = [\"r\"]\n"),
        ("permissive", "version = 1\n[role.r]\npermissive_until = \"2099-01-31\"\nrules = []\n[identity.press]\nroles = [\"r\"]\n"),
        ("tables", "version = 1\n[[role.r.rules]]\nallow = [\"publish\"]\ntopics = [\"a/#\"]\n[[role.r.rules]]\ndeny = [\"receive\"]\ntopics = [\"b\"]\n[authenticated]\nroles = [\"r\"]\n"),
        ("templates", "version = 1\n[role.r]\nrules = [{ allow = [\"publish\"], topics = [\"plant/{identity}/#\", \"c/{client_id}\", \"u/{user}/+\"] }]\n[authenticated]\nroles = [\"r\"]\n"),
        ("unknown_role", "version = 1\n[identity.press]\nroles = [\"nobody\"]\n"),
        ("version_2", "version = 2\n"),
        ("wildcards", "version = 1\n[role.r]\nwildcards = \"deny\"\nrules = [{ allow = [\"subscribe\"], topics = [\"a/#\"] }]\n[authenticated]\nroles = [\"r\"]\n"),
    ]
    .map(|(name, text)| (name, text.as_bytes().to_vec()))
    .to_vec()
}

/// Lines of records of usage.
pub(super) fn usages() -> Vec<Input> {
    let rule = "rule\t1\tr\tallow publish on a/#\n";
    [
        ("empty", String::new()),
        ("cut_short", "until\t2\nrule\t1\tr".to_owned()),
        ("escapes", "rule\t1\tr\\t\\n\\\\\tw\n".to_owned()),
        ("lost", "until\t9\nlost\t3\n".to_owned()),
        (
            "quarantined",
            format!("{rule}quarantined\t1\t1\t2\tpublish\tr\tallow publish on a/#\ta/x\tpress\n"),
        ),
        ("no_number", "until\tsoon\nlost\t-1\n".to_owned()),
        ("not_by_a_rule", "used\t1\t1\t2\tpublish\tr\tallow publish on b\tb\tpress\n".to_owned()),
        ("twice", format!("{rule}{rule}")),
        ("unknown_right", "used\t1\t1\t2\tfly\tr\tw\ta/x\tpress\n".to_owned()),
        (
            "used",
            format!(
                "until\t2\n{rule}used\t1\t1\t2\tpublish\tr\tallow publish on a/#\ta/{{identity}}\tpress\n"
            ),
        ),
    ]
    .map(|(name, text)| (name, text.into_bytes()))
    .to_vec()
}

/// Configurations, good ones and nearly good ones.
pub(super) fn configs() -> Vec<Input> {
    let listener = |more: &str| {
        format!("[[listener]]\nname = \"a\"\nkind = \"tcp\"\nbind = [\"127.0.0.1:1883\"]\n{more}")
    };
    let tls = "[[listener]]\nname = \"t\"\nkind = \"wss\"\nbind = [\"[::1]:8884\"]\n[listener.tls]\ncertificates = [{ chain = \"c\", key = \"k\", passphrase_fd = 3 }]\nversions = [\"1.3\"]\nclient_certificates = \"required\"\nclient_ca = [\"ca\"]\ncrl = [\"crl\"]\n[listener.websocket]\npath = \"/m\"\norigins = [\"https://a.example\"]\n";
    [
        ("anonymous", listener("[listener.auth]\nanonymous = true\n")),
        ("deny_and_allow", listener("allow = [\"10.0.0.0/8\"]\ndeny = [\"::1\"]\n")),
        ("empty", String::new()),
        ("limits", format!("[limits]\npacket_bytes_max = 1000\nmaximum_qos = 1\n{}[listener.limits]\nconnections_max = 2\n", listener(""))),
        ("not_toml", "[[listener]\nname = \n".to_owned()),
        ("own_policy", listener("[listener.policy]\nfiles = [\"p\"]\n")),
        ("plaintext", listener("plaintext_until = \"2099-12-31\"\n").replace("127.0.0.1", "192.0.2.1")),
        ("proxy", listener("[listener.proxy_protocol]\nfrom = [\"127.0.0.1/32\"]\n")),
        ("several_faults", format!("workerz = 3\nworkers = \"x\"\n{}", listener("methods = 3\n"))),
        ("tls", tls.to_owned()),
        ("two", format!("workers = 2\nstate_dir = \"s\"\n{}{tls}[auth]\npassword_file = \"p\"\n[log]\nformat = \"json\"\nlevel = \"error\"\n[metrics]\nbind = \"unix:m\"\n[sys]\ninterval_s = 0\n", listener(""))),
        ("unix", "[[listener]]\nname = \"u\"\nkind = \"unix\"\nbind = [\"unix:/run/m\"]\n".to_owned()),
    ]
    .map(|(name, text)| (name, text.into_bytes()))
    .to_vec()
}

#[cfg(test)]
mod tests {
    use motte_access::Policy;

    #[test]
    fn the_good_policies_are_good() {
        // An empty file permits nothing.
        let bad = ["not_toml", "unknown_role", "version_2"];
        for (name, text) in super::policies() {
            let read = Policy::parse(&String::from_utf8(text).unwrap(), name);
            assert_eq!(read.is_err(), bad.contains(&name), "{name}: {read:?}");
        }
    }
}
