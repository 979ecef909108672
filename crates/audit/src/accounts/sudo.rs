//! Who may act as root.

use std::collections::BTreeSet;

use crate::{Absent, Facts, Outcome, ProbeId as P};

/// Rules of sudo, with lines that go on joined.
fn rules(facts: &Facts<'_>) -> Result<Vec<String>, String> {
    let mut rules = Vec::new();
    let mut add = |text: &str| {
        let joined = text.replace("\\\n", " ");
        for line in joined.lines().map(str::trim) {
            // `#1000` is an account by its number; everything else with `#` is a comment or includes.
            let comment =
                line.starts_with('#') && !line[1..].starts_with(|c: char| c.is_ascii_digit());
            let other =
                ["Defaults", "@include", "User_Alias", "Cmnd_Alias", "Host_Alias", "Runas_Alias"];
            if !line.is_empty() && !comment && !other.iter().any(|start| line.starts_with(start)) {
                rules.push(line.to_owned());
            }
        }
    };
    match facts.text(P::Sudoers) {
        Ok(text) => add(&text),
        Err(_) if facts.is_missing(P::Sudoers) => return Ok(Vec::new()),
        Err(why) => return Err(why),
    }
    for (file, answer) in facts.answers.all(P::SudoersD) {
        match answer {
            Ok(content) => add(&content.text()),
            Err(Absent::Missing) => {}
            Err(absent) => return Err(format!("{file} {}", absent.why())),
        }
    }
    Ok(rules)
}

/// Members of the groups that sudo's own rules are for in most distributions, and who has a rule.
pub(super) fn administrators(facts: &Facts<'_>) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    if let Ok(text) = facts.text(P::Group) {
        for line in text.lines() {
            let fields: Vec<&str> = line.split(':').collect();
            if let ["sudo" | "wheel" | "admin", _, _, members] = fields.as_slice() {
                names.extend(members.split(',').filter(|m| !m.is_empty()).map(str::to_owned));
            }
        }
    }
    for rule in rules(facts).unwrap_or_default() {
        let who = rule.split([' ', '\t']).next().unwrap_or_default();
        if !who.starts_with(['%', '#']) && who != "ALL" {
            names.insert(who.to_owned());
        }
    }
    names
}

pub(super) fn without_password(facts: &Facts<'_>) -> Outcome {
    let rules = crate::known!(rules(facts));
    let mut found = Vec::new();
    for rule in &rules {
        let Some((_, commands)) = rule.split_once("NOPASSWD:") else { continue };
        let all = commands.split(',').any(|command| command.trim() == "ALL");
        let who = rule.split([' ', '\t']).next().unwrap_or_default();
        if all {
            found.push(format!("{who} (any command)"));
        } else if who == "ALL" || who.starts_with('%') {
            found.push(format!("{who} (some commands)"));
        }
    }
    Outcome::of(found, format!("{} rules, none of this sort", rules.len()), "need no password")
}
