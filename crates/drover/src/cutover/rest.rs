//! What is asked of the source's machine: who writes to the source, and what time it is there.

use std::time::Duration;

use drover_source::{host::HostCommand, local::holders::OpenFile};
use drover_types::{clock, path::escape};

use crate::{context::Context, error::Error, source::Origin};

/// Writers that are named.
const NAMED: usize = 10;

/// Who has what open for writing, in words; what could not be seen is a warning.
pub fn writers(origin: &Origin, context: &Context) -> Result<Vec<String>, Error> {
    let open = match origin.open_files(context) {
        Ok(Some(open)) => open,
        Ok(None) => return Ok(Vec::new()),
        Err(why) => {
            let message = format!("it is not known which files are open for writing: {why}");
            context.progress.warn(&message);
            return Ok(Vec::new());
        }
    };
    if open.unseen > 0 {
        let message =
            format!("{} processes do not show this user which files they write", open.unseen);
        context.progress.warn(&message);
    }
    let name = |file: &OpenFile| format!("{} {}", escape(&file.command), file.path);
    Ok(open.files.iter().take(NAMED).map(name).collect())
}

/// How far the clock of the source's machine is from this one's, in seconds.
pub fn skew(origin: &Origin, context: &Context) -> Result<f64, String> {
    if origin.directory().is_some() {
        return Ok(0.0);
    }
    let host = origin.host(context).map_err(|error| error.to_string())?;
    let words = ["/bin/date", "+%s"];
    let command = HostCommand { words: &words, timeout: Duration::from_secs(30), most: 64 };
    let before = clock::now().seconds;
    let output = host.run(&command).map_err(|error| error.to_string())?;
    let after = clock::now().seconds;
    let said = String::from_utf8_lossy(&output.stdout).trim().parse::<i64>();
    let there = said.map_err(|_| "it did not say a number".to_owned())?;
    // Somewhere in between it was asked.
    Ok((there.saturating_sub((before + after) / 2)) as f64)
}
