//! Ways around a policy that others have paid for.

use motte_access::{Action, Methods};
use proptest::prelude::*;

use crate::subject::{client, gate, may};

const OWN: &str = r#"
version = 1
[role.device]
rules = [
    { allow = ["publish", "subscribe"], topics = ["a/{client_id}/#"] },
    { deny = ["publish"], topics = ["a/{client_id}/locked"] },
]
[authenticated]
roles = ["device"]
client_ids = ["*"]
"#;

#[test]
fn filters_that_reach_beyond_the_grant_are_refused() {
    let gate = gate(OWN);
    let who = client("dev", "dev");
    for filter in [
        "#",
        "+",
        "+/#",
        "/#",
        "/+",
        "a/#",
        "a/+",
        "a/+/#",
        "a/+/b",
        "+/dev",
        "+/dev/#",
        "a/dev2/#",
        "a/de/#",
        "a//#",
        "A/dev/#",
        "a/dev ",
        "$SYS/#",
        "$share",
        "$a/dev/#",
        "a/\u{0435}v/#",
        "a/dev/../x/#x",
    ] {
        assert!(!may(&gate, &who, Action::Subscribe, filter), "{filter} was granted");
    }
    for filter in ["a/dev/#", "a/dev", "a/dev/+", "a/dev/x/#", "a/dev/+/y"] {
        assert!(may(&gate, &who, Action::Subscribe, filter), "{filter} was refused");
    }
}

#[test]
fn hostile_client_identifiers_never_become_wildcards_or_levels() {
    let gate = gate(OWN);
    for id in ["+", "#", "a/b", "", "/", "+/x", "x/#", "\u{0}", "dev/+", "$SYS", "a\u{7f}"] {
        let who = client("dev", id);
        for topic in ["a/dev", "a/x", "a/b/c", "a/+x", "a/dev/locked", "b", "a"] {
            let own = topic
                .strip_prefix("a/")
                .is_some_and(|rest| rest == id || rest.starts_with(&format!("{id}/")));
            assert!(!may(&gate, &who, Action::Publish, topic) || (own && id == "$SYS"), "{id:?} got {topic}");
        }
    }
}

#[test]
fn a_client_does_not_escape_a_denying_rule_by_its_name() {
    let gate = gate(
        "version = 1\n[role.r]\nrules = [{ allow = [\"publish\"], topics = [\"x/#\"] }, { deny = [\"publish\"], topics = [\"x/{client_id}/secret\"] }]\n[authenticated]\nroles = [\"r\"]\n",
    );
    assert!(!may(&gate, &client("d", "dev"), Action::Publish, "x/dev/secret"));
    assert!(may(&gate, &client("d", "dev"), Action::Publish, "x/dev/open"));
    // With a name that fits no level, everything from the placeholder's level on is denied.
    assert!(!may(&gate, &client("d", "+"), Action::Publish, "x/anything/secret"));
}

#[test]
fn what_was_not_proved_does_not_count() {
    let gate = gate(
        "version = 1\n[role.u]\nrules = [{ allow = [\"publish\"], topics = [\"u/{user}\"] }]\n[role.c]\nrules = [{ allow = [\"publish\"], topics = [\"c/{cert.cn}\"] }]\n[authenticated]\nroles = [\"u\"]\n[[certificate]]\ncn = \"dev\"\nroles = [\"c\"]\n",
    );
    let mut who = client("dev", "dev");
    assert!(may(&gate, &who, Action::Publish, "c/dev"));
    assert!(!may(&gate, &who, Action::Publish, "u/dev"), "the user name was not proved by a password");
    who.methods = Methods::PASSWORD;
    assert!(may(&gate, &who, Action::Publish, "u/dev"));
    assert!(!may(&gate, &who, Action::Publish, "c/dev"), "the certificate was not what proved the identity");
    who.methods = Methods::default();
    assert!(!may(&gate, &who, Action::Publish, "u/dev"), "nothing was proved");
}

#[test]
fn a_client_identifier_belongs_to_its_identity() {
    let gate = gate("version = 1\n[identity.\"dev-1\"]\n[identity.dev]\n");
    let fits = |identity: &str, id: &str| gate.client_id_permitted(&client(identity, id)).is_ok();
    assert!(fits("dev", "dev") && fits("dev", "dev-app") && fits("dev-1", "dev-1-app"));
    assert!(
        !fits("dev", "dev-1") && !fits("dev", "dev-1-app") && !fits("dev-1", "dev") && !fits("dev", "other")
    );
    let mut anonymous = client("anonymous", "dev-1");
    anonymous.methods = Methods::ANONYMOUS;
    assert!(gate.client_id_permitted(&anonymous).is_err(), "an anonymous client took an identity's name");
}

proptest! {
    #[test]
    fn a_placeholder_grants_at_most_its_own_level(id in "[a-c+#/$ ]{0,4}", topic in "[a-c/]{1,8}") {
        let gate = gate(OWN);
        if may(&gate, &client("dev", &id), Action::Publish, &topic) {
            prop_assert!(topic == format!("a/{id}") || topic.starts_with(&format!("a/{id}/")), "{id:?} got {topic}");
        }
    }
}
