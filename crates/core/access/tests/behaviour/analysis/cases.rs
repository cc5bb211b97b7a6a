//! Statements about small policies, one for each thing that makes a proof hard.

use motte_access::analysis::{ListenerFacts, Statement, Verdict, World};
use motte_access::{Methods, Security};

use super::universe::compile;

fn is_proved(world: &World, statement: &str) -> bool {
    matches!(world.prove(&Statement::parse(statement).unwrap()).unwrap(), Verdict::Proved(_))
}

fn check(policy: &str, statements: &[(&str, bool)]) {
    let world = World::of_policy(compile(&format!("version = 1\n{policy}")));
    for (statement, expected) in statements {
        assert_eq!(is_proved(&world, statement), *expected, "{statement}\n{policy}");
    }
}

#[test]
fn a_placeholder_can_be_a_part_of_a_level() {
    check(
        "[role.r]\nrules = [{ allow = [\"publish\"], topics = [\"dev-{identity}/x\", \"{client_id}-{identity}\"] }]\n[authenticated]\nroles = [\"r\"]\n",
        &[
            ("role:r cannot publish dev-/x", true),
            ("role:r cannot publish dev-7/x", false),
            ("role:r cannot publish dev-7/y", true),
            ("role:r cannot publish other/x", true),
            ("identity:7 can publish dev-7/x", true),
            ("identity:8 cannot publish dev-7/x", true),
            // Client Identifier 7-a or 7 of identity 7.
            ("role:r cannot publish 7-a-7", false),
            ("identity:7 can publish 7-a-7", true),
            ("role:r cannot publish 7-a-8", true),
        ],
    );
}

#[test]
fn names_are_made_equal_to_each_other_and_to_what_other_rules_say() {
    check(
        "[role.r]\nrules = [\n{ allow = [\"publish\"], topics = [\"a/{identity}/{client_id}\"] },\n{ deny = [\"publish\"], topics = [\"a/{client_id}/{client_id}\"] },\n]\n[identity.named]\nroles = [\"r\"]\nclient_ids = [\"*\"]\n",
        &[
            ("identity:named cannot publish a/named/named", true),
            ("identity:named cannot publish a/named/other", false),
            ("identity:named can publish a/named/other", true),
            ("identity:named cannot publish a/other/#", true),
        ],
    );
}

#[test]
fn narrowed_and_shared_subscriptions_are_seen_through() {
    let policy = "[role.r]\nwildcards = \"allow\"\nrules = [\n{ allow = [\"subscribe\"], topics = [\"a/b\"], narrow = true },\n{ allow = [\"receive\"], topics = [\"c/#\", \"$SYS/#\"] },\n{ allow = [\"share\"], topics = [\"d/#\"] },\n]\n[authenticated]\nroles = [\"r\"]\n";
    check(
        policy,
        &[
            // `#` is granted because it is narrowed, and brings what may be received.
            ("role:r cannot subscribe c/x", false),
            ("role:r cannot subscribe $SYS/#", true),
            ("role:r cannot receive $SYS/x", false),
            ("role:r cannot subscribe $share/g/c/#", true),
            ("role:r cannot subscribe $share/g/d/#", false),
            ("role:r can subscribe $share/g/d/e", true),
            ("role:r can subscribe d/e", false),
            ("role:r can subscribe a/b", true),
            ("role:r can subscribe a/#", false),
        ],
    );
    // The name that brings the wider filter to the topic is found, though the rule itself does not meet it.
    check(
        "[role.r]\nrules = [\n{ allow = [\"receive\"], topics = [\"+\"] },\n{ allow = [\"subscribe\"], topics = [\"{identity}/a\"], narrow = true },\n]\n[authenticated]\nroles = [\"r\"]\n",
        &[("anybody cannot subscribe z", false), ("identity:y cannot subscribe z", true)],
    );
    // With wildcards below a first level alone, nothing widens `a/b` to `c`.
    check(&policy.replace("\"allow\"", "\"scoped\""), &[("role:r cannot subscribe c/x", true)]);
}

#[test]
fn nobody_publishes_below_sys_and_a_leading_wildcard_does_not_reach_it() {
    check(
        "[role.r]\nwildcards = \"allow\"\nrules = [{ allow = [\"publish\", \"subscribe\"], topics = [\"#\", \"$SYS/#\", \"$x/+\"] }]\n[authenticated]\nroles = [\"r\"]\n[bridge.up]\nroles = [\"r\"]\n[operator.eva]\nroles = [\"r\"]\n",
        &[
            ("anybody cannot publish $SYS/#", true),
            ("anybody cannot subscribe $SYS/#", false),
            ("anybody cannot publish $x/#", false),
            ("anybody cannot publish $y/#", true),
            ("bridge:up cannot publish a", false),
            ("operator:eva cannot publish $SYS/a", true),
            ("role:r can publish #", true),
        ],
    );
}

#[test]
fn a_common_name_that_is_not_the_identity_can_be_any() {
    let policy = "version = 1\n[role.r]\nrules = [{ allow = [\"publish\"], topics = [\"a/{cert.cn}\"] }]\n[authenticated]\nroles = [\"r\"]\n";
    let listener = |identity_is_cn| ListenerFacts {
        name: "main".into(),
        security: vec![Security::Tls],
        methods: vec![Methods::CERTIFICATE],
        identity_is_cn,
        token_roles: Vec::new(),
        group_roles: Vec::new(),
    };
    for (identity_is_cn, expected) in [(true, true), (false, false)] {
        let world = World::new(compile(policy), vec![listener(identity_is_cn)]);
        assert_eq!(is_proved(&world, "identity:dev cannot publish a/other"), expected);
        assert!(!is_proved(&world, "identity:dev cannot publish a/dev"));
    }
}

#[test]
fn what_a_listener_does_not_take_does_not_count() {
    let policy = "version = 1\n[role.r]\nrules = [\n{ allow = [\"publish\"], topics = [\"p\"], method = [\"password\"] },\n{ allow = [\"publish\"], topics = [\"q\"], security = [\"plain\"] },\n{ allow = [\"publish\"], topics = [\"n\"], from = [\"10.0.0.0/8\"] },\n]\n[authenticated]\nroles = [\"r\"]\n[anonymous]\nroles = [\"r\"]\n";
    let main = ListenerFacts {
        name: "main".into(),
        security: vec![Security::Tls],
        methods: vec![Methods::CERTIFICATE],
        identity_is_cn: true,
        token_roles: Vec::new(),
        group_roles: Vec::new(),
    };
    let world = World::new(compile(policy), vec![main]);
    for (statement, expected) in [
        ("anybody cannot publish p", true),
        ("anybody cannot publish q", true),
        ("anybody cannot publish n", false),
        ("anonymous cannot publish n", true),
    ] {
        assert_eq!(is_proved(&world, statement), expected, "{statement}");
    }
}

#[test]
fn a_role_that_tokens_may_grant_can_be_anybodys() {
    let policy = "version = 1\n[role.r]\nrules = [{ allow = [\"publish\"], topics = [\"a\"], method = [\"token\"] }]\n[role.quiet]\nrules = [{ deny = [\"publish\"], topics = [\"#\"] }]\n[role.s]\nrules = [{ allow = [\"publish\"], topics = [\"b\"] }]\n";
    let listener = |method, roles: &[&str]| ListenerFacts {
        name: "main".into(),
        security: vec![Security::Tls],
        methods: vec![method],
        identity_is_cn: true,
        token_roles: vec![roles.iter().map(|role| (*role).to_owned()).collect()],
        group_roles: Vec::new(),
    };
    for (method, roles, a, b) in [
        (Methods::TOKEN, &["r", "quiet"][..], false, true),
        (Methods::TOKEN, &["quiet", "r", "s"], false, false),
        (Methods::TOKEN, &[], true, true),
        (Methods::PASSWORD, &["r", "s"], true, true),
    ] {
        let world = World::new(compile(policy), vec![listener(method, roles)]);
        assert_eq!(is_proved(&world, "anybody cannot publish a"), a, "{roles:?}");
        assert_eq!(is_proved(&world, "anybody cannot publish b"), b, "{roles:?}");
        let unused = world.lint().unwrap().iter().filter(|one| one.what.contains("nobody has")).count();
        assert_eq!(unused, 3 - roles.len().min(3), "{roles:?}");
    }
}

#[test]
fn a_token_has_roles_of_one_issuer_only() {
    let policy = "version = 1\n[role.left]\nrules = [{ allow = [\"subscribe\"], topics = [\"a/b\"] }]\n[role.right]\nrules = [{ allow = [\"subscribe\"], topics = [\"a/+/c\", \"a/b\"] }]\n[role.rest]\nrules = [{ allow = [\"subscribe\"], topics = [\"a/b/#\"] }, { deny = [\"subscribe\"], topics = [\"a/b\"] }]\n";
    let world = |issuers: &[&[&str]]| {
        let roles = |roles: &&[&str]| roles.iter().map(|role| (*role).to_owned()).collect();
        let listener = ListenerFacts {
            name: "main".into(),
            security: vec![Security::Tls],
            methods: vec![Methods::TOKEN],
            identity_is_cn: true,
            token_roles: issuers.iter().map(roles).collect(),
            group_roles: Vec::new(),
        };
        World::new(compile(policy), vec![listener])
    };
    let lint = |issuers| {
        let found = world(issuers).lint().unwrap();
        found.iter().filter(|one| one.what.contains("nobody has")).count()
    };
    assert_eq!(
        lint(&[&["left"], &["right", "rest"]]),
        0,
        "what some issuer may grant is not without holders"
    );
    assert_eq!(lint(&[&["left"], &["right"]]), 1);
}

proptest::proptest! {
    #[test]
    fn no_text_panics(text in ".{0,120}", rest in "(role:|identity:)?[a-z]{0,3} (can|cannot) (publish|subscribe) .{0,20}") {
        let _ = Statement::parse(&text);
        let _ = motte_access::analysis::assertions(&text, "assertions.toml");
        if let Ok(statement) = Statement::parse(&rest) {
            let again = Statement::parse(&statement.to_string()).unwrap();
            proptest::prop_assert_eq!(again, statement);
        }
    }
}
