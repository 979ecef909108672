//! The lists of a document as CSV (RFC 4180), for spreadsheets and for programs that sort and count.
//!
//! Each list is a sheet of its own, with the name and the columns that the JSON has. What an item has
//! below a name of its own is in columns such as `estimate.read`; a list within an item is a sheet of
//! its own, such as `findings.paths`, whose first column says to which row of `findings` a row
//! belongs. What is in no list is in the sheet `report`, a row for each field. Numbers are those of the
//! JSON, and a text that a spreadsheet would take for a formula gets an apostrophe.

use std::{
    collections::HashMap,
    fmt::Write as _,
    io::{self, Write},
};

use serde_json::Value;

/// The sheet of what is in no list.
const REPORT: &str = "report";
/// The column that numbers rows, where those of other sheets belong to them.
const ROW: &str = "row";
/// Between the items of a list that is in one cell.
const BETWEEN: &str = "; ";
const END: &str = "\r\n";

/// One list of a document.
#[derive(Debug, Default)]
pub struct Sheet<'d> {
    /// What it is called: `findings`, `sources.findings`.
    pub name: String,
    /// The sheets to whose rows its rows belong, the outermost first.
    parents: Vec<String>,
    /// Whether rows of other sheets belong to its rows.
    numbered: bool,
    columns: Vec<String>,
    places: HashMap<String, usize>,
    rows: Vec<Row<'d>>,
}

/// The numbers of the rows it belongs to, and the place and value of each cell.
#[derive(Debug)]
struct Row<'d>(Vec<usize>, Vec<(usize, &'d Value)>);

/// The sheets of a document, as [`Document::to_value`](crate::Document::to_value) has it.
pub fn sheets(document: &Value) -> Vec<Sheet<'_>> {
    let (mut cells, mut lists) = (Vec::new(), Vec::new());
    parts(document, String::new(), &mut cells, &mut lists);
    let mut sheets = vec![Sheet { name: REPORT.to_owned(), ..Sheet::default() }];
    sheets[0].add(Vec::new(), cells);
    lists.into_iter().for_each(|(name, items)| add(&mut sheets, &name, items, &[]));
    sheets
}

/// Adds the items of a list to its sheet, and the lists within them to theirs.
fn add<'d>(sheets: &mut Vec<Sheet<'d>>, name: &str, items: &'d [Value], parents: &[(&str, usize)]) {
    let at = sheets.iter().position(|sheet| sheet.name == name).unwrap_or_else(|| {
        let parents = parents.iter().map(|(name, _)| (*name).to_owned()).collect();
        sheets.push(Sheet { name: name.to_owned(), parents, ..Sheet::default() });
        sheets.len() - 1
    });
    for item in items {
        let (mut cells, mut lists) = (Vec::new(), Vec::new());
        parts(item, String::new(), &mut cells, &mut lists);
        let sheet = &mut sheets[at];
        sheet.add(parents.iter().map(|(_, row)| *row).collect(), cells);
        sheet.numbered |= !lists.is_empty();
        let below: Vec<_> = parents.iter().copied().chain([(name, sheet.rows.len())]).collect();
        for (list, items) in lists {
            add(sheets, &format!("{name}.{list}"), items, &below);
        }
    }
}

/// Takes a value apart: what is one cell each, and lists.
fn parts<'d>(
    value: &'d Value,
    name: String,
    cells: &mut Vec<(String, &'d Value)>,
    lists: &mut Vec<(String, &'d [Value])>,
) {
    match value {
        Value::Object(members) => {
            for (member, value) in members {
                let dot = if name.is_empty() { "" } else { "." };
                parts(value, format!("{name}{dot}{member}"), cells, lists);
            }
        }
        Value::Array(items) if items.iter().any(Value::is_object) => lists.push((name, items)),
        // Whether it is a list of objects or of words cannot be seen of one that is empty.
        Value::Array(items) if items.is_empty() => {}
        value => cells.push((name, value)),
    }
}

impl<'d> Sheet<'d> {
    fn add(&mut self, parents: Vec<usize>, cells: Vec<(String, &'d Value)>) {
        let mut row = Vec::with_capacity(cells.len());
        for (column, value) in cells {
            let place = *self.places.entry(column).or_insert_with_key(|column| {
                self.columns.push(column.clone());
                self.columns.len() - 1
            });
            row.push((place, value));
        }
        self.rows.push(Row(parents, row));
    }

    /// Writes it.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut line = String::new();
        if self.name == REPORT {
            row(&mut line, ["field", "value"]);
            for (place, value) in self.rows.iter().flat_map(|Row(_, cells)| cells) {
                text(&mut line, &self.columns[*place]);
                line.push(',');
                cell(&mut line, value);
                line.push_str(END);
            }
            return out.write_all(line.as_bytes());
        }
        let names = self.parents.iter().map(String::as_str).chain(self.numbered.then_some(ROW));
        row(&mut line, names.chain(self.columns.iter().map(String::as_str)));
        for (at, Row(parents, cells)) in self.rows.iter().enumerate() {
            let mut values = vec![&Value::Null; self.columns.len()];
            cells.iter().for_each(|(place, value)| values[*place] = value);
            let numbers = parents.iter().copied().chain(self.numbered.then_some(at + 1));
            let mut comma = "";
            for number in numbers {
                // Writing to a string cannot fail.
                let _ = write!(line, "{comma}{number}");
                comma = ",";
            }
            for value in values {
                line.push_str(comma);
                comma = ",";
                cell(&mut line, value);
            }
            line.push_str(END);
            out.write_all(line.as_bytes())?;
            line.clear();
        }
        out.write_all(line.as_bytes())
    }
}

fn cell(line: &mut String, value: &Value) {
    match value {
        Value::Null => {}
        Value::Bool(value) => line.push_str(if *value { "true" } else { "false" }),
        Value::Number(number) => drop(write!(line, "{number}")),
        Value::String(value) => text(line, value),
        Value::Array(values) => {
            let words = values.iter().map(|value| match value {
                Value::String(word) => word.clone(),
                value => value.to_string(),
            });
            text(line, &words.collect::<Vec<_>>().join(BETWEEN));
        }
        Value::Object(_) => {}
    }
}

fn text(line: &mut String, cell: &str) {
    let defused = if cell.starts_with(['=', '+', '-', '@', '\t', '\r']) { "'" } else { "" };
    let _ = write!(line, "\"{defused}{}\"", cell.replace('"', "\"\""));
}

/// Appends a row of texts.
pub fn row<'c>(line: &mut String, cells: impl IntoIterator<Item = &'c str>) {
    for (at, cell) in cells.into_iter().enumerate() {
        line.push_str(if at > 0 { "," } else { "" });
        text(line, cell);
    }
    line.push_str(END);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn written(document: &Value) -> Vec<(String, String)> {
        let sheets = sheets(document);
        let written = sheets.iter().map(|sheet| {
            let mut out = Vec::new();
            sheet.write(&mut out).unwrap();
            (sheet.name.clone(), String::from_utf8(out).unwrap().replace("\r\n", "\n"))
        });
        written.collect()
    }

    #[test]
    fn lists_are_sheets_and_numbers_are_exact() {
        let document = json!({
            "schema": "drover.x/1",
            "totals": {"files": 2, "ratio": -0.5},
            "problems": [],
            "words": ["a", "b"],
            "findings": [
                {"id": "=1+1", "rate": {"p50": 1, "p90": null}, "paths": [{"path": "a"}, {"path": "b,\"c"}]},
                {"id": "plain", "more": true, "paths": []},
            ],
        });
        let expected = [
            (
                "report",
                "\"field\",\"value\"\n\"schema\",\"drover.x/1\"\n\"totals.files\",2\n\
                 \"totals.ratio\",-0.5\n\"words\",\"a; b\"\n",
            ),
            (
                "findings",
                "\"row\",\"id\",\"rate.p50\",\"rate.p90\",\"more\"\n1,\"'=1+1\",1,,\n2,\"plain\",,,true\n",
            ),
            ("findings.paths", "\"findings\",\"path\"\n1,\"a\"\n1,\"b,\"\"c\"\n"),
        ];
        let expected: Vec<_> = expected.map(|(name, text)| (name.into(), text.into())).into();
        assert_eq!(written(&document), expected);
    }

    #[test]
    fn lists_within_lists_say_where_they_belong() {
        let document = json!({"sources": [
            {"findings": [{"paths": [{"path": "a"}]}]},
            {"findings": [{"paths": [{"path": "b"}]}, {"id": "x"}]},
        ]});
        let all = written(&document);
        let of = |name: &str| &all.iter().find(|(sheet, _)| sheet == name).unwrap().1;
        assert_eq!(of("sources.findings"), "\"sources\",\"row\",\"id\"\n1,1,\n2,2,\n2,3,\"x\"\n");
        let paths = "\"sources\",\"sources.findings\",\"path\"\n1,1,\"a\"\n2,2,\"b\"\n";
        assert_eq!(of("sources.findings.paths"), paths);
    }

    #[test]
    fn cells_are_no_formulas() {
        let mut out = String::new();
        row(&mut out, ["=1+1", "a \"b\", c", "-x", "plain"]);
        assert_eq!(out, "\"'=1+1\",\"a \"\"b\"\", c\",\"'-x\",\"plain\"\r\n");
    }
}
