//! Values whose place says what they are: columns of tables, fields of HL7 v2 and X12 segments.
//!
//! A line is looked at as a whole where it fits into a block. Of a longer one it is told by its first
//! part what it is, and what was open at the end of a part is kept for the next: of each reading a few
//! numbers, so that a line may be as long as it likes. What counts for a whole row is then asked of the
//! first part: whether it has as many fields as the header.

use std::sync::LazyLock;

use memchr::memmem::Finder;

use super::{
    aligned::{self, Aligned},
    fields::{Row, fields},
    free::Hit,
    html::Html,
    part::Part,
    segments::{self, Message, Segment},
    sql::{self, Sql},
    table::{self, Column, Header, Names},
    x12::{self, X12},
};

/// Bytes of a longer line that may be a row of an aligned list.
const ALIGNED: usize = 4096;

/// What is remembered from line to line.
#[derive(Clone, Debug, Default)]
pub(super) struct Lines {
    table: Option<Header>,
    /// What the line before may be, if this one is a row of it.
    header: Option<Header>,
    aligned: Option<Aligned>,
    sql: Sql,
    html: Html,
    /// What a line is read as whose end has not been met.
    within: Option<Within>,
    /// Segments of HL7 in what was looked at last, in their order.
    pub segments: Vec<Segment>,
}

/// What a line is read as.
#[derive(Clone, Debug, Default)]
struct Within {
    message: Option<Message>,
    x12: Option<X12>,
    sql: bool,
    html: bool,
    row: Option<Row>,
    names: Option<Names>,
}

static PID: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"PID|"));

/// What there is at all in several lines, so that it is not looked for in each.
struct Signs {
    bar: bool,
    star: bool,
    /// Between columns.
    separator: bool,
    /// Tabs, or two blanks.
    blanks: bool,
}

impl Signs {
    fn of(text: &[u8]) -> Self {
        let bar = memchr::memchr(b'|', text).is_some();
        let tab = memchr::memchr(b'\t', text).is_some();
        Self {
            bar,
            star: memchr::memchr(b'*', text).is_some(),
            separator: bar || tab || memchr::memchr2(b',', b';', text).is_some(),
            blanks: tab || aligned::BLANKS.find(text).is_some(),
        }
    }
}

/// Whether a line begins with an element.
fn is_markup(line: &[u8]) -> bool {
    line[0] == b'<' || line[0].is_ascii_whitespace() && line.trim_ascii().starts_with(b"<")
}

impl Lines {
    /// Looks through a part of a text, of which only its last line may be a part itself.
    pub fn look(&mut self, text: &Part<'_>, hits: &mut Vec<Hit>) {
        let to = text.text.len();
        let mut at = text.from;
        let signs = Signs::of(text.line());
        while at < to {
            let end = memchr::memchr2(b'\n', b'\r', &text.text[at..]).map(|p| at + p);
            let ends = text.ends || end.is_some();
            let end = end.unwrap_or(to);
            let part = Part { text: &text.text[..end], from: at, ends, now: text.now };
            if self.within.is_some() {
                self.go_on(&part, hits);
            } else if part.line().iter().all(u8::is_ascii_whitespace) && ends {
                (self.table, self.header, self.aligned) = (None, None, None);
                self.sql.blank();
            } else if !ends {
                self.long(&part, &signs, hits);
            } else if end - at >= 4 {
                self.line(&part, &signs, hits);
            } else if self.sql.takes(part.line()) {
                // `);` ends a table's definition.
                self.sql.begin(&part);
            }
            // `\r\n` is one line end.
            at = if text.text[end..].starts_with(b"\r\n") { end + 2 } else { end + 1 };
        }
        if text.ends && self.within.is_some() {
            self.go_on(&Part { from: to, ..*text }, hits);
        }
    }

    /// What comes next stands elsewhere, `within` a line or at the beginning of one.
    pub fn skip(&mut self, within: bool) {
        self.segments.clear();
        self.sql.skip();
        self.within = within.then(Within::default);
    }

    /// The text begins `drop` bytes later from now on, and is looked through for free text up to `done`.
    pub fn shift(&mut self, drop: usize, done: usize) {
        self.segments.retain_mut(|segment| {
            segment.shift(drop);
            segment.end > done
        });
        self.sql.shift(drop);
        self.html.shift(drop);
        if let Some(within) = &mut self.within {
            let message = within.message.as_mut().map(|message| &mut message.start);
            let x12 = within.x12.as_mut().map(|x12| &mut x12.start);
            let row = within.row.as_mut().map(|row| &mut row.start);
            let names = within.names.as_mut().map(|names| &mut names.row.start);
            for start in [message, x12, row, names].into_iter().flatten() {
                *start = start.saturating_sub(drop);
            }
        }
    }

    /// Reads the next part of a line.
    fn go_on(&mut self, part: &Part<'_>, hits: &mut Vec<Hit>) {
        let Some(mut within) = self.within.take() else { return };
        if let Some(message) = &mut within.message {
            message.read(part, &mut self.segments, hits);
        }
        if let Some(x12) = &mut within.x12 {
            x12.read(part, hits);
        }
        if within.sql {
            self.sql.read(part, hits);
        }
        if within.html {
            self.html.read(part, hits);
        }
        if let (Some(row), Some(header)) = (&mut within.row, &self.table) {
            let columns = |index| header.columns.get(index);
            row.read(part, |index, at, field| {
                table::cell(columns(index), field, at, part.now, hits)
            });
            if part.ends && row.index <= 1 {
                self.table = None;
            }
        }
        if let Some(names) = &mut within.names
            && !names.read(part)
        {
            within.names = None;
        }
        if part.ends {
            self.header = within.names.and_then(Names::finish);
        } else {
            self.within = Some(within);
        }
    }

    /// Reads a whole line.
    fn line(&mut self, part: &Part<'_>, signs: &Signs, hits: &mut Vec<Hit>) {
        let line = part.line();
        if signs.bar {
            let has_patient = || PID.find(line).is_some();
            let several = segments::is_header(line) && has_patient();
            let message = several.then(|| Message::begin(part, &mut self.segments)).flatten();
            if let Some(mut message) = message {
                return message.read(part, &mut self.segments, hits);
            }
            if segments::hl7(part, &mut self.segments, hits) {
                return;
            }
            if has_patient() {
                Message::within(part).read(part, &mut self.segments, hits);
            }
        }
        if signs.star && x12::is_x12(line) {
            X12 { start: part.from }.read(part, hits);
        }
        let sql = self.sql.takes(line).then(|| self.sql.begin(part));
        match sql.unwrap_or(sql::Line::Other) {
            sql::Line::Statement => {
                self.header = None;
                return self.sql.read(part, hits);
            }
            sql::Line::Rows(rows) => {
                self.table = Some(rows);
                return;
            }
            sql::Line::Other => {}
        }
        if is_markup(line) {
            self.html.begin();
            self.html.read(part, hits);
        }
        self.row(line, part, signs, hits);
    }

    /// Reads the first part of a line.
    fn long(&mut self, part: &Part<'_>, signs: &Signs, hits: &mut Vec<Hit>) {
        let line = part.line();
        let message = Message::begin(part, &mut self.segments);
        let mut within = Within { message, ..Within::default() };
        if within.message.is_none() {
            within.message = Some(Message::within(part));
            let x12 = signs.star && x12::is_x12(line);
            within.x12 = x12.then_some(X12 { start: part.from });
            let sql = self.sql.takes(line).then(|| self.sql.begin(part));
            match sql.unwrap_or(sql::Line::Other) {
                sql::Line::Statement => within.sql = true,
                sql::Line::Rows(rows) => self.table = Some(rows),
                sql::Line::Other => {
                    within.html = is_markup(line);
                    self.html.begin();
                    self.long_row(part, signs, &mut within);
                }
            }
        }
        self.within = Some(within);
        self.go_on(part, hits);
    }

    /// What the line that this part begins is of a table.
    fn long_row(&mut self, part: &Part<'_>, signs: &Signs, within: &mut Within) {
        let line = part.line();
        if let Some(header) = self.header.take()
            && table::width(line, header.separator) <= header.columns.len() + 1
        {
            self.table = Some(header);
            self.aligned = None;
        }
        if let Some(header) = &self.table {
            within.row = Some(Row::new(header.separator, part.from));
        } else if signs.separator && !line[0].is_ascii_digit() {
            within.names = Names::begin(part);
        }
    }

    /// Reads a whole line as a row or a header of a table.
    fn row(&mut self, line: &[u8], part: &Part<'_>, signs: &Signs, hits: &mut Vec<Hit>) {
        let (at, now) = (part.from, part.now);
        if table::is_rule(line) {
            return;
        }
        if let Some(header) = self.header.take()
            && table::width(line, header.separator).abs_diff(header.columns.len()) <= 1
        {
            self.table = Some(header);
            self.aligned = None;
        }
        if let Some(header) = &self.table {
            let mut count = 0;
            let before = hits.len();
            for (start, field) in fields(line, header.separator) {
                table::cell(header.columns.get(count), field, at + start, now, hits);
                count += 1;
            }
            if count == header.columns.len() || count + 1 == header.columns.len() {
                return;
            }
            // Another number of fields: no row of it. A field of several lines may be the reason.
            hits.truncate(before);
            if count <= 1 {
                self.table = None;
            }
        }
        // Names of columns do not begin with a digit.
        if !line[0].is_ascii_digit() {
            if signs.separator {
                self.header = table::header_of(line)
                    .filter(|header| header.columns.iter().any(|column| *column != Column::Plain));
            }
            if signs.blanks
                && let Some(aligned) = Aligned::of(line)
            {
                self.aligned = Some(aligned);
                return;
            }
        }
        if let Some(aligned) = &self.aligned {
            aligned.row(&line[..line.len().min(ALIGNED)], at, now, hits);
        }
    }
}
