//! `motte acl`: what it says of a policy, and how it ends.

use std::path::PathBuf;
use std::process::Command;

use motte_testkit::binary;
use serde_json::Value;

/// A policy with one fault of each kind but those that keep it from being read.
const FAULTY: &str = r##"version = 1
[role.device]
rules = [
    { allow = ["publish"], topics = ["devices/{identity}/#"] },
    { allow = ["publish"], topics = ["devices/{identity}/state"] },
    { allow = ["publish"], topics = ["archive/#"] },
    { deny = ["publish"], topics = ["archive/#"] },
    { deny = ["subscribe"], topics = ["elsewhere/x/#"] },
    { allow = ["publish"], topics = ["+/broadcast"] },
    { allow = ["publish"], topics = ["aside/#"], method = ["anonymous", "certificate"] },
]
[role.viewer]
rules = [{ allow = ["subscribe"], topics = ["devices/#"] }]
[role.all]
wildcards = "allow"
rules = [{ allow = ["publish"], topics = ["#"] }]
[role.nobody]
rules = [{ allow = ["publish"], topics = ["x"] }]
[authenticated]
roles = ["device"]
[anonymous]
roles = ["all"]
[identity.eva]
roles = ["viewer"]
"##;

const PLAIN: &str = r#"version = 1
[role.sensor]
rules = [
    { allow = ["publish"], topics = ["devices/{identity}/#"], qos_max = 1 },
    { allow = ["subscribe"], topics = ["devices/{identity}/cmd/#"] },
    { deny = ["publish"], topics = ["devices/{identity}/cmd/#"] },
]
[role.keeper]
rules = [{ allow = ["publish"], topics = ["devices/+/cmd/unlock"] }]
[identity."boiler-7"]
roles = ["sensor"]
[identity.eva]
roles = ["keeper"]
"#;

/// A directory with policies.
struct Desk {
    dir: tempfile::TempDir,
}

impl Desk {
    fn new() -> Self {
        let desk = Self { dir: tempfile::tempdir().unwrap() };
        desk.write("plain.toml", PLAIN);
        desk.write("faulty.toml", FAULTY);
        desk
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// The exit code and what was written.
    fn acl(&self, arguments: &[&str]) -> (i32, String) {
        let mut command = Command::new(binary());
        let output = command.current_dir(self.dir.path()).arg("acl").args(arguments).output().unwrap();
        let text =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        (output.status.code().unwrap(), text)
    }

    fn json(&self, arguments: &[&str]) -> (i32, Value) {
        let (code, text) = self.acl(&[arguments, &["--json"]].concat());
        (code, serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}")))
    }

    fn expect(&self, arguments: &[&str], code: i32, parts: &[&str]) {
        let (ended, text) = self.acl(arguments);
        assert_eq!(ended, code, "{arguments:?}: {text}");
        for part in parts {
            assert!(text.contains(part), "{arguments:?} does not say {part}: {text}");
        }
    }
}

#[test]
fn explain_and_lint_know_tokens_and_services() {
    let desk = Desk::new();
    let role =
        "[role.reader]\nrules = [{ allow = [\"subscribe\"], topics = [\"news/#\"], method = [\"token\"] }]\n";
    desk.write("policy.toml", &format!("version = 1\n{role}[role.guest]\nrules = [{{ allow = [\"publish\"], topics = [\"in/{{identity}}/#\"] }}]\n[authenticated]\nroles = [\"guest\"]\n"));
    let config = |methods: &str, issuer: &str| {
        let listener = format!(
            "[[listener]]\nname = \"main\"\nkind = \"tcp\"\nbind = [\"127.0.0.1:1883\"]\n[listener.auth]\nmethods = [{methods}]\n"
        );
        format!(
            "{listener}[policy]\nfiles = [\"policy.toml\"]\n[auth.http]\nurl = \"http://127.0.0.1:1/\"\n{issuer}"
        )
    };
    let issuer = "[[auth.jwt]]\nissuer = \"i\"\naudience = [\"motte\"]\nkeys_url = \"https://i.example/\"\nroles_claim = \"r\"\nroles = [\"reader\"]\n";
    desk.write("motte.toml", &config("\"jwt\"", issuer));
    let ask =
        |rest: &[&'static str]| [&["explain", "--config", "motte.toml", "--as", "dev-1"], rest].concat();
    desk.expect(
        &ask(&["--token-role", "reader", "--subscribe", "news/#"]),
        0,
        &["PERMITTED", "by token", "policy.toml:3 (role reader)"],
    );
    desk.expect(&ask(&["--method", "token", "--subscribe", "news/#"]), 1, &["DENIED", "no rule"]);
    let narrow = ["--token-role", "reader", "--token-topic", "subscribe=news/+/in"];
    desk.expect(
        &ask(&[&narrow[..], &["--subscribe", "news/a/in"]].concat()),
        0,
        &["a token for subscribe of news/+/in"],
    );
    desk.expect(
        &ask(&[&narrow[..], &["--subscribe", "news/#"]].concat()),
        1,
        &["the token of this client does not reach", "decides     the token", "publish of nothing"],
    );
    desk.expect(
        &ask(&["--token-role", "guest", "--publish", "x"]),
        2,
        &["no issuer grants guest", "[[auth.jwt]]"],
    );
    desk.expect(
        &ask(&["--token-topic", "news/#", "--publish", "x"]),
        2,
        &["publish=FILTER or subscribe=FILTER"],
    );
    let lint = ["lint", "--config", "motte.toml"];
    assert!(!desk.acl(&lint).1.contains("nobody has"), "a token may bring it");
    desk.expect(&["blast", "dev-1", "--config", "motte.toml"], 0, &["news/#", "in/dev-1/#"]);

    // Whoever comes by the word of a service is authenticated as well, and has no token.
    desk.write("motte.toml", &config("\"http\"", ""));
    assert!(desk.acl(&lint).1.contains("nobody has"));
    desk.expect(&ask(&["--method", "http", "--publish", "in/dev-1/x"]), 0, &["PERMITTED", "by http"]);
    let prove = |what: &str| desk.acl(&["prove", what, "--config", "motte.toml"]).0;
    assert_eq!(prove("anybody cannot publish in/dev-1/x"), 1);
    assert_eq!(prove("anybody cannot subscribe news/a"), 0);
}

#[test]
fn explain_tells_a_wrong_topic_from_a_missing_right() {
    let desk = Desk::new();
    let policy = PLAIN.replace("version = 1\n", "version = 1\ntopic_registry = [\"devices/+/state\"]\n");
    desk.write("registry.toml", &policy);
    let ask = |topic: &'static str| {
        ["explain", "--policy", "registry.toml", "--as", "boiler-7", "--publish", topic]
    };
    desk.expect(&ask("devices/boiler-7/state"), 0, &["PERMITTED"]);
    let told = [
        "DENIED",
        "is no topic of the topic registry",
        "registry.toml:2\n",
        "topic_registry has devices/+/state",
    ];
    desk.expect(&ask("devices/boiler-7/stat"), 1, &told);
    desk.expect(&ask("devices/boiler-8/state"), 1, &["DENIED  no rule allows publish"]);
    let found = ["acl-unregistered", "registry.toml:10"];
    desk.expect(&["lint", "--policy", "registry.toml", "--fail-on", "warning"], 1, &found);
    let widened = ["becomes permitted", "devices/boiler-7/#"];
    desk.expect(&["diff", "registry.toml", "plain.toml"], 3, &widened);
}

#[test]
fn explain_names_the_rule_and_the_nearest_other_one() {
    let desk = Desk::new();
    let ask =
        |rest: &[&'static str]| [&["explain", "--policy", "plain.toml", "--as", "boiler-7"], rest].concat();
    desk.expect(
        &ask(&["--publish", "devices/boiler-7/t"]),
        0,
        &["PERMITTED", "plain.toml:4 (role sensor)", "allow publish on devices/{identity}/#"],
    );
    desk.expect(
        &ask(&["--publish", "devices/boiler-7/t", "--qos", "2"]),
        1,
        &["DENIED", "no rule", "plain.toml:4", "holds only up to QoS 1"],
    );
    desk.expect(
        &ask(&["--publish", "devices/boiler-7/cmd/x"]),
        1,
        &["decides     plain.toml:6", "nearest     plain.toml:4", "if the deciding rule were not there"],
    );
    desk.expect(&ask(&["--subscribe", "devices/#"]), 1, &["reaches `devices`", "plain.toml:5"]);
    desk.expect(
        &ask(&["--publish", "devices/boiler-8/cmd/unlock"]),
        1,
        &["plain.toml:4", "permits publish on"],
    );
    desk.expect(&ask(&["--client-id", "eva", "--publish", "a"]), 1, &["may not use Client Identifier `eva`"]);
    let (code, value) = desk.json(&ask(&["--subscribe", "$share/g/devices/boiler-7/cmd/#"]));
    assert_eq!((code, &value["permitted"], &value["way"]), (1, &Value::Bool(false), &Value::from("share")));
    assert_eq!(value["nearest"]["line"], 5, "{value}");
    desk.expect(&ask(&["--publish", "a/#"]), 2, &["remedy: "]);
    desk.expect(
        &ask(&["--publish", "a", "--listener", "none"]),
        2,
        &["there is no listener `none`", "use one of: any"],
    );
}

#[test]
fn prove_ends_with_one_and_a_counter_example_where_the_statement_does_not_hold() {
    let desk = Desk::new();
    let prove = |statement: &'static str| ["prove", "--policy", "plain.toml", statement];
    for statement in [
        "role:sensor cannot subscribe cmd/+/unlock",
        "role:sensor cannot publish # except devices/{identity}/#",
        "role:sensor cannot publish devices/+/cmd/#",
        "role:sensor can publish devices/{identity}/state",
        "role:sensor can subscribe devices/{identity}/cmd/+",
        "identity:boiler-7 cannot subscribe $share/g/#",
        "anybody cannot publish $SYS/#",
        "anonymous cannot receive #",
    ] {
        desk.expect(&prove(statement), 0, &["PROVED", statement]);
    }
    desk.expect(
        &prove("anybody cannot publish devices/+/cmd/unlock"),
        1,
        &[
            "REFUTED",
            "identity eva",
            "topic       devices/x/cmd/unlock",
            "rule        plain.toml:9 (role keeper)",
        ],
    );
    let (code, value) = desk.json(&prove("role:sensor cannot subscribe devices/#"));
    let counter = &value["counter_example"];
    assert_eq!((code, &counter["identity"]), (1, &Value::from("boiler-7")), "{value}");
    assert_eq!(counter["filter"], "devices/boiler-7/cmd/#");
    assert_eq!(counter["topic"], "devices/boiler-7/cmd");
    desk.expect(
        &prove("role:sensor can publish devices/{identity}/#"),
        1,
        &["denied by the rule at plain.toml:6"],
    );
    desk.expect(
        &prove("role:sonsor cannot publish a"),
        2,
        &["no policy has a role `sonsor`", "keeper, sensor"],
    );
    desk.expect(&prove("role:sensor may publish a"), 2, &["neither `can` nor `cannot`", "remedy: "]);
    desk.expect(
        &["prove", "anybody cannot publish a"],
        2,
        &["there is no policy at motte-state/policy.toml", "--policy"],
    );
}

#[test]
fn lint_finds_each_fault_with_its_place_and_remedy() {
    let desk = Desk::new();
    let (code, value) = desk.json(&["lint", "--policy", "faulty.toml"]);
    assert_eq!(code, 1, "{value}");
    let found: Vec<(i64, &str, &str)> = value["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            assert!(one["file"] == "faulty.toml" && !one["remedy"].as_str().unwrap().is_empty(), "{one}");
            (one["line"].as_i64().unwrap(), one["check"].as_str().unwrap(), one["severity"].as_str().unwrap())
        })
        .collect();
    assert_eq!(
        found,
        [
            (5, "acl-shadowed", "warning"),
            (6, "acl-contradicted", "error"),
            (8, "acl-idle-deny", "note"),
            (9, "acl-leading-wildcard", "warning"),
            (10, "acl-never-holds", "warning"),
            (13, "acl-private-branch", "note"),
            (16, "acl-everything", "error"),
            (17, "acl-role-unused", "warning"),
        ]
    );
    desk.expect(
        &["lint", "--policy", "faulty.toml", "--fail-on", "never"],
        0,
        &["8 findings: 2 errors, 4 warnings, 2 notes"],
    );
    desk.expect(
        &["lint", "--policy", "plain.toml", "--fail-on", "warning"],
        1,
        &["plain.toml:9  acl-private-branch"],
    );
    desk.expect(&["lint", "--policy", "plain.toml"], 0, &["1 finding: 0 errors, 1 warning, 0 notes"]);
}

#[test]
fn lint_tells_of_roles_that_do_not_exist_and_writes_sarif() {
    let desk = Desk::new();
    desk.write("lost.toml", "version = 1\n[identity.a]\nroles = [\"sensr\"]\n");
    desk.expect(
        &["lint", "--policy", "lost.toml"],
        1,
        &["error    lost.toml:3  acl-invalid", "there is no role `sensr`"],
    );
    let (code, text) = desk.acl(&["lint", "--policy", "lost.toml", "--policy", "plain.toml", "--sarif"]);
    let value: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, &value["version"]), (1, &Value::from("2.1.0")));
    let run = &value["runs"][0];
    let result = &run["results"][0];
    assert_eq!((&result["ruleId"], &result["level"]), (&Value::from("acl-invalid"), &Value::from("error")));
    let place = &result["locations"][0]["physicalLocation"];
    assert_eq!(place["artifactLocation"]["uri"], "lost.toml");
    assert_eq!(place["region"]["startLine"], 3);
    let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
    assert_eq!(run["tool"]["driver"]["rules"][index]["id"], "acl-invalid");
}

#[test]
fn blast_tells_what_is_read_written_and_triggered() {
    let desk = Desk::new();
    desk.expect(
        &["blast", "--policy", "plain.toml", "eva"],
        0,
        &[
            "connects as eva, eva-*",
            "may publish, leave a Will\n  devices/+/cmd/unlock",
            "identity boiler-7\n    devices/boiler-7/cmd/unlock",
        ],
    );
    let (code, value) = desk.json(&["blast", "--policy", "plain.toml", "boiler-7"]);
    assert_eq!(code, 0);
    assert_eq!(value["may"]["publish"][0]["topics"], "devices/boiler-7/# without devices/boiler-7/cmd/#");
    assert_eq!(value["may"]["subscribe"][0]["topics"], "devices/boiler-7/cmd/#");
    assert_eq!(value["triggers"].as_array().unwrap().len(), 0, "{value}");
    desk.expect(&["blast", "--policy", "plain.toml", "nobody"], 0, &["may nothing"]);
}

#[test]
fn diff_ends_with_three_when_something_was_widened() {
    let desk = Desk::new();
    desk.write("wide.toml", &PLAIN.replace("devices/+/cmd/unlock", "devices/+/cmd/+"));
    desk.write("named.toml", &PLAIN.replace("# nothing", ""));
    desk.write("qos.toml", &PLAIN.replace("qos_max = 1", "qos_max = 2"));
    desk.expect(&["diff", "plain.toml", "named.toml"], 0, &["the same is permitted"]);
    desk.expect(
        &["diff", "plain.toml", "wide.toml"],
        3,
        &[
            "becomes permitted",
            "identity eva",
            "+ publish, will  devices/+/cmd/+ without devices/+/cmd/unlock  such as devices/x/cmd/x",
        ],
    );
    desk.expect(&["diff", "wide.toml", "plain.toml"], 0, &["is permitted no longer", "- publish, will"]);
    desk.expect(&["diff", "plain.toml", "qos.toml"], 3, &["identity boiler-7", "(with QoS 2)"]);
    let (code, value) = desk.json(&["diff", "plain.toml", "wide.toml"]);
    assert_eq!(code, 3);
    assert_eq!(value["widened"][0]["who"][0], "identity eva");
    assert_eq!(value["widened"][0]["example"], "devices/x/cmd/x");
    assert_eq!(value["narrowed"].as_array().unwrap().len(), 0);
    desk.expect(&["diff", "plain.toml", "missing.toml"], 2, &["cannot read missing.toml"]);
}

#[test]
fn assertions_fail_with_the_line_and_the_counter_example() {
    let desk = Desk::new();
    let good = "version = 1\nprove = [\"anybody cannot publish #  except devices/#\"]\n[[may]]\nwho = \"identity:boiler-7\"\npublish = [\"devices/boiler-7/state\"]\nsubscribe = [\"devices/boiler-7/cmd/#\"]\n";
    desk.write("good.toml", good);
    desk.expect(
        &["test", "--policy", "plain.toml", "good.toml"],
        0,
        &["pass  good.toml:5", "3 assertions, 0 failed"],
    );
    desk.write(
        "bad.toml",
        &format!("{good}[[may_not]]\nwho = \"role:keeper\"\npublish = [\"devices/boiler-7/#\"]\n"),
    );
    desk.expect(
        &["test", "--policy", "plain.toml", "bad.toml"],
        1,
        &[
            "FAIL  bad.toml:9  role:keeper cannot publish devices/boiler-7/#",
            "topic       devices/boiler-7/cmd/unlock",
            "4 assertions, 1 failed",
        ],
    );
    let (code, value) = desk.json(&["test", "--policy", "plain.toml", "bad.toml"]);
    assert_eq!((code, &value["failed"], &value["passed"]), (1, &Value::from(1), &Value::from(3)));
    desk.write("wrong.toml", "version = 1\n[[may]]\nwho = \"boiler-7\"\npublish = [\"a\"]\n");
    desk.expect(&["test", "--policy", "plain.toml", "wrong.toml"], 2, &["wrong.toml:3:7", "remedy: "]);
}

#[test]
fn a_configuration_brings_its_listeners_and_their_policies() {
    let desk = Desk::new();
    desk.write("open.toml", "version = 1\n[role.guest]\nrules = [{ allow = [\"publish\"], topics = [\"guests/#\"] }]\n[anonymous]\nroles = [\"guest\"]\n");
    let config = "[policy]\nfiles = [\"plain.toml\"]\n[[listener]]\nname = \"inside\"\nkind = \"unix\"\nbind = [\"unix:never-opened.sock\"]\n[listener.auth]\nanonymous = true\n[listener.policy]\nfiles = [\"open.toml\"]\n[[listener]]\nname = \"main\"\nkind = \"unix\"\nbind = [\"unix:never-opened-either.sock\"]\n";
    desk.write("motte.toml", config);
    let prove = |statement: &'static str| ["prove", "--config", "motte.toml", statement];
    desk.expect(&prove("anonymous cannot publish # except guests/#"), 0, &["PROVED"]);
    desk.expect(&prove("anonymous cannot publish guests/#"), 1, &["listener    inside", "open.toml:3"]);
    desk.expect(&prove("role:sensor cannot publish guests/#"), 0, &["PROVED"]);
    let (_, main) = config.split_once("[[listener]]").unwrap().1.split_once("[[listener]]").unwrap();
    desk.write("before.toml", &format!("[policy]\nfiles = [\"plain.toml\"]\n[[listener]]{main}"));
    desk.expect(&["diff", "--configs", "before.toml", "motte.toml"], 3, &["anonymous clients", "guests/#"]);
    desk.expect(&["diff", "--configs", "motte.toml", "before.toml"], 0, &["is permitted no longer"]);
    desk.write("wide.toml", &config.replace("[\"plain.toml\"]", "[\"plain.toml\", \"more.toml\"]"));
    desk.write("more.toml", "version = 1\n[role.more]\nrules = [{ allow = [\"publish\"], topics = [\"more\"] }]\n[authenticated]\nroles = [\"more\"]\n");
    desk.expect(
        &["diff", "--configs", "motte.toml", "wide.toml"],
        3,
        &["anybody who is authenticated", "more  (by listener main)"],
    );
}

#[test]
fn what_motte_up_makes_is_asked_by_default() {
    let site = crate::site::Site::secured();
    let desk = Desk { dir: site.dir };
    desk.expect(&["prove", "role:device cannot publish # except devices/{identity}/#"], 0, &["PROVED"]);
    desk.expect(
        &["prove", "identity:device-1 cannot subscribe #  except devices/device-1/#"],
        0,
        &["PROVED"],
    );
    desk.expect(
        &["explain", "--as", "device-1", "--publish", "devices/device-1/x"],
        0,
        &["ou=device", "motte-state/policy.toml:8"],
    );
    desk.expect(&["explain", "--as", "device-1", "--publish", "devices/device-2/x"], 1, &["DENIED"]);
    desk.expect(&["blast", "operator"], 0, &["subscribe, share a subscription\n  #"]);
    desk.expect(&["lint"], 0, &["acl-everything", "0 errors"]);
}

#[test]
fn the_assertions_of_the_example_hold() {
    let desk = Desk::new();
    let example =
        |name: &str| motte_testkit::workspace().join("examples/policies").join(name).display().to_string();
    let (policy, assertions) = (example("building.toml"), example("building-assertions.toml"));
    desk.expect(&["test", "--policy", &policy, &assertions], 0, &["6 assertions, 0 failed"]);
}

#[test]
fn a_permissive_role_is_named_by_check_and_lint() {
    let desk = Desk::new();
    desk.write(
        "tried.toml",
        "version = 1\n[role.tried]\npermissive_until = \"2099-12-31\"\n[identity.a]\nroles = [\"tried\"]\n",
    );
    let found = ["warning", "tried.toml:2  acl-permissive  (role tried)", "until 2099-12-31"];
    desk.expect(&["lint", "--policy", "tried.toml", "--fail-on", "warning"], 1, &found);
    let later = ["PROVED"];
    desk.expect(&["prove", "--policy", "tried.toml", "role:tried cannot publish #"], 0, &later);
    desk.write(
        "motte.toml",
        "[policy]\nfiles = [\"tried.toml\"]\n[[listener]]\nname = \"main\"\nkind = \"tcp\"\nbind = [\"127.0.0.1:0\"]\n",
    );
    let mut check = Command::new(binary());
    let (good, text) =
        motte_testkit::finish(check.current_dir(desk.dir.path()).args(["check", "--config", "motte.toml"]));
    assert!(good && text.contains("rule.role_permissive role=tried until=2099-12-31"), "{text}");
}
