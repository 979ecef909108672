//! Tables as text: the separator, and the columns that hold patients' data.

use super::{
    PhiKind,
    fields::{Row, fields, value},
    free::Hit,
    label::{self, Label},
    part::Part,
};

/// Columns of a table that are looked at: SQL Server's tables have 30,000 at most, its wide ones, and
/// other databases' and sheets fewer.
pub(super) const COLUMNS: usize = 32_768;

/// What a column's name promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Column {
    /// Values of this kind.
    Of(PhiKind),
    /// Numbers of something else, whatever they look like.
    Other,
    /// Nothing.
    Plain,
}

/// What the header of a table says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// Between fields: comma, semicolon, tab or bar.
    pub separator: u8,
    /// For each column what its name promises.
    pub columns: Vec<Column>,
}

/// A field without its quotes and blanks.
fn bare(field: &[u8]) -> &[u8] {
    let field = field.trim_ascii();
    field.strip_prefix(b"\"").and_then(|f| f.strip_suffix(b"\"")).unwrap_or(field).trim_ascii()
}

/// How many fields `line` has.
pub(super) fn width(line: &[u8], separator: u8) -> usize {
    fields(line, separator).count()
}

/// Whether `line` only parts rows: `|---|---|`, `+-----+`, `====`.
pub(super) fn is_rule(line: &[u8]) -> bool {
    line.len() >= 4
        && line.iter().all(|b| matches!(b, b'-' | b'=' | b'+' | b'|' | b':' | b' ' | b'_' | b'\t'))
        && line.iter().any(|b| matches!(b, b'-' | b'=' | b'_'))
}

/// Between columns, and which of them goes first.
const SEPARATORS: [u8; 4] = [b',', b';', b'\t', b'|'];

/// Names of columns: short, no sentence, mostly not numbers.
fn is_name(name: &[u8]) -> bool {
    name.len() <= 40
        && name.first().is_none_or(|b| !b.is_ascii_digit())
        && !name.iter().any(|b| matches!(b, b'{' | b'}' | b'<' | b'>' | b'=' | b'@' | b'[' | b']'))
}

/// Reads `line` as the header of a table, where it may be one: at least three columns with names, or
/// two that are known.
pub(super) fn header_of(line: &[u8]) -> Option<Header> {
    let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
    SEPARATORS.into_iter().find_map(|separator| {
        memchr::memchr(separator, line)?;
        let (mut count, mut empty) = (0, 0);
        for (_, field) in fields(line, separator) {
            count += 1;
            empty += usize::from(bare(field).is_empty());
            if count > COLUMNS || empty > 2 || !is_name(bare(field)) {
                return None;
            }
        }
        if count < 2 {
            return None;
        }
        let columns: Vec<_> = fields(line, separator).map(|(_, name)| column(bare(name))).collect();
        let known = columns.iter().filter(|column| **column != Column::Plain).count();
        (count >= 3 || known == count).then_some(Header { separator, columns })
    })
}

/// A header that is read part by part.
#[derive(Clone, Debug)]
pub(super) struct Names {
    pub row: Row,
    separator: u8,
    columns: Vec<Column>,
    empty: usize,
}

impl Names {
    /// Of a line whose first part is this, if there are names in it and nothing else.
    pub fn begin(part: &Part<'_>) -> Option<Self> {
        let line = part.line();
        let start = part.from + if line.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
        let separator = SEPARATORS.into_iter().find(|separator| {
            let end = memchr::memrchr(*separator, line);
            end.is_some_and(|end| {
                fields(&line[start - part.from..end], *separator)
                    .all(|(_, name)| is_name(bare(name)))
            })
        })?;
        Some(Self { row: Row::new(separator, start), separator, columns: Vec::new(), empty: 0 })
    }

    /// Reads a part; whether these are still names.
    pub fn read(&mut self, part: &Part<'_>) -> bool {
        let Self { row, columns, empty, .. } = self;
        let mut fits = true;
        row.read(part, |_, _, field| {
            let name = bare(field);
            *empty += usize::from(name.is_empty());
            fits &= columns.len() < COLUMNS && *empty <= 2 && is_name(name);
            if fits {
                columns.push(column(name));
            }
        });
        fits
    }

    /// The header, if a column is known.
    pub fn finish(self) -> Option<Header> {
        let known = self.columns.iter().any(|column| *column != Column::Plain);
        known.then_some(Header { separator: self.separator, columns: self.columns })
    }
}

/// Whether `text` begins with the header of a table, and then whether its columns are of patients.
pub(crate) fn header_columns(text: &[u8]) -> Option<bool> {
    let Some(end) = memchr::memchr(b'\n', text) else { return wide_header(text) };
    let line = text[..end].strip_suffix(b"\r").unwrap_or(&text[..end]);
    let after = &text[end + 1..];
    let second = &after[..memchr::memchr2(b'\n', b'\r', after).unwrap_or(after.len())];
    let header = header_of(line)
        // A header alone, or one whose first row is cut off, counts where a name is known.
        .filter(|header| {
            let known = header.columns.iter().any(|column| matches!(column, Column::Of(_)));
            width(second, header.separator) == header.columns.len() || known && second.is_empty()
        })?;
    let patients = header.columns.iter().any(|column| matches!(column, Column::Of(_)))
        || fields(line, header.separator).any(|(_, name)| is_about_patients(name));
    Some(patients)
}

/// Whether a text that begins with `text` begins with a header that is longer, if a name is known.
fn wide_header(text: &[u8]) -> Option<bool> {
    const LEAST: usize = 2048;
    if text.len() < LEAST {
        return None;
    }
    let header = SEPARATORS.into_iter().find_map(|separator| {
        let whole = memchr::memrchr(separator, text)?;
        header_of(&text[..whole]).filter(|header| header.separator == separator)
    })?;
    header.columns.iter().any(|column| matches!(column, Column::Of(_))).then_some(true)
}

/// A name in lower case, only its letters and digits.
fn squeezed(name: &[u8]) -> Vec<u8> {
    name.iter().filter(|b| b.is_ascii_alphanumeric()).map(u8::to_ascii_lowercase).collect()
}

/// What a column's name promises.
pub(super) fn column(name: &[u8]) -> Column {
    match label::of_name(name) {
        Some(Label::Of(kind)) => Column::Of(kind),
        Some(Label::Medicare) => Column::Of(PhiKind::MemberId),
        Some(Label::Other) => Column::Other,
        Some(Label::Account) => Column::Plain,
        None if name.eq_ignore_ascii_case(b"pid") => Column::Of(PhiKind::RecordNumber),
        None => Column::Plain,
    }
}

/// Names of columns that say that rows are patients.
fn is_about_patients(name: &[u8]) -> bool {
    let name = squeezed(name);
    const WORDS: [&[u8]; 8] = [
        b"patient",
        b"diagnosis",
        b"icd10",
        b"icd9",
        b"insured",
        b"guarantor",
        b"subscriber",
        b"procedurecode",
    ];
    WORDS.iter().any(|word| memchr::memmem::find(&name, word).is_some())
}

/// What is found in a row's field that begins at `start`.
pub(super) fn cell(
    column: Option<&Column>,
    field: &[u8],
    start: usize,
    now: u32,
    hits: &mut Vec<Hit>,
) {
    match column {
        Some(Column::Of(kind)) => {
            if let Some((from, to)) = value(*kind, field, now) {
                hits.push(Hit { start: start + from, end: start + to, kind: Some(*kind) });
            }
        }
        // A number, and not a text that may tell of anything.
        Some(Column::Other)
            if (1..=32).contains(&field.len())
                && !field.trim_ascii().iter().any(|b| matches!(b, b' ' | b'@')) =>
        {
            hits.push(Hit { start, end: start + field.len(), kind: None });
        }
        _ => {}
    }
}
