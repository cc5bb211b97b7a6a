//! The page of an event, for `motte explain`.

use crate::catalogue;
use crate::event::EventSpec;

/// Every event, by identifier.
pub fn all() -> impl Iterator<Item = &'static EventSpec> {
    catalogue::ALL.iter().copied().flatten()
}

/// The event with this identifier or name.
pub fn find(key: &str) -> Option<&'static EventSpec> {
    all().find(|spec| spec.id.eq_ignore_ascii_case(key) || spec.name == key)
}

/// The page of an event.
pub fn explain(key: &str) -> Option<String> {
    let spec = find(key)?;
    let mut page =
        format!("{}  {}\nseverity  {}\n\n{}\n", spec.id, spec.name, spec.severity.name(), spec.meaning);
    if !spec.fields.is_empty() {
        page.push_str("\nfields\n");
        let width = spec.fields.iter().map(|field| field.name.len()).max().unwrap_or(0);
        for field in spec.fields {
            page.push_str(&format!("  {:<width$}  {}\n", field.name, field.meaning));
        }
    }
    page.push_str(&format!("\nwhat to do\n  {}\n", spec.remedy));
    Some(page)
}

/// The event whose name or identifier comes nearest to a mistyped one.
pub fn nearest(key: &str) -> Option<&'static EventSpec> {
    let distance = |spec: &&EventSpec| {
        let bare = spec.name.split('.').next_back().unwrap_or(spec.name);
        [spec.id, spec.name, bare].into_iter().map(|name| edits(name, key)).min().unwrap_or(usize::MAX)
    };
    all().min_by_key(distance)
}

/// Edit distance, for short names.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = i;
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
        for (j, cb) in b.iter().enumerate() {
            let (left, above) = (row.get(j).copied().unwrap_or(0), row.get(j + 1).copied().unwrap_or(0));
            let best = (diagonal + usize::from(ca != *cb)).min(left + 1).min(above + 1);
            diagonal = above;
            if let Some(cell) = row.get_mut(j + 1) {
                *cell = best;
            }
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn identifiers_are_unique_and_every_event_is_explained() {
        let mut seen = HashSet::new();
        for spec in all() {
            assert!(seen.insert(spec.id) && seen.insert(spec.name), "{} is declared twice", spec.id);
            assert!(spec.meaning.len() > 30, "{} needs a meaning", spec.id);
            assert!(spec.remedy.len() >= 8, "{} needs a remedy", spec.id);
            assert!(explain(spec.id).unwrap().contains(spec.remedy));
        }
        assert!(seen.len() > 80);
    }

    #[test]
    fn a_mistyped_name_finds_its_neighbour() {
        assert_eq!(nearest("conect_refused").unwrap().name, "gate.connect_refused");
    }
}
