//! The dependencies of each crate against `floors.toml`, so that arrows point down.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use toml::Value;

use crate::Outcome;
use crate::problem::Problem;
use crate::workspace::{Member, Workspace};

/// `floors.toml` as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Floors {
    /// Floors from the bottom; the last one is never a dependency of another.
    order: Vec<String>,
    /// Floors that open no socket, read no clock and start nothing.
    pure: Vec<String>,
    /// Third-party crates that a pure floor must not use.
    impure: Vec<String>,
    /// Edges between two crates of one floor, each with its reason.
    sideways: BTreeMap<String, String>,
    /// The row of each crate.
    #[serde(rename = "crate")]
    rows: BTreeMap<String, Row>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    floor: String,
    may_use: BTreeSet<String>,
}

/// Checks every member's manifest.
pub(crate) fn check(workspace: &Workspace) -> Outcome<Vec<Problem>> {
    let text = workspace.texts.get("floors.toml").ok_or("floors.toml is missing")?;
    let floors: Floors = toml::from_str(text).map_err(|error| format!("floors.toml: {error}"))?;
    let mut problems = check_table(&floors);
    check_pins(workspace, &mut problems);
    let members: BTreeSet<&str> = workspace.members.iter().map(|member| member.name.as_str()).collect();
    for name in floors.rows.keys().filter(|name| !members.contains(name.as_str())) {
        problems.push(Problem::new("floors.toml", format!("{name} is no member: remove its row")));
    }
    for member in &workspace.members {
        match floors.rows.get(&member.name) {
            Some(row) => check_member(member, row, &floors, &members, &mut problems),
            None => {
                problems
                    .push(Problem::new("floors.toml", format!("{} has no row: give it one", member.name)));
            }
        }
    }
    Ok(problems)
}

/// Whether each dependency is pinned to one version, once, and used by some crate.
fn check_pins(workspace: &Workspace, problems: &mut Vec<Problem>) {
    let pins = workspace.manifest.get("workspace").and_then(|table| table.get("dependencies"));
    for (name, value) in pins.and_then(Value::as_table).into_iter().flatten() {
        let mut refuse = |text: &str| problems.push(Problem::new("Cargo.toml", format!("{name} {text}")));
        let version = value.as_str().or_else(|| value.get("version").and_then(Value::as_str));
        if value.get("path").is_none() && !version.is_some_and(|version| version.starts_with('=')) {
            refuse("is not pinned: write the version as \"=x.y.z\"");
        }
        let is_used = workspace.members.iter().any(|member| {
            let tables = ["dependencies", "dev-dependencies", "build-dependencies"];
            tables.iter().any(|table| member.dependencies(table).iter().any(|(used, _)| used == name))
        });
        if !is_used {
            refuse("is used by no crate: remove it");
        }
    }
}

/// Whether the rows agree with the order of the floors.
fn check_table(floors: &Floors) -> Vec<Problem> {
    let mut problems = Vec::new();
    let height = |floor: &str| floors.order.iter().position(|known| known == floor);
    let mut refuse = |text: String| problems.push(Problem::new("floors.toml", text));
    for (name, row) in &floors.rows {
        let Some(own) = height(&row.floor) else {
            refuse(format!("{name} is on the unknown floor {}", row.floor));
            continue;
        };
        for used in &row.may_use {
            let Some(below) = floors.rows.get(used).and_then(|row| height(&row.floor)) else {
                refuse(format!("{name} may use {used}, which has no row"));
                continue;
            };
            let is_sideways = below == own && floors.sideways.contains_key(&format!("{name} -> {used}"));
            if below > own || below == own && !is_sideways {
                refuse(format!("{name} must not use {used}: it is not on a lower floor"));
            }
        }
    }
    for edge in floors.sideways.keys() {
        let known = edge
            .split_once(" -> ")
            .is_some_and(|(name, used)| floors.rows.get(name).is_some_and(|row| row.may_use.contains(used)));
        if !known {
            refuse(format!("the sideways edge \"{edge}\" is in no row"));
        }
    }
    problems
}

fn check_member(
    member: &Member,
    row: &Row,
    floors: &Floors,
    members: &BTreeSet<&str>,
    problems: &mut Vec<Problem>,
) {
    let place = format!("{}/Cargo.toml", member.folder);
    let is_dev = |name: &str| floors.rows.get(name).map(|row| &row.floor) == floors.order.last();
    let is_pure = floors.pure.contains(&row.floor);
    for (table, is_product) in
        [("dependencies", true), ("build-dependencies", true), ("dev-dependencies", false)]
    {
        for (name, value) in member.dependencies(table) {
            let mut refuse =
                |text: &str| problems.push(Problem::new(&place, format!("[{table}] {name} {text}")));
            if value.get("workspace").and_then(Value::as_bool) != Some(true) {
                refuse("must be `workspace = true`: versions are pinned once, in the root");
            }
            // A test may use the harness, which in turn uses the product.
            let is_excused = !is_product && is_dev(name);
            if members.contains(name) && !row.may_use.contains(name) && !is_excused {
                refuse("is no edge of floors.toml: remove it, or give the edge a reason there");
            }
            if is_product && is_pure && floors.impure.iter().any(|impure| impure == name) {
                refuse("does I/O or waits, which this floor must not");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(rows: &str) -> Floors {
        let head = "order = [\"base\", \"core\", \"dev\"]\npure = [\"base\"]\nimpure = [\"mio\"]\n";
        toml::from_str(&format!("{head}{rows}")).unwrap()
    }

    const ROWS: &str = "[sideways]\n\"b -> a\" = \"why\"\n[crate]\na = { floor = \"base\", may_use = [] }\n\
        b = { floor = \"base\", may_use = [\"a\"] }\nt = { floor = \"dev\", may_use = [\"a\"] }\n";

    fn member(name: &str, dependencies: &str) -> Member {
        let manifest = dependencies.parse().unwrap();
        Member { folder: name.to_owned(), name: name.to_owned(), manifest }
    }

    fn problems(name: &str, dependencies: &str) -> usize {
        let floors = table(ROWS);
        let mut problems = Vec::new();
        let row = floors.rows.get(name).unwrap();
        let members = BTreeSet::from(["a", "b", "t"]);
        check_member(&member(name, dependencies), row, &floors, &members, &mut problems);
        problems.len()
    }

    #[test]
    fn an_edge_that_has_no_row_is_refused() {
        assert_eq!(problems("b", "[dependencies]\na.workspace = true\nserde.workspace = true\n"), 0);
        assert_eq!(problems("a", "[dependencies]\nb.workspace = true\n"), 1);
        assert_eq!(problems("a", "[target.'cfg(unix)'.dependencies]\nb.workspace = true\n"), 1);
    }

    #[test]
    fn a_harness_is_for_tests_and_io_for_the_edge() {
        assert_eq!(problems("a", "[dependencies]\nt.workspace = true\n"), 1);
        assert_eq!(problems("a", "[dev-dependencies]\nt.workspace = true\n"), 0);
        assert_eq!(problems("a", "[dependencies]\nmio.workspace = true\n"), 1);
        assert_eq!(problems("a", "[dependencies]\nserde = \"1\"\n"), 1);
    }

    #[test]
    fn the_table_itself_points_down() {
        assert_eq!(check_table(&table(ROWS)), []);
        let upward = "[sideways]\n[crate]\na = { floor = \"base\", may_use = [\"c\"] }\nc = { floor = \"core\", may_use = [] }\n";
        assert_eq!(check_table(&table(upward)).len(), 1);
        assert_eq!(check_table(&table(&ROWS.replace("\"b -> a\" = \"why\"", ""))).len(), 1);
    }
}
