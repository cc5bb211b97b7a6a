//! Where the tree names a normative statement of MQTT.
//!
//! A statement is named as `MQTT-3.1.2-24` in a comment, a doc or a text, or as `mqtt_3_1_2_24` in the name of a
//! function. The two versions of the standard use the same identifiers for different sentences: a citation holds
//! for one version when the identifier is followed by `@3.1.1` or `@5.0`, or the path of the file or the line
//! before says `v311` or `v5`; otherwise for both.

use crate::source::Source;

/// The versions of the standard that have a table in `specs/`.
pub(crate) const VERSIONS: [&str; 2] = ["3.1.1", "5.0"];

/// One place that names one statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Citation {
    /// The identifier as the standard writes it.
    pub(crate) id: String,
    /// The only version it speaks of, if it says so.
    pub(crate) version: Option<&'static str>,
    /// `path:line`.
    pub(crate) place: String,
    /// Whether a test names it.
    pub(crate) is_test: bool,
}

/// Every citation in one file.
pub(crate) fn citations(source: &Source) -> Vec<Citation> {
    let of_file = version_in(&source.path);
    let mut found = Vec::new();
    for (number, line, is_test) in source.text_lines() {
        for (id, version) in in_line(line) {
            let place = format!("{}:{number}", source.path);
            found.push(Citation { id, version: version.or(of_file), place, is_test });
        }
    }
    found
}

/// The version that a path or a name speaks of; none if it says nothing or both.
fn version_in(name: &str) -> Option<&'static str> {
    let mut words = name.split(|character: char| !character.is_alphanumeric());
    let is_5 = words.clone().any(|word| matches!(word, "v5" | "v50" | "mqtt5"));
    let is_3 = words.any(|word| matches!(word, "v3" | "v311" | "mqtt311"));
    match (is_3, is_5) {
        (true, false) => Some("3.1.1"),
        (false, true) => Some("5.0"),
        _ => None,
    }
}

fn in_line(line: &str) -> Vec<(String, Option<&'static str>)> {
    let mut found = Vec::new();
    for (at, prefix) in line.match_indices("MQTT-") {
        let rest = line.get(at + prefix.len()..).unwrap_or_default();
        let section_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (section, number) = rest.split_at(section_end);
        let Some(number) = number.strip_prefix('-') else { continue };
        let number_end = number.find(|c: char| !c.is_ascii_digit()).unwrap_or(number.len());
        let (number, after) = number.split_at(number_end);
        if !section.contains('.') || section.ends_with('.') || number.is_empty() {
            continue;
        }
        let version = VERSIONS
            .into_iter()
            .find(|version| after.strip_prefix('@').is_some_and(|after| after.starts_with(version)));
        found.push((format!("MQTT-{section}-{number}"), version));
    }
    if let Some((_, name)) = line.split_once("fn ") {
        let name = name.split(['(', '<']).next().unwrap_or_default();
        for (at, prefix) in name.match_indices("mqtt_") {
            let rest = name.get(at + prefix.len()..).unwrap_or_default();
            let numbers: Vec<&str> = rest
                .split('_')
                .take_while(|word| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit()))
                .collect();
            if let [section @ .., number] = numbers.as_slice()
                && section.len() >= 2
            {
                let version = version_in(&name.replace('_', "/"));
                found.push((format!("MQTT-{}-{number}", section.join(".")), version));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_found_in_text_and_names() {
        let id = |text: &str| in_line(text).into_iter().map(|(id, _)| id).collect::<Vec<_>>();
        assert_eq!(id("// (MQTT-3.1.2-24, MQTT-4.7-1)."), ["MQTT-3.1.2-24", "MQTT-4.7-1"]);
        assert_eq!(id("fn mqtt_3_1_2_24_is_kept() {"), ["MQTT-3.1.2-24"]);
        assert_eq!(id("fn mqtt_5_client()"), [""; 0]);
        assert_eq!(id("MQTT-5, MQTT-3.1.1, MQTT-3.1.2-"), [""; 0]);
    }

    #[test]
    fn a_citation_may_speak_of_one_version() {
        assert_eq!(in_line("MQTT-1.5.3-1@5.0")[0].1, Some("5.0"));
        assert_eq!(in_line("fn v311_mqtt_1_5_3_1()")[0].1, Some("3.1.1"));
        assert_eq!(version_in("conformance/src/v5/connect.rs"), Some("5.0"));
        assert_eq!(version_in("conformance/src/connect.rs"), None);
    }
}
