//! `drover runbook`: the runbook of the night for one plan, with its names, times and gates.

use std::{ffi::OsString, fmt::Write as _, fs, path::Path};

use clap::Args;
use drover_plan::{Bucket, Landing, Location, Method, Plan, Source};
use drover_report::{Text, format};
use drover_source::host::line;
use drover_types::path::escape;

use crate::{
    context::Context,
    error::Error,
    output::{Answer, to_stdout},
};

const EXAMPLES: &str = "\
Examples:
  A page in Markdown, for paper:
    drover runbook plan.toml > runbook.md";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct RunbookArgs {
    /// The plan file
    plan: OsString,
}

impl RunbookArgs {
    pub fn run(self, context: &Context) -> Result<Answer, Error> {
        context.no_document("runbook")?;
        let file = Path::new(&self.plan);
        let plan = Plan::load(file)?;
        let bytes = fs::read(file).map_err(|source| Error::File {
            what: "cannot read the plan",
            path: file.to_owned(),
            source,
        })?;
        let hash = blake3::hash(&bytes).to_hex();
        let text = runbook(&plan, &line(&[&self.plan.to_string_lossy()]), &hash);
        to_stdout(text.as_bytes())?;
        Ok(Answer::Listed(None))
    }
}

/// Text within a line of Markdown: nothing in it is markup.
fn plain(text: &str) -> String {
    let mut safe = String::new();
    for character in Text::from(text).to_string().chars() {
        if matches!(character, '`' | '*' | '_' | '[' | ']' | '<' | '>' | '|' | '#' | '\\' | '&') {
            safe.push('\\');
        }
        safe.push(character);
    }
    safe
}

/// Text in a code span: as many backquotes around it as it needs.
fn code(text: &str) -> String {
    let text = Text::from(text).to_string().replace('\n', " ");
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest + 1);
    let space = if longest > 0 { " " } else { "" };
    format!("{fence}{space}{text}{space}{fence}")
}

fn command(words: Option<&Vec<String>>) -> String {
    match words {
        None => "**missing in the plan**".to_owned(),
        Some(words) => code(&line(&words.iter().map(String::as_str).collect::<Vec<_>>())),
    }
}

fn place(location: &Location) -> String {
    match location {
        Location::Directory(path) => escape(path.as_os_str().as_encoded_bytes()),
        other => other.to_string(),
    }
}

/// The page. `file` is the plan as a shell takes it.
fn runbook(plan: &Plan, file: &str, hash: &str) -> String {
    let mut page = String::new();
    let mut line = |text: String| {
        page.push_str(&text);
        page.push('\n');
    };
    line("# Runbook\n".to_owned());
    line(format!("For the plan {} (BLAKE3 `{}…`).\n", code(file), &hash[..16]));
    let cutover = &plan.cutover;
    let duration = |age: drover_plan::Age| format::duration(age.0.as_secs_f64());
    let or = |text: Option<String>, otherwise: &str| text.unwrap_or_else(|| otherwise.to_owned());
    line("| | |\n| --- | --- |".to_owned());
    line(format!("| Repository | {} |", plain(&place(&plan.repository.url))));
    let target = plan.target.as_ref().map(|target| plain(&place(&target.url)));
    line(format!("| Target | {} |", or(target, "none")));
    let landing = match cutover.landing {
        Landing::Here => "this machine lands it",
        Landing::Elsewhere => "another machine lands it: drover restore --follow",
    };
    line(format!("| Landing | {landing} |"));
    let window = cutover.window.map(|window| window.to_string());
    line(format!("| Window | {} |", or(window, "none; the freeze alone limits it")));
    let freeze = cutover.freeze.map(duration);
    line(format!("| The source rests at most | {} |", or(freeze, "until the window ends")));
    let switch = cutover.switch.map(duration);
    line(format!("| The switch is reckoned with | {} |", or(switch, "5 min")));
    let method = match cutover.verify {
        Method::Acknowledged => "what the store lists",
        Method::ReadBack => "every pack is read back",
        Method::Landed => "every file of the target is hashed",
    };
    line(format!("| Verification | {method} |"));
    line(format!("| Exceptions | at most {} not signed for |", cutover.exceptions.unwrap_or(0)));
    line(format!("| Rehearsal | within {} |", duration(cutover.rehearsed_within)));
    line(format!("| Last pass before the freeze | within {} |", duration(cutover.lag)));
    line(format!("| Certificates and credentials | valid for {} |", duration(cutover.valid_for)));
    let bucket = match cutover.bucket {
        Bucket::Blocked => "public access blocked, as at the rehearsal",
        Bucket::NotOpen => "open to nobody, as at the rehearsal",
        Bucket::Any => "not looked at",
    };
    line(format!("| Buckets | {bucket} |"));
    line(String::new());
    line(
        "Who decides to go on: ________________  Who decides to go back: ________________\n\n\
         Who is told, and how: ________________  Operator: ________________\n"
            .to_owned(),
    );
    if plan.cutover.together && plan.sources.len() > 1 {
        line(
            "All sources go **together**: each command of the cutover below is run once, for all of them. \
             All are frozen before the last passes, one switch leads clients to all; what fails before \
             it thaws all.\n"
                .to_owned(),
        );
    }
    for source in &plan.sources {
        section(&mut line, plan, source, file);
    }
    line("## After all\n".to_owned());
    line(format!(
        "- [ ] `drover verify {file} --read-data --html final.html`\n\
         - [ ] `drover log verify {file}`\n\
         - [ ] Withdraw the credentials. Keep the reports. Deleting a source is a decision of its own, by \
         other people, on another day."
    ));
    page
}

fn section(line: &mut dyn FnMut(String), plan: &Plan, source: &Source, file: &str) {
    let cutover = &plan.cutover;
    let name = source.name.as_str();
    let which = match plan.sources.len() {
        1 => String::new(),
        _ => format!(" --source {name}"),
    };
    let alone = if cutover.together { "" } else { which.as_str() };
    let of = |more: &str| format!("`drover --operator NAME cutover {file}{alone}{more}`");
    line(format!("## {name}\n"));
    line(format!("{}, in wave {}.\n", plain(&place(&source.url)), source.wave));
    let mut text = String::new();
    let on = match source.hooks.on {
        drover_plan::HooksOn::Here => "on this machine",
        drover_plan::HooksOn::Server => "on the server",
    };
    let _ = write!(
        text,
        "Before:\n\n\
         - [ ] `drover sync {file}{which} --until-converged` ends with 0 (3: read its exceptions).\n\
         - [ ] `drover verify {file} --read-data` says *verified*.\n\
         - [ ] `drover status {file}{which}`: the freeze it foretells: ________\n\
         - [ ] {}: *rehearsed*; it took ________\n\
         - [ ] `drover cutover {file}{alone} --show`: every gate passed.\n\n\
         The night:\n\n\
         - [ ] Tell everybody. Time: ________\n\
         - [ ] {}. It runs, in this order:\n\
         \x20 1. the timer on the source, which thaws it when its time is over\n\
         \x20 2. freeze, {on}: {}\n\
         \x20 3. two scans, nobody writes, the last pass, landing, verification, the end of the timer\n\
         \x20 4. switch, here: {}\n\
         \x20 5. smoke test, here: {}\n\
         - [ ] Exit code 0: *cut over*. Time: ________\n\
         - [ ] Exit code 5: nothing was touched; the gate says what to do.\n\
         - [ ] Exit code 1 or 4 before the switch: the source was thawed ({}). Tell everybody; find out why.\n\
         - [ ] *switching*: frozen, and nothing thaws it by itself. The same command goes on; or go back.\n\
         - [ ] This machine died: the same command on another that has the plan and the password.\n\n\
         Going back, until it is final:\n\n\
         - [ ] {}. It runs {} on the target, brings back what it took, runs {} and thaws the source.\n\n\
         Final:\n\n\
         - [ ] {}. After it there is no way back.\n",
        of(" --rehearse"),
        of(""),
        command(source.hooks.freeze.as_ref()),
        command(cutover.switch_command.as_ref()),
        command(cutover.smoke_test.as_ref()),
        command(source.hooks.thaw.as_ref()),
        of(" --rollback"),
        command(cutover.freeze_target.as_ref()),
        command(cutover.switch_back.as_ref()),
        of(" --commit"),
    );
    line(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: &str = r#"
[repository]
url = "/srv/repository"
[[source]]
name = "pacs"
url = "/srv/pa`cs|*"
freeze = ["systemctl", "stop", "pa`cs"]
[[source]]
name = "files"
url = "/srv/files"
[cutover]
window = "Sat 22:00-23:30"
freeze = "30 minutes"
"#;

    #[test]
    fn it_names_what_the_plan_has_and_what_it_lacks() {
        let plan = Plan::parse(PLAN, Path::new("/plan.toml")).unwrap();
        let page = runbook(&plan, "plan.toml", &"ab".repeat(32));
        assert!(page.contains("| Window | Sat 22:00-23:30 |"), "{page}");
        assert!(page.contains("cutover plan.toml --source pacs --rehearse"), "{page}");
        assert!(page.contains("`` systemctl stop 'pa`cs' ``"), "{page}");
        assert!(page.contains(r"/srv/pa\`cs\|\*, in wave 1"), "{page}");
        assert!(page.contains("**missing in the plan**"));
        let plan = format!("{PLAN}together = true\n");
        let plan = Plan::parse(&plan, Path::new("/plan.toml")).unwrap();
        let page = runbook(&plan, "plan.toml", &"ab".repeat(32));
        assert!(page.contains("go **together**") && page.contains("cutover plan.toml --rehearse"));
        assert!(page.contains("drover status plan.toml --source pacs"), "{page}");
    }
}
