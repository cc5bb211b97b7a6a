//! `motte user` and `motte passwd`, as their users see them.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use motte_testkit::{binary, finish};
use serde_json::Value;

/// A directory with a password file, and `motte` run in it.
struct Desk(tempfile::TempDir);

impl Desk {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// Runs `motte ARGUMENTS --file passwords` with `password` in a file behind `--password-file`, if there is one.
    fn run(&self, arguments: &[&str], password: Option<&str>) -> (bool, String) {
        let mut command = Command::new(binary());
        command.current_dir(self.0.path()).args(arguments).args(["--file", "passwords"]);
        if let Some(password) = password {
            fs::write(self.0.path().join("secret"), password).unwrap();
            command.args(["--password-file", "secret"]);
        }
        finish(&mut command)
    }

    fn good(&self, arguments: &[&str], password: Option<&str>) -> String {
        let (good, text) = self.run(arguments, password);
        assert!(good, "{arguments:?}: {text}");
        text
    }

    fn refused(&self, arguments: &[&str], password: Option<&str>) -> String {
        let before = fs::read_to_string(self.0.path().join("passwords")).ok();
        let (good, text) = self.run(arguments, password);
        assert!(!good && text.contains("remedy: "), "{arguments:?}: {text}");
        assert_eq!(fs::read_to_string(self.0.path().join("passwords")).ok(), before, "nothing was changed");
        text
    }

    fn accounts(&self) -> Vec<Value> {
        serde_json::from_str(&self.good(&["user", "list", "--json"], None)).unwrap()
    }
}

#[test]
fn passwd_check_says_what_is_wrong() {
    let desk = Desk::new();
    for password in ["Passw0rd!", "hunter2", "fourteen chars"] {
        desk.refused(&["passwd", "check"], Some(password));
    }
    assert!(desk.good(&["passwd", "check"], Some("tall boat waded")).contains("good"));
    desk.refused(&["passwd", "check", "--profile", "classic"], Some("abcdefgh"));
    desk.good(&["passwd", "check", "--profile", "classic"], Some("Gx7#pLq2"));
    let told = desk.refused(&["passwd", "check", "--for", "boat"], Some("tall boat waded"));
    assert!(told.contains("the identity's name"), "{told}");
}

#[test]
fn generated_passwords_are_all_different_and_come_in_the_forms_of_managers() {
    let desk = Desk::new();
    let many = desk.good(&["passwd", "gen", "--count", "10000"], None);
    let many: HashSet<&str> = many.lines().collect();
    assert_eq!(many.len(), 10_000);
    let bits: u32 = desk.good(&["passwd", "gen", "--entropy"], None).trim().parse().unwrap();
    assert!(bits >= 128);
    assert!(many.iter().all(|password| password.len() * 5 >= bits as usize));
    let csv = desk.good(&["passwd", "gen", "--format", "keepassxc-csv", "--for", "pump"], None);
    assert!(csv.lines().nth(1).unwrap().starts_with("\"MQTT\",\"pump\",\"pump\",\""), "{csv}");
}

#[test]
fn two_identities_never_share_a_password() {
    let desk = Desk::new();
    desk.good(&["user", "add", "dev-7"], Some("one and the same thing"));
    let told = desk.refused(&["user", "add", "dev-8"], Some("one and the same thing"));
    assert!(told.contains("already used by another identity") && !told.contains("dev-7"), "{told}");
    let made = desk.good(&["user", "add", "dev-9", "--generate"], None);
    let made = made.lines().next().unwrap().to_owned();
    desk.refused(&["user", "add", "dev-8"], Some(&made));
    let told = desk.refused(&["user", "passwd", "dev-7"], Some("one and the same thing"));
    assert!(told.contains("has or had this password"), "{told}");
}

#[test]
fn an_account_from_its_making_to_its_end() {
    let desk = Desk::new();
    desk.good(&["user", "add", "alice", "--expires", "2999-01-01"], Some("a sentence nobody says"));
    let mode = fs::metadata(desk.0.path().join("passwords")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    desk.refused(&["user", "add", "alice"], Some("another sentence nobody says"));
    desk.refused(&["user", "passwd", "bob"], Some("another sentence nobody says"));
    desk.good(&["user", "rotate", "alice", "--grace", "36h"], Some("another sentence nobody says"));
    let alice = &desk.accounts()[0];
    assert_eq!(alice["passwords"].as_array().unwrap().len(), 2);
    assert!(alice["passwords"][0]["until_s"].is_null() && alice["passwords"][1]["until_s"].is_u64());
    desk.good(&["user", "disable", "alice"], None);
    assert_eq!(desk.accounts()[0]["state"], "disabled");
    desk.good(&["user", "enable", "alice"], None);
    desk.good(&["user", "expose", "alice"], None);
    assert_eq!(desk.accounts()[0]["state"], "exposed");
    let told = desk.refused(&["user", "passwd", "alice"], Some("another sentence nobody says"));
    assert!(told.contains("has or had"), "an exposed password does not come back: {told}");
    desk.good(&["user", "passwd", "alice"], Some("a third sentence, said by none"));
    assert_eq!(desk.accounts()[0]["state"], "open");
    assert!(desk.good(&["user", "show", "alice"], None).contains("of which exposed 2"));
    desk.good(&["user", "delete", "alice"], None);
    assert!(desk.accounts().is_empty());
    desk.refused(&["user", "delete", "alice"], None);
}

#[test]
fn the_older_words_and_the_older_file_are_still_understood() {
    let desk = Desk::new();
    let hash =
        "$argon2id$v=19$m=64,t=1,p=1$WlpaWlpaWlpaWlpaWlpaWg$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    fs::write(desk.0.path().join("passwords"), format!("# note\nold:{hash}\n")).unwrap();
    assert!(desk.good(&["user", "list"], None).contains("weaker than it should be"));
    desk.good(&["passwd", "set", "new"], Some("a sentence nobody says"));
    desk.good(&["passwd", "set", "new", "--generate"], None);
    assert_eq!(desk.good(&["passwd", "list"], None), "new\nold\n");
    desk.good(&["passwd", "remove", "new"], None);
    let text = fs::read_to_string(desk.0.path().join("passwords")).unwrap();
    assert!(text.starts_with("motte-credentials 2\n") && text.contains("identity old\n"), "{text}");
    fs::write(desk.0.path().join("passwords"), format!("{text}  nonsense\n")).unwrap();
    let told = desk.refused(&["passwd", "list"], None);
    assert!(told.contains("passwords:") && told.contains("`nonsense`"), "{told}");
}

#[test]
fn changes_of_two_verbs_at_once_are_both_kept() {
    let desk = Desk::new();
    std::thread::scope(|scope| {
        for number in 0..8 {
            let desk = &desk;
            scope.spawn(move || desk.good(&["user", "add", &format!("device-{number}"), "--generate"], None));
        }
    });
    assert_eq!(desk.accounts().len(), 8);
}

#[test]
fn whoever_has_a_leaked_password_is_found() {
    let desk = Desk::new();
    desk.good(&["user", "add", "alice"], Some("a sentence nobody says"));
    desk.good(&["user", "add", "bob"], Some("another sentence nobody says"));
    let made = desk.good(&["user", "add", "pump", "--generate"], None);
    let made = made.lines().next().unwrap().to_owned();
    let states =
        || desk.accounts().iter().map(|one| one["state"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    let leak = |text: &str| fs::write(desk.0.path().join("leak"), text).unwrap();
    leak("hunter2\n");
    desk.good(&["passwd", "expose", "--leaked", "leak"], None);
    assert_eq!(states(), ["open", "open", "open"]);
    leak(&format!("hunter2\n\na sentence nobody says\n{made}\n"));
    desk.good(&["passwd", "expose", "--leaked", "leak"], None);
    assert_eq!(states(), ["exposed", "open", "exposed"]);
}

#[test]
fn an_import_takes_all_or_nothing() {
    let desk = Desk::new();
    let from = desk.0.path().join("devices.csv");
    let hash = "$7$101$WlpaWlpaWlpaWlpa$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==";
    fs::write(&from, format!("# devices\na,a sentence nobody says\nb:{hash}\nc,short\n")).unwrap();
    let import = ["user", "import", "devices.csv"];
    let told = desk.refused(&import, None);
    assert!(told.contains("devices.csv:4: ") && told.contains("nothing was taken"), "{told}");
    let told = desk.good(&[&import[..], &["--weak"]].concat(), None);
    assert!(
        told.contains("took 3 accounts") && told.contains("1 weaker hashes were put under Argon2id"),
        "{told}"
    );
    desk.refused(&[&import[..], &["--weak"]].concat(), None);
    fs::write(&from, "d,00112233445566778899aabbccddeeff\n").unwrap();
    desk.good(&[&import[..], &["--generated"]].concat(), None);
    assert_eq!(desk.accounts()[3]["passwords"][0]["class"], "keyed");
    fs::write(&from, "e,0011223344556677\n").unwrap();
    assert!(desk.refused(&[&import[..], &["--generated"]].concat(), None).contains("112 bits"));
}

#[test]
fn a_second_factor_is_enrolled_shown_once_and_removed() {
    let desk = Desk::new();
    desk.good(&["user", "add", "alice"], Some("a sentence nobody says"));
    desk.refused(&["user", "totp", "enrol", "bob"], None);
    let told = desk.good(&["user", "totp", "enrol", "alice", "--issuer", "Plant 7"], None);
    assert!(told.starts_with("otpauth://totp/Plant%207:alice?secret="), "{told}");
    assert!(
        told.contains('\u{2588}') && told.lines().filter(|line| line.starts_with("  ")).count() >= 10,
        "{told}"
    );
    let secret = told.split(['=', '&']).nth(1).unwrap();
    let text = fs::read_to_string(desk.0.path().join("passwords")).unwrap();
    assert!(text.contains(&format!("  totp {secret} since=")), "{text}");
    let shown = desk.good(&["user", "show", "alice"], None);
    assert!(shown.contains("10 recovery codes") && !shown.contains(secret), "{shown}");
    desk.good(&["user", "passwd", "alice"], Some("wade;tqx"));
    desk.refused(&["user", "totp", "enrol", "alice"], None);
    desk.good(&["user", "totp", "remove", "alice"], None);
    desk.refused(&["user", "totp", "remove", "alice"], None);
}

#[test]
fn the_rules_of_a_configuration_hold() {
    let desk = Desk::new();
    let config = "state_dir = \"store\"\n[[listener]]\nname = \"main\"\nkind = \"tcp\"\nbind = [\"127.0.0.1:0\"]\n[auth]\npassword_file = \"accounts\"\n[auth.passwords]\nprofile = \"classic\"\nlist = \"refused\"\nwords = [\"acme\"]\n";
    fs::write(desk.0.path().join("motte.toml"), config).unwrap();
    fs::write(desk.0.path().join("refused"), "Zebra crossing\n").unwrap();
    let check = |password: &str| {
        fs::write(desk.0.path().join("secret"), password).unwrap();
        let mut command = Command::new(binary());
        command.current_dir(desk.0.path()).args(["passwd", "check", "--config", "motte.toml"]);
        finish(command.args(["--password-file", "secret"])).0
    };
    assert!(check("Gx7#pLq2"));
    assert!(!check("Zebra crossing 9!") && !check("Acme2026!"));
}

#[test]
fn a_file_that_root_changes_stays_its_owners() {
    use std::os::unix::fs::{MetadataExt as _, chown};

    let desk = Desk::new();
    desk.good(&["user", "add", "alice", "--generate"], None);
    let path = desk.0.path().join("passwords");
    let owner = || fs::metadata(&path).map(|facts| (facts.uid(), facts.gid())).unwrap();
    if owner().0 != 0 {
        // Only root can give files away.
        return;
    }
    chown(&path, Some(65_534), Some(65_533)).unwrap();
    desk.good(&["user", "disable", "alice"], None);
    assert_eq!(owner(), (65_534, 65_533));
}

#[test]
fn typical_mistakes_are_answered_with_what_to_do() {
    let desk = Desk::new();
    let told = desk.refused(&["user", "add", "alice", "--generate", "--expires", "2020-01-01"], None);
    assert!(told.contains("still to come"), "{told}");
    let told = desk.refused(&["user", "add", "alice"], Some(""));
    assert!(told.contains("it is empty") && !told.contains("inf"), "{told}");
    let mut command = Command::new(binary());
    command.current_dir(desk.0.path()).args(["user", "list", "--file", "nowhere/passwords"]);
    assert!(finish(&mut command).1.contains("there is no password file at nowhere/passwords"));
    let mut command = Command::new(binary());
    command.current_dir(desk.0.path()).args([
        "user",
        "add",
        "a",
        "--generate",
        "--file",
        "nowhere/passwords",
    ]);
    let (good, told) = finish(&mut command);
    assert!(
        !good && told.contains("there is no directory for the password file nowhere/passwords"),
        "{told}"
    );
}

#[test]
fn a_password_may_be_kept_for_scram() {
    let desk = Desk::new();
    let class = |desk: &Desk| desk.accounts()[0]["passwords"][0]["class"].clone();
    desk.good(&["user", "add", "alice", "--scram"], Some("tall boat waded"));
    assert_eq!(class(&desk), "scram-sha-256");
    let text = |desk: &Desk| fs::read_to_string(desk.0.path().join("passwords")).unwrap();
    assert!(text(&desk).contains("password $scram-sha-256$100000$"), "{}", text(&desk));
    desk.refused(&["user", "passwd", "alice", "--scram"], Some("tall boat waded"));
    desk.good(&["user", "rotate", "alice", "--scram"], Some("small boat waded"));
    let salts: HashSet<String> = text(&desk)
        .lines()
        .filter(|line| line.trim().starts_with("password "))
        .map(|line| line.split('$').nth(3).unwrap().to_owned())
        .collect();
    assert_eq!(salts.len(), 1, "both passwords of a rotation have one salt");
    desk.good(&["user", "passwd", "alice", "--scram", "--generate"], None);
    assert!(text(&desk).contains("$scram-sha-256$4096$"));
    desk.good(&["user", "passwd", "alice"], Some("other boat waded"));
    assert_eq!(class(&desk), "argon2id");
    for iterations in ["4095", "1000001"] {
        let arguments = ["user", "passwd", "alice", "--scram", "--iterations", iterations];
        assert!(!desk.run(&arguments, Some("tall boat sailed")).0);
    }
    let told = desk.refused(&["user", "passwd", "alice", "--scram"], Some("tall boat \u{e000} waded"));
    assert!(told.contains("SCRAM"), "{told}");
}

#[test]
fn more_iterations_than_anybody_should_wait_for_are_refused_with_their_line() {
    let desk = Desk::new();
    let hash = "A".repeat(86);
    fs::write(desk.0.path().join("theirs"), format!("a:$7$101$YQ==${hash}==\nb:$7$1000001$YQ==${hash}==\n"))
        .unwrap();
    let told = desk.refused(&["user", "import", "theirs"], None);
    assert!(told.contains("theirs:2: `b`") && told.contains("1,000,000 at most"), "{told}");
}
