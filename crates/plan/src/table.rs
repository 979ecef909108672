//! Tables of a plan with the positions of what is in them.

use std::{ops::Range, path::Path, str::FromStr};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use crate::{PlanError, Problem};

/// The text of a plan and the name of its file: what an error needs to say where it is.
#[derive(Clone, Copy)]
pub(crate) struct Text<'a> {
    pub(crate) file: &'a Path,
    pub(crate) text: &'a str,
}

impl Text<'_> {
    /// `problem` at the byte `offset` of the text.
    pub(crate) fn error(&self, offset: usize, problem: Problem) -> PlanError {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        PlanError::Invalid {
            file: self.file.to_owned(),
            line: before.matches('\n').count() + 1,
            // A byte order mark takes no column.
            column: before[line_start..].trim_start_matches('\u{feff}').chars().count() + 1,
            problem,
        }
    }
}

/// A table whose keys are all known.
pub(crate) struct Table<'a> {
    text: Text<'a>,
    /// What it is called in the file; empty for the file itself.
    name: &'static str,
    entries: &'a DeTable<'a>,
    /// Where it begins.
    pub(crate) start: usize,
}

/// A value and where it stands.
pub(crate) struct At<T> {
    pub(crate) value: T,
    pub(crate) start: usize,
}

impl<'a> Table<'a> {
    /// Refuses the first key that is not in `known`.
    pub(crate) fn new(
        text: Text<'a>,
        name: &'static str,
        entries: &'a DeTable<'a>,
        start: usize,
        known: &[&'static str],
    ) -> Result<Self, PlanError> {
        let unknown = entries.keys().filter(|key| !known.contains(&key.get_ref().as_ref()));
        if let Some(key) = unknown.min_by_key(|key| key.span().start) {
            let problem = Problem::UnknownKey {
                key: key.get_ref().to_string(),
                nearest: nearest(key.get_ref(), known),
            };
            return Err(text.error(key.span().start, problem));
        }
        Ok(Self { text, name, entries, start })
    }

    fn get(&self, key: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.entries.get(key)
    }

    /// The value of a key that must be there.
    pub(crate) fn required<T>(&self, key: &'static str, value: Option<T>) -> Result<T, PlanError> {
        value.ok_or_else(|| {
            self.text.error(self.start, Problem::MissingKey { key, table: self.name })
        })
    }

    /// The value of `key` as `convert` gives it, which takes values of the type `expected`.
    fn typed<T>(
        &self,
        key: &'static str,
        expected: &'static str,
        convert: impl FnOnce(&'a DeValue<'a>) -> Option<T>,
    ) -> Result<Option<At<T>>, PlanError> {
        let Some(spanned) = self.get(key) else { return Ok(None) };
        let start = spanned.span().start;
        match convert(spanned.get_ref()) {
            Some(value) => Ok(Some(At { value, start })),
            None => {
                let found = described(spanned.get_ref());
                Err(self.text.error(start, Problem::Type { key, expected, found }))
            }
        }
    }

    /// A string.
    pub(crate) fn string(&self, key: &'static str) -> Result<Option<At<&'a str>>, PlanError> {
        self.typed(key, "a string", DeValue::as_str)
    }

    /// `true` or `false`.
    pub(crate) fn boolean(&self, key: &'static str) -> Result<Option<At<bool>>, PlanError> {
        self.typed(key, "true or false", DeValue::as_bool)
    }

    /// A whole number within `range`.
    pub(crate) fn integer(
        &self,
        key: &'static str,
        range: Range<usize>,
    ) -> Result<Option<At<usize>>, PlanError> {
        let Some(number) = self.typed(key, "a whole number", DeValue::as_integer)? else {
            return Ok(None);
        };
        let value = usize::from_str_radix(number.value.as_str(), number.value.radix()).ok();
        match value.filter(|value| range.contains(value)) {
            Some(value) => Ok(Some(At { value, start: number.start })),
            None => {
                let (least, most) = (range.start, range.end - 1);
                Err(self.text.error(number.start, Problem::Range { key, least, most }))
            }
        }
    }

    /// An array of strings; empty where the key is not there.
    pub(crate) fn strings(&self, key: &'static str) -> Result<Vec<At<&'a str>>, PlanError> {
        const EXPECTED: &str = "an array of strings";
        let Some(array) = self.typed(key, EXPECTED, DeValue::as_array)? else {
            return Ok(Vec::new());
        };
        let strings = array.value.iter().map(|item| {
            let start = item.span().start;
            item.get_ref().as_str().map(|value| At { value, start }).ok_or_else(|| {
                let found = described(item.get_ref());
                self.text.error(start, Problem::Type { key, expected: EXPECTED, found })
            })
        });
        strings.collect()
    }

    /// A string that stands for something else.
    pub(crate) fn parsed<T: FromStr>(
        &self,
        key: &'static str,
        problem: impl FnOnce(&'static str, T::Err) -> Problem,
    ) -> Result<Option<T>, PlanError> {
        let Some(At { value, start }) = self.string(key)? else { return Ok(None) };
        match value.parse() {
            Ok(value) => Ok(Some(value)),
            Err(error) => Err(self.text.error(start, problem(key, error))),
        }
    }

    /// A table with these keys.
    pub(crate) fn table(
        &self,
        key: &'static str,
        known: &[&'static str],
    ) -> Result<Option<Table<'a>>, PlanError> {
        let table = self.typed(key, "a table", DeValue::as_table)?;
        table.map(|at| Table::new(self.text, key, at.value, at.start, known)).transpose()
    }

    /// An array of tables with these keys; empty where the key is not there.
    pub(crate) fn tables(
        &self,
        key: &'static str,
        known: &[&'static str],
    ) -> Result<Vec<Table<'a>>, PlanError> {
        const EXPECTED: &str = "an array of tables ([[…]])";
        let Some(array) = self.typed(key, EXPECTED, DeValue::as_array)? else {
            return Ok(Vec::new());
        };
        let tables = array.value.iter().map(|item| {
            let start = item.span().start;
            let Some(entries) = item.get_ref().as_table() else {
                let found = described(item.get_ref());
                return Err(self
                    .text
                    .error(start, Problem::Type { key, expected: EXPECTED, found }));
            };
            Table::new(self.text, key, entries, start, known)
        });
        tables.collect()
    }
}

fn described(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}

/// The known key that is most like `key`, where one is like enough to be meant.
fn nearest(key: &str, known: &[&'static str]) -> Option<&'static str> {
    // The distance takes time in proportion to the length, and no misspelling is long.
    if key.len() > 64 {
        return None;
    }
    let key = key.to_lowercase().replace('-', "_");
    known
        .iter()
        .map(|known| (strsim::osa_distance(&key, known), *known))
        .filter(|(distance, known)| *distance <= (known.len() / 3).max(1))
        .min()
        .map(|(_, known)| known)
}
