//! The broker confines itself, under the kernel that runs this, and goes on serving.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use motte_testkit::{Broker, binary, finish, wait_until};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};
use serde_json::Value;

use crate::site::{CONFIG, Site};

const REQUIRED: &str = "[sandbox]\nmode = \"required\"\n";

fn harden(dir: &Path, arguments: &[&str]) -> (bool, String) {
    finish(Command::new(binary()).current_dir(dir).arg("harden").args(arguments))
}

/// Fields of `/proc/PID/task/*/status`, one line a thread.
fn of_threads(process: u32, field: &str) -> Vec<String> {
    let tasks = std::fs::read_dir(format!("/proc/{process}/task")).expect("it runs");
    tasks
        .map(|task| {
            let status =
                std::fs::read_to_string(task.expect("it runs").path().join("status")).expect("it runs");
            let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("the kernel tells it");
            line.trim_start_matches(':').trim().to_owned()
        })
        .collect()
}

/// Puts a file in another's place, as tools do that renew certificates.
fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    std::fs::write(&new, text).expect("ours");
    std::fs::rename(new, path).expect("ours");
}

#[test]
fn a_sealed_broker_serves_reloads_and_stops_cleanly() {
    let more = "[metrics]\nbind = \"127.0.0.1:0\"\n[[listener]]\nname = \"local\"\nkind = \"unix\"\nbind = [\"unix:local.sock\"]\n[listener.auth]\nanonymous = true\n";
    let site = Site::start_with(&format!("{CONFIG}{REQUIRED}{more}"));
    let in_force = site.broker.event("life.confined").field("in_force");
    assert!(in_force.contains("Landlock ABI") && in_force.contains("no capabilities"), "{in_force}");

    // It starts when the others serve, and has told what is in force on it by then.
    site.broker.event("life.admin_ready");
    let process = |role: &str| {
        let pid = if role == "supervisor" { site.broker.pid() } else { site.broker.role(role) };
        u32::try_from(pid.as_raw_nonzero().get()).expect("a process")
    };
    let roles = ["supervisor", "core", "keyd", "admin"].map(|role| (role, process(role)));
    let threads = of_threads(process("core"), "Seccomp").len();
    assert!(threads > 4, "workers run: {threads}");
    for (role, process) in roles {
        for (field, wanted) in [
            ("Seccomp", "2"),
            ("NoNewPrivs", "1"),
            ("CapEff", "0000000000000000"),
            ("CapPrm", "0000000000000000"),
            ("CapInh", "0000000000000000"),
        ] {
            let found = of_threads(process, field);
            assert!(found.iter().all(|value| value == wanted), "{role} {field}: {found:?}");
        }
    }
    let (good, text) = harden(site.dir.path(), &["status", "--json"]);
    assert!(good, "{text}");
    let report: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(report["shortfalls"], Value::Array(Vec::new()));
    for (number, (role, process)) in roles.into_iter().enumerate() {
        assert_eq!(report["processes"][number]["process"], process);
        assert_eq!(report["processes"][number]["role"], role);
    }

    let publish =
        || finish(site.motte("pub", "device-1").args(["-t", "devices/device-1/x", "-m", "x", "-q", "1"])).0;
    assert!(publish());
    let address = site.address("metrics").to_string();
    let page = || {
        use std::io::{Read, Write};
        let mut stream = std::net::TcpStream::connect(&address).expect("it listens");
        stream.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").expect("it reads");
        let mut page = String::new();
        stream.read_to_string(&mut page).expect("it answers");
        page
    };
    assert!(page().contains("200 OK"));

    let policy = std::fs::read_to_string(site.path("policy.toml")).expect("made");
    replace(&site.path("policy.toml"), &policy.replace("devices/", "elsewhere/"));
    replace(&site.path("crl.pem"), &std::fs::read_to_string(site.path("crl.pem")).expect("made"));
    site.broker.hang_up();
    site.broker.event("life.reloaded");
    assert!(!publish(), "what was put in the place of the policy is in force");
    assert!(harden(site.dir.path(), &["status"]).0, "still");

    let Site { broker, dir } = site;
    assert!(broker.terminate(), "a clean stop");
    assert!(dir.path().join("motte-state/store/vault").exists());
    let (good, text) = harden(dir.path(), &["status"]);
    assert!(!good && text.contains("no broker runs on motte-state"), "{text}");
}

#[test]
fn a_reload_reads_through_links_and_refuses_what_was_closed_at_the_start() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    assert!(Broker::up(dir.path()).terminate());
    let at = |name: &str| dir.path().join(name);
    // Below the directory of the configuration everything is readable; this is another one.
    let elsewhere = tempfile::tempdir().expect("a temporary directory");
    let foreign = elsewhere.path().join("policy.toml");
    for name in ["archive", "live"] {
        std::fs::create_dir(at(name)).expect("ours");
    }
    std::fs::copy(at("motte-state/policy.toml"), at("archive/policy-1.toml")).expect("made");
    std::fs::copy(at("motte-state/policy.toml"), &foreign).expect("made");
    std::os::unix::fs::symlink("../archive/policy-1.toml", at("live/policy.toml")).expect("ours");
    let config = |policy: &str| {
        let own_state = CONFIG.replace("state_dir = \"motte-state/store\"", "state_dir = \"kept\"");
        format!("{}{REQUIRED}", own_state.replace("motte-state/policy.toml", policy))
    };
    let broker = Broker::serve(dir.path(), &config("live/policy.toml"));

    std::fs::copy(at("archive/policy-1.toml"), at("archive/policy-2.toml")).expect("ours");
    std::os::unix::fs::symlink("../archive/policy-2.toml", at("live/new")).expect("ours");
    std::fs::rename(at("live/new"), at("live/policy.toml")).expect("ours");
    broker.hang_up();
    broker.event("life.reloaded");

    std::fs::write(at("motte.toml"), config(&foreign.display().to_string())).expect("ours");
    broker.hang_up();
    let cause = broker.event("life.reload_refused").field("cause");
    assert!(cause.contains("which the sandbox closed") && cause.contains("restart motte"), "{cause}");

    std::fs::write(at("motte.toml"), config("live/policy.toml").replace("required", "off")).expect("ours");
    broker.hang_up();
    broker.event_where("life.reload_refused", |event| event.field("cause").contains("sandbox changed"));
    assert!(broker.terminate());
}

#[test]
fn what_is_not_in_force_is_said_at_the_start() {
    for (sandbox, expected) in
        [("mode = \"off\"", "sandbox.mode is off"), ("audit = true", "seccomp only logs")]
    {
        let site = Site::start_with(&format!("{CONFIG}[sandbox]\n{sandbox}\n"));
        let short = site.broker.event("life.confinement_incomplete").field("not_in_force");
        assert!(short.contains(expected), "{short}");
        let (good, text) = harden(site.dir.path(), &["status"]);
        assert!(!good && text.contains("not in force"), "{text}");
        assert!(site.broker.terminate());
    }
}

#[test]
fn up_and_dev_are_sealed_without_being_told() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let broker = Broker::up(dir.path());
    broker.event("life.confined");
    assert!(broker.terminate());
    let broker = Broker::start(dir.path(), &["dev", "--bind", "127.0.0.1:0", "--json"]);
    broker.event("life.confined");
    let process = broker.process().to_string();
    wait_until("the kernel tells of a process without a state directory", || {
        let (good, text) = harden(dir.path(), &["status", "--pid", &process]);
        !good && text.contains("seccomp") && text.contains("Landlock is not in force, or it cannot be told")
    });
    assert!(broker.terminate());
}

#[test]
fn the_self_test_finds_no_way_out() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (good, text) = harden(dir.path(), &["selftest", "--json"]);
    assert!(good, "{text}");
    let report: Value = serde_json::from_str(&text).expect("JSON");
    let findings = report["findings"].as_array().expect("a list");
    let core = findings.iter().filter(|finding| finding["role"] == "core");
    let refused = core.clone().filter(|finding| finding["outcome"] == "refused");
    assert_eq!((refused.count(), report["not_refused"].as_u64()), (core.count(), Some(0)));
}

/// Does something on a kernel that does not know Landlock: whoever this thread starts lives on it.
fn without_landlock<T: Send>(act: impl FnOnce() -> T + Send) -> T {
    let hidden = move || {
        let rules = BTreeMap::from([(libc::SYS_landlock_create_ruleset, Vec::new())]);
        let unknown = SeccompAction::Errno(libc::ENOSYS.cast_unsigned());
        let architecture = std::env::consts::ARCH.try_into().expect("an architecture of ours");
        let filter = SeccompFilter::new(rules, SeccompAction::Allow, unknown, architecture).expect("sound");
        seccompiler::apply_filter(&BpfProgram::try_from(filter).expect("sound")).expect("seccomp is there");
        act()
    };
    std::thread::scope(|scope| scope.spawn(hidden).join().expect("as in this thread"))
}

#[test]
fn a_kernel_without_landlock_stops_the_start_or_is_told_of() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let up = |mode: &'static str| {
        let mut command = Command::new(binary());
        command.current_dir(dir.path()).args(["up", "--port", "0", "--sandbox", mode]);
        finish(&mut command)
    };
    let (good, text) = without_landlock(|| up("required"));
    assert!(
        !good && text.contains("this kernel cannot confine the process: Landlock (remedy: Linux 5.13"),
        "{text}"
    );
    assert!(text.contains("mode = \"best-effort\""), "{text}");
    let made = Broker::up(dir.path());
    made.event("life.confined");
    assert!(made.terminate());
    std::fs::write(dir.path().join("motte.toml"), format!("{CONFIG}{REQUIRED}")).expect("ours");
    let check =
        || finish(Command::new(binary()).current_dir(dir.path()).args(["check", "--config", "motte.toml"]));
    assert!(check().0 && !without_landlock(check).0, "a check tells it before the start does");

    let broker = without_landlock(|| Broker::up(dir.path()));
    let short = broker.event("life.confinement_incomplete").field("not_in_force");
    assert!(short.starts_with("Landlock (remedy: Linux 5.13"), "{short}");
    let (good, text) = harden(dir.path(), &["status"]);
    assert!(!good && text.contains("this kernel lacks Landlock") && text.contains("seccomp"), "{text}");
    assert!(broker.terminate(), "it serves and stops");

    let (good, text) = without_landlock(|| harden(dir.path(), &["selftest"]));
    assert!(!good && text.contains("NOT REFUSED") && text.contains("this kernel lacks Landlock"), "{text}");
}
