//! Confinement under the kernel that runs this. Nothing is skipped: what the kernel has must be in force.
//!
//! A process confines itself once and for good, and while it has one thread; so this program starts itself anew for each
//! test and has no test harness around it.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::process::{Command, Output};

use motte_confine::selftest::{self, Finding};
use motte_confine::{Confinement, Denied, InForce, Mode, ProbeOutcome, Role, SeccompMode, lacking};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

/// A test: its sentence, and what the parent does.
const TESTS: &[(&str, fn())] = &[
    ("every attempt of the self-test is refused in every role", all_is_refused),
    ("without a sandbox the same attempts go through", nothing_is_refused_without),
    ("what is read back is what was asked for, in every role", read_back_is_full),
    ("threads that start later are confined as well", later_threads),
    ("a process with more than one thread is refused", more_threads),
    ("a kernel without Landlock is refused, or told of", without_landlock),
    ("keyd ends at a call it does not know, the others go on", what_refusal_means),
    ("an audit refuses no call, and says so", audit),
    ("mode off gives nothing up, and says so", off),
];

/// What a child does with its arguments.
type Act = fn(&[String]);

/// What a child does, by name.
const CHILDREN: &[(&str, Act)] = &[
    ("answer", |arguments| {
        println!("{}", selftest::answer(arguments, std::env::current_exe().unwrap()).unwrap());
    }),
    ("report", |arguments| {
        let mut confinement = Confinement::new(Role::parse(&arguments[0]).unwrap());
        confinement.mode = if arguments[1] == "off" { Mode::Off } else { Mode::Required };
        println!("{}", confinement.enforce().unwrap().in_force().to_json());
    }),
    ("later", |_| {
        Confinement::new(Role::Core).enforce().unwrap();
        let seen =
            std::thread::spawn(|| (is_refused(File::open("/")), is_refused(program()))).join().unwrap();
        assert_eq!(seen, (true, true));
    }),
    ("threads", |_| {
        let (stop, wait) = std::sync::mpsc::channel::<()>();
        let other = std::thread::spawn(move || wait.recv());
        let error = Confinement::new(Role::Core).enforce().err().expect("refused");
        assert!(error.to_string().contains("2 threads"), "{error}");
        drop(stop);
        assert!(other.join().unwrap().is_err());
        assert!(!is_refused(File::open("/")), "nothing was given up");
    }),
    ("no-landlock", |_| {
        hide_landlock();
        let error = Confinement::new(Role::Core).enforce().err().expect("refused").to_string();
        assert!(error.contains("Landlock") && error.contains("remedy: Linux 5.13"), "{error}");
        assert!(!is_refused(File::open("/")), "nothing was given up");
        let mut confinement = Confinement::new(Role::Core);
        confinement.mode = Mode::BestEffort;
        let confined = confinement.enforce().unwrap();
        let in_force = confined.in_force();
        assert!(!in_force.is_full() && in_force.missing.iter().any(|missing| missing.feature == "Landlock"));
        assert_eq!((in_force.landlock.abi, in_force.seccomp), (None, SeccompMode::Filter));
        assert!(is_refused(program()), "what the kernel can do is in force");
    }),
    ("unknown-call", |arguments| {
        Confinement::new(Role::parse(&arguments[0]).unwrap()).enforce().unwrap();
        assert!(is_refused(rustix::process::chroot("/").map_err(io::Error::from)));
    }),
    ("audit", |_| {
        let mut confinement = Confinement::new(Role::Core);
        confinement.denied = Denied::Log;
        let confined = confinement.enforce().unwrap();
        let short = confined.in_force().shortfalls();
        assert_eq!(short, ["seccomp only logs"]);
        assert!(std::os::unix::net::UnixStream::pair().is_ok(), "socketpair is not among the calls of core");
    }),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some((first, rest)) = arguments.split_first()
        && let Some((_, act)) = CHILDREN.iter().find(|(name, _)| name == first)
    {
        return act(rest);
    }
    // What the self-test starts where nothing stops it.
    if arguments.iter().any(|word| word == "--version") {
        return;
    }
    let has = |flag: &str| arguments.iter().any(|word| word == flag);
    // As runners ask for it that start each test in a process of its own.
    if has("--list") {
        for (name, _) in TESTS.iter().filter(|_| !has("--ignored")) {
            println!("{name}: test");
        }
        return;
    }
    let fits = |name: &str, word: &str| if has("--exact") { name == word } else { name.contains(word) };
    let words: Vec<&String> = arguments.iter().filter(|word| !word.starts_with('-')).collect();
    let (run, left_out): (Vec<_>, Vec<_>) =
        TESTS.iter().partition(|(name, _)| words.iter().all(|word| fits(name, word)));
    for (name, test) in &run {
        test();
        println!("test {name} ... ok");
    }
    println!("test result: ok. {} passed; {} filtered out", run.len(), left_out.len());
}

fn itself(child: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg(child);
    command
}

fn output(command: &mut Command) -> Output {
    command.output().unwrap()
}

fn succeeds(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = output(command);
    assert!(status.success(), "{command:?}: {status}\n{}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).unwrap()
}

fn is_refused<T>(answer: io::Result<T>) -> bool {
    answer.is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
}

fn program() -> io::Result<()> {
    Command::new("/proc/self/exe").arg("answer").output().map(drop)
}

/// Makes this process live on a kernel that does not know Landlock.
fn hide_landlock() {
    let rules = BTreeMap::from([(libc::SYS_landlock_create_ruleset, Vec::new())]);
    let unknown = SeccompAction::Errno(libc::ENOSYS.cast_unsigned());
    let architecture = std::env::consts::ARCH.try_into().unwrap();
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, unknown, architecture).unwrap();
    seccompiler::apply_filter(&BpfProgram::try_from(filter).unwrap()).unwrap();
}

fn all_is_refused() {
    assert_eq!(
        lacking(),
        [],
        "this kernel cannot do what `required` asks for: Linux 6.12 with Landlock and seccomp"
    );
    let findings = selftest::run(Mode::Required, &std::env::temp_dir(), || itself("answer")).unwrap();
    let holes: Vec<&Finding> = findings.iter().filter(|finding| finding.is_hole()).collect();
    assert!(holes.is_empty(), "{}", selftest::to_text(&findings));
    // Strangers reach core: there nothing is part of its work.
    let tried = |finding: &&Finding| finding.role == Role::Core && finding.outcome == ProbeOutcome::Refused;
    assert_eq!(findings.iter().filter(tried).count(), findings.len() / Role::ALL.len());
}

fn nothing_is_refused_without() {
    let findings = selftest::run(Mode::Off, &std::env::temp_dir(), || itself("answer")).unwrap();
    // These need no privilege and no particular kernel.
    for attempt in [
        "read a foreign file",
        "write outside its state directory",
        "remove a foreign file",
        "connect out by TCP",
        "bind a TCP port",
        "connect to an abstract Unix socket",
        "start a program",
        "become another program",
        "make memory executable",
        "signal another process",
    ] {
        let finding = findings.iter().find(|one| one.role == Role::Core && one.attempt == attempt);
        assert!(
            finding.is_some_and(Finding::is_hole),
            "{attempt}: the attempt proves nothing\n{}",
            selftest::to_text(&findings)
        );
    }
}

fn read_back_is_full() {
    for role in Role::ALL {
        let report = InForce::from_json(&succeeds(itself("report").args([role.name(), "on"]))).unwrap();
        assert_eq!(report.shortfalls(), Vec::<String>::new(), "{role}");
        assert_eq!(report.role, Some(role));
        assert!(
            report.no_new_privileges
                && report.dumpable == Some(false)
                && report.seccomp == SeccompMode::Filter
        );
        let sets = report.capabilities;
        assert_eq!((sets.effective, sets.permitted, sets.inheritable, sets.ambient), (0, 0, 0, 0));
        assert!(report.landlock.abi.is_some_and(|abi| abi >= 6));
        let refused = report.landlock.probes.iter().filter(|probe| probe.outcome == ProbeOutcome::Refused);
        assert_eq!(refused.count(), report.landlock.probes.len(), "{report}");
        let core = report.limits.iter().find(|limit| limit.name == "Max core file size").unwrap();
        assert_eq!((core.soft, core.hard), (Some(0), Some(0)));
    }
}

fn later_threads() {
    succeeds(&mut itself("later"));
}

fn more_threads() {
    succeeds(&mut itself("threads"));
}

fn without_landlock() {
    succeeds(&mut itself("no-landlock"));
}

fn what_refusal_means() {
    use std::os::unix::process::ExitStatusExt;
    for role in Role::ALL {
        let status = output(itself("unknown-call").arg(role.name())).status;
        match role {
            Role::Keyd => assert_eq!(status.signal(), Some(libc::SIGSYS), "{role}"),
            Role::Core | Role::Egress | Role::Admin | Role::Supervisor => assert!(status.success(), "{role}"),
        }
    }
}

fn audit() {
    succeeds(&mut itself("audit"));
}

fn off() {
    let report = InForce::from_json(&succeeds(itself("report").args(["core", "off"]))).unwrap();
    assert_eq!((report.seccomp, report.landlock.abi), (SeccompMode::Off, None));
    assert!(report.shortfalls().iter().any(|short| short.contains("seccomp is off")));
    assert!(fs::metadata("/proc/self").is_ok());
}
