//! Tables of lists and reports, whose columns are told by where they begin.

use std::sync::LazyLock;

use memchr::memmem::Finder;

use super::{
    free::Hit,
    table::{Column, cell, column},
};

/// Columns of a table that are looked at.
const COLUMNS: usize = 32;

pub(super) static BLANKS: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"  "));

/// The columns of a table, and where they begin and end, in characters.
#[derive(Clone, Debug)]
pub(super) struct Aligned {
    columns: Vec<(usize, usize, Column)>,
}

/// Parts of a line with two blanks or a tab between them: where they begin, and what they are.
fn cells(line: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let mut at = 0;
    std::iter::from_fn(move || {
        at += line[at..].iter().take_while(|b| matches!(b, b' ' | b'\t')).count();
        let start = at;
        while at < line.len() && line[at] != b'\t' && !line[at..].starts_with(b"  ") {
            at += 1;
        }
        (start < at).then(|| (start, line[start..at].trim_ascii_end()))
    })
}

/// How many characters `text` has, in UTF-8 or of one byte each.
fn characters(text: &[u8]) -> usize {
    text.iter().filter(|&&b| b & 0xc0 != 0x80).count()
}

impl Aligned {
    /// Reads `line` as the names of columns, of which at least two are known.
    pub fn of(line: &[u8]) -> Option<Self> {
        BLANKS.find(line).or_else(|| memchr::memchr(b'\t', line))?;
        if line.len() > 512 || line.iter().any(|b| matches!(b, b'{' | b'<' | b'=' | b'|' | b'"')) {
            return None;
        }
        let names = cells(line).take(COLUMNS);
        let is_name = |name: &[u8]| {
            name.len() <= 32
                && !name.iter().any(u8::is_ascii_digit)
                && !name.strip_suffix(b":").unwrap_or(name).contains(&b':')
        };
        if !names.into_iter().all(|(_, name)| is_name(name)) {
            return None;
        }
        let columns: Vec<_> = cells(line)
            .take(COLUMNS)
            .map(|(at, name)| {
                let start = characters(&line[..at]);
                (start, start + characters(name), column(name.strip_suffix(b":").unwrap_or(name)))
            })
            .collect();
        let known = columns.iter().filter(|column| column.2 != Column::Plain).count();
        (known >= 2 || known == 1 && columns.len() >= 3).then_some(Self { columns })
    }

    /// Reads a row that begins at `at`.
    pub fn row(&self, line: &[u8], at: usize, now: u32, hits: &mut Vec<Hit>) {
        let all = cells(line).count() == self.columns.len();
        // Bytes that were counted, and the characters in them.
        let (mut seen, mut before) = (0, 0);
        for (index, (start, text)) in cells(line).enumerate() {
            before += characters(&line[seen..start]);
            seen = start;
            let column = if all { self.columns.get(index) } else { self.under(before, text) };
            cell(column.map(|column| &column.2), text, at + start, now, hits);
        }
    }

    /// The column that `text` stands under, which begins with the character `start`.
    fn under(&self, start: usize, text: &[u8]) -> Option<&(usize, usize, Column)> {
        let end = start + characters(text);
        // Where it covers the name most; else where its start is nearest.
        let covered = |column: &&(usize, usize, Column)| {
            end.min(column.1).saturating_sub(start.max(column.0))
        };
        self.columns
            .iter()
            .max_by_key(|column| (covered(column), std::cmp::Reverse(column.0.abs_diff(start))))
    }
}
