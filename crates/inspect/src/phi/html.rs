//! Tables of HTML pages, whose header cells say what the cells under them are.

use super::{
    free::Hit,
    part::Part,
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
    /// Where the name of the element begins whose `>` has not come.
    tag: Option<usize>,
    cell: Option<Cell>,
}

/// A cell whose text has not come to its end.
#[derive(Clone, Copy, Debug)]
struct Cell {
    names: bool,
    /// Where its text begins.
    start: usize,
}

impl Html {
    /// A line begins.
    pub fn begin(&mut self) {
        (self.tag, self.cell) = (None, None);
    }

    /// The text begins `drop` bytes later from now on.
    pub fn shift(&mut self, drop: usize) {
        let cell = self.cell.as_mut().map(|cell| &mut cell.start);
        for start in [self.tag.as_mut(), cell].into_iter().flatten() {
            *start = start.saturating_sub(drop);
        }
    }

    /// Reads what ends in this part.
    pub fn read(&mut self, part: &Part<'_>, hits: &mut Vec<Hit>) {
        for at in memchr::memchr2_iter(b'<', b'>', part.line()) {
            let at = part.from + at;
            if part.text[at] == b'<' {
                let text = |cell: Cell| part.unit(cell.start, at).trim_ascii();
                // An element before the text only says how that looks.
                if self.tag.is_none() && self.cell.is_some_and(|cell| !text(cell).is_empty()) {
                    self.close(part, at, hits);
                }
                self.tag = Some(at + 1);
            } else if let Some(open) = self.tag.take() {
                self.element(part, open, at, hits);
            }
        }
        if part.ends {
            self.close(part, part.text.len(), hits);
        }
    }

    /// The element from `open` to `end`.
    fn element(&mut self, part: &Part<'_>, open: usize, end: usize, hits: &mut Vec<Hit>) {
        let tag = part.unit(open, end);
        let name = &tag[..tag.iter().take(8).position(|&b| b == b' ').unwrap_or(tag.len().min(8))];
        let is = |other: &[u8]| name.eq_ignore_ascii_case(other);
        let starts = is(b"td") || is(b"th");
        if starts || is(b"/td") || is(b"/th") || is(b"tr") || is(b"table") || is(b"/table") {
            self.close(part, open - 1, hits);
        } else if let Some(cell) = &mut self.cell {
            cell.start = end + 1;
        }
        if starts {
            self.cell = Some(Cell { names: is(b"th"), start: end + 1 });
        } else if is(b"tr") {
            self.index = 0;
        } else if is(b"table") || is(b"/table") {
            self.columns.clear();
            self.index = 0;
        }
    }

    /// The cell that is open ends before `end`.
    fn close(&mut self, part: &Part<'_>, end: usize, hits: &mut Vec<Hit>) {
        let Some(Cell { names, start }) = self.cell.take() else { return };
        let text = part.unit(start, end);
        if !names {
            cell(self.columns.get(self.index), text, start, part.now, hits);
        } else if self.index < COLUMNS {
            self.columns.resize(self.index, Column::Plain);
            self.columns.push(column(text.trim_ascii()));
        }
        self.index += 1;
    }
}
