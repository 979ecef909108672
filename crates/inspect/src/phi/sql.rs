//! Dumps of databases as SQL: columns are named by `CREATE TABLE`, by `INSERT` itself, or by `COPY`.
//!
//! A statement goes over as many lines as it likes, and a line holds as many statements: what is kept is
//! what is read at the moment.

use std::sync::Arc;

use super::{
    free::Hit,
    part::{Part, worked},
    table::{Column, Header, cell, column},
};

/// Tables that are remembered, and columns of one: MySQL's have 4,096 at most, and others fewer.
const TABLES: usize = 64;
const COLUMNS: usize = 4096;
/// Bytes that all of them take at most.
#[cfg(test)]
pub(super) const MEMORY: usize = (TABLES + 2) * COLUMNS * size_of::<Column>();
/// Bytes of a statement that show what it is and of which table.
const FRONT: usize = 512;

/// What is known of a dump from line to line.
#[derive(Clone, Debug, Default)]
pub(super) struct Sql {
    /// Columns of tables that have some of patients' data, by the hash of their names.
    tables: Vec<(u64, Arc<[Column]>)>,
    state: State,
    /// Up to where the line has been read.
    at: usize,
}

/// What a line is of a dump.
pub(super) enum Line {
    /// None.
    Other,
    /// A statement, or a part of one.
    Statement,
    /// What rows follow.
    Rows(Header),
}

#[derive(Clone, Debug, Default)]
enum State {
    #[default]
    Outside,
    /// Within `CREATE TABLE`.
    Creating(u64, Vec<Column>),
    /// After `INSERT INTO`, before the columns or `VALUES`.
    Inserting(Table),
    /// Within the names of columns, of which one begins there.
    Names(Table, Vec<Column>, usize),
    Values(Values),
    /// Behind a statement: another may follow in the same line.
    Behind,
}

/// The table that rows are inserted into.
#[derive(Clone, Debug)]
struct Table {
    columns: Arc<[Column]>,
    /// MySQL writes it, in whose texts a backslash stands before what is meant as it is.
    escapes: bool,
}

/// Rows in parentheses.
#[derive(Clone, Debug)]
struct Values {
    table: Table,
    depth: u32,
    /// The number of the value that is read, and where it begins.
    index: usize,
    start: usize,
    /// Within quotes.
    quoted: bool,
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

/// What follows the words that say that rows are inserted.
fn insert(text: &[u8]) -> Option<&[u8]> {
    let words: [&[u8]; 3] = [b"INSERT INTO ", b"INSERT IGNORE INTO ", b"REPLACE INTO "];
    let rest = words.iter().find_map(|words| after(text, words));
    // SQL Server needs no `INTO`.
    rest.or_else(|| after(text, b"INSERT ").filter(|rest| rest.starts_with(b"[")))
}

/// The name at the beginning of `text`, and what follows it.
fn name(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|b| matches!(b, b' ' | b'(' | b'\t')).unwrap_or(text.len());
    worked(end);
    (&text[..end], text[end..].trim_ascii_start())
}

fn column_of(name: &[u8]) -> Column {
    let name = name.trim_ascii();
    column(name.strip_prefix(b"`").unwrap_or(name))
}

/// The columns in the parentheses that `text` begins with, and what follows them.
fn columns(text: &[u8]) -> Option<(Vec<Column>, &[u8])> {
    let inner = text.strip_prefix(b"(")?;
    let close = memchr::memchr(b')', inner)?;
    let columns = inner[..close].split(|&b| b == b',').take(COLUMNS).map(column_of).collect();
    Some((columns, inner[close + 1..].trim_ascii_start()))
}

/// Adds what defines columns to them: `id INTEGER PRIMARY KEY, dob TEXT`. Whether that was all.
fn define(text: &[u8], columns: &mut Vec<Column>) -> bool {
    let (mut depth, mut start, mut quoted) = (0u32, 0, false);
    let mut ends = |start: usize, end: usize| {
        let text = text[start..end].trim_ascii();
        let keys: [&[u8]; 6] = [b"PRIMARY", b"KEY", b"UNIQUE", b"CONSTRAINT", b"FOREIGN", b"INDEX"];
        let is_key = keys.iter().any(|key| after(text, key).is_some());
        if !text.is_empty() && !is_key && columns.len() < COLUMNS {
            columns.push(column_of(name(text).0));
        }
    };
    for (at, byte) in text.iter().enumerate() {
        worked(0);
        match byte {
            b'\'' => quoted = !quoted,
            _ if quoted => {}
            b'(' => depth += 1,
            b')' | b',' if depth == 0 => {
                ends(start, at);
                start = at + 1;
                if *byte == b')' {
                    return true;
                }
            }
            b')' => depth -= 1,
            _ => {}
        }
    }
    ends(start, text.len());
    text.ends_with(b";")
}

impl Sql {
    /// Whether a statement goes on in the next line, or may begin in it.
    pub fn takes(&self, line: &[u8]) -> bool {
        !matches!(self.state, State::Outside | State::Behind)
            || matches!(line.first(), Some(b'I' | b'i' | b'C' | b'c' | b'R' | b'r'))
    }

    /// A statement ends with its last line, whether it says so or not.
    pub fn blank(&mut self) {
        self.state = State::Outside;
    }

    /// What comes next stands elsewhere: as likely as not among rows of the same statement.
    pub fn skip(&mut self) {
        if let State::Values(values) = &mut self.state {
            values.quoted = false;
        }
    }

    /// The text begins `drop` bytes later from now on.
    pub fn shift(&mut self, drop: usize) {
        self.at = self.at.saturating_sub(drop);
        if let State::Names(_, _, start) | State::Values(Values { start, .. }) = &mut self.state {
            *start = start.saturating_sub(drop);
        }
    }

    /// A line begins with this part. What is a statement in it is then to be [read](Sql::read).
    pub fn begin(&mut self, part: &Part<'_>) -> Line {
        let text = part.line().trim_ascii();
        self.at = part.from + (part.line().len() - part.line().trim_ascii_start().len());
        match &mut self.state {
            State::Creating(table, columns) => {
                if text.starts_with(b")") || define(text, columns) {
                    let (table, columns) = (*table, std::mem::take(columns));
                    self.remember(table, columns);
                }
                return Line::Statement;
            }
            State::Inserting(_) | State::Names(..) => return Line::Statement,
            State::Values(values)
                if matches!(text.first(), Some(b'(' | b',')) && !values.quoted =>
            {
                values.depth = 0;
                return Line::Statement;
            }
            State::Values(values) if values.quoted => {
                // A text of several lines, unless a statement begins.
                let state = std::mem::take(&mut self.state);
                let line = self.statement(text);
                if !matches!(line, Line::Other) {
                    return line;
                }
                self.state = state;
                return Line::Statement;
            }
            _ => {}
        }
        self.state = State::Outside;
        self.statement(text)
    }

    /// Reads the front of a statement.
    fn statement(&mut self, text: &[u8]) -> Line {
        if let Some(rest) = after(text, b"CREATE TABLE ") {
            let rest = after(rest, b"IF NOT EXISTS ").unwrap_or(rest);
            let (table, rest) = name(rest);
            let table = hash(table);
            let mut columns = Vec::new();
            // What follows it in the same line is not read.
            self.at += text.len();
            match rest.strip_prefix(b"(") {
                Some(rest) if define(rest, &mut columns) => self.remember(table, columns),
                None if !rest.is_empty() => return Line::Other,
                _ => self.state = State::Creating(table, columns),
            }
            Line::Statement
        } else if let Some(rest) = insert(text) {
            let (table, rest) = name(rest);
            let hash = hash(table);
            let known = self.tables.iter().find(|(name, _)| *name == hash);
            let columns = known.map(|(_, columns)| columns.clone()).unwrap_or_default();
            let escapes = table.starts_with(b"`");
            self.at += text.len() - rest.len();
            self.state = State::Inserting(Table { columns, escapes });
            Line::Statement
        } else if let Some(rest) = after(text, b"COPY ")
            && let Some((columns, rest)) = columns(name(rest).1)
            && after(rest, b"FROM stdin;").is_some()
        {
            Line::Rows(Header { separator: b'\t', columns })
        } else {
            Line::Other
        }
    }

    fn remember(&mut self, table: u64, columns: Vec<Column>) {
        self.state = State::Behind;
        if columns.iter().any(|column| *column != Column::Plain) {
            if self.tables.len() == TABLES {
                self.tables.remove(0);
            }
            self.tables.push((table, columns.into()));
        }
    }

    /// Reads a part of a line that is a statement. What cannot be told before the next part comes is left
    /// for that.
    pub fn read(&mut self, part: &Part<'_>, hits: &mut Vec<Hit>) {
        let text = part.text;
        loop {
            let mut rest = text.get(self.at..).unwrap_or_default();
            if matches!(self.state, State::Inserting(_) | State::Behind) {
                rest = rest.trim_ascii_start();
                self.at = text.len().max(self.at) - rest.len();
                if !part.ends && rest.len() < FRONT {
                    return;
                }
            }
            if rest.is_empty() {
                return;
            }
            match std::mem::take(&mut self.state) {
                State::Inserting(table) if rest[0] == b'(' => {
                    self.at += 1;
                    self.state = State::Names(table, Vec::new(), self.at);
                }
                State::Inserting(table) => {
                    let rest = after(rest, b"OVERRIDING SYSTEM VALUE").unwrap_or(rest);
                    let Some(rest) = after(rest, b"VALUES") else { return };
                    self.at = text.len() - rest.len();
                    let (index, start) = (0, self.at);
                    self.state =
                        State::Values(Values { table, depth: 0, index, start, quoted: false });
                }
                State::Names(table, columns, start) => {
                    self.at = text.len();
                    self.state = names(part, rest, table, columns, start, &mut self.at);
                }
                State::Values(mut values) => {
                    let ended = values.read(part, &mut self.at, hits);
                    self.state = if ended { State::Behind } else { State::Values(values) };
                    if !ended {
                        return;
                    }
                }
                State::Behind => {
                    if !matches!(self.statement(rest), Line::Statement) {
                        return;
                    }
                }
                state => {
                    // Of a line's columns all were read as it began.
                    self.state = state;
                    return;
                }
            }
        }
    }
}

/// Reads names of columns from `rest` on, which is the end of the part; `at` is where it has no more.
fn names(
    part: &Part<'_>,
    rest: &[u8],
    table: Table,
    mut columns: Vec<Column>,
    mut start: usize,
    at: &mut usize,
) -> State {
    let from = part.text.len() - rest.len();
    for end in memchr::memchr2_iter(b',', b')', rest) {
        let end = from + end;
        if columns.len() < COLUMNS {
            columns.push(column_of(part.unit(start, end)));
        }
        start = end + 1;
        if part.text[end] == b')' {
            *at = start;
            return State::Inserting(Table { columns: columns.into(), ..table });
        }
    }
    State::Names(table, columns, start)
}

impl Values {
    /// Reads on; whether the statement has ended.
    fn read(&mut self, part: &Part<'_>, at: &mut usize, hits: &mut Vec<Hit>) -> bool {
        let text = part.text;
        while *at < text.len() {
            worked(0);
            if self.quoted {
                let Some(sign) = memchr::memchr2(b'\'', b'\\', &text[*at..]) else {
                    *at = text.len();
                    break;
                };
                *at += sign;
                if text[*at] == b'\\' {
                    if !part.ends && text.len() - *at < 3 {
                        break;
                    }
                    // `'C:\',` of those to whom a backslash is nothing else.
                    let closes = !self.table.escapes
                        && text[*at + 1..].starts_with(b"'")
                        && matches!(text.get(*at + 2), Some(b',' | b')'));
                    *at += if closes { 1 } else { 2 };
                    continue;
                }
                self.quoted = false;
                *at += 1;
                continue;
            }
            let place = *at;
            *at += 1;
            match text[place] {
                b'\'' => self.quoted = true,
                b'(' => {
                    self.depth = self.depth.saturating_add(1);
                    if self.depth == 1 {
                        (self.index, self.start) = (0, *at);
                    }
                }
                b',' | b')' if self.depth == 1 => {
                    let (from, inner) = literal(part.unit(self.start, place));
                    let column = self.table.columns.get(self.index);
                    cell(column, inner, self.start + from, part.now, hits);
                    self.index += 1;
                    self.start = *at;
                    self.depth -= u32::from(text[place] == b')');
                }
                b')' => self.depth = self.depth.saturating_sub(1),
                b';' => return true,
                _ => {}
            }
        }
        false
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
