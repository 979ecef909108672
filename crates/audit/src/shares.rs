//! What the server shares: Samba's shares and NFS's exports.

use crate::{
    Facts, Outcome, ProbeId as P, Severity, Spec,
    words::{counted, settings},
};

/// A directory that others can reach.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// `SMB` or `NFS`.
    pub protocol: &'static str,
    /// Its name; of an export the path.
    pub name: String,
    /// The directory.
    pub path: String,
    /// Who may: clients of an export; `guests` where no password is asked for.
    pub clients: String,
    /// Whether they may write.
    pub writable: bool,
    /// Whether nobody has to say who they are.
    pub open: bool,
}

/// All shares that are known.
pub fn shares(facts: &Facts<'_>) -> Vec<Share> {
    let mut shares = smb(facts).map(|(_, shares)| shares).unwrap_or_default();
    shares.extend(exports(facts).unwrap_or_default());
    shares
}

/// Names of settings, in small letters and without spaces, and their values.
type Settings = Vec<(String, String)>;
type Section = (String, Settings);

/// Global settings and shares; an error where there is a Samba that does not say.
fn smb(facts: &Facts<'_>) -> Result<(Settings, Vec<Share>), String> {
    let text = match facts.text(P::Testparm) {
        Ok(text) => text,
        Err(why) => match facts.text(P::SmbConf) {
            Ok(text) => text,
            Err(_) if facts.is_missing(P::SmbConf) => return Ok((Vec::new(), Vec::new())),
            Err(_) => return Err(why),
        },
    };
    let mut sections: Vec<Section> = Vec::new();
    for line in text.lines().map(str::trim) {
        if line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            sections.push((name.to_lowercase(), Vec::new()));
        } else if let (Some((key, value)), Some((_, settings))) =
            (line.split_once('='), sections.last_mut())
        {
            // Samba reads names of settings without their spaces.
            let key: String = key.to_lowercase().split_whitespace().collect();
            settings.push((key, value.trim().to_owned()));
        }
    }
    let get = |settings: &[(String, String)], key: &str| {
        settings.iter().find(|(name, _)| name == key).map(|(_, value)| value.clone())
    };
    let yes = |value: Option<String>| {
        value.is_some_and(|value| matches!(&*value.to_lowercase(), "yes" | "true" | "1"))
    };
    let no = |value: Option<String>| {
        value.is_some_and(|value| matches!(&*value.to_lowercase(), "no" | "false" | "0"))
    };
    let mut global = Vec::new();
    let mut shares = Vec::new();
    for (name, settings) in sections {
        if name == "global" {
            global = settings;
            continue;
        }
        if ["printers", "print$"].contains(&name.as_str()) {
            continue;
        }
        let open = yes(get(&settings, "guestok")) || yes(get(&settings, "public"));
        let writable = no(get(&settings, "readonly"))
            || yes(get(&settings, "writeable"))
            || yes(get(&settings, "writable"));
        shares.push(Share {
            protocol: "SMB",
            path: get(&settings, "path").unwrap_or_default(),
            clients: if open { "guests" } else { "accounts" }.to_owned(),
            name,
            writable,
            open,
        });
    }
    Ok((global, shares))
}

fn exports(facts: &Facts<'_>) -> Result<Vec<Share>, String> {
    // What is in effect, else what would be.
    if let Ok(text) = facts.text(P::Etab)
        && !text.trim().is_empty()
    {
        return Ok(export_lines(&text));
    }
    let mut shares = match facts.text(P::Exports) {
        Ok(text) => export_lines(&text),
        Err(_) if facts.is_missing(P::Exports) => Vec::new(),
        Err(why) => return Err(why),
    };
    for (_, answer) in facts.answers.all(P::ExportsD) {
        if let Ok(content) = answer {
            shares.extend(export_lines(&content.text()));
        }
    }
    Ok(shares)
}

/// `/srv/images 10.0.0.0/8(ro) *(rw,no_root_squash)`
fn export_lines(text: &str) -> Vec<Share> {
    let mut shares = Vec::new();
    for line in settings(text) {
        let (path, rest) = match line.strip_prefix('"').and_then(|line| line.split_once('"')) {
            Some(quoted) => quoted,
            None => line.split_once([' ', '\t']).unwrap_or((line, "")),
        };
        let clients: Vec<&str> = rest.split_ascii_whitespace().collect();
        let everyone = if clients.is_empty() { vec!["*"] } else { clients };
        for client in everyone.into_iter().filter(|client| !client.starts_with('-')) {
            let (host, options) = client.split_once('(').unwrap_or((client, ""));
            let options: Vec<&str> = options.trim_end_matches(')').split(',').collect();
            let host = if host.is_empty() { "*" } else { host };
            let squash = if options.contains(&"no_root_squash") { ", root is root" } else { "" };
            shares.push(Share {
                protocol: "NFS",
                name: path.to_owned(),
                path: path.to_owned(),
                clients: format!("{host}{squash}"),
                writable: options.contains(&"rw"),
                open: matches!(host, "*" | "0.0.0.0/0" | "::/0")
                    && !options.iter().any(|o| o.starts_with("sec=krb5")),
            });
        }
    }
    shares
}

pub(crate) const CHECKS: &[Spec] = &[
    Spec {
        id: "smb-guests",
        title: "Samba's shares ask who is there",
        severity: Severity::High,
        likelihood: "high",
        impact: "high",
        remedy: "Turn guest ok off for these shares, and give accounts to those who need them.",
        reference: "NIST SP 800-53 AC-3, AC-14; 45 CFR 164.312(a)(1), 164.312(d)",
        asks: &[P::Testparm, P::SmbConf],
        run: guests,
    },
    Spec {
        id: "smb1",
        title: "Samba refuses SMB1",
        severity: Severity::High,
        likelihood: "high",
        impact: "high",
        remedy: "Set server min protocol = SMB2. A modality that knows only SMB1 needs a share of its own \
                 on a machine of its own.",
        reference: "NIST SP 800-53 CM-7, SC-8",
        asks: &[P::Testparm, P::SmbConf, P::SambaVersion],
        run: smb1,
    },
    Spec {
        id: "nfs-world",
        title: "NFS exports name their clients",
        severity: Severity::High,
        likelihood: "medium",
        impact: "high",
        remedy: "Export to the addresses that the dependency map names, with root squashed.",
        reference: "NIST SP 800-53 AC-3, SC-7; 45 CFR 164.312(a)(1)",
        asks: &[P::Etab, P::Exports, P::ExportsD],
        run: nfs_world,
    },
    Spec {
        id: "nfs-root",
        title: "NFS clients' root is not the server's",
        severity: Severity::Medium,
        likelihood: "medium",
        impact: "high",
        remedy: "Take no_root_squash out of these exports.",
        reference: "NIST SP 800-53 AC-6",
        asks: &[P::Etab, P::Exports, P::ExportsD],
        run: nfs_root,
    },
    Spec {
        id: "nfs-versions",
        title: "NFS is served in version 4 only",
        severity: Severity::Low,
        likelihood: "low",
        impact: "medium",
        remedy: "Turn versions 2 and 3 off once no client uses them: they know no users, and take a \
                 client's word.",
        reference: "NIST SP 800-53 CM-7, IA-3",
        asks: &[P::NfsVersions],
        run: nfs_versions,
    },
];

fn guests(facts: &Facts<'_>) -> Outcome {
    match smb(facts) {
        Ok((_, shares)) => {
            let open = shares.iter().filter(|s| s.open);
            let found: Vec<_> = open
                .map(|s| format!("{}{}", s.name, if s.writable { " (writable)" } else { "" }))
                .collect();
            Outcome::of(
                found,
                format!("{} of Samba", counted(shares.len(), "share", "shares")),
                "shares take guests",
            )
        }
        Err(why) => Outcome::CouldNotCheck(why),
    }
}

fn smb1(facts: &Facts<'_>) -> Outcome {
    let (global, shares) = match smb(facts) {
        Ok(smb) => smb,
        Err(why) => return Outcome::CouldNotCheck(why),
    };
    if global.is_empty() && shares.is_empty() {
        return Outcome::Pass("there is no Samba".to_owned());
    }
    let keys = ["serverminprotocol", "minprotocol"];
    let least = global.iter().find(|(key, _)| keys.contains(&key.as_str()));
    match least {
        Some((_, value))
            if ["NT1", "CORE", "LANMAN1", "LANMAN2", "COREPLUS"]
                .contains(&&*value.to_uppercase()) =>
        {
            Outcome::finding(format!("server min protocol = {value}"), Vec::new())
        }
        Some((_, value)) => Outcome::Pass(format!("server min protocol = {value}")),
        None => {
            let text = crate::known!(facts.text(P::SambaVersion));
            let numbers: Vec<u32> = text
                .split(|c: char| !c.is_ascii_digit())
                .filter_map(|number| number.parse().ok())
                .take(2)
                .collect();
            // Since 4.11 SMB1 is off unless it is asked for.
            match numbers.as_slice() {
                [] => Outcome::CouldNotCheck("smbd does not say its version".to_owned()),
                version if version < [4, 11].as_slice() => Outcome::finding(
                    format!("server min protocol is not set, and {} allows SMB1", text.trim()),
                    Vec::new(),
                ),
                _ => Outcome::Pass(format!("{} refuses it unless told otherwise", text.trim())),
            }
        }
    }
}

fn nfs_world(facts: &Facts<'_>) -> Outcome {
    let shares = crate::known!(exports(facts));
    let open = shares.iter().filter(|s| s.open);
    let found = open.map(|s| format!("{} to {}", s.path, s.clients)).collect();
    Outcome::of(found, counted(shares.len(), "export", "exports"), "are open to every address")
}

fn nfs_root(facts: &Facts<'_>) -> Outcome {
    let shares = crate::known!(exports(facts));
    let found = shares.iter().filter(|s| s.clients.ends_with("root is root"));
    let found = found.map(|s| format!("{} to {}", s.path, s.clients)).collect();
    Outcome::of(found, counted(shares.len(), "export", "exports"), "have no_root_squash")
}

fn nfs_versions(facts: &Facts<'_>) -> Outcome {
    match facts.text(P::NfsVersions) {
        Ok(text) => {
            let old = text.split_ascii_whitespace().filter(|v| matches!(*v, "+2" | "+3"));
            let found = old.map(|v| format!("NFSv{}", &v[1..])).collect();
            Outcome::of(found, text.trim().to_owned(), "old versions are served")
        }
        Err(_) if facts.is_missing(P::NfsVersions) && facts.has_proc() => {
            Outcome::Pass("the kernel serves no NFS".to_owned())
        }
        Err(why) => Outcome::CouldNotCheck(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exports_name_who_may() {
        let text =
            "# x\n/srv/images 10.0.0.0/8(ro) *(rw,no_root_squash)\n\"/srv/a b\"\t(ro)\n/all\n";
        let shown: Vec<_> = export_lines(text)
            .into_iter()
            .map(|s| (s.path, s.clients, s.writable, s.open))
            .collect();
        assert_eq!(
            shown,
            [
                ("/srv/images".into(), "10.0.0.0/8".to_owned(), false, false),
                ("/srv/images".to_owned(), "*, root is root".into(), true, true),
                ("/srv/a b".into(), "*".into(), false, true),
                ("/all".into(), "*".into(), false, true),
            ]
        );
    }
}
