//! A plan to begin with: what was found, and the keys that most plans want, with comments.

use std::fmt::Write;

use drover_report::format;

use super::Looked;
use crate::place::Place;

/// A string as TOML has it.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04X}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// A name for a source, of the end of its path: no other has it.
fn name(source: &str, taken: &mut Vec<String>) -> String {
    let end = source.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let mut name: String = end
        .to_lowercase()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .take(60)
        .collect();
    name = name.trim_matches('-').to_owned();
    if name.is_empty() {
        name = "source".to_owned();
    }
    let mut unique = name.clone();
    let mut n = 2;
    while taken.contains(&unique) {
        unique = format!("{name}-{n}");
        n += 1;
    }
    taken.push(unique.clone());
    unique
}

/// The plan as text.
pub fn write(place: &Place, looked: &[Looked]) -> String {
    let mut out = String::new();
    let mut taken = Vec::new();
    // Writing to a string does not fail.
    let mut line = |text: &str| {
        out.push_str(text);
        out.push('\n');
    };
    line("# A plan for drover. docs/plan-file.md has every key.");
    line("#");
    line("#     drover plan THIS-FILE --html report.html     what it takes; writes nothing");
    line("#     drover sync THIS-FILE                        one pass");
    line("");
    line("[repository]");
    line(&format!("url = {}", quoted(&place.url.to_string())));
    line("# storage_class = \"STANDARD_IA\"");
    for source in looked {
        let inventory = &source.inventory;
        let t = &inventory.totals;
        line("");
        let (files, bytes) = (format::count(t.files), format::bytes(t.bytes));
        line(&format!("# {files} files, {bytes}."));
        line("[[source]]");
        line(&format!("name = {}", quoted(&name(inventory.source.as_str(), &mut taken))));
        line(&format!("url = {}", quoted(&origin(inventory.source.as_str()))));
        line("wave = 1");
        line("# rules = [\"exclude *.tmp\", \"exclude lost+found/\"]");
        line("# one_file_system = true");
        for database in &inventory.databases {
            let at = database.path.shown();
            line(&format!(
                "# {} lies at {at}: copy a dump of it, made before each pass:",
                database.kind
            ));
            line("# before_pass = [\"./dump.sh\"]");
        }
    }
    line("");
    line("# Where a restore lands.");
    line("# [target]");
    line("# url = \"/srv/landing\"");
    line("");
    line("[limits]");
    line("# By day the clinic needs the link.");
    line("# upload = \"50 MiB/s\"");
    line("# windows = [\"Mon-Fri 07:00-19:00 5 MiB/s\"]");
    line("");
    line("# What the cutover must keep to.");
    line("[cutover]");
    line("window = \"Sat 22:00-23:30\"");
    line("freeze = \"30 minutes\"");
    line("switch = \"5 minutes\"");
    line("exceptions = 0");
    line("");
    line("# A price list to reckon with; plans/prices has three.");
    line("# [costs]");
    line("# prices = \"prices/aws.toml\"");
    out
}

/// A local source without the host before its path.
fn origin(source: &str) -> String {
    match source.split_once(":/") {
        Some((host, path)) if !host.contains('/') && host != "sftp" => format!("/{path}"),
        _ => source.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_names_and_no_two_are_the_same() {
        let mut taken = Vec::new();
        let mut name = |text: &str| name(text, &mut taken);
        assert_eq!(name("host:/srv/PACS archive"), "pacs-archive");
        assert_eq!(name("sftp://u@h/srv/pacs archive/"), "pacs-archive-2");
        assert_eq!(name("/"), "source");
        assert_eq!(quoted("a\"b\\\n"), "\"a\\\"b\\\\\\u000A\"");
        assert_eq!(origin("host:/srv/x"), "/srv/x");
        assert_eq!(origin("sftp://u@h/x"), "sftp://u@h/x");
    }
}
