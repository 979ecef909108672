//! What goes to stdout, to stderr, and into the HTML file.

use std::{
    fs,
    io::{self, Write},
    path::Path,
};

use drover_report::{Document, Failure};
use drover_types::path::escape;

use crate::{cli::Global, error::Error, progress::ProgressMode};

/// What a verb leaves to be printed.
#[derive(Debug)]
pub enum Answer {
    /// A report, and the exit code where the report itself is no failure.
    Report(Box<Document>, u8),
    /// Its output is on stdout already, up to what went wrong on the way.
    Listed(Option<Failure>),
}

impl Answer {
    /// A verb that did what it was told.
    pub fn done(body: impl Into<drover_report::Body>) -> Self {
        Self::Report(Box::new(Document::done(body)), 0)
    }

    /// Done; exit code 3 where there are exceptions.
    pub fn with_exceptions(body: impl Into<drover_report::Body>, exceptions: bool) -> Self {
        Self::Report(Box::new(Document::done(body)), if exceptions { 3 } else { 0 })
    }

    /// A report that is a failure.
    pub fn failed(body: impl Into<drover_report::Body>, failure: Failure) -> Self {
        let exit = failure.exit;
        Self::Report(Box::new(Document::failed_with(body, failure)), exit)
    }
}

/// Prints what `verb` came to, and says with which code to exit.
pub fn finish(global: &Global, verb: &'static str, result: Result<Answer, Error>) -> u8 {
    let (document, exit) = match result {
        Ok(Answer::Listed(None)) => return 0,
        Ok(Answer::Listed(Some(failure))) => {
            complain(&failure);
            return failure.exit;
        }
        Ok(Answer::Report(document, exit)) => (*document, exit),
        // Whoever read the output has had enough.
        Err(Error::OutputClosed) => return 0,
        Err(error) => {
            let failure = error.failure();
            let exit = failure.exit;
            (Document::failed(verb, failure), exit)
        }
    };
    match print(global, document) {
        Ok(()) | Err(Error::OutputClosed) => exit,
        Err(error) => {
            let failure = error.failure();
            complain(&failure);
            if exit == 0 { failure.exit } else { exit }
        }
    }
}

fn print(global: &Global, mut document: Document) -> Result<(), Error> {
    // The page is written first: stdout tells of success only when all is done.
    let page_written = match &global.html {
        Some(path) => write_html(path, &document),
        None => Ok(()),
    };
    if let Err(error) = &page_written {
        document.error.get_or_insert_with(|| error.failure());
    }
    if global.json {
        let json = document.to_json().map_err(|error| Error::Output(error.into()))?;
        to_stdout(json.as_bytes())?;
    }
    match (&document.body, &document.error) {
        (None, Some(failure)) => complain(failure),
        _ => {
            let mut text = Vec::new();
            document.page().write_text(&mut text).map_err(Error::Output)?;
            if !global.json {
                to_stdout(&text)?;
            } else if global.progress != ProgressMode::None && global.progress != ProgressMode::Json
            {
                // Whoever closed stderr does not want to know.
                let _ = io::stderr().write_all(&text);
            }
        }
    }
    page_written
}

/// Tells people what went wrong.
pub fn complain(failure: &Failure) {
    let mut text = format!("drover: {}\n", failure.message);
    if !failure.remedy.is_empty() {
        text.push_str(&format!("  {}\n", failure.remedy));
    }
    let _ = io::stderr().write_all(text.as_bytes());
}

/// Writes the report as HTML.
pub fn write_html(path: &Path, document: &Document) -> Result<(), Error> {
    let fail = |source| Error::File { what: "cannot write the page", path: path.into(), source };
    let html = drover_report::html(&document.page())
        .map_err(|error| fail(io::Error::other(error.to_string())))?;
    fs::write(path, html).map_err(fail)
}

/// Writes to stdout, where a reader that has gone away is no failure.
pub fn to_stdout(bytes: &[u8]) -> Result<(), Error> {
    let mut out = io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).map_err(Error::output)
}

/// A path as people read it.
pub fn shown(path: &Path) -> String {
    escape(path.as_os_str().as_encoded_bytes())
}
