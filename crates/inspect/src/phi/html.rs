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

/// What begins or ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Element {
    Table,
    Row,
    /// A cell of a header.
    Name,
    Cell,
    /// The end of either.
    End,
    Other,
}

impl Element {
    fn of(tag: &[u8]) -> Self {
        let (ends, tag) = match tag {
            [b'/', tag @ ..] => (true, tag),
            tag => (false, tag),
        };
        let [b't' | b'T', rest @ ..] = tag else { return Element::Other };
        let (element, rest) = match rest {
            [b'd' | b'D', rest @ ..] => (Element::Cell, rest),
            [b'h' | b'H', rest @ ..] => (Element::Name, rest),
            [b'r' | b'R', rest @ ..] if !ends => (Element::Row, rest),
            _ => match rest.split_at_checked(4) {
                Some((name, rest)) if name.eq_ignore_ascii_case(b"able") => (Element::Table, rest),
                _ => return Element::Other,
            },
        };
        match (rest.first(), element) {
            (None | Some(b' '), Element::Cell | Element::Name) if ends => Element::End,
            (None | Some(b' '), element) => element,
            _ => Element::Other,
        }
    }
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
        let mut at = part.from;
        loop {
            let rest = part.text.get(at..).unwrap_or_default();
            if let Some(open) = self.tag {
                // Elements are short.
                let Some(len) = rest.iter().position(|b| matches!(b, b'<' | b'>')) else { break };
                at += len + 1;
                if rest[len] == b'>' {
                    self.tag = None;
                    self.element(part, open, at - 1, hits);
                } else {
                    self.tag = Some(at);
                }
            } else {
                let Some(len) = memchr::memchr(b'<', rest) else { break };
                at += len + 1;
                // An element before the text only says how that looks.
                let text = |cell: Cell| part.unit(cell.start, at - 1).trim_ascii();
                if self.cell.is_some_and(|cell| !text(cell).is_empty()) {
                    self.close(part, at - 1, hits);
                }
                self.tag = Some(at);
            }
        }
        if part.ends {
            self.close(part, part.text.len(), hits);
        }
    }

    /// The element from `open` to `end`.
    fn element(&mut self, part: &Part<'_>, open: usize, end: usize, hits: &mut Vec<Hit>) {
        let element = Element::of(part.unit(open, end));
        if element != Element::Other {
            self.close(part, open - 1, hits);
        } else if let Some(cell) = &mut self.cell {
            cell.start = end + 1;
        }
        match element {
            Element::Cell => self.cell = Some(Cell { names: false, start: end + 1 }),
            Element::Name => self.cell = Some(Cell { names: true, start: end + 1 }),
            Element::Row => self.index = 0,
            Element::Table => {
                self.columns.clear();
                self.index = 0;
            }
            Element::End | Element::Other => {}
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
