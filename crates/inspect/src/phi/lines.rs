//! Values whose place says what they are: columns of tables, fields of HL7 v2 and X12 segments.

use std::sync::LazyLock;

use memchr::memmem::Finder;

use super::{
    aligned::{self, Aligned},
    fields::fields,
    free::Hit,
    html::Html,
    segments::{self, Segment},
    sql::Sql,
    table::{self, Column, Header},
};

/// A longer line is no row and no segment.
const LONGEST: usize = 64 << 10;
/// Names of columns fit into this.
const NAMES: usize = 4096;

/// What is remembered from line to line.
#[derive(Clone, Debug, Default)]
pub(super) struct Lines {
    table: Option<Header>,
    /// What the line before may be, if this one is a row of it.
    header: Option<Header>,
    aligned: Option<Aligned>,
    sql: Sql,
    html: Html,
    /// Segments of HL7 in what was looked at last, in their order.
    pub segments: Vec<Segment>,
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

impl Lines {
    /// Looks through `text[from..to]`, whole lines, in which a line may end with any of line feed,
    /// carriage return and `~`.
    pub fn look(&mut self, text: &[u8], from: usize, to: usize, now: u32, hits: &mut Vec<Hit>) {
        self.segments.clear();
        let signs = Signs::of(&text[from..to]);
        let mut at = from;
        while at < to {
            let end = memchr::memchr2(b'\n', b'\r', &text[at..to]).map_or(to, |p| at + p);
            let line = &text[at..end];
            // `\r\n` is one line end.
            let next = if text[end..to].starts_with(b"\r\n") { end + 2 } else { end + 1 };
            if line.iter().all(u8::is_ascii_whitespace) {
                (self.table, self.header, self.aligned) = (None, None, None);
                self.sql.blank();
            } else if (4..=LONGEST).contains(&line.len()) {
                self.line(line, at, &signs, now, hits);
            }
            at = next;
        }
    }

    fn line(&mut self, line: &[u8], at: usize, signs: &Signs, now: u32, hits: &mut Vec<Hit>) {
        if signs.bar {
            let trimmed = line.strip_prefix(b"\x0b").unwrap_or(line);
            let lead = line.len() - trimmed.len();
            if segments::hl7(trimmed, at + lead, now, hits) {
                self.segments.push(Segment::of(trimmed, at + lead));
                return;
            }
            if PID.find(line).is_some() {
                segments::embedded(line, at, now, hits);
            }
        }
        if signs.star && segments::is_x12(line) {
            segments::x12(line, at, now, hits);
        }
        if (self.sql.is_within() || matches!(line[0], b'I' | b'i' | b'C' | b'c'))
            && let Some(rows) = self.sql.line(line, at, now, hits)
        {
            self.table = Some(rows);
            return;
        }
        if line[0] == b'<' || line[0].is_ascii_whitespace() && line.trim_ascii().starts_with(b"<") {
            self.html.line(line, at, now, hits);
        }
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
        // Names of columns do not begin with a digit, and fit into a few kilobytes.
        if !line[0].is_ascii_digit() && line.len() <= NAMES {
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
            aligned.row(line, at, now, hits);
        }
    }
}
