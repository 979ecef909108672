//! What is asked of the source's machine: who writes to the source, and what time it is there.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt, path::Path, time::Duration};

use drover_source::{LocalSource, Source, host::HostCommand, local::holders::open_for_writing};
use drover_types::{clock, path::escape};

use crate::{context::Context, error::Error, source::Origin};

/// Writers that are named.
const NAMED: usize = 10;

/// Prints name and path of what is open for writing below a directory; argument: a pattern of it.
const WRITERS: &str = r#"
[ -d /proc/self/fd ] || { echo "there is no /proc" >&2; exit 1; }
find /proc/[0-9]*/fd -mindepth 1 -maxdepth 1 -lname "$1" 2>/dev/null | while read -r fd; do
    process=${fd%/fd/*}
    while read -r key value; do
        case $key$value in flags:*[1256]) echo "$(cat "$process/comm") $(readlink "$fd")" ;; esac
    done < "$process/fdinfo/${fd##*/}"
done 2>/dev/null
exit 0
"#;

/// Who has what open for writing, in words; what could not be seen is a warning.
pub fn writers(origin: &Origin, context: &Context) -> Result<Vec<String>, Error> {
    let Some(directory) = origin.directory() else {
        return Ok(elsewhere(origin, context));
    };
    // Its root has no symbolic links in it any more.
    let source = LocalSource::open(directory).map_err(drover_ops::Error::from)?;
    let root = source.description().root;
    let Some(open) = open_for_writing(Path::new(OsStr::from_bytes(&root))) else {
        context.progress.warn("this machine does not say which files are open");
        return Ok(Vec::new());
    };
    if open.unseen > 0 {
        let message =
            format!("{} processes do not show this user which files they write", open.unseen);
        context.progress.warn(&message);
    }
    let name = |file: &drover_source::local::holders::OpenFile| {
        format!("{} {}", escape(&file.command), file.path)
    };
    Ok(open.files.iter().take(NAMED).map(name).collect())
}

/// Asks the server.
fn elsewhere(origin: &Origin, context: &Context) -> Vec<String> {
    let Origin::Server(url, ssh) = origin else { return Vec::new() };
    let unknown = |why: &str| {
        let message = format!("the server does not say which files are open for writing: {why}");
        context.progress.warn(&message);
        Vec::new()
    };
    if !ssh.shell {
        return unknown("the plan allows no shell");
    }
    let host = match origin.host(context) {
        Ok(host) => host,
        Err(error) => return unknown(&error.to_string()),
    };
    let mut pattern = String::new();
    for character in url.path.to_string_lossy().trim_end_matches('/').chars() {
        if matches!(character, '*' | '?' | '[' | '\\') {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern.push_str("/*");
    let words = ["/bin/sh", "-c", WRITERS, "drover", pattern.as_str()];
    let command = HostCommand { words: &words, timeout: Duration::from_secs(120), most: 64 << 10 };
    match host.run(&command) {
        Ok(output) if output.status == Some(0) => {
            if host.user() != "root" {
                context
                    .progress
                    .warn("the server shows this account its own processes' files only");
            }
            output
                .stdout
                .split(|byte| *byte == b'\n')
                .filter(|line| !line.is_empty())
                .take(NAMED)
                .map(escape)
                .collect()
        }
        Ok(output) => unknown(&escape(output.stderr.trim_ascii())),
        Err(error) => unknown(&error.to_string()),
    }
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
