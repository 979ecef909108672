//! Whether a password is one that everybody knows. A hash comes in here, and a word goes out.
//!
//! Nobody is logged in as: the few passwords that are tried are hashed as the system does it, and
//! compared. What a hash says about its own cost is bounded, so that a file made to keep an auditor
//! busy does not.

use bcrypt::verify as verify_bcrypt;
use md5::{Digest, Md5};
use sha_crypt::{PasswordVerifier, ShaCrypt};
use yescrypt::Yescrypt;

/// What is tried besides the account's own name: defaults of systems and of medical software, and the
/// first of every list of leaked passwords.
pub const WELL_KNOWN: [&str; 32] = [
    "",
    "password",
    "admin",
    "123456",
    "12345678",
    "changeme",
    "root",
    "toor",
    "default",
    "guest",
    "test",
    "user",
    "welcome",
    "letmein",
    "qwerty",
    "secret",
    "service",
    "support",
    "system",
    "manager",
    "Password1",
    "P@ssw0rd",
    "Welcome1",
    "passw0rd",
    "1234",
    "12345",
    "medical",
    "dicom",
    "pacs",
    "orthanc",
    "clinic",
    "hospital",
];

/// What is made of the account's name beside the name itself.
const ENDINGS: [&str; 3] = ["1", "123", "2024"];

/// At most this many accounts are tried.
pub const MOST_TRIED: usize = 200;

/// The work of all tries together; one is about a millisecond of a processor.
const BUDGET: u64 = 60_000;

/// What is known of one account's password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Weakness {
    /// It is none of those that were tried.
    None,
    /// It is one of them; which one is not said.
    WellKnown,
    /// It was not tried, and why.
    NotTried(&'static str),
}

/// What came of all accounts.
pub(super) struct Tried {
    pub accounts: Vec<(String, Weakness)>,
    pub checked: usize,
    pub passwords: usize,
}

/// What the second field of `/etc/shadow` says: whether there is a password, and how it is kept.
pub(super) fn state(field: &str) -> (&'static str, &'static str) {
    if field.is_empty() {
        return ("empty", "");
    }
    let hash = field.trim_start_matches('!');
    if hash.len() < 4 {
        return (if field == "*" || field == "x" { "none" } else { "locked" }, "");
    }
    let kept = if hash.len() < field.len() { "locked" } else { "set" };
    (kept, scheme(hash).0)
}

/// The name of a scheme, and what one try costs; `None` where it cannot be tried.
fn scheme(hash: &str) -> (&'static str, Option<u64>) {
    let mut fields = hash.split('$').skip(1);
    let (id, parameters) = (fields.next(), fields.next().unwrap_or_default());
    match id {
        Some("1") => ("md5", Some(1)),
        Some("5" | "6") => {
            let name = if id == Some("5") { "sha256" } else { "sha512" };
            let rounds = match parameters.strip_prefix("rounds=") {
                Some(rounds) => rounds.parse::<u64>().ok(),
                None => Some(5_000),
            };
            (name, rounds.filter(|rounds| (1_000..=1_000_000).contains(rounds)).map(|r| r / 1_000))
        }
        // Flavour, N and r as one character each: of 4 KiB blocks, 2^8 to 2^14 of them (64 MiB).
        Some("y") => {
            let cost = match parameters.as_bytes() {
                [b'j', n @ b'5'..=b'9', b'T'] => Some(3 << (n - b'5')),
                [b'j', b'A', b'T'] => Some(3 << 5),
                [b'j', b'B', b'T'] => Some(3 << 6),
                _ => None,
            };
            ("yescrypt", cost)
        }
        Some("2a" | "2b" | "2y") => {
            let cost = parameters.parse::<u32>().ok().filter(|cost| (4..=13).contains(cost));
            ("bcrypt", cost.map(|cost| 1 << (cost - 4)))
        }
        Some("7") => ("scrypt", None),
        Some("gy") => ("gost-yescrypt", None),
        Some("md5" | "sha1") => ("other", None),
        Some(_) => ("other", None),
        None if hash.starts_with('_') => ("bsdi", None),
        None if hash.len() == 13 => ("des", None),
        None => ("other", None),
    }
}

/// Tries the accounts of `/etc/shadow` that `login` is true of.
pub(super) fn try_all(shadow: &str, login: impl Fn(&str) -> bool) -> Tried {
    let mut tried = Tried { accounts: Vec::new(), checked: 0, passwords: 0 };
    let mut budget = BUDGET;
    for line in shadow.lines() {
        let mut fields = line.split(':');
        let (Some(name), Some(hash)) = (fields.next(), fields.next()) else { continue };
        // A locked password opens nothing; an empty one has a check of its own.
        if state(hash).0 != "set" || !login(name) {
            continue;
        }
        let weakness = match scheme(hash) {
            ("des" | "bsdi", _) => Weakness::NotTried("DES"),
            (_, None) => Weakness::NotTried("a scheme or a cost that is not tried"),
            _ if tried.checked >= MOST_TRIED => Weakness::NotTried("too many accounts"),
            (scheme, Some(cost)) => {
                let candidates = candidates(name);
                let needed = cost.saturating_mul(candidates.len() as u64);
                match budget.checked_sub(needed) {
                    None => Weakness::NotTried("too much work for one audit"),
                    Some(left) => {
                        budget = left;
                        tried.checked += 1;
                        tried.passwords = tried.passwords.max(candidates.len());
                        match candidates.iter().any(|word| is(scheme, hash, word.as_bytes())) {
                            true => Weakness::WellKnown,
                            false => Weakness::None,
                        }
                    }
                }
            }
        };
        tried.accounts.push((name.to_owned(), weakness));
    }
    tried
}

fn candidates(name: &str) -> Vec<String> {
    let mut words = vec![name.to_owned(), name.chars().rev().collect()];
    words.extend(ENDINGS.iter().map(|ending| format!("{name}{ending}")));
    words.extend(WELL_KNOWN.iter().map(|word| (*word).to_owned()));
    words
}

/// Whether `hash` is that of `word`. Hashes that are not whole are of nothing.
fn is(scheme: &str, hash: &str, word: &[u8]) -> bool {
    match scheme {
        "md5" => md5_crypt(word, hash).is_some_and(|own| own == hash),
        "sha256" | "sha512" => ShaCrypt::default().verify_password(word, hash).is_ok(),
        "yescrypt" => Yescrypt::default().verify_password(word, hash).is_ok(),
        "bcrypt" => verify_bcrypt(word, hash).unwrap_or(false),
        _ => false,
    }
}

/// `crypt` with MD5, as Poul-Henning Kamp described it in 1994: `$1$salt$hash` of `word` with the salt
/// of `hash`. No kept crate has it any more, and old servers have nothing else.
fn md5_crypt(word: &[u8], hash: &str) -> Option<String> {
    let salt = hash.strip_prefix("$1$")?.split('$').next()?;
    let salt = salt.get(..salt.len().min(8))?;
    let digest = |parts: &[&[u8]]| {
        let mut md5 = Md5::new();
        parts.iter().for_each(|part| md5.update(part));
        <[u8; 16]>::from(md5.finalize())
    };
    let inner = digest(&[word, salt.as_bytes(), word]);
    let mut first = Md5::new();
    first.update(word);
    first.update(b"$1$");
    first.update(salt);
    (0..word.len()).for_each(|at| first.update([inner[at % 16]]));
    let mut bits = word.len();
    while bits > 0 {
        // The first byte of the word, or a zero, for each bit of its length.
        first.update([if bits & 1 == 1 { 0 } else { *word.first()? }]);
        bits >>= 1;
    }
    let mut last = <[u8; 16]>::from(first.finalize());
    for round in 0..1000 {
        let mut md5 = Md5::new();
        let odd = round % 2 == 1;
        md5.update(if odd { word } else { &last });
        if round % 3 != 0 {
            md5.update(salt);
        }
        if round % 7 != 0 {
            md5.update(word);
        }
        md5.update(if odd { &last[..] } else { word });
        last = md5.finalize().into();
    }
    const DIGITS: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut out = format!("$1${salt}$");
    let mut put = |mut value: u32, digits: usize| {
        for _ in 0..digits {
            out.push(char::from(DIGITS[(value & 63) as usize]));
            value >>= 6;
        }
    };
    for [a, b, c] in [[0, 6, 12], [1, 7, 13], [2, 8, 14], [3, 9, 15], [4, 10, 5]] {
        put(u32::from(last[a]) << 16 | u32::from(last[b]) << 8 | u32::from(last[c]), 4);
    }
    put(u32::from(last[11]), 2);
    Some(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Of the password `admin`; by OpenSSL's passwd and by libxcrypt.
    const ADMIN: [&str; 5] = [
        "$1$abcdefgh$l/LAqC8oJERu7Cmx6trtY/",
        "$5$abcdefgh$eKmO8qqatxyseBbtE4o3nrolLfuFP7p82NOMAwOerUC",
        "$6$abcdefgh$Jofd.FZRLVyYwt/zWLWzi7cPbdUfgEgHrcdJLmkXy8uHwCGSf90RMkKTVTj0nhlkfJpZY94qtrpFrWz1mwRvH1",
        "$y$j9T$abcdefghijklmnop$5MpaJ6mYQgeqLje.dQWuzmjhB.Uwp8kNmSyfdzfZPa5",
        "$2b$04$sbJDa9vfrVo2iZojjvgi2O34jAMqL3woX2O8gkP6Zf4BVw45kE1wu",
    ];

    #[test]
    fn each_scheme_as_the_systems_have_it() {
        for hash in ADMIN {
            let (name, cost) = scheme(hash);
            assert!(cost.is_some() && is(name, hash, b"admin"), "{name}");
            assert!(!is(name, hash, b"admim"), "{name}");
            assert_eq!(state(hash), ("set", name));
            assert_eq!(state(&format!("!{hash}")), ("locked", name));
        }
        let long = "$1$saltstri$.wdNzMcQY6GSl9TYL2b9C1";
        assert_eq!(md5_crypt(b"", long).as_deref().map(str::len), Some(long.len()));
        for (field, expected) in
            [("", "empty"), ("*", "none"), ("!", "locked"), ("!!", "locked"), ("!*", "locked")]
        {
            assert_eq!(state(field), (expected, ""), "{field:?}");
        }
        assert_eq!(state("ab0123456789z").1, "des");
    }

    #[test]
    fn accounts_are_tried_and_cost_is_bounded() {
        let costly = "$6$rounds=999999999$abcdefgh$x";
        let shadow = format!(
            "root:{}:1::\nscanner:{}:1::\nlocked:!{}:1::\ndaemon:*:1::\nslow:{costly}:1::\nsvc:{}:1::\n",
            ADMIN[2], ADMIN[0], ADMIN[0], ADMIN[0],
        );
        let tried = try_all(&shadow, |name| name != "svc");
        let shown: Vec<_> = tried.accounts.iter().map(|(name, w)| (name.as_str(), w)).collect();
        assert_eq!(
            shown,
            [
                ("root", &Weakness::WellKnown),
                ("scanner", &Weakness::WellKnown),
                ("slow", &Weakness::NotTried("a scheme or a cost that is not tried")),
            ]
        );
        let bcrypt = "$2b$13$sbJDa9vfrVo2iZojjvgi2O34jAMqL3woX2O8gkP6Zf4BVw45kE1wu";
        let many: String = (0..400).map(|n| format!("u{n}:{bcrypt}:1::\n")).collect();
        // Only what it would cost is asked here.
        let per_account = scheme(bcrypt).1.unwrap() * candidates("u1").len() as u64;
        assert!(BUDGET / per_account < 5 && many.lines().count() == 400);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn anything_may_stand_in_the_file(text in "([a-z]{1,4}:[$!*a-z0-9./=]{0,40}:[0-9]*\n|\\PC{0,20}\n){0,4}") {
            try_all(&text, |_| true);
            md5_crypt(b"word", &text);
            text.lines().for_each(|line| { state(line); });
        }
    }
}
