//! Tables of HTML pages, whose header cells say what the cells under them are.

use super::{
    free::Hit,
    table::{Column, cell, column},
};

/// Columns of a table that are looked at.
const COLUMNS: usize = 64;

/// The table that has begun.
#[derive(Clone, Debug, Default)]
pub(super) struct Html {
    columns: Vec<Column>,
    /// The cell of the row that comes next.
    index: usize,
}

/// What a cell holds, without the elements around it: where that begins, and the text.
fn content(cell: &[u8]) -> (usize, &[u8]) {
    let mut start = 0;
    while let Some(rest) = cell.get(start..)
        && rest.trim_ascii_start().starts_with(b"<")
        && let Some(close) = memchr::memchr(b'>', rest)
    {
        start += close + 1;
    }
    let text = &cell[start..];
    (start, &text[..memchr::memchr(b'<', text).unwrap_or(text.len())])
}

impl Html {
    /// Reads a line that begins at `at`.
    pub fn line(&mut self, line: &[u8], at: usize, now: u32, hits: &mut Vec<Hit>) {
        for open in memchr::memchr_iter(b'<', line) {
            let tag = &line[open + 1..];
            let is = |name: &[u8]| {
                tag.get(..name.len()).is_some_and(|tag| tag.eq_ignore_ascii_case(name))
                    && matches!(tag.get(name.len()), Some(b' ' | b'>'))
            };
            if is(b"table") || is(b"/table") {
                self.columns.clear();
                self.index = 0;
            } else if is(b"tr") {
                self.index = 0;
            } else if is(b"th") || is(b"td") {
                let Some(close) = memchr::memchr(b'>', tag) else { continue };
                let from = open + close + 2;
                let (skipped, text) = content(&line[from..]);
                if is(b"th") {
                    if self.index < COLUMNS {
                        self.columns.resize(self.index, Column::Plain);
                        self.columns.push(column(text.trim_ascii()));
                    }
                } else {
                    cell(self.columns.get(self.index), text, at + from + skipped, now, hits);
                }
                self.index += 1;
            }
        }
    }
}
