//! What goes to stdout, to stderr, and into the files of a report.

use std::{
    fs,
    io::{self, BufWriter, Write},
    path::Path,
};

use drover_report::{Document, Failure, csv};
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
    // Files are written first: stdout tells of success only when all is done.
    let files_written = write_files(global, &document);
    if let Err(error) = &files_written {
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
    files_written
}

/// Tells people what went wrong.
pub fn complain(failure: &Failure) {
    let mut text = format!("drover: {}\n", failure.message);
    if !failure.remedy.is_empty() {
        text.push_str(&format!("  {}\n", failure.remedy));
    }
    let _ = io::stderr().write_all(text.as_bytes());
}

/// Writes the report into the files that were asked for.
pub fn write_files(global: &Global, document: &Document) -> Result<(), Error> {
    if let Some(path) = &global.html {
        let html = drover_report::html(&document.page())
            .map_err(|error| cannot_write(path)(io::Error::other(error.to_string())))?;
        fs::write(path, html).map_err(cannot_write(path))?;
    }
    if let Some(path) = &global.markdown {
        let file = fs::File::create(path).map_err(cannot_write(path))?;
        let mut out = BufWriter::new(file);
        drover_report::write_markdown(&document.page(), &mut out)
            .and_then(|()| out.flush())
            .map_err(cannot_write(path))?;
    }
    global.csv.as_deref().map_or(Ok(()), |folder| write_csv(folder, document))
}

fn cannot_write(path: &Path) -> impl Fn(io::Error) -> Error + '_ {
    |source| Error::File { what: "cannot write the report", path: path.into(), source }
}

/// Writes each list into a file of its own. What an earlier report left beside them could be taken
/// for lists of this one.
fn write_csv(folder: &Path, document: &Document) -> Result<(), Error> {
    fs::create_dir_all(folder).map_err(cannot_write(folder))?;
    if fs::read_dir(folder).map_err(cannot_write(folder))?.next().is_some() {
        return Err(cannot_write(folder)(io::ErrorKind::DirectoryNotEmpty.into()));
    }
    let document = document.to_value().map_err(|error| cannot_write(folder)(error.into()))?;
    for sheet in csv::sheets(&document) {
        let path = folder.join(format!("{}.csv", sheet.name));
        let mut out = BufWriter::new(fs::File::create(&path).map_err(cannot_write(&path))?);
        sheet.write(&mut out).and_then(|()| out.flush()).map_err(cannot_write(&path))?;
    }
    Ok(())
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
