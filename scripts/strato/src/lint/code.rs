//! Rust text without what is not code: comments, texts and tests become blanks, line ends stay.
//! Called by the source rules, so that a word in a comment breaks none.

/// Returns `text` with comments, string and character literals blanked.
#[must_use]
pub fn bare(text: &str) -> String {
    let mut bare = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = not_code(rest);
        let (part, tail) = rest.split_at_checked(length.max(first.len_utf8())).unwrap_or((rest, ""));
        if length == 0 {
            bare.push_str(part);
        } else {
            bare.extend(part.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        }
        rest = tail;
    }
    bare
}

// Returns the bytes of the comment or literal that `rest` begins with, or 0.
fn not_code(rest: &str) -> usize {
    if rest.starts_with("//") {
        rest.find('\n').unwrap_or(rest.len())
    } else if rest.starts_with("/*") {
        block_comment(rest)
    } else if rest.starts_with('"') {
        string(rest)
    } else if rest.starts_with('r') {
        raw_string(rest)
    } else if rest.starts_with('\'') {
        character(rest)
    } else {
        0
    }
}

fn block_comment(rest: &str) -> usize {
    let mut depth = 0_usize;
    let bytes = rest.as_bytes();
    for (at, pair) in bytes.windows(2).enumerate() {
        // `/*/` does not close itself: the star of an opening cannot close.
        match pair {
            b"/*" => depth += 1,
            b"*/" if bytes.get(at.wrapping_sub(1)) != Some(&b'/') || depth == 0 => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at + 2;
                }
            }
            _ => {}
        }
    }
    rest.len()
}

fn string(rest: &str) -> usize {
    let mut is_escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

fn raw_string(rest: &str) -> usize {
    let hashes = rest.bytes().skip(1).take_while(|byte| *byte == b'#').count();
    if rest.as_bytes().get(1 + hashes) != Some(&b'"') {
        return 0;
    }
    let close = format!("\"{}", "#".repeat(hashes));
    let body = hashes + 2;
    rest.get(body..).and_then(|text| text.find(&close)).map_or(rest.len(), |at| body + at + close.len())
}

// `'a'` and `'\n'` are characters, `'a` is a lifetime.
fn character(rest: &str) -> usize {
    let mut chars = rest.char_indices().skip(1);
    match (chars.next(), chars.next()) {
        (Some((_, '\\')), Some(_)) => chars.find(|(_, c)| *c == '\'').map_or(0, |(at, _)| at + 1),
        (Some((_, c)), Some((at, '\''))) if c != '\'' => at + 1,
        _ => 0,
    }
}

/// Returns bare text with modules under `#[cfg(test)]` blanked too.
#[must_use]
pub fn without_tests(bare: &str) -> String {
    let mut kept = String::with_capacity(bare.len());
    let mut rest = bare;
    while let Some(at) = rest.find("#[cfg(test)]") {
        let (before, item) = rest.split_at(at);
        kept.push_str(before);
        let end = item_end(item);
        kept.extend(item.get(..end).unwrap_or(item).chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        rest = item.get(end..).unwrap_or("");
    }
    kept.push_str(rest);
    kept
}

// An item ends with its first `;` outside of braces, or with the brace that closes its first one.
fn item_end(item: &str) -> usize {
    let mut depth = 0_usize;
    for (at, byte) in item.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' if depth <= 1 => return at + 1,
            b'}' => depth -= 1,
            b';' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    item.len()
}

/// Returns the places of `word` in `text` where no letter, digit or `_` stands beside it, as line numbers from 1.
pub fn lines_with_word<'t>(text: &'t str, word: &'t str) -> impl Iterator<Item = usize> + 't {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    text.lines()
        .zip(1..)
        .filter(move |(line, _)| {
            line.match_indices(word).any(|(at, _)| {
                let before = line.get(..at).and_then(|text| text.chars().next_back());
                let behind = line.get(at + word.len()..).and_then(|text| text.chars().next());
                let starts = word.starts_with(is_word);
                let ends = word.ends_with(is_word);
                !(starts && before.is_some_and(is_word) || ends && behind.is_some_and(is_word))
            })
        })
        .map(|(_, number)| number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn squeezed(text: &str) -> String {
        bare(text).split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn comments_and_literals_are_blanked() {
        for (text, code) in [
            ("a // b\nc", "a c"),
            ("a /* b /* c */ d */ e", "a e"),
            ("a(\"b \\\" c\") d", "a( ) d"),
            ("a(r#\"b \" c\"#) d", "a( ) d"),
            ("let x: &'a str = y; 'b' '\\'' z", "let x: &'a str = y; z"),
            ("r + rate(\"x", "r + rate("),
        ] {
            assert_eq!(squeezed(text), code, "{text}");
        }
    }

    #[test]
    fn line_numbers_survive() {
        let text = "a\n/* b\nc */\nunsafe {}\n\"d\n\"; unsafe";
        assert_eq!(lines_with_word(&bare(text), "unsafe").collect::<Vec<_>>(), [4, 6]);
    }

    #[test]
    fn a_part_of_a_word_is_not_the_word() {
        assert_eq!(lines_with_word("unsafe_code\nnot_unsafe\nunsafe{", "unsafe").collect::<Vec<_>>(), [3]);
    }

    #[test]
    fn test_modules_are_blanked_and_what_follows_is_not() {
        let text = "a\n#[cfg(test)]\nmod tests { fn b() { c } }\nd\n#[cfg(test)]\nmod more;\ne";
        assert_eq!(without_tests(text).split_whitespace().collect::<Vec<_>>(), ["a", "d", "e"]);
    }
}
