//! Accounts: who may log in, with what password, with which keys, and as whom.

mod keys;
mod password;
mod sudo;

use std::collections::{BTreeMap, BTreeSet};

use crate::{Facts, Outcome, ProbeId as P, Severity, Spec, known, system::listed};
use password::Weakness;

pub use password::{MOST_TRIED, WELL_KNOWN};

/// An account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Its name.
    pub name: String,
    /// Its number.
    pub uid: u32,
    /// Its shell.
    pub shell: String,
    /// Its home.
    pub home: String,
    /// Whether its shell lets someone in.
    pub login: bool,
    /// `none`, `locked`, `empty`, `set`, or `unknown` where it cannot be seen.
    pub password: &'static str,
    /// How the password is kept: `sha512`, `yescrypt`, `md5`, …; empty where that is not known.
    pub scheme: &'static str,
    /// Days since the password was changed, where that is known.
    pub password_age: Option<i64>,
    /// Whether it may act as root.
    pub administrator: bool,
    /// Keys that let someone in as it.
    pub keys: u64,
    /// When it was last used: a day, `never`, or empty where that is not known.
    pub last_login: String,
}

/// Where accounts have their homes, for what is looked for there: those of people, of root, and of
/// whoever has a shell, each once.
pub fn homes(passwd: &str) -> Vec<String> {
    let mut homes = BTreeSet::new();
    for account in passwd.lines().filter_map(entry) {
        let usual = account.home.starts_with('/') && account.home.len() > 1;
        if usual && (account.login || account.uid >= 1000) && !account.home.contains("/../") {
            homes.insert(account.home.trim_end_matches('/').to_owned());
        }
    }
    homes.into_iter().take(500).collect()
}

/// A line of `/etc/passwd`.
fn entry(line: &str) -> Option<Account> {
    let fields: Vec<&str> = line.split(':').collect();
    let [name, password, uid, _, _, home, shell] = fields.as_slice() else { return None };
    const CLOSED: [&str; 5] = ["nologin", "false", "sync", "shutdown", "halt"];
    let program = shell.rsplit('/').next().unwrap_or_default();
    Some(Account {
        name: (*name).to_owned(),
        uid: uid.parse().ok()?,
        shell: (*shell).to_owned(),
        home: (*home).to_owned(),
        login: !CLOSED.contains(&program),
        password: if password.is_empty() { "empty" } else { "unknown" },
        ..Account::default()
    })
}

/// All accounts.
pub fn accounts(facts: &Facts<'_>) -> Result<Vec<Account>, String> {
    let text = facts.text(P::Passwd)?;
    let mut accounts: Vec<Account> = text.lines().filter_map(entry).collect();
    if let Ok(shadow) = facts.text(P::Shadow) {
        let lines: BTreeMap<&str, Vec<&str>> = shadow
            .lines()
            .map(|line| line.split(':').collect::<Vec<_>>())
            .filter(|fields| fields.len() >= 3)
            .map(|fields| (fields[0], fields))
            .collect();
        for account in &mut accounts {
            let Some(fields) = lines.get(account.name.as_str()) else { continue };
            (account.password, account.scheme) = password::state(fields[1]);
            let changed = fields[2].parse::<i64>().ok().filter(|day| *day > 0);
            account.password_age = changed.map(|day| facts.days_since(0) - day);
        }
    }
    let administrators = sudo::administrators(facts);
    let keys = keys::of_homes(facts);
    let last = facts.text(P::LastLog).map(|text| last_logins(&text)).unwrap_or_default();
    for account in &mut accounts {
        account.administrator = account.uid == 0 || administrators.contains(&account.name);
        let own = keys.iter().filter(|key| key.home == account.home.trim_end_matches('/'));
        account.keys = own.count() as u64;
        account.last_login = last.get(&account.name).cloned().unwrap_or_default();
    }
    Ok(accounts)
}

/// Of `lastlog`: a day, or `never`.
fn last_logins(text: &str) -> BTreeMap<String, String> {
    let mut days = BTreeMap::new();
    for line in text.lines().skip(1) {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let Some(name) = fields.first() else { continue };
        let day = match line.contains("**Never logged in**") {
            true => Some("never".to_owned()),
            false => last_day(&fields),
        };
        if let Some(day) = day {
            days.insert((*name).to_owned(), day);
        }
    }
    days
}

/// The day of `… Thu Nov 26 10:11:12 +0000 2026`.
fn last_day(fields: &[&str]) -> Option<String> {
    let [.., month, day, _, _, year] = fields else { return None };
    const MONTHS: &str = "JanFebMarAprMayJunJulAugSepOctNovDec";
    let month = MONTHS.find(*month).filter(|at| at % 3 == 0 && month.len() == 3)? / 3 + 1;
    let date = jiff::civil::Date::new(year.parse().ok()?, month as i8, day.parse().ok()?);
    Some(date.ok()?.to_string())
}

const SHADOW: &[P] = &[P::Passwd, P::Shadow];

pub(crate) const CHECKS: &[Spec] = &[
    Spec {
        id: "empty-password",
        title: "Every account that lets someone in asks for something",
        severity: Severity::High,
        likelihood: "high",
        impact: "high",
        remedy: "Lock these accounts (passwd -l), or give them a password.",
        reference: "NIST SP 800-53 IA-5; 45 CFR 164.312(d), 164.308(a)(5)(ii)(D)",
        asks: SHADOW,
        run: empty,
    },
    Spec {
        id: "well-known-password",
        title: "No account has a default or well-known password",
        severity: Severity::High,
        likelihood: "high",
        impact: "high",
        remedy: "Change these passwords now, on every system that shares them, and look at who has \
                 logged in with them.",
        reference: "NIST SP 800-53 IA-5(1); 45 CFR 164.312(d), 164.308(a)(5)(ii)(D)",
        asks: SHADOW,
        run: well_known,
    },
    Spec {
        id: "weak-password-hash",
        title: "Passwords are kept so that they cannot be guessed quickly",
        severity: Severity::Medium,
        likelihood: "medium",
        impact: "high",
        remedy: "Set ENCRYPT_METHOD to YESCRYPT or SHA512 and have these accounts change their \
                 passwords.",
        reference: "NIST SP 800-53 IA-5(1), SC-13",
        asks: SHADOW,
        run: weak_hash,
    },
    Spec {
        id: "shadow-readable",
        title: "Only root reads the password hashes",
        severity: Severity::High,
        likelihood: "medium",
        impact: "high",
        remedy: "chown root:shadow /etc/shadow and chmod 640, then change every password: they may have \
                 been copied.",
        reference: "NIST SP 800-53 AC-6, IA-5",
        asks: &[P::Etc, P::Passwd],
        run: shadow_readable,
    },
    Spec {
        id: "second-root",
        title: "Only root has the number 0",
        severity: Severity::High,
        likelihood: "medium",
        impact: "high",
        remedy: "Find out whose these accounts are; give people accounts of their own, and sudo.",
        reference: "NIST SP 800-53 AC-6, IA-4; 45 CFR 164.312(a)(2)(i)",
        asks: &[P::Passwd],
        run: second_root,
    },
    Spec {
        id: "stale-accounts",
        title: "Accounts that let someone in are used",
        severity: Severity::Medium,
        likelihood: "medium",
        impact: "medium",
        remedy: "Lock accounts of people who have left, and take none of them to the new server.",
        reference: "NIST SP 800-53 AC-2(3); 45 CFR 164.308(a)(3)(ii)(C)",
        asks: &[P::Passwd, P::Shadow, P::LastLog],
        run: stale,
    },
    Spec {
        id: "sudo-without-password",
        title: "Acting as root takes a password",
        severity: Severity::Medium,
        likelihood: "medium",
        impact: "high",
        remedy: "Limit NOPASSWD to the commands that a service needs, and take it from people.",
        reference: "NIST SP 800-53 AC-6(5), IA-11; 45 CFR 164.308(a)(4)(ii)(B)",
        asks: &[P::Sudoers, P::SudoersD, P::Group],
        run: sudo::without_password,
    },
    Spec {
        id: "weak-keys",
        title: "Keys that let someone in are strong",
        severity: Severity::Medium,
        likelihood: "low",
        impact: "high",
        remedy: "Replace these keys with Ed25519 keys.",
        reference: "NIST SP 800-53 IA-5(2), SC-12",
        asks: &[P::Passwd, P::AuthorizedKeys],
        run: keys::weak,
    },
    Spec {
        id: "shared-keys",
        title: "Each key lets its owner in as one account",
        severity: Severity::Low,
        likelihood: "medium",
        impact: "medium",
        remedy: "Give each person one account and each account its own keys, so that the audit trail \
                 names people.",
        reference: "NIST SP 800-53 IA-2, AC-2; 45 CFR 164.312(a)(2)(i)",
        asks: &[P::Passwd, P::AuthorizedKeys],
        run: keys::shared,
    },
    Spec {
        id: "rhosts",
        title: "No host is trusted without a password",
        severity: Severity::High,
        likelihood: "medium",
        impact: "high",
        remedy: "Remove hosts.equiv and .rhosts files.",
        reference: "NIST SP 800-53 IA-2, AC-17",
        asks: &[P::Etc, P::Passwd, P::Rhosts],
        run: rhosts,
    },
];

fn empty(facts: &Facts<'_>) -> Outcome {
    let accounts = known!(accounts(facts));
    let found: Vec<String> = accounts
        .iter()
        .filter(|account| account.password == "empty" && account.login)
        .map(|account| account.name.clone())
        .collect();
    match facts.text(P::Shadow) {
        Err(why) if found.is_empty() => Outcome::CouldNotCheck(why),
        _ => Outcome::of(found, "none has an empty password", "have an empty password"),
    }
}

fn well_known(facts: &Facts<'_>) -> Outcome {
    let shadow = known!(facts.text(P::Shadow));
    let accounts = known!(accounts(facts));
    let login = |name: &str| accounts.iter().any(|account| account.name == name && account.login);
    let tried = password::try_all(&shadow, login);
    let (mut found, mut unchecked) = (Vec::new(), Vec::new());
    for (name, weakness) in tried.accounts {
        match weakness {
            Weakness::WellKnown => found.push(name),
            Weakness::NotTried(why) => unchecked.push(format!("{name} ({why})")),
            Weakness::None => {}
        }
    }
    let counted = format!("{} accounts, up to {} passwords each", tried.checked, tried.passwords);
    match (found.is_empty(), unchecked.is_empty()) {
        (true, false) => Outcome::CouldNotCheck(format!(
            "{counted}: none; not tried: {}",
            crate::check::listed(&unchecked)
        )),
        _ => Outcome::of(found, format!("{counted}: none"), "have a well-known password"),
    }
}

fn weak_hash(facts: &Facts<'_>) -> Outcome {
    known!(facts.text(P::Shadow));
    let accounts = known!(accounts(facts));
    let weak = accounts.iter().filter(|account| matches!(account.scheme, "md5" | "des" | "bsdi"));
    let found = weak.map(|account| format!("{} ({})", account.name, account.scheme)).collect();
    Outcome::of(found, "none is kept as DES or MD5", "are kept as DES or MD5")
}

fn shadow_readable(facts: &Facts<'_>) -> Outcome {
    let etc = known!(facts.text(P::Etc));
    let passwd = known!(facts.text(P::Passwd));
    let in_passwd = passwd.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let (name, password) = (fields.next()?, fields.next()?);
        (password.len() > 2).then(|| format!("{name} in /etc/passwd"))
    });
    let mut found: Vec<String> = in_passwd.collect();
    for name in ["shadow", "shadow-", "gshadow"] {
        let Some(file) = listed(&etc).find(|file| file.name == name) else { continue };
        if file.mode & 0o007 != 0 || file.owner != 0 {
            found.push(format!("/etc/{name} (mode {:o}, owner {})", file.mode, file.owner));
        }
    }
    Outcome::of(found, "no file of hashes is open to others", "are open to others")
}

fn second_root(facts: &Facts<'_>) -> Outcome {
    let accounts = known!(accounts(facts));
    let found = accounts.iter().filter(|account| account.uid == 0 && account.name != "root");
    let found = found.map(|account| account.name.clone()).collect();
    Outcome::of(found, "only root", "accounts are root by another name")
}

fn stale(facts: &Facts<'_>) -> Outcome {
    let accounts = known!(accounts(facts));
    known!(facts.text(P::LastLog));
    let today = facts.days_since(0);
    let epoch = jiff::civil::date(1970, 1, 1);
    let mut found = Vec::new();
    for account in accounts.iter().filter(|a| a.login && a.uid >= 1000 && a.password == "set") {
        let last = account.last_login.parse::<jiff::civil::Date>().ok();
        let day =
            last.and_then(|date| epoch.until(date).ok()).map(|span| i64::from(span.get_days()));
        match day {
            Some(day) if today - day > 180 => {
                found.push(format!("{} (last used {})", account.name, account.last_login));
            }
            None if account.last_login == "never"
                && account.password_age.is_some_and(|age| age > 180) =>
            {
                found.push(format!("{} (never used)", account.name));
            }
            _ => {}
        }
    }
    Outcome::of(found, "none was idle for half a year", "were not used for half a year")
}

fn rhosts(facts: &Facts<'_>) -> Outcome {
    let etc = known!(facts.text(P::Etc));
    let mut found: Vec<String> = listed(&etc)
        .filter(|file| {
            matches!(file.name.as_str(), "hosts.equiv" | "shosts.equiv") && file.size > 0
        })
        .map(|file| format!("/etc/{}", file.name))
        .collect();
    let mut denied = None;
    for (file, answer) in facts.answers.all(P::Rhosts) {
        match answer {
            Ok(content) if !content.bytes.is_empty() => found.push(file.clone()),
            Ok(_) | Err(crate::Absent::Missing) => {}
            Err(absent) => denied = Some(format!("{file} {}", absent.why())),
        }
    }
    match (found.is_empty(), denied) {
        (true, Some(why)) => Outcome::CouldNotCheck(why),
        _ => Outcome::of(found, "there is no such file", "trust other hosts"),
    }
}

#[cfg(test)]
mod tests;
