//! Policies: any text is refused with a place, or compiles to something that decides, and decides the same each time.

use std::sync::Arc;

use motte_access::analysis::advise;
use motte_access::usage::UsageRecord;
use motte_access::{
    AccessDecision, Action, ClientPrincipal, CompiledPolicy, Gate, Methods, Origin, Policy, PolicyGeneration,
    Principal, Security, Subject, Target,
};
use motte_topic::{TopicFilter, TopicRef};

/// Runs the text as a policy file.
///
/// # Panics
/// If the invariant does not hold.
pub fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let policy = match Policy::parse(&text, "policy.toml") {
        Ok(policy) => policy,
        Err(error) => {
            assert!(!error.what.is_empty() && !error.remedy.is_empty(), "an error without words: {error}");
            let lines = text.split('\n').count();
            assert!(
                (1..=lines).contains(&error.line) && error.column >= 1,
                "a place outside the file: {error}"
            );
            return;
        }
    };
    let mut gate = Gate::new(Arc::new(CompiledPolicy::compile(&policy, PolicyGeneration(1))));
    let first = decisions(&gate);
    assert_eq!(first, decisions(&gate), "a Gate of two minds");
    gate.replace(Arc::new(CompiledPolicy::compile(&policy, PolicyGeneration(2))));
    assert_eq!(first, decisions(&gate), "a reload of the same policy that decides otherwise");
    advised(&text, &gate, &first);
}

/// What nobody used is taken out: what is left can be read, and permits nothing that the policy does not.
fn advised(text: &str, gate: &Gate, first: &[Result<u32, String>]) {
    let mut record = UsageRecord::default();
    record.watch(gate.policy().rule_names(), 0);
    record.touch(2);
    let advice = match advise(text, "policy.toml", &record, 1) {
        Ok(advice) => advice,
        // Nothing but comments is a policy, and nothing to advise on.
        Err(error) if text.parse::<toml::Table>().is_ok_and(|table| table.is_empty()) => {
            assert!(!error.what.is_empty());
            return;
        }
        Err(error) => super::fail(format_args!("a policy that cannot be advised on: {error}")),
    };
    let policy = match Policy::parse(&advice.text, "advised.toml") {
        Ok(policy) => policy,
        Err(error) => super::fail(format_args!("an advice that cannot be read: {error}\n{}", advice.text)),
    };
    let least = Gate::new(Arc::new(CompiledPolicy::compile(&policy, PolicyGeneration(3))));
    for (before, after) in first.iter().zip(decisions(&least)) {
        assert!(before.is_ok() || after.is_err(), "an advice that widens:\n{}", advice.text);
    }
}

fn principals() -> [Principal; 4] {
    let client = |identity: &str, methods, security| {
        Principal::Client(ClientPrincipal {
            identity: identity.into(),
            client_id: "press".into(),
            user_name: Some(identity.into()),
            token: None,
            ends_s: None,
            directory: None,
            certificate: None,
            methods,
            listener: "main".into(),
            security,
            address: Some([10, 0, 0, 7].into()),
            credential: 0,
        })
    };
    [
        client("press", Methods::PASSWORD, Security::Plain),
        client("", Methods::ANONYMOUS, Security::Plain),
        Principal::Bridge { name: "site".into() },
        Principal::Operator { name: "ada".into() },
    ]
}

/// Something to ask about.
#[derive(Debug, Clone, Copy)]
struct Question<'a> {
    action: Action,
    target: Target<'a>,
}

impl Subject for Question<'_> {
    fn action(&self) -> Action {
        self.action
    }

    fn target(&self) -> Target<'_> {
        self.target
    }

    fn qos(&self) -> u8 {
        1
    }

    fn retain(&self) -> bool {
        self.action == Action::Retain
    }

    fn payload_bytes(&self) -> usize {
        100
    }
}

/// Who may do what, in a fixed order: the rule, or why not.
#[expect(clippy::disallowed_methods, reason = "a test of the Gate asks it")]
fn decisions(gate: &Gate) -> Vec<Result<u32, String>> {
    let filters = ["#", "a/+", "plant/press/#", "$SYS/#"].map(TopicFilter::parse);
    let names = ["a", "plant/press/state", "$SYS/broker"].map(TopicRef::parse);
    let targets: Vec<Target<'_>> = names
        .into_iter()
        .flatten()
        .map(Target::Topic)
        .chain(filters.iter().flatten().map(Target::Filter))
        .collect();
    let mut answers = Vec::new();
    for principal in principals() {
        let mut who = gate.standing(Arc::new(principal));
        for target in &targets {
            let by = [Action::Publish, Action::Retain, Action::Subscribe, Action::Share, Action::Receive];
            for action in by {
                let asked = Question { action, target: *target };
                answers.push(match gate.decide(&mut who, Origin::Publish, asked) {
                    AccessDecision::Permit(permit) => Ok(permit.rule().0),
                    AccessDecision::Deny(_, denial) => Err(denial.to_string()),
                });
            }
            if let Target::Topic(topic) = target {
                let _ = gate.explain(&who, Action::Publish, *topic);
            }
        }
    }
    answers
}
