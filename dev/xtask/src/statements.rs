//! The normative statements of MQTT against code and tests.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;

use serde::Deserialize;

use crate::Outcome;
use crate::citation::{Citation, VERSIONS, citations};
use crate::problem::{Problem, report};
use crate::workspace::Workspace;

/// Where `--write` puts the table.
const TABLE: &str = "docs/reference/statements.md";

/// How many statements may be without a test.
const OPEN: &str = "specs/open.toml";

/// One file in `specs/`; other keys are its author's.
#[derive(Deserialize)]
struct Specification {
    statement: Vec<Statement>,
}

/// One normative statement.
#[derive(Deserialize)]
struct Statement {
    id: String,
    applies: Applies,
    /// What it asks for, in our words.
    note: String,
    /// Why it has no test.
    reason: Option<String>,
}

/// Whom a statement binds.
#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Applies {
    Server,
    Client,
    Both,
    None,
}

impl Applies {
    const fn binds_a_server(self) -> bool {
        matches!(self, Self::Server | Self::Both)
    }
}

/// What keeps a statement.
enum Standing<'a> {
    Tested(&'a Citation),
    Reasoned(&'a str),
    Cited(&'a Citation),
    Missing,
}

impl Standing<'_> {
    const fn name(&self) -> &'static str {
        match self {
            Self::Tested(_) => "test",
            Self::Reasoned(_) => "reason",
            Self::Cited(_) => "cited only",
            Self::Missing => "MISSING",
        }
    }

    fn place(&self) -> &str {
        match self {
            Self::Tested(citation) | Self::Cited(citation) => &citation.place,
            Self::Reasoned(reason) => reason,
            Self::Missing => "",
        }
    }
}

/// The table of one version.
struct Table<'a> {
    version: &'static str,
    rows: Vec<(&'a Statement, Standing<'a>)>,
}

impl Table<'_> {
    fn count(&self, name: &str) -> usize {
        self.rows.iter().filter(|(_, standing)| standing.name() == name).count()
    }

    fn summary(&self) -> String {
        format!(
            "MQTT {}: {} statements bind a server: {} tested, {} with a reason, {} cited only, {} missing",
            self.version,
            self.rows.len(),
            self.count("test"),
            self.count("reason"),
            self.count("cited only"),
            self.count("MISSING"),
        )
    }
}

/// Prints the table, writes it if asked to, and says whether every server statement is kept.
pub(crate) fn run(workspace: &Workspace, write: bool) -> Outcome<bool> {
    let specifications = load(workspace)?;
    let cited = cited(workspace);
    let tables = tables(&specifications, &cited);
    for table in &tables {
        for (statement, standing) in &table.rows {
            println!("{:6} {:16} {:10} {}", table.version, statement.id, standing.name(), standing.place());
        }
    }
    for table in &tables {
        println!("{}", table.summary());
    }
    if write {
        let path = workspace.root.join(TABLE);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(&path, markdown(&tables))?;
        println!("wrote {TABLE}");
    }
    Ok(report("statements", &problems(&tables, &specifications, &cited, &permitted(workspace)?)))
}

/// What keeps the tree from passing, without the table.
pub(crate) fn check(workspace: &Workspace) -> Outcome<Vec<Problem>> {
    let specifications = load(workspace)?;
    let cited = cited(workspace);
    let tables = tables(&specifications, &cited);
    for table in &tables {
        println!("{}", table.summary());
    }
    Ok(problems(&tables, &specifications, &cited, &permitted(workspace)?))
}

/// How many statements of each version may still be without a test. The numbers only ever go down.
fn permitted(workspace: &Workspace) -> Outcome<BTreeMap<String, usize>> {
    let text = workspace.texts.get(OPEN).map_or("", String::as_str);
    Ok(toml::from_str(text).map_err(|error| format!("{OPEN}: {error}"))?)
}

fn load(workspace: &Workspace) -> Outcome<Vec<(&'static str, Specification)>> {
    VERSIONS
        .into_iter()
        .map(|version| {
            let path = format!("specs/mqtt-{version}.toml");
            let text = workspace.texts.get(&path).ok_or_else(|| format!("{path} is missing"))?;
            let specification = toml::from_str(text).map_err(|error| format!("{path}: {error}"))?;
            Ok((version, specification))
        })
        .collect()
}

fn cited(workspace: &Workspace) -> BTreeMap<String, Vec<Citation>> {
    let mut all: BTreeMap<String, Vec<Citation>> = BTreeMap::new();
    // This tool's own examples prove nothing about the broker.
    for source in workspace.sources.iter().filter(|source| !source.is_below("dev/xtask")) {
        for citation in citations(source) {
            all.entry(citation.id.clone()).or_default().push(citation);
        }
    }
    all
}

fn tables<'a>(
    specifications: &'a [(&'static str, Specification)],
    cited: &'a BTreeMap<String, Vec<Citation>>,
) -> Vec<Table<'a>> {
    specifications
        .iter()
        .map(|(version, specification)| Table {
            version,
            rows: specification
                .statement
                .iter()
                .filter(|statement| statement.applies.binds_a_server())
                .map(|statement| (statement, standing(statement, version, cited)))
                .collect(),
        })
        .collect()
}

fn standing<'a>(
    statement: &'a Statement,
    version: &str,
    cited: &'a BTreeMap<String, Vec<Citation>>,
) -> Standing<'a> {
    let speaks = |citation: &&Citation| citation.version.is_none_or(|only| only == version);
    let mut places = cited.get(&statement.id).into_iter().flatten().filter(speaks);
    let first = places.clone().next();
    if let Some(test) = places.find(|citation| citation.is_test) {
        Standing::Tested(test)
    } else if let Some(reason) = &statement.reason {
        Standing::Reasoned(reason)
    } else {
        first.map_or(Standing::Missing, Standing::Cited)
    }
}

fn problems(
    tables: &[Table<'_>],
    specifications: &[(&'static str, Specification)],
    cited: &BTreeMap<String, Vec<Citation>>,
    permitted: &BTreeMap<String, usize>,
) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (version, specification) in specifications {
        let mut seen = BTreeSet::new();
        for statement in &specification.statement {
            let place = format!("specs/mqtt-{version}.toml");
            if !seen.insert(&statement.id) {
                problems.push(Problem::new(&place, format!("{} stands twice", statement.id)));
            }
            if statement.note.trim().is_empty() {
                problems.push(Problem::new(
                    &place,
                    format!("{} has no note: say what it asks for", statement.id),
                ));
            }
        }
    }
    for table in tables {
        let open = table.count("cited only") + table.count("MISSING");
        let permitted = permitted.get(table.version).copied().unwrap_or(0);
        if open > permitted {
            let text = format!(
                "{open} statements have no test, {permitted} may: write one, or give a reason in specs/"
            );
            problems.push(Problem::new(format!("MQTT {}", table.version), text));
        }
    }
    let is_known = |id: &str| {
        specifications
            .iter()
            .any(|(_, specification)| specification.statement.iter().any(|known| known.id == id))
    };
    for (id, places) in cited.iter().filter(|(id, _)| !is_known(id)) {
        for citation in places {
            problems
                .push(Problem::new(&citation.place, format!("{id} is in no table of specs/: correct it")));
        }
    }
    problems
}

fn markdown(tables: &[Table<'_>]) -> String {
    let mut text = String::from(
        "# Normative statements\n\nWritten by `cargo xtask statements --write`; the notes are ours, the \
         identifiers those of the standard.\n",
    );
    for table in tables {
        let _ = write!(text, "\n## MQTT {}\n\n{}.\n\n", table.version, table.summary());
        text.push_str("| statement | what it asks for | kept by | where |\n|---|---|---|---|\n");
        for (statement, standing) in &table.rows {
            let cell = |text: &str| text.replace('|', "\\|").replace('\n', " ");
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} |",
                statement.id,
                cell(&statement.note),
                standing.name(),
                cell(place_without_line(standing.place()))
            );
        }
    }
    text
}

/// The path alone: a table that named lines would change with every edit.
fn place_without_line(place: &str) -> &str {
    match place.rsplit_once(':') {
        Some((path, line)) if line.bytes().all(|byte| byte.is_ascii_digit()) => path,
        _ => place,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn specification(text: &str) -> Vec<(&'static str, Specification)> {
        vec![("5.0", toml::from_str(text).unwrap())]
    }

    fn cited_by(is_test: bool, version: Option<&'static str>) -> BTreeMap<String, Vec<Citation>> {
        let id = "MQTT-1.2-3".to_owned();
        let citation = Citation { id: id.clone(), version, place: "a.rs:1".to_owned(), is_test };
        BTreeMap::from([(id, vec![citation])])
    }

    const ONE: &str = "[[statement]]\nid = \"MQTT-1.2-3\"\napplies = \"both\"\nnote = \"n\"\n";

    #[test]
    fn a_server_statement_needs_a_test_or_a_reason() {
        let count = |text: &str, cited: &BTreeMap<_, _>| {
            let specifications = specification(text);
            problems(&tables(&specifications, cited), &specifications, cited, &BTreeMap::new()).len()
        };
        assert_eq!(count(ONE, &cited_by(true, None)), 0);
        assert_eq!(count(ONE, &cited_by(true, Some("3.1.1"))), 1);
        assert_eq!(count(ONE, &cited_by(false, None)), 1);
        assert_eq!(count(ONE, &BTreeMap::new()), 1);
        assert_eq!(count(&format!("{ONE}reason = \"r\"\n"), &BTreeMap::new()), 0);
        assert_eq!(count(&ONE.replace("both", "client"), &BTreeMap::new()), 0);
        assert_eq!(count(&ONE.replace("1.2-3", "1.2-4"), &cited_by(true, None)), 2);
    }

    #[test]
    fn the_table_names_files_not_lines() {
        assert_eq!(place_without_line("a.rs:12"), "a.rs");
        assert_eq!(place_without_line("a reason: why"), "a reason: why");
    }
}
