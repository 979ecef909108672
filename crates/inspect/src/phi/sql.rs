//! Dumps of databases as SQL: columns are named by `CREATE TABLE`, by `INSERT` itself, or by `COPY`.

use super::{
    free::Hit,
    table::{Column, Header, cell, column},
};

/// Tables and columns of one that are remembered.
const TABLES: usize = 64;
const COLUMNS: usize = 256;

/// What is known of a dump from line to line.
#[derive(Clone, Debug, Default)]
pub(super) struct Sql {
    /// Columns of tables that have some of patients' data, by the hash of their names.
    tables: Vec<(u64, Vec<Column>)>,
    state: State,
}

#[derive(Clone, Debug, Default)]
enum State {
    #[default]
    Outside,
    /// Within `CREATE TABLE`.
    Creating(u64, Vec<Column>),
    /// After `INSERT INTO`, before the columns or `VALUES`.
    Inserting(Vec<Column>),
    /// Within the values.
    Values(Vec<Column>),
}

/// FNV-1a, over small letters without what quotes names.
fn hash(name: &[u8]) -> u64 {
    let plain = name.iter().filter(|b| !matches!(b, b'`' | b'"' | b'[' | b']'));
    plain.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte.to_ascii_lowercase())).wrapping_mul(0x0100_0000_01b3)
    })
}

/// What follows `words` at the beginning of `line`, in any case.
fn after<'a>(line: &'a [u8], words: &[u8]) -> Option<&'a [u8]> {
    let start = line.get(..words.len())?;
    start.eq_ignore_ascii_case(words).then(|| line[words.len()..].trim_ascii_start())
}

/// The name at the beginning of `text`, and what follows it.
fn name(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|b| matches!(b, b' ' | b'(' | b'\t')).unwrap_or(text.len());
    (&text[..end], text[end..].trim_ascii_start())
}

fn column_of(name: &[u8]) -> Column {
    let name = name.trim_ascii();
    column(name.trim_ascii_start().strip_prefix(b"`").unwrap_or(name))
}

/// The columns in the parentheses that `text` begins with, and what follows them.
fn columns(text: &[u8]) -> Option<(Vec<Column>, &[u8])> {
    let inner = text.strip_prefix(b"(")?;
    let close = memchr::memchr(b')', inner)?;
    let columns = inner[..close].split(|&b| b == b',').take(COLUMNS).map(column_of).collect();
    Some((columns, inner[close + 1..].trim_ascii_start()))
}

impl Sql {
    /// Whether a statement goes on in the next line.
    pub fn is_within(&self) -> bool {
        !matches!(self.state, State::Outside)
    }

    /// A statement ends with its last line, whether it says so or not.
    pub fn blank(&mut self) {
        self.state = State::Outside;
    }

    /// Reads a line that begins at `at`; gives the header of the rows that follow a `COPY`.
    pub fn line(
        &mut self,
        line: &[u8],
        at: usize,
        now: u32,
        hits: &mut Vec<Hit>,
    ) -> Option<Header> {
        let text = line.trim_ascii();
        match std::mem::take(&mut self.state) {
            State::Outside => return self.begin(text, line, at, now, hits),
            State::Creating(table, mut columns) => {
                let keys: [&[u8]; 6] =
                    [b"PRIMARY", b"KEY", b"UNIQUE", b"CONSTRAINT", b"FOREIGN", b"INDEX"];
                if text.starts_with(b")") || text.ends_with(b";") {
                    self.remember(table, columns);
                } else {
                    if !keys.iter().any(|key| after(text, key).is_some()) && columns.len() < COLUMNS
                    {
                        columns.push(column_of(name(text).0));
                    }
                    self.state = State::Creating(table, columns);
                }
            }
            State::Inserting(known) => self.insert(text, known, line, at, now, hits),
            State::Values(columns) if text.starts_with(b"(") || text.starts_with(b",") => {
                self.values(columns, line, at, now, hits);
            }
            State::Values(_) => return self.begin(text, line, at, now, hits),
        }
        None
    }

    fn begin(
        &mut self,
        text: &[u8],
        line: &[u8],
        at: usize,
        now: u32,
        hits: &mut Vec<Hit>,
    ) -> Option<Header> {
        if let Some(rest) = after(text, b"CREATE TABLE ") {
            let rest = after(rest, b"IF NOT EXISTS ").unwrap_or(rest);
            let (table, rest) = name(rest);
            if rest == b"(" || rest.is_empty() {
                self.state = State::Creating(hash(table), Vec::new());
            }
        } else if let Some(rest) = after(text, b"INSERT INTO ") {
            let (table, rest) = name(rest);
            let table = hash(table);
            let known = self.tables.iter().find(|(name, _)| *name == table);
            let known = known.map(|(_, columns)| columns.clone()).unwrap_or_default();
            self.insert(rest, known, line, at, now, hits);
        } else if let Some(rest) = after(text, b"COPY ") {
            let (columns, rest) = columns(name(rest).1)?;
            after(rest, b"FROM stdin;")?;
            return Some(Header { separator: b'\t', columns, patients: false });
        }
        None
    }

    fn remember(&mut self, table: u64, columns: Vec<Column>) {
        if columns.iter().any(|column| *column != Column::Plain) {
            if self.tables.len() == TABLES {
                self.tables.remove(0);
            }
            self.tables.push((table, columns));
        }
    }

    /// The rest of an `INSERT`: columns, then `VALUES`.
    fn insert(
        &mut self,
        text: &[u8],
        known: Vec<Column>,
        line: &[u8],
        at: usize,
        now: u32,
        hits: &mut Vec<Hit>,
    ) {
        let (known, rest) = columns(text).unwrap_or((known, text));
        if let Some(rest) = after(rest, b"VALUES") {
            let from = line.trim_ascii_end().len() - rest.len();
            self.values(known, &line[from..], at + from, now, hits);
        } else if rest.is_empty() {
            self.state = State::Inserting(known);
        }
    }

    /// Rows in parentheses, from `text` on, which begins at `at`.
    fn values(
        &mut self,
        columns: Vec<Column>,
        text: &[u8],
        at: usize,
        now: u32,
        hits: &mut Vec<Hit>,
    ) {
        let (mut depth, mut index, mut start) = (0, 0, 0);
        let mut place = 0;
        while place < text.len() {
            match text[place] {
                b'\'' => {
                    // To the quote that closes, over `''` and `\'`.
                    place += 1;
                    while place < text.len() && text[place] != b'\'' {
                        place += 1 + usize::from(text[place] == b'\\');
                    }
                }
                b'(' => {
                    depth += 1;
                    if depth == 1 {
                        (index, start) = (0, place + 1);
                    }
                }
                b',' | b')' if depth == 1 => {
                    let (from, inner) = literal(&text[start..place]);
                    cell(columns.get(index), inner, at + start + from, now, hits);
                    index += 1;
                    start = place + 1;
                    depth -= usize::from(text[place] == b')');
                }
                b')' if depth > 1 => depth -= 1,
                b';' => return,
                _ => {}
            }
            place += 1;
        }
        self.state = State::Values(columns);
    }
}

/// The text in quotes in a value, if there is one: `N'x'`, `CAST('x' AS date)`.
fn literal(value: &[u8]) -> (usize, &[u8]) {
    let quoted = memchr::memchr(b'\'', value).and_then(|open| {
        let close = memchr::memchr(b'\'', &value[open + 1..])?;
        Some((open + 1, &value[open + 1..open + 1 + close]))
    });
    quoted.unwrap_or_else(|| {
        let blanks = value.iter().take_while(|b| b.is_ascii_whitespace()).count();
        (blanks, value.trim_ascii())
    })
}
