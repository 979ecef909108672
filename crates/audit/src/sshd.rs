//! What the SSH server allows.

use crate::{Absent, Facts, Outcome, ProbeId as P, Severity, Spec, known, system::keyed};

/// Settings by their name in small letters.
struct Settings {
    pairs: Vec<(String, String)>,
    /// What `sshd -T` says; else what the files say, and the program's own defaults are not known.
    effective: bool,
    /// The `Match` blocks of the files, whose settings are for some only.
    conditional: usize,
}

impl Settings {
    fn get(&self, key: &str) -> Option<&str> {
        self.pairs.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// Words on where this comes from.
    fn from(&self) -> &'static str {
        if self.effective { "sshd -T" } else { "the files; defaults taken from OpenSSH's manual" }
    }
}

/// `None` where there is no SSH server.
fn settings(facts: &Facts<'_>) -> Result<Option<Settings>, String> {
    let mut pairs = Vec::new();
    let mut conditional = 0;
    // A `Match` block ends with its file.
    let mut add = |text: &str| {
        let mut always = true;
        for (key, value) in keyed(text) {
            let key = key.to_lowercase();
            if key == "match" {
                always = value.eq_ignore_ascii_case("all");
                conditional += usize::from(!always);
            } else if always {
                // The first one counts.
                pairs.push((key, value.trim_matches('"').to_owned()));
            }
        }
    };
    if let Ok(text) = facts.text(P::SshdEffective) {
        add(&text);
        return Ok(Some(Settings { pairs, effective: true, conditional }));
    }
    let text = match facts.text(P::SshdConfig) {
        Ok(text) => text,
        Err(_) if facts.is_missing(P::SshdConfig) => return Ok(None),
        Err(why) => return Err(why),
    };
    // Debian and its kin include the folder at the beginning of the file.
    if keyed(&text)
        .any(|(key, value)| key.eq_ignore_ascii_case("include") && value.contains("sshd_config.d"))
    {
        for (_, answer) in facts.answers.all(P::SshdConfigD) {
            match answer {
                Ok(content) => add(&content.text()),
                Err(Absent::Missing) => {}
                Err(absent) => return Err(facts.why(P::SshdConfigD, absent)),
            }
        }
    }
    add(&text);
    Ok(Some(Settings { pairs, effective: false, conditional }))
}

macro_rules! server {
    ($facts:expr) => {
        match known!(settings($facts)) {
            Some(settings) => settings,
            None => return Outcome::Pass("there is no SSH server".to_owned()),
        }
    };
}

const ASKS: &[P] = &[P::SshdEffective, P::SshdConfig, P::SshdConfigD];

pub(crate) const CHECKS: &[Spec] = &[
    Spec {
        id: "ssh-root",
        title: "Root cannot come in by password",
        severity: Severity::High,
        likelihood: "high",
        impact: "high",
        remedy: "Set PermitRootLogin prohibit-password, or no.",
        reference: "NIST SP 800-53 AC-6, AC-17, IA-2; 45 CFR 164.312(a)(2)(i)",
        asks: ASKS,
        run: root,
    },
    Spec {
        id: "ssh-passwords",
        title: "SSH takes keys only",
        severity: Severity::Low,
        likelihood: "medium",
        impact: "high",
        remedy: "Set PasswordAuthentication no once everyone has a key.",
        reference: "NIST SP 800-53 IA-2, IA-5; 45 CFR 164.312(d)",
        asks: ASKS,
        run: passwords,
    },
    Spec {
        id: "ssh-empty-passwords",
        title: "SSH takes no empty passwords",
        severity: Severity::High,
        likelihood: "high",
        impact: "high",
        remedy: "Set PermitEmptyPasswords no.",
        reference: "NIST SP 800-53 IA-5; 45 CFR 164.312(d)",
        asks: ASKS,
        run: empty,
    },
    Spec {
        id: "ssh-algorithms",
        title: "SSH offers no broken algorithms",
        severity: Severity::Medium,
        likelihood: "low",
        impact: "medium",
        remedy: "Remove the algorithms that the evidence names, and protocol 1; for an old client that \
                 needs one, make an exception that names it.",
        reference: "NIST SP 800-53 SC-13, SC-8; 45 CFR 164.312(e)(2)(ii)",
        asks: ASKS,
        run: algorithms,
    },
];

fn root(facts: &Facts<'_>) -> Outcome {
    let server = server!(facts);
    let root = server.get("permitrootlogin");
    let passwords = server.get("passwordauthentication").unwrap_or("yes");
    match root {
        Some("yes") if passwords != "no" => Outcome::finding(
            format!("PermitRootLogin yes with passwords allowed ({})", server.from()),
            vec!["/etc/ssh/sshd_config".into()],
        ),
        Some(value) => Outcome::Pass(format!("PermitRootLogin {value} ({})", server.from())),
        // Before OpenSSH 7.0 the default was yes.
        None => Outcome::CouldNotCheck(format!(
            "PermitRootLogin is not in the files, and its default depends on the version; {}",
            facts.text(P::SshdEffective).err().unwrap_or_default()
        )),
    }
}

fn passwords(facts: &Facts<'_>) -> Outcome {
    let server = server!(facts);
    let interactive = server
        .get("kbdinteractiveauthentication")
        .or_else(|| server.get("challengeresponseauthentication"))
        .unwrap_or("yes");
    let interactive = interactive != "no" && server.get("usepam") == Some("yes");
    let some = match server.conditional {
        0 => String::new(),
        n => format!("; {n} Match blocks say otherwise for some"),
    };
    match server.get("passwordauthentication").unwrap_or("yes") {
        "no" if !interactive => {
            Outcome::Pass(format!("PasswordAuthentication no ({}){some}", server.from()))
        }
        "no" => Outcome::finding(
            format!("passwords are asked for by keyboard-interactive ({}){some}", server.from()),
            Vec::new(),
        ),
        value => Outcome::finding(
            format!("PasswordAuthentication {value} ({}){some}", server.from()),
            Vec::new(),
        ),
    }
}

fn empty(facts: &Facts<'_>) -> Outcome {
    let server = server!(facts);
    match server.get("permitemptypasswords").unwrap_or("no") {
        "no" => Outcome::Pass(format!("PermitEmptyPasswords no ({})", server.from())),
        value => Outcome::finding(
            format!("PermitEmptyPasswords {value} ({})", server.from()),
            vec!["/etc/ssh/sshd_config".into()],
        ),
    }
}

fn algorithms(facts: &Facts<'_>) -> Outcome {
    let server = server!(facts);
    // Broken, or with SHA-1 or MD5.
    const WEAK: [&str; 9] = [
        "-cbc",
        "arcfour",
        "3des",
        "blowfish",
        "cast128",
        "group1-sha1",
        "group14-sha1",
        "group-exchange-sha1",
        "ssh-dss",
    ];
    const WEAK_MACS: [&str; 3] = ["hmac-md5", "hmac-sha1-96", "hmac-ripemd160"];
    let mut found = Vec::new();
    for key in ["ciphers", "kexalgorithms", "macs", "hostkeyalgorithms", "pubkeyacceptedalgorithms"]
    {
        let Some(value) = server.get(key) else { continue };
        // A list that takes away names what it takes away.
        if value.starts_with('-') {
            continue;
        }
        let names = value.trim_start_matches(['+', '^']).split(',').map(str::trim);
        let weak = names.filter(|name| {
            let weak = if key == "macs" { WEAK_MACS.as_slice() } else { WEAK.as_slice() };
            weak.iter().any(|mark| name.contains(mark)) || *name == "ssh-rsa"
        });
        found.extend(weak.map(str::to_owned));
    }
    if server.get("protocol").is_some_and(|value| value.contains('1')) {
        found.push("protocol 1".to_owned());
    }
    found.sort();
    found.dedup();
    if found.is_empty() && !server.effective {
        return Outcome::CouldNotCheck(format!(
            "the files name no broken algorithm, and what this version offers by itself only sshd -T \
             says; {}",
            facts.text(P::SshdEffective).err().unwrap_or_default()
        ));
    }
    Outcome::of(found, format!("none ({})", server.from()), "are offered")
}
