//! A page as Markdown, for a ticket, a wiki or a repository: the tables of GitHub's flavour.
//!
//! Whatever a name holds stays text: what Markdown would take for emphasis, a link, a tag, a formula
//! or the end of a cell is escaped.

use std::io::{self, Write};

use crate::{Page, Table};

/// Writes `page` as Markdown.
pub fn write(page: &Page, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "# {}: {}", escaped(page.title), escaped(&page.verdict))?;
    if !page.explanation.is_empty() {
        writeln!(out, "\n{}", escaped(&page.explanation))?;
    }
    if !page.facts.is_empty() {
        writeln!(out)?;
        head(out, &["what", "is"])?;
        for fact in &page.facts {
            row(out, [fact.label, &fact.value].into_iter())?;
        }
    }
    for table in &page.tables {
        write_table(table, out)?;
    }
    if !page.next.is_empty() {
        writeln!(out, "\n## Next\n")?;
        for step in &page.next {
            writeln!(out, "- {}", escaped(step))?;
        }
    }
    writeln!(out, "\n{}", concat!("drover ", env!("CARGO_PKG_VERSION")))
}

fn write_table(table: &Table, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "\n## {}\n", escaped(&table.title))?;
    if !table.note.is_empty() {
        writeln!(out, "{}\n", escaped(&table.note))?;
    }
    head(out, &table.columns)?;
    table.rows.iter().try_for_each(|cells| row(out, cells.iter().map(String::as_str)))
}

fn head(out: &mut dyn Write, columns: &[&str]) -> io::Result<()> {
    row(out, columns.iter().copied())?;
    writeln!(out, "|{}", " --- |".repeat(columns.len()))
}

fn row<'c>(out: &mut dyn Write, cells: impl Iterator<Item = &'c str>) -> io::Result<()> {
    write!(out, "|")?;
    for cell in cells {
        write!(out, " {} |", escaped(cell))?;
    }
    writeln!(out)
}

/// Text that Markdown leaves alone, in the middle of a line and at its beginning.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for (at, c) in text.char_indices() {
        let rest = &text[at..];
        let begins = text[..at].trim_start().is_empty();
        let active = match c {
            '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '|' | '~' | '&' | '$' | '^' | '{' => {
                true
            }
            // Addresses that some readers make into links by themselves.
            ':' => begins || rest.starts_with("://"),
            '.' if text[..at].to_ascii_lowercase().ends_with("www") => true,
            '.' | ')' => {
                after_digits(&text[..at]) && matches!(rest.as_bytes().get(1), None | Some(b' '))
            }
            // At the end of a title it would be no part of it.
            '#' => begins || text[..at].ends_with([' ', '\t']),
            '+' | '-' | '=' => begins,
            _ => false,
        };
        if active {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// Whether a line begins with digits and nothing else: with a point and a space they would begin a list.
fn after_digits(before: &str) -> bool {
    let before = before.trim_start();
    !before.is_empty() && before.len() < 10 && before.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use pulldown_cmark::{Event, Options, Parser, Tag};

    use super::*;
    use crate::{Text, Tone};

    /// What a reader of Markdown makes of it: titles, cells and paragraphs as text, and whether
    /// there is anything else.
    fn read(markdown: &str) -> (Vec<String>, Vec<String>) {
        let (mut texts, mut other) = (Vec::new(), Vec::new());
        // What no page needs and no common reader has: quotes that are turned, ids of titles.
        let options =
            Options::all() - Options::ENABLE_SMART_PUNCTUATION - Options::ENABLE_HEADING_ATTRIBUTES;
        for event in Parser::new_ext(markdown, options) {
            match event {
                Event::Start(Tag::Heading { .. } | Tag::TableCell | Tag::Paragraph | Tag::Item) => {
                    texts.push(String::new())
                }
                Event::Start(Tag::Table(_) | Tag::TableHead | Tag::TableRow | Tag::List(None)) => {}
                Event::Text(text) => texts.last_mut().unwrap().push_str(&text),
                Event::End(_) => {}
                event => other.push(format!("{event:?}")),
            }
        }
        (texts, other)
    }

    fn page(name: &str) -> Page {
        let mut page = Page::new("Verification", Tone::Good, name);
        page.explanation = name.to_owned();
        page.fact("Source", name);
        page.table(Table {
            title: name.to_owned(),
            columns: vec!["path", "size"],
            rows: vec![vec![name.to_owned(), "1".to_owned()]],
            note: name.to_owned(),
            terminal_rows: 1,
        });
        page.next.push(name.to_owned());
        page
    }

    fn check(name: &str) {
        let name = Text::new(name).to_string().trim().to_owned();
        let mut markdown = Vec::new();
        write(&page(&name), &mut markdown).unwrap();
        let markdown = String::from_utf8(markdown).unwrap();
        let (texts, other) = read(&markdown);
        assert!(other.is_empty(), "{name:?}: {other:?}\n{markdown}");
        let cells = ["what", "is", "Source", &name, &name, &name, "path", "size", &name, "1"];
        let title = format!("Verification: {name}");
        let mut expected = vec![title.trim(), &name];
        expected.extend(cells);
        expected.extend(["Next", &name, concat!("drover ", env!("CARGO_PKG_VERSION"))]);
        let told: Vec<&str> = texts.iter().map(|text| text.trim()).collect();
        // A name of nothing has no paragraphs.
        if !name.is_empty() {
            assert_eq!(told, expected, "{markdown}");
        }
    }

    #[test]
    fn names_stay_text() {
        for name in [
            "<script>alert(1)</script>",
            "[click](http://example.org) ![x](y) <http://a.b>",
            "a|b \\| c\\",
            "`code` *b* _i_ ~~s~~ $x$ &amp; &#60;",
            "# title",
            "title #",
            "title ## # of #",
            "1. list",
            "1) list",
            "- list",
            "+ list",
            "---",
            "===",
            "a ^sup^ :smile: [^1]: [x]: y",
            "www.example.org",
            ": definition",
            "[!NOTE]",
            "{#id .class}",
        ] {
            check(name);
        }
    }

    proptest! {
        #[test]
        fn any_name_stays_text(name in "[a-z0-9 \\\\`*_\\[\\](){}<>#+=.!|~&$:^'\"/@-]{0,24}|.{0,16}") {
            check(&name);
        }
    }
}
