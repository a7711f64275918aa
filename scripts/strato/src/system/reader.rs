//! Typed reading of TOML tables: every wrong type and every key that nobody asked for becomes a `Problem` with its line.
//! Owns no knowledge of systems; `manifest` calls it.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{At, Problem, Span};
use super::size;

/// Problems found so far; reading goes on after each, so that one run shows them all.
#[derive(Debug, Default)]
pub struct Problems(RefCell<Vec<Problem>>);

impl Problems {
    /// Adds a problem.
    pub fn add(&self, problem: Problem) {
        self.0.borrow_mut().push(problem);
    }

    /// Returns all problems.
    #[must_use]
    pub fn into_vec(self) -> Vec<Problem> {
        self.0.into_inner()
    }
}

/// A table of the file that is being read.
#[derive(Debug)]
pub struct Table<'a> {
    /// As messages name it: `[[vm]]`.
    what: &'static str,
    /// Where the table begins.
    span: Span,
    values: &'a DeTable<'a>,
    asked: RefCell<BTreeSet<&'static str>>,
    problems: &'a Problems,
}

impl<'a> Table<'a> {
    /// Returns a reader of `values`, which messages call `what`.
    #[must_use]
    pub fn new(what: &'static str, span: Span, values: &'a DeTable<'a>, problems: &'a Problems) -> Self {
        Self { what, span, values, asked: RefCell::default(), problems }
    }

    /// Returns where the table begins.
    #[must_use]
    pub fn span(&self) -> &Span {
        &self.span
    }

    /// Returns the problems that this reader adds to.
    #[must_use]
    pub fn problems(&self) -> &'a Problems {
        self.problems
    }

    fn get(&self, key: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.asked.borrow_mut().insert(key);
        self.values.get(key)
    }

    /// Returns whether `key` is there, of whatever type.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        self.values.contains_key(key)
    }

    /// Returns where the value of `key` stands, or the table itself without it.
    #[must_use]
    pub fn span_of(&self, key: &str) -> Span {
        self.values.get(key).map_or_else(|| self.span.clone(), Spanned::span)
    }

    fn mistyped(&self, key: &str, value: &Spanned<DeValue<'_>>, expected: &str) {
        let found = value.get_ref().type_str();
        self.problems.add(Problem::new(
            format!("`{key}` in {} is not {expected}", self.what),
            &value.span(),
            format!("this is of type {found}"),
            format!("write {expected}"),
        ));
    }

    /// Returns the text of `key`.
    #[must_use]
    pub fn text(&self, key: &'static str) -> Option<At<String>> {
        let value = self.get(key)?;
        let Some(text) = value.get_ref().as_str() else {
            self.mistyped(key, value, "a text in quotes");
            return None;
        };
        Some(At { value: text.to_owned(), span: value.span() })
    }

    /// Returns the text of `key`, which has to be there; `example` shows how it may look.
    #[must_use]
    pub fn needed_text(&self, key: &'static str, example: &str) -> Option<At<String>> {
        if self.get(key).is_none() {
            self.missing(key, example);
        }
        self.text(key)
    }

    /// Adds the problem that `key` is not there.
    pub fn missing(&self, key: &str, example: &str) {
        self.problems.add(Problem::new(
            format!("{} has no `{key}`", self.what),
            &self.span,
            format!("`{key}` is missing here"),
            format!("add `{key} = {example}`"),
        ));
    }

    /// Returns the text of `key` as the choice that stands beside it.
    #[must_use]
    pub fn choice<T: Copy>(&self, key: &'static str, choices: &[(&str, T)]) -> Option<T> {
        let text = self.text(key)?;
        let choice = choices.iter().find(|(name, _)| *name == text.value);
        if choice.is_none() {
            let names: Vec<String> = choices.iter().map(|(name, _)| format!("\"{name}\"")).collect();
            self.problems.add(Problem::new(
                format!("`{key}` cannot be \"{}\"", text.value),
                &text.span,
                "unknown value",
                format!("choose one of {}", names.join(", ")),
            ));
        }
        choice.map(|(_, value)| *value)
    }

    /// Returns the boolean of `key`.
    #[must_use]
    pub fn boolean(&self, key: &'static str) -> Option<bool> {
        let value = self.get(key)?;
        let boolean = value.get_ref().as_bool();
        if boolean.is_none() {
            self.mistyped(key, value, "true or false");
        }
        boolean
    }

    /// Returns the integer of `key`, which has to lie in `range`.
    #[must_use]
    pub fn integer(&self, key: &'static str, range: RangeInclusive<u64>) -> Option<At<u64>> {
        self.in_range(key, self.get(key)?, &range)
    }

    fn in_range(&self, key: &str, at: &Spanned<DeValue<'_>>, range: &RangeInclusive<u64>) -> Option<At<u64>> {
        let Some(written) = at.get_ref().as_integer() else {
            self.mistyped(key, at, "a whole number");
            return None;
        };
        let number = integer(at);
        if let Some(value) = number.filter(|number| range.contains(number)) {
            return Some(At { value, span: at.span() });
        }
        // One below zero, or of more than 64 bits, is none of ours.
        let shown = number.map_or_else(|| written.to_string(), |number| number.to_string());
        let (first, last) = (range.start(), range.end());
        self.problems.add(Problem::new(
            format!("`{key} = {shown}` in {} is out of range", self.what),
            &at.span(),
            format!("it has to be {first} to {last}"),
            format!("write a number from {first} to {last}"),
        ));
        None
    }

    /// Returns the integers of the array `key`, each of which has to lie in `range`.
    #[must_use]
    pub fn integers(&self, key: &'static str, range: &RangeInclusive<u64>) -> Option<Vec<u64>> {
        let value = self.get(key)?;
        let Some(array) = value.get_ref().as_array() else {
            self.mistyped(key, value, "a list of whole numbers");
            return None;
        };
        Some(array.iter().filter_map(|item| Some(self.in_range(key, item, range)?.value)).collect())
    }

    /// Returns the texts of the array `key`.
    #[must_use]
    pub fn texts(&self, key: &'static str) -> Vec<At<String>> {
        let Some(value) = self.get(key) else { return Vec::new() };
        let Some(array) = value.get_ref().as_array() else {
            self.mistyped(key, value, "a list of texts in quotes");
            return Vec::new();
        };
        let mut texts = Vec::new();
        for item in array {
            match item.get_ref().as_str() {
                Some(text) => texts.push(At { value: text.to_owned(), span: item.span() }),
                None => self.mistyped(key, item, "a text in quotes"),
            }
        }
        texts
    }

    /// Returns the size of `key` in bytes, written as `"64KiB"` or as a number of bytes.
    #[must_use]
    pub fn size(&self, key: &'static str) -> Option<At<u64>> {
        let value = self.get(key)?;
        if let Some(number) = integer(value) {
            return Some(At { value: number, span: value.span() });
        }
        let Some(text) = value.get_ref().as_str() else {
            self.mistyped(key, value, "a size such as \"1MiB\"");
            return None;
        };
        match size::parse(text) {
            Ok(bytes) => Some(At { value: bytes, span: value.span() }),
            Err(why) => {
                self.problems.add(Problem::new(
                    format!("`{key} = \"{text}\"` {why}"),
                    &value.span(),
                    "expected a whole number and KiB, MiB or GiB",
                    "write it as \"64KiB\" or \"1MiB\"",
                ));
                None
            }
        }
    }

    /// Returns the table of `key`.
    #[must_use]
    pub fn table(&self, key: &'static str, what: &'static str) -> Option<Table<'a>> {
        let value = self.get(key)?;
        let Some(values) = value.get_ref().as_table() else {
            self.mistyped(key, value, &format!("a table, written {what}"));
            return None;
        };
        Some(Table::new(what, value.span(), values, self.problems))
    }

    /// Returns the tables of the array `key`.
    #[must_use]
    pub fn tables(&self, key: &'static str, what: &'static str) -> Vec<Table<'a>> {
        let Some(value) = self.get(key) else { return Vec::new() };
        let expected = format!("a list of tables, written {what}");
        let Some(array) = value.get_ref().as_array() else {
            self.mistyped(key, value, &expected);
            return Vec::new();
        };
        let mut tables = Vec::new();
        for item in array {
            match item.get_ref().as_table() {
                Some(values) => tables.push(Table::new(what, item.span(), values, self.problems)),
                None => self.mistyped(key, item, &expected),
            }
        }
        tables
    }

    /// Ends the reading: a key that nobody asked for is a problem.
    pub fn finish(self) {
        let asked = self.asked.into_inner();
        for key in self.values.keys() {
            let name = key.get_ref().as_ref();
            if asked.contains(name) {
                continue;
            }
            let fix = match nearest(name, asked.iter().copied()) {
                Some(known) => format!("did you mean `{known}`?"),
                None => {
                    format!("known here: {}", asked.iter().map(|k| format!("`{k}`")).collect::<Vec<_>>().join(", "))
                }
            };
            self.problems.add(Problem::new(
                format!("unknown key `{name}` in {}", self.what),
                &key.span(),
                "unknown key",
                fix,
            ));
        }
    }
}

fn integer(value: &Spanned<DeValue<'_>>) -> Option<u64> {
    let number = value.get_ref().as_integer()?;
    u64::from_str_radix(number.as_str(), number.radix()).ok()
}

/// Returns the known word that is close enough to `word` to be what was meant.
pub fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let close = |name: &&str| strsim::damerau_levenshtein(word, name);
    known.into_iter().filter(|name| close(name) <= 1 + name.len() / 4).min_by_key(close)
}
