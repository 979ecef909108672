//! What people are to read of a document, before it is text or HTML.

use std::io::{self, Write};

use crate::{Text, plot::Figure};

/// How the verdict is to be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// An answer without a judgement.
    Plain,
    /// All is well.
    Good,
    /// Done, and someone has to look at something.
    Caution,
    /// Not as it should be.
    Bad,
}

impl Tone {
    /// The word that the style sheet knows it by.
    pub fn as_str(self) -> &'static str {
        match self {
            Tone::Plain => "plain",
            Tone::Good => "good",
            Tone::Caution => "caution",
            Tone::Bad => "bad",
        }
    }
}

/// A label and a value.
#[derive(Clone, Debug)]
pub struct Fact {
    /// What it is.
    pub label: &'static str,
    /// How much, or which.
    pub value: String,
}

/// Rows under a heading.
#[derive(Clone, Debug)]
pub struct Table {
    /// The heading.
    pub title: String,
    /// The columns' names.
    pub columns: Vec<&'static str>,
    /// As many cells each as there are columns.
    pub rows: Vec<Vec<String>>,
    /// What to do about it, or how to read it; may be empty.
    pub note: String,
    /// How many rows a terminal gets; the HTML page has all.
    pub terminal_rows: usize,
}

/// How many rows of a list of exceptions or problems a terminal gets.
pub const TERMINAL_ROWS: usize = 20;

/// The table of `warnings`.
pub fn warnings(warnings: &[Text]) -> Table {
    Table {
        title: "Warnings".to_owned(),
        columns: vec!["what"],
        rows: warnings.iter().map(|warning| vec![warning.to_string()]).collect(),
        note: String::new(),
        terminal_rows: usize::MAX,
    }
}

/// A part of a page.
pub(crate) enum Block<'p> {
    Figure(&'p Figure),
    Table(&'p Table),
}

/// One report as people read it.
#[derive(Clone, Debug)]
pub struct Page {
    /// The kind of report: "Verification".
    pub title: &'static str,
    /// How the verdict is to be taken.
    pub tone: Tone,
    /// The verdict in a few words.
    pub verdict: String,
    /// The verdict explained in a sentence or two; may be empty.
    pub explanation: String,
    /// Totals and identity.
    pub facts: Vec<Fact>,
    /// Lists: exceptions and problems first.
    pub tables: Vec<Table>,
    /// Where people would rather look than read, and how many tables come before each. A terminal
    /// has the tables alone, which say the same.
    pub figures: Vec<(usize, Figure)>,
    /// What to do next.
    pub next: Vec<String>,
}

impl Page {
    /// A page with a verdict and nothing else yet.
    pub fn new(title: &'static str, tone: Tone, verdict: impl Into<String>) -> Self {
        Self {
            title,
            tone,
            verdict: verdict.into(),
            explanation: String::new(),
            facts: Vec::new(),
            figures: Vec::new(),
            tables: Vec::new(),
            next: Vec::new(),
        }
    }

    /// Adds a fact, unless its value is empty.
    pub fn fact(&mut self, label: &'static str, value: impl Into<String>) {
        let value = value.into();
        if !value.is_empty() {
            self.facts.push(Fact { label, value });
        }
    }

    /// Adds a figure after the tables so far, unless there is nothing to see.
    pub fn figure(&mut self, figure: Figure) {
        if !figure.is_empty() {
            self.figures.push((self.tables.len(), figure));
        }
    }

    /// Adds the figures and tables of another page.
    pub fn append(&mut self, other: Page) {
        let before = self.tables.len();
        self.figures.extend(other.figures.into_iter().map(|(at, figure)| (before + at, figure)));
        self.tables.extend(other.tables);
        self.next.extend(other.next);
    }

    /// Figures and tables in their order.
    pub(crate) fn blocks(&self) -> Vec<Block<'_>> {
        let mut blocks = Vec::with_capacity(self.tables.len() + self.figures.len());
        for at in 0..=self.tables.len() {
            let figures = self.figures.iter().filter(|(before, _)| *before == at);
            blocks.extend(figures.map(|(_, figure)| Block::Figure(figure)));
            blocks.extend(self.tables.get(at).map(Block::Table));
        }
        blocks
    }

    /// Adds a table, unless it has no rows.
    pub fn table(&mut self, table: Table) {
        if !table.rows.is_empty() {
            self.tables.push(table);
        }
    }

    /// Writes the page as text for a terminal.
    pub fn write_text(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "{}: {}", self.title, self.verdict)?;
        if !self.explanation.is_empty() {
            writeln!(out, "{}", self.explanation)?;
        }
        if !self.facts.is_empty() {
            writeln!(out)?;
            let width = self.facts.iter().map(|fact| fact.label.chars().count()).max().unwrap_or(0);
            for fact in &self.facts {
                writeln!(out, "  {:width$}  {}", fact.label, fact.value)?;
            }
        }
        for table in &self.tables {
            writeln!(out)?;
            table.write_text(out)?;
        }
        if !self.next.is_empty() {
            writeln!(out, "\nNext:")?;
            for step in &self.next {
                writeln!(out, "  - {step}")?;
            }
        }
        Ok(())
    }
}

impl Table {
    fn write_text(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "{}", self.title)?;
        let shown = &self.rows[..self.rows.len().min(self.terminal_rows)];
        let widths: Vec<usize> = (0..self.columns.len())
            .map(|at| {
                let cells = shown.iter().filter_map(|row| row.get(at));
                cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
            })
            .zip(&self.columns)
            .map(|(width, column)| width.max(column.chars().count()))
            .collect();
        let mut line = |cells: &mut dyn Iterator<Item = &str>| {
            let mut text = String::from(" ");
            for (cell, width) in cells.zip(&widths) {
                text.push_str(&format!(" {cell:width$} "));
            }
            writeln!(out, "{}", text.trim_end())
        };
        if !shown.is_empty() {
            line(&mut self.columns.iter().copied())?;
        }
        for row in shown {
            line(&mut row.iter().map(String::as_str))?;
        }
        let left = self.rows.len() - shown.len();
        if left > 0 {
            let left = crate::format::count(left as u64);
            let more = if shown.is_empty() { "" } else { "… and " };
            let rest = if shown.is_empty() { "" } else { " more" };
            writeln!(out, "  {more}{left}{rest}; --json and --html list all")?;
        }
        if !self.note.is_empty() {
            writeln!(out, "  {}", self.note)?;
        }
        Ok(())
    }
}
