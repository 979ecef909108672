//! What a pass leaves out: from the plan, and after it from the command line.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};
use drover_plan::{Age, Rule, Size, ignore_file};
use drover_source::{Filter, FilterOptions, filter};
use drover_types::{RelativePath, clock};

use crate::{error::Error, output::shown};

/// The longest list of files, in bytes: it is held in memory.
const LONGEST_LIST: u64 = 64 << 20;
const HEADING: &str = "What is left out";

/// What a pass leaves out.
#[derive(Debug, Args)]
#[command(next_help_heading = HEADING)]
pub struct FilterArgs {
    #[command(flatten)]
    rules: RuleArgs,
    /// Follow the rules in files of this name, such as .gitignore; may be given several times
    #[arg(long = "ignore-file", value_name = "NAME", value_parser = ignore_file)]
    ignore_files: Vec<String>,
    /// Of directories marked by a CACHEDIR.TAG take the tag only
    #[arg(long)]
    exclude_caches: bool,
    /// Take only what this file lists, one path below the source's root on each line
    #[arg(long, value_name = "FILE")]
    files_from: Option<PathBuf>,
    /// Leave out smaller files, such as "1 B" for empty ones
    #[arg(long, value_name = "SIZE")]
    min_size: Option<Size>,
    /// Leave out larger files, such as "2 GiB"
    #[arg(long, value_name = "SIZE")]
    max_size: Option<Size>,
    /// Leave out files changed less than this ago, such as "10 minutes"
    #[arg(long, value_name = "AGE")]
    min_age: Option<Age>,
    /// Leave out files not changed for longer, such as "3650 days"
    #[arg(long, value_name = "AGE")]
    max_age: Option<Age>,
}

/// `--exclude` and `--include` in the order in which they were given.
#[derive(Debug)]
struct RuleArgs(Vec<Rule>);

/// Option, and whether it includes.
const RULES: [(&str, bool); 2] = [("exclude", false), ("include", true)];

impl Args for RuleArgs {
    fn augment_args(command: Command) -> Command {
        let option = |name, help| {
            let arg = Arg::new(name).long(name).value_name("GLOB").action(ArgAction::Append);
            arg.help(help).help_heading(HEADING)
        };
        command
            .arg(option("exclude", "Leave out what matches, as a line of a .gitignore file does"))
            .arg(option("include", "Take it after all; of rules that match, the last one counts"))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for RuleArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut rules = Vec::new();
        for (name, include) in RULES {
            let at = matches.indices_of(name).into_iter().flatten();
            for (at, glob) in at.zip(matches.get_many::<String>(name).into_iter().flatten()) {
                let rule = Rule::new(include, glob).map_err(|error| {
                    let message = format!("--{name} {glob}: {error}\n");
                    clap::Error::raw(clap::error::ErrorKind::ValueValidation, message)
                })?;
                rules.push((at, rule));
            }
        }
        rules.sort_by_key(|(at, _)| *at);
        Ok(Self(rules.into_iter().map(|(_, rule)| rule).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl FilterArgs {
    /// The plan's filter with what the command line adds: its rules come after the plan's, and its
    /// bounds in place of the plan's.
    pub fn with(&self, plan: &drover_plan::Filter) -> drover_plan::Filter {
        drover_plan::Filter {
            rules: [&plan.rules[..], &self.rules.0].concat(),
            ignore_files: [&plan.ignore_files[..], &self.ignore_files].concat(),
            exclude_caches: plan.exclude_caches || self.exclude_caches,
            files_from: self.files_from.clone().or_else(|| plan.files_from.clone()),
            min_size: self.min_size.or(plan.min_size),
            max_size: self.max_size.or(plan.max_size),
            min_age: self.min_age.or(plan.min_age),
            max_age: self.max_age.or(plan.max_age),
        }
    }
}

/// The rules as a source takes them; ages are counted from now.
pub fn filter(plan: &drover_plan::Filter) -> Result<Filter, Error> {
    let rule = |rule: &Rule| filter::Rule { include: rule.include, glob: rule.glob.clone() };
    let options = FilterOptions {
        rules: plan.rules.iter().map(rule).collect(),
        ignore_files: plan.ignore_files.clone(),
        exclude_caches: plan.exclude_caches,
        files: plan.files_from.as_deref().map(list).transpose()?,
        min_size: plan.min_size.map(|size| size.0),
        max_size: plan.max_size.map(|size| size.0),
        min_age: plan.min_age.map(|age| age.0),
        max_age: plan.max_age.map(|age| age.0),
    };
    Filter::new(options, clock::now()).map_err(|error| Error::Usage(error.to_string()))
}

/// The paths that a file lists.
fn list(file: &Path) -> Result<Vec<RelativePath>, Error> {
    let mut text = Vec::new();
    File::open(file)
        .and_then(|file| file.take(LONGEST_LIST + 1).read_to_end(&mut text))
        .and_then(|len| match len as u64 > LONGEST_LIST {
            true => Err(io::Error::other("it is longer than 64 MiB")),
            false => Ok(()),
        })
        .map_err(|source| Error::File {
            what: "cannot read the list of files",
            path: file.to_owned(),
            source,
        })?;
    parse_list(&text).map_err(|(line, why)| {
        let path = shown(file);
        Error::Usage(format!("{path}: path {line} is none below a source's root: {why}"))
    })
}

/// Paths divided by NUL where there is one, else by line ends. The number of the one that is wrong
/// counts from 1.
fn parse_list(text: &[u8]) -> Result<Vec<RelativePath>, (usize, String)> {
    let separator = if text.contains(&0) { 0 } else { b'\n' };
    let mut paths = Vec::new();
    for (at, line) in text.split(|&b| b == separator).enumerate() {
        let line = match separator {
            0 => line,
            _ => line.strip_suffix(b"\r").unwrap_or(line),
        };
        let path = line.strip_prefix(b"./").unwrap_or(line);
        let path = path.strip_suffix(b"/").unwrap_or(path);
        match (line, path) {
            (b"", _) => {}
            (_, b"" | b".") if line[0] != b'/' => paths.push(RelativePath::root()),
            (_, path) => {
                let wrong = |error: drover_types::PathError| (at + 1, error.to_string());
                if line[0] == b'/' {
                    return Err(wrong(drover_types::PathError::Empty));
                }
                paths.push(RelativePath::new(path).map_err(wrong)?);
            }
        }
    }
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_files() {
        let list = |text: &[u8]| {
            let paths = parse_list(text).map_err(|(line, _)| line)?;
            Ok(paths.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        assert_eq!(list(b"a\n./b/c/\r\n\nd"), Ok(vec!["a".into(), "b/c".into(), "d".into()]));
        assert_eq!(list(b"a\nb\0c\0"), Ok(vec!["a\\x0ab".into(), "c".into()]));
        assert_eq!(list(b"."), Ok(vec![String::new()]));
        assert_eq!(list(b"./"), Ok(vec![String::new()]));
        for (bad, line) in [(&b"/etc"[..], 1), (b"/", 1), (b"a\n../b", 2), (b"a\nb//c", 2)] {
            assert_eq!(list(bad), Err(line), "{bad:?}");
        }
    }
}
