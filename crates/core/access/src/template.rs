//! Topic Filters with placeholders. A placeholder stands for one level or a part of one, whatever its value holds: a value
//! that could widen the filter makes the rule void for that principal.

use motte_topic::TopicFilter;

use crate::principal::{ClientPrincipal, Methods, Principal};

/// What a placeholder stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Placeholder {
    ClientId,
    Identity,
    User,
    CertCn,
    CertOu,
    CertO,
    Group,
}

const PLACEHOLDERS: [(&str, Placeholder); 7] = [
    ("client_id", Placeholder::ClientId),
    ("identity", Placeholder::Identity),
    ("user", Placeholder::User),
    ("cert.cn", Placeholder::CertCn),
    ("cert.ou", Placeholder::CertOu),
    ("cert.o", Placeholder::CertO),
    ("group", Placeholder::Group),
];

impl Placeholder {
    /// As it is written in a filter, with its braces.
    pub(crate) fn written(self) -> String {
        let name = PLACEHOLDERS.iter().find(|(_, one)| *one == self).map_or("", |(name, _)| *name);
        format!("{{{name}}}")
    }
}

/// A part of a template.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Piece {
    Text(String),
    Placeholder(Placeholder),
}

impl Piece {
    /// As it is written in a filter.
    pub(crate) fn written(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Placeholder(placeholder) => placeholder.written(),
        }
    }
}

/// A Topic Filter as written in a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template {
    pieces: Vec<Piece>,
}

impl Template {
    /// Parses a filter with placeholders in braces.
    ///
    /// # Errors
    /// What is wrong with it, and the remedy.
    pub(crate) fn parse(text: &str) -> Result<Self, (String, String)> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let Some((name, tail)) = after.split_once('}') else {
                return Err((
                    format!("`{text}` opens a placeholder and does not close it"),
                    "add `}`".into(),
                ));
            };
            let Some((_, placeholder)) = PLACEHOLDERS.iter().find(|(known, _)| *known == name) else {
                let known: Vec<&str> = PLACEHOLDERS.iter().map(|(known, _)| *known).collect();
                return Err((
                    format!("`{{{name}}}` is not a placeholder"),
                    format!("use one of {{{}}}", known.join("}, {")),
                ));
            };
            if !before.is_empty() {
                pieces.push(Piece::Text(before.to_owned()));
            }
            pieces.push(Piece::Placeholder(*placeholder));
            rest = tail;
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.to_owned()));
        }
        let template = Self { pieces };
        // `$` before a placeholder could turn into the broker's own topics.
        if let [Piece::Text(first), Piece::Placeholder(_), ..] = template.pieces.as_slice()
            && first.starts_with('$')
            && !first.contains('/')
        {
            return Err((
                format!("`{text}` has a placeholder in its first level beside `$`"),
                "write the first level out: `$SYS/…`".into(),
            ));
        }
        // However long its values are, it stays a Topic Filter.
        let longest =
            text.len().saturating_add(template.placeholders().count().saturating_mul(VALUE_BYTES_MAX));
        if longest > motte_topic::TOPIC_BYTES_MAX {
            return Err((
                format!("this filter can be longer than {} bytes", motte_topic::TOPIC_BYTES_MAX),
                format!("shorten it, and count {VALUE_BYTES_MAX} bytes for each placeholder"),
            ));
        }
        // With a harmless value it must be a Topic Filter.
        let sample: String = template.fill(|_| Some("x".to_owned())).unwrap_or_default();
        match TopicFilter::parse(&sample) {
            Ok(_) => Ok(template),
            Err(error) => Err((
                format!("`{text}` is not a Topic Filter: {error}"),
                "`+` stands for one whole level, `#` alone for the last ones".into(),
            )),
        }
    }

    /// Its levels, first to last, each in pieces. A level without pieces is empty.
    pub(crate) fn levels(&self) -> Vec<Vec<Piece>> {
        let mut levels = vec![Vec::new()];
        for piece in &self.pieces {
            let Piece::Text(text) = piece else {
                levels.last_mut().into_iter().for_each(|level: &mut Vec<Piece>| level.push(piece.clone()));
                continue;
            };
            for (at, part) in text.split('/').enumerate() {
                if at > 0 {
                    levels.push(Vec::new());
                }
                if !part.is_empty() {
                    levels.last_mut().into_iter().for_each(|level| level.push(Piece::Text(part.to_owned())));
                }
            }
        }
        levels
    }

    /// Its placeholders.
    pub(crate) fn placeholders(&self) -> impl Iterator<Item = Placeholder> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Placeholder(placeholder) => Some(*placeholder),
            Piece::Text(_) => None,
        })
    }

    /// A filter of all topics that it can stand for, whatever the values: `+` at each level with a placeholder.
    pub(crate) fn widest(&self) -> Option<TopicFilter> {
        let level = |pieces: Vec<Piece>| match pieces.as_slice() {
            [] => String::new(),
            [Piece::Text(text)] => text.clone(),
            _ => "+".to_owned(),
        };
        let levels: Vec<String> = self.levels().into_iter().map(level).collect();
        TopicFilter::parse(levels.join("/")).ok()
    }

    /// The filter itself, when it has no placeholder.
    pub(crate) fn fixed(&self) -> Option<TopicFilter> {
        if self.pieces.iter().any(|piece| matches!(piece, Piece::Placeholder(_))) {
            return None;
        }
        TopicFilter::parse(self.fill(|_| None)?).ok()
    }

    /// What a rule that denies takes where a value is missing or could widen the filter: everything from the first placeholder's
    /// level on.
    pub(crate) fn guarded(&self) -> Option<TopicFilter> {
        let before: String = self
            .pieces
            .iter()
            .map_while(|piece| match piece {
                Piece::Text(text) => Some(text.as_str()),
                Piece::Placeholder(_) => None,
            })
            .collect();
        let levels = before.rsplit_once('/').map_or(String::new(), |(levels, _)| format!("{levels}/"));
        TopicFilter::parse(format!("{levels}#")).ok()
    }

    /// The placeholder that it begins with.
    pub(crate) fn front(&self) -> Option<Placeholder> {
        match self.pieces.first() {
            Some(Piece::Placeholder(placeholder)) => Some(*placeholder),
            Some(Piece::Text(_)) | None => None,
        }
    }

    /// The filters of a rule that denies: as [`Template::resolve`], but where a value is missing or could widen the filter,
    /// everything from the placeholder's level on. A client must not escape a rule by its name.
    pub(crate) fn resolve_denying(&self, principal: &Principal, groups: &[String]) -> Vec<TopicFilter> {
        let resolved = self.resolve(principal, groups);
        let by_group = self.pieces.contains(&Piece::Placeholder(Placeholder::Group));
        if !resolved.is_empty() || (by_group && groups.is_empty()) {
            return resolved;
        }
        self.guarded().into_iter().collect()
    }

    /// The filters for a principal: none when a value is missing or could widen the filter, several for several groups.
    pub(crate) fn resolve(&self, principal: &Principal, groups: &[String]) -> Vec<TopicFilter> {
        let Principal::Client(client) = principal else { return Vec::new() };
        let by_group = self.pieces.contains(&Piece::Placeholder(Placeholder::Group));
        let choices: Vec<Option<&str>> =
            if by_group { groups.iter().map(|group| Some(group.as_str())).collect() } else { vec![None] };
        choices.into_iter().filter_map(|group| self.resolve_one(client, group)).collect()
    }

    /// The filter for a client, where `{group}` stands for one group.
    pub(crate) fn resolve_one(&self, client: &ClientPrincipal, group: Option<&str>) -> Option<TopicFilter> {
        let filled = self.fill(|placeholder| safe_value(placeholder, client, group))?;
        // `$` at the front would move the rule to other topics than its author saw.
        let starts_filled = matches!(self.pieces.first(), Some(Piece::Placeholder(_)));
        if starts_filled && filled.starts_with('$') {
            return None;
        }
        TopicFilter::parse(filled).ok()
    }

    fn fill(&self, value: impl Fn(Placeholder) -> Option<String>) -> Option<String> {
        fill_pieces(&self.pieces, value)
    }
}

/// The text that pieces make with values; none when one is missing.
pub(crate) fn fill_pieces(pieces: &[Piece], value: impl Fn(Placeholder) -> Option<String>) -> Option<String> {
    let mut out = String::new();
    for piece in pieces {
        match piece {
            Piece::Text(text) => out.push_str(text),
            Piece::Placeholder(placeholder) => out.push_str(&value(*placeholder)?),
        }
    }
    Some(out)
}

/// What a placeholder stands for, when it is there and stays inside its level.
pub(crate) fn safe_value(
    placeholder: Placeholder,
    client: &ClientPrincipal,
    group: Option<&str>,
) -> Option<String> {
    value(placeholder, client, group).filter(|value| is_safe(value))
}

impl std::fmt::Display for Template {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.pieces.iter().try_for_each(|piece| match piece {
            Piece::Text(text) => f.write_str(text),
            Piece::Placeholder(placeholder) => f.write_str(&placeholder.written()),
        })
    }
}

fn value(placeholder: Placeholder, client: &ClientPrincipal, group: Option<&str>) -> Option<String> {
    // Only what was proved counts.
    let certificate = client.certificate.as_deref().filter(|_| client.methods.has(Methods::CERTIFICATE));
    match placeholder {
        Placeholder::ClientId => Some(client.client_id.to_string()),
        Placeholder::Identity => Some(client.identity.to_string()),
        Placeholder::User => {
            client.user_name.as_deref().filter(|_| client.methods.has(Methods::PASSWORD)).map(str::to_owned)
        }
        Placeholder::CertCn => certificate?.cn.clone(),
        Placeholder::CertOu => certificate?.ou.clone(),
        Placeholder::CertO => certificate?.o.clone(),
        Placeholder::Group => group.map(str::to_owned),
    }
}

/// Longest value of a placeholder in bytes; a longer one makes an allowing rule void, as one with a wildcard does.
const VALUE_BYTES_MAX: usize = 1_024;

/// Whether a value stays inside its level.
pub(crate) fn is_safe(value: &str) -> bool {
    !value.is_empty()
        && value.len() <= VALUE_BYTES_MAX
        && !value.chars().any(|c| matches!(c, '+' | '#' | '/') || c.is_control())
}
