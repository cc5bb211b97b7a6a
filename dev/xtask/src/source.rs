//! One Rust file: its text, its code without comments and literals, and which of its lines are tests.

/// A Rust file, cut into lines that correspond.
pub(crate) struct Source {
    /// Path relative to the root of the workspace.
    pub(crate) path: String,
    /// The text as written.
    pub(crate) text: String,
    /// The text with the inside of comments and literals blanked; as many lines.
    pub(crate) code: String,
    /// For each line whether it is test code.
    tests: Vec<bool>,
}

impl Source {
    pub(crate) fn new(path: String, text: String) -> Self {
        let code = code_of(&text);
        let all = is_test_path(&path);
        let mut tests = vec![all; code.lines().count()];
        if !all {
            mark_tests(&code, &mut tests);
        }
        Self { path, text, code, tests }
    }

    /// The lines of code with their numbers from 1 and whether they are tests.
    pub(crate) fn code_lines(&self) -> impl Iterator<Item = (usize, &str, bool)> {
        self.code.lines().zip(&self.tests).enumerate().map(|(at, (line, test))| (at + 1, line, *test))
    }

    /// The lines as written, likewise.
    pub(crate) fn text_lines(&self) -> impl Iterator<Item = (usize, &str, bool)> {
        self.text.lines().zip(&self.tests).enumerate().map(|(at, (line, test))| (at + 1, line, *test))
    }

    /// Whether the file lies below `folder`.
    pub(crate) fn is_below(&self, folder: &str) -> bool {
        self.path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
    }
}

/// Whether a file is test code as a whole, by where it lies.
fn is_test_path(path: &str) -> bool {
    path.starts_with("conformance/")
        || path.starts_with("interop/")
        || path.split('/').any(|part| matches!(part, "tests" | "tests.rs"))
}

/// Marks what stands under `#[cfg(test)]`, up to the end of that item.
fn mark_tests(code: &str, tests: &mut [bool]) {
    let lines: Vec<&str> = code.lines().collect();
    let mut at = 0;
    while let Some(line) = lines.get(at) {
        if !line.trim_start().starts_with("#[cfg(test)]") {
            at += 1;
            continue;
        }
        let mut depth = 0_usize;
        let mut is_done = false;
        while let Some(line) = lines.get(at).filter(|_| !is_done) {
            if let Some(test) = tests.get_mut(at) {
                *test = true;
            }
            for character in line.chars() {
                match character {
                    '{' => depth += 1,
                    '}' => {
                        depth = depth.saturating_sub(1);
                        is_done |= depth == 0;
                    }
                    ';' => is_done |= depth == 0,
                    _ => {}
                }
            }
            at += 1;
        }
    }
}

/// What the scanner is inside of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Inside {
    Code,
    LineComment,
    BlockComment { depth: usize },
    Text,
    RawText { hashes: usize },
}

/// The text with comments and the inside of string and character literals replaced by spaces.
fn code_of(text: &str) -> String {
    let characters: Vec<char> = text.chars().collect();
    let peek = |at: usize| characters.get(at).copied().unwrap_or('\0');
    let mut code = String::with_capacity(text.len());
    let mut inside = Inside::Code;
    let mut at = 0;
    while let Some(character) = characters.get(at).copied() {
        let mut step = 1;
        match inside {
            Inside::Code => match (character, peek(at + 1)) {
                ('/', '/') => inside = Inside::LineComment,
                ('/', '*') => {
                    inside = Inside::BlockComment { depth: 1 };
                    step = 2;
                }
                ('"', _) => inside = Inside::Text,
                ('r', '"' | '#') if !is_word(at.checked_sub(1).map_or(' ', peek)) || peek(at - 1) == 'b' => {
                    let hashes = characters.iter().skip(at + 1).take_while(|next| **next == '#').count();
                    if peek(at + 1 + hashes) == '"' {
                        inside = Inside::RawText { hashes };
                        step = 2 + hashes;
                    }
                }
                ('\'', next) => step = character_literal(next, peek(at + 2), &characters, at),
                _ => {}
            },
            Inside::LineComment if character == '\n' => inside = Inside::Code,
            Inside::LineComment => {}
            Inside::BlockComment { depth } => match (character, peek(at + 1)) {
                ('*', '/') => {
                    inside =
                        if depth == 1 { Inside::Code } else { Inside::BlockComment { depth: depth - 1 } };
                    step = 2;
                }
                ('/', '*') => {
                    inside = Inside::BlockComment { depth: depth + 1 };
                    step = 2;
                }
                _ => {}
            },
            Inside::Text => match character {
                '\\' => step = 2,
                '"' => inside = Inside::Code,
                _ => {}
            },
            Inside::RawText { hashes } => {
                if character == '"' && (1..=hashes).all(|offset| peek(at + offset) == '#') {
                    inside = Inside::Code;
                    step = 1 + hashes;
                }
            }
        }
        let keep = inside == Inside::Code && step == 1 && character != '"';
        for offset in 0..step {
            match peek(at + offset) {
                '\n' => code.push('\n'),
                character if keep => code.push(character),
                _ => code.push(' '),
            }
        }
        at += step;
    }
    code
}

/// How long the character literal at `at` is; 1 if it is the start of a lifetime.
fn character_literal(next: char, after: char, characters: &[char], at: usize) -> usize {
    if next == '\\' {
        // The escaped character itself may be a quote, so that the search for the end starts behind it.
        let end = characters.iter().skip(at + 3).position(|character| *character == '\'');
        return end.map_or(1, |length| length + 4);
    }
    if after == '\'' { 3 } else { 1 }
}

/// Whether a character can be part of an identifier.
pub(crate) fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// Whether `line` has `word` standing alone, not as part of a longer identifier.
pub(crate) fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line.get(..at).and_then(|before| before.chars().next_back());
        let after = line.get(at + word.len()..).and_then(|after| after.chars().next());
        let starts = !word.starts_with(is_word) || !before.is_some_and(is_word);
        let ends = !word.ends_with(is_word) || !after.is_some_and(is_word);
        starts && ends
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_blanked_and_lines_stay() {
        let text = "let a = \"x // y\"; // z\nlet b = r#\"q\"w\"#; /* m /* n */ o */ c('\\'', '{', 'l);\n";
        let code = code_of(text);
        assert_eq!(code.lines().count(), 2);
        for gone in ["x", "z", "q", "w", "m", "n", "o", "{"] {
            assert!(!code.contains(gone), "{gone} in {code}");
        }
        for kept in ["let a", "let b", "c(", "'l", ");"] {
            assert!(code.contains(kept), "{kept} in {code}");
        }
    }

    #[test]
    fn only_the_item_under_cfg_test_is_a_test() {
        let text = "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\nfn c() {}\n#[cfg(test)]\nuse x;\nfn d() {}\n";
        let source = Source::new("crates/x/src/lib.rs".to_owned(), text.to_owned());
        let tests: Vec<bool> = source.code_lines().map(|(_, _, test)| test).collect();
        assert_eq!(tests, [false, true, true, true, true, false, true, true, false]);
        let source = Source::new("crates/x/src/a/tests.rs".to_owned(), "fn a() {}\n".to_owned());
        assert!(source.code_lines().all(|(_, _, test)| test));
    }

    #[test]
    fn a_word_stands_alone() {
        assert!(has_word("x = Instant::now()", "Instant::now"));
        assert!(!has_word("x = MyInstant::now()", "Instant::now"));
        assert!(!has_word("Instant::nowhere", "Instant::now"));
    }
}
