//! Values that placeholders can have: for each one that is unlike everything, and those that make a template meet another
//! filter. Whatever is true for some value at all is true for one of these, because a decision asks of a value only whether
//! a level made with it is equal to another level.

use std::collections::{BTreeMap, BTreeSet};

use motte_topic::intersects;

use crate::template::{Piece, Placeholder, Template, is_safe};

/// How often values found are put into templates to find further ones; a chain of equalities longer than the number of
/// placeholders says nothing new.
const ROUNDS: usize = 3;

/// Values by placeholder. The first is unlike every other text.
#[derive(Debug, Clone, Default)]
pub(crate) struct Values {
    by_placeholder: BTreeMap<Placeholder, Vec<String>>,
}

impl Values {
    /// Values for templates that meet each other.
    pub(crate) fn of(templates: &[&Template], further: &BTreeMap<Placeholder, BTreeSet<String>>) -> Self {
        let texts: Vec<String> = templates.iter().map(ToString::to_string).collect();
        let used: BTreeSet<Placeholder> =
            templates.iter().flat_map(|one| one.placeholders()).map(stands_for).collect();
        let mut found: BTreeMap<Placeholder, BTreeSet<String>> = further.clone();
        let mut fresh = BTreeMap::new();
        for placeholder in
            used.iter().copied().chain([Placeholder::Identity, Placeholder::ClientId, Placeholder::Group])
        {
            let clashes =
                |value: &str| texts.iter().chain(found.values().flatten()).any(|text| text.contains(value));
            let word = fresh_word(placeholder);
            let mut value = word.to_owned();
            while clashes(&value) {
                value.push('x');
            }
            fresh.insert(placeholder, value);
        }
        let pairs = pairs(templates);
        for _ in 0..ROUNDS {
            let mut news: Vec<(Placeholder, String)> = Vec::new();
            for (level, other) in &pairs {
                for text in instances(other, &found, &fresh) {
                    solve(level, &text, &mut news);
                }
            }
            let before: usize = found.values().map(BTreeSet::len).sum();
            // A Common Name is the identity at listeners that take it so.
            let names = news.iter().filter(|(placeholder, _)| *placeholder == Placeholder::CertCn);
            let names: Vec<(Placeholder, String)> =
                names.map(|(_, name)| (Placeholder::Identity, name.clone())).collect();
            for (placeholder, value) in news.into_iter().chain(names) {
                if fresh.get(&placeholder) != Some(&value) {
                    found.entry(placeholder).or_default().insert(value);
                }
            }
            if found.values().map(BTreeSet::len).sum::<usize>() == before {
                break;
            }
        }
        let by_placeholder = fresh
            .into_iter()
            .map(|(placeholder, first)| {
                let rest = found.remove(&placeholder).unwrap_or_default();
                (placeholder, std::iter::once(first).chain(rest).collect())
            })
            .collect();
        Self { by_placeholder }
    }

    /// The values of a placeholder; none when no template has it.
    pub(crate) fn all(&self, placeholder: Placeholder) -> &[String] {
        self.by_placeholder.get(&placeholder).map_or(&[], Vec::as_slice)
    }

    /// Adds values.
    pub(crate) fn extend(&mut self, placeholder: Placeholder, more: impl IntoIterator<Item = String>) {
        let all = self.by_placeholder.entry(placeholder).or_default();
        for value in more {
            if !all.contains(&value) {
                all.push(value);
            }
        }
    }

    /// The one that is unlike everything.
    pub(crate) fn fresh(&self, placeholder: Placeholder) -> &str {
        self.all(placeholder).first().map_or("", String::as_str)
    }
}

/// The placeholder whose values another one has: a User Name that a password proved is the identity.
fn stands_for(placeholder: Placeholder) -> Placeholder {
    if placeholder == Placeholder::User { Placeholder::Identity } else { placeholder }
}

/// A level with those placeholders alone that have values of their own.
fn own(level: Vec<Piece>) -> Vec<Piece> {
    let own = |piece| match piece {
        Piece::Placeholder(placeholder) => Piece::Placeholder(stands_for(placeholder)),
        Piece::Text(_) => piece,
    };
    level.into_iter().map(own).collect()
}

fn fresh_word(placeholder: Placeholder) -> &'static str {
    match placeholder {
        Placeholder::ClientId => "some-client",
        Placeholder::Identity | Placeholder::User => "someone",
        Placeholder::CertCn => "some-name",
        Placeholder::CertOu => "some-unit",
        Placeholder::CertO => "some-organization",
        Placeholder::Group => "some-group",
    }
}

/// Levels with a placeholder, each with a level at the same position of a template that it can meet.
fn pairs(templates: &[&Template]) -> BTreeSet<(Vec<Piece>, Vec<Piece>)> {
    let read: Vec<_> = templates
        .iter()
        .filter_map(|one| Some((one.levels().into_iter().map(own).collect::<Vec<_>>(), one.widest()?)))
        .collect();
    let is_filled = |level: &Vec<Piece>| level.iter().any(|piece| matches!(piece, Piece::Placeholder(_)));
    let mut pairs = BTreeSet::new();
    for (levels, filter) in read.iter().filter(|(levels, _)| levels.iter().any(is_filled)) {
        for (others, _) in read.iter().filter(|(_, other)| intersects(filter, other).is_some()) {
            for (level, other) in levels.iter().zip(others) {
                let is_wild = matches!(other.as_slice(), [Piece::Text(text)] if text == "+" || text == "#");
                if is_filled(level) && !is_wild && level != other {
                    pairs.insert((level.clone(), other.clone()));
                }
            }
        }
    }
    pairs
}

/// The texts that a level can have with the values there are so far.
fn instances(
    level: &[Piece],
    found: &BTreeMap<Placeholder, BTreeSet<String>>,
    fresh: &BTreeMap<Placeholder, String>,
) -> Vec<String> {
    let mut texts = vec![String::new()];
    for piece in level {
        match piece {
            Piece::Text(text) => texts.iter_mut().for_each(|one| one.push_str(text)),
            Piece::Placeholder(placeholder) => {
                // A Common Name can be any identity too.
                let alike = (*placeholder == Placeholder::CertCn).then_some(Placeholder::Identity);
                let alike = alike
                    .iter()
                    .flat_map(|one| fresh.get(one).into_iter().chain(found.get(one).into_iter().flatten()));
                let values: Vec<&String> = fresh
                    .get(placeholder)
                    .into_iter()
                    .chain(found.get(placeholder).into_iter().flatten())
                    .chain(alike)
                    .collect();
                texts = texts
                    .iter()
                    .flat_map(|text| values.iter().map(move |value| format!("{text}{value}")))
                    .collect();
            }
        }
    }
    texts
}

/// Values with which a level is equal to a text. Where several placeholders stand in it, every part of the text may be one.
fn solve(level: &[Piece], text: &str, found: &mut Vec<(Placeholder, String)>) {
    let mut pieces = level;
    let mut rest = text;
    while let [Piece::Text(first), tail @ ..] = pieces {
        let Some(after) = rest.strip_prefix(first.as_str()) else { return };
        (pieces, rest) = (tail, after);
    }
    while let [head @ .., Piece::Text(last)] = pieces {
        let Some(before) = rest.strip_suffix(last.as_str()) else { return };
        (pieces, rest) = (head, before);
    }
    if let [Piece::Placeholder(placeholder)] = pieces {
        found.extend(is_safe(rest).then(|| (*placeholder, rest.to_owned())));
        return;
    }
    let ends: Vec<usize> = rest.char_indices().map(|(at, _)| at).chain([rest.len()]).collect();
    for placeholder in pieces.iter().filter_map(|piece| match piece {
        Piece::Placeholder(placeholder) => Some(*placeholder),
        Piece::Text(_) => None,
    }) {
        for (at, from) in ends.iter().enumerate() {
            let parts = ends.iter().skip(at + 1).filter_map(|to| rest.get(*from..*to));
            found.extend(parts.filter(|part| is_safe(part)).map(|part| (placeholder, part.to_owned())));
        }
    }
}
