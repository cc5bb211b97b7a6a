//! Policy files: the examples, and what a bad one is told.

use motte_access::{Action, Policy};

use crate::subject::{client, gate, may};

#[test]
fn the_examples_do_what_they_say() {
    let minimal = gate(include_str!("../../../../../examples/policies/minimal.toml"));
    assert!(may(&minimal, &client("d", "d"), Action::Publish, "devices/d/x"));
    assert!(!may(&minimal, &client("d", "d"), Action::Publish, "devices/e/x"));
    let building = gate(include_str!("../../../../../examples/policies/building.toml"));
    let (sensor, valve) = (client("thermometer-17", "thermometer-17"), client("valve-3", "valve-3"));
    assert!(may(&building, &sensor, Action::Publish, "building/floor-1/sensor/thermometer-17/temperature"));
    assert!(!may(&building, &sensor, Action::Publish, "building/floor-2/sensor/thermometer-17/temperature"));
    assert!(may(&building, &valve, Action::Subscribe, "building/floor-2/actuator/valve-3/set"));
    assert!(!may(&building, &valve, Action::Publish, "building/floor-2/actuator/valve-3/set"));
    let registry = gate(include_str!("../../../../../examples/policies/registry.toml"));
    assert!(may(&registry, &sensor, Action::Publish, "building/floor-1/sensor/thermometer-17/temperature"));
    assert!(!may(&registry, &sensor, Action::Publish, "building/floor-1/sensor/thermometer-17/temprature"));
}

#[test]
fn each_fault_is_named_with_its_place_and_remedy() {
    let role = |rule: &str| format!("version = 1\n[role.r]\nrules = [{rule}]\n");
    let cases: &[(String, &str)] = &[
        ("version = 2\n".into(), "policy.toml:1:11: version 2 is not known"),
        ("version = 1\n[rolle.x]\n".into(), "unknown field `rolle`"),
        (role("{ allow = [\"pubilsh\"], topics = [\"a\"] }"), "`pubilsh` is not an action"),
        (role("{ allow = [\"publish\"], topics = [\"a/#/b\"] }"), "is not a Topic Filter"),
        (role("{ allow = [\"publish\"], topics = [\"{id}\"] }"), "`{id}` is not a placeholder"),
        (role("{ allow = [\"publish\"], topics = [\"a/{identity\"] }"), "does not close it"),
        (role("{ allow = [\"publish\"], topics = [\"${identity}/#\"] }"), "beside `$`"),
        (role("{ topics = [\"a\"] }"), "either `allow` or `deny`"),
        (role("{ allow = [\"publish\"], topics = [] }"), "does nothing"),
        (
            role("{ allow = [\"publish\"], topics = [\"a\"], from = [\"10.0.0.0/99\"] }"),
            "is not an address range",
        ),
        ("version = 1\n[identity.x]\nroles = [\"nobody\"]\n".into(), "there is no role `nobody`"),
        (
            "version = 1\ntopic_registry = [\"a\", \"a/#/b\"]\n".into(),
            "policy.toml:2:24: `a/#/b` of the topic registry",
        ),
        ("version = 1\ntopic_registry = [\"a/{identity}\"]\n".into(), "has a placeholder"),
        ("version = 1\ntopic_registry = \"a\"\n".into(), "policy.toml:2:18: invalid type"),
    ];
    for (text, expected) in cases {
        let told = Policy::parse(text, "policy.toml").unwrap_err().to_string();
        assert!(told.contains(expected) && told.contains("remedy: "), "for\n{text}\nit said\n{told}");
    }
}

proptest::proptest! {
    #[test]
    fn no_text_panics(text in ".{0,300}") {
        let _ = Policy::parse(&text, "policy.toml");
    }
}
