//! An identity that comes from where the policy says, and from nowhere else.

use std::net::IpAddr;
use std::sync::Arc;

use motte_access::analysis::{Inquiry, Way, World};
use motte_access::{
    ClientPrincipal, CompiledPolicy, Denial, Gate, Methods, Policy, PolicyGeneration, Security,
};

use crate::subject::{client, gate};

const POLICY: &str = "version = 1
[role.all]
rules = [{ allow = [\"publish\"], topics = [\"devices/{identity}/#\"] }]
[authenticated]
roles = [\"all\"]
[identity.pump]
from = [\"10.77.0.2/32\", \"2001:db8::2/128\"]
";

fn from(identity: &str, address: Option<&str>) -> ClientPrincipal {
    let address = address.map(|address| address.parse::<IpAddr>().unwrap());
    ClientPrincipal { address, ..client(identity, identity) }
}

fn comes_in(gate: &Gate, client: &ClientPrincipal) -> bool {
    gate.source_permitted(client).is_ok()
}

fn with_own(own: &str) -> Gate {
    let general = Policy::parse(POLICY, "policy.toml").unwrap();
    let own = Policy::parse(own, "own.toml").unwrap();
    let own = [("main".to_owned(), own)];
    Gate::new(Arc::new(CompiledPolicy::compile_all(&general, &own, PolicyGeneration(1))))
}

#[test]
fn an_identity_comes_from_the_addresses_that_are_named_for_it_only() {
    let gate = gate(POLICY);
    for good in ["10.77.0.2", "2001:db8::2", "::ffff:10.77.0.2"] {
        assert!(comes_in(&gate, &from("pump", Some(good))), "{good}");
    }
    for wrong in ["10.77.0.3", "127.0.0.1", "::1", "2001:db8::3"] {
        let denial = gate.source_permitted(&from("pump", Some(wrong))).unwrap_err();
        assert!(denial.to_string().contains(wrong) && matches!(denial, Denial::Source { .. }), "{denial}");
        assert!(comes_in(&gate, &from("valve", Some(wrong))), "others are not held to it");
    }
    assert!(!comes_in(&gate, &from("pump", None)), "without an address it comes from none of them");
    let local = ClientPrincipal { security: Security::Local, ..from("pump", None) };
    assert!(!comes_in(&gate, &local));
    // Who was asked nothing is nobody, whatever the name says.
    let nobody = ClientPrincipal { methods: Methods::ANONYMOUS, ..from("pump", Some("192.0.2.1")) };
    assert!(comes_in(&gate, &nobody));
}

#[test]
fn a_listener_with_a_policy_of_its_own_keeps_to_the_general_addresses_too() {
    let silent = with_own("version = 1\n");
    assert!(!comes_in(&silent, &from("pump", Some("192.0.2.1"))));
    assert!(comes_in(&silent, &from("pump", Some("10.77.0.2"))));
    let wider = with_own("version = 1\n[identity.pump]\nfrom = [\"0.0.0.0/0\"]\n");
    assert!(!comes_in(&wider, &from("pump", Some("192.0.2.1"))), "it narrows and does not widen");
    let other = with_own("version = 1\n[identity.valve]\nfrom = [\"10.77.0.3/32\"]\n");
    assert!(!comes_in(&other, &from("valve", Some("10.77.0.2"))));
    let elsewhere = ClientPrincipal { listener: Arc::from("side"), ..from("valve", Some("10.77.0.2")) };
    assert!(comes_in(&other, &elsewhere), "what a listener says is for its clients");
}

#[test]
fn a_list_without_addresses_or_with_something_else_is_refused_with_its_place() {
    for (from, told) in [
        ("[]", "policy.toml:3:8: `from` names no address range"),
        ("[\"10.77.0.2\"]", "policy.toml:3:9: `10.77.0.2` is not an address range"),
        ("[\"wg0\"]", "is not an address range"),
        ("\"10.77.0.2/32\"", "policy.toml:3:8: invalid type"),
    ] {
        let text = format!("version = 1\n[identity.pump]\nfrom = {from}\n");
        let error = Policy::parse(&text, "policy.toml").unwrap_err().to_string();
        assert!(error.contains(told) && error.contains("remedy: "), "{error}");
    }
}

#[test]
fn the_analyzer_counts_with_it() {
    let world = |text: &str| {
        let policy = Policy::parse(text, "policy.toml").unwrap();
        World::of_policy(CompiledPolicy::compile(&policy, PolicyGeneration(1)))
    };
    let bound = world(POLICY);
    let inquiry = |address| Inquiry {
        client: from("pump", Some(address)),
        way: Way::Publish,
        target: "devices/pump/x".to_owned(),
        qos: 0,
        payload_bytes: 0,
    };
    assert!(bound.explain(&inquiry("10.77.0.2")).unwrap().permitted);
    let explained = bound.explain(&inquiry("10.77.0.3")).unwrap();
    assert!(!explained.permitted && explained.answer.contains("may not come from 10.77.0.3"));

    // A rule for addresses from which its only holder cannot come permits nobody anything.
    let apart = "version = 1
[role.far]
rules = [{ allow = [\"publish\"], topics = [\"far/#\"], from = [\"192.0.2.0/24\"] }]
[identity.pump]
roles = [\"far\"]
";
    let open = world(apart).blast("pump").unwrap();
    assert!(!open.may.is_empty(), "{open:?}");
    let closed = world(&format!("{apart}from = [\"10.77.0.2/32\"]\n")).blast("pump").unwrap();
    assert!(closed.found && closed.may.is_empty(), "{closed:?}");
}
