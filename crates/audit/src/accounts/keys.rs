//! Keys that let someone in.

use std::collections::BTreeMap;

use data_encoding::BASE64;

use crate::{Absent, Facts, Outcome, ProbeId as P};

/// A key of an account.
pub(super) struct Key {
    pub home: String,
    algorithm: String,
    /// The key itself, in base64: to see where it is again.
    blob: String,
    /// Of RSA.
    bits: Option<usize>,
}

/// All keys that are seen.
pub(super) fn of_homes(facts: &Facts<'_>) -> Vec<Key> {
    let mut keys = Vec::new();
    for (file, answer) in facts.answers.all(P::AuthorizedKeys) {
        let Ok(content) = answer else { continue };
        let home = file.strip_suffix("/.ssh/authorized_keys").unwrap_or(file);
        keys.extend(content.text().lines().filter_map(|line| key(home, line)));
    }
    keys
}

/// A line of `authorized_keys`: options, which may hold quoted spaces, then the key.
fn key(home: &str, line: &str) -> Option<Key> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let at = words.iter().position(|word| {
        word.starts_with("ssh-") || word.starts_with("ecdsa-sha2-") || word.starts_with("sk-")
    })?;
    let blob = words.get(at + 1)?;
    Some(Key {
        home: home.to_owned(),
        algorithm: words[at].to_owned(),
        blob: (*blob).to_owned(),
        bits: (words[at] == "ssh-rsa").then(|| rsa_bits(blob)).flatten(),
    })
}

/// The length of an RSA key's modulus: the third string of the key.
fn rsa_bits(blob: &str) -> Option<usize> {
    let bytes = BASE64.decode(blob.as_bytes()).ok()?;
    let mut rest = bytes.as_slice();
    let mut string = || {
        let (length, tail) = rest.split_first_chunk::<4>()?;
        let (string, tail) = tail.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        rest = tail;
        Some(string)
    };
    let (_, _, modulus) = (string()?, string()?, string()?);
    let zeros = modulus.iter().take_while(|byte| **byte == 0).count();
    let first = modulus.get(zeros)?;
    Some((modulus.len() - zeros) * 8 - first.leading_zeros() as usize)
}

/// Why some keys cannot be seen, if so.
fn unseen(facts: &Facts<'_>) -> Option<String> {
    if let Err(why) = facts.text(P::Passwd) {
        return Some(why);
    }
    facts.answers.all(P::AuthorizedKeys).iter().find_map(|(file, answer)| match answer {
        Ok(_) | Err(Absent::Missing) => None,
        Err(absent) => Some(format!("{file} {}", absent.why())),
    })
}

pub(super) fn weak(facts: &Facts<'_>) -> Outcome {
    let keys = of_homes(facts);
    let weak = keys
        .iter()
        .filter(|key| key.algorithm == "ssh-dss" || key.bits.is_some_and(|bits| bits < 2048));
    let found: Vec<_> = weak
        .map(|key| match key.bits {
            Some(bits) => format!("{} (RSA, {bits} bits)", key.home),
            None => format!("{} (DSA)", key.home),
        })
        .collect();
    match unseen(facts) {
        Some(why) if found.is_empty() => Outcome::CouldNotCheck(why),
        _ => Outcome::of(found, format!("{} keys", keys.len()), "are too weak"),
    }
}

pub(super) fn shared(facts: &Facts<'_>) -> Outcome {
    let keys = of_homes(facts);
    let mut homes: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for key in &keys {
        homes.entry(&key.blob).or_default().push(&key.home);
    }
    let several = homes.into_values().filter_map(|mut homes| {
        homes.sort_unstable();
        homes.dedup();
        (homes.len() > 1).then(|| homes.join(" and "))
    });
    let found: Vec<_> = several.collect();
    match unseen(facts) {
        Some(why) if found.is_empty() => Outcome::CouldNotCheck(why),
        _ => Outcome::of(found, format!("{} keys", keys.len()), "keys are shared"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_behind_options() {
        let line = "from=\"10.0.0.0/8\",command=\"a b\" ssh-ed25519 AAAAC3Nz someone@host";
        assert_eq!(key("/root", line).map(|key| key.blob), Some("AAAAC3Nz".into()));
        assert!(key("/root", "# ssh-rsa AAAA").is_none());
        assert!(key("/root", "ssh-rsa").is_none());
        // A modulus of 0x00 0x80 …: 1024 bits.
        let mut blob = vec![0, 0, 0, 1, b'x', 0, 0, 0, 1, 3, 0, 0, 0, 129, 0, 0x80];
        blob.extend([7; 127]);
        assert_eq!(rsa_bits(&BASE64.encode(&blob)), Some(1024));
    }
}
