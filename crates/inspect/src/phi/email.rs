//! E-mail addresses around an `@`.

use super::{
    PhiKind,
    free::{AHEAD, Hit},
};

/// Bytes before an `@` that are looked at.
const BEFORE: usize = 192;

fn is_local(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'%' | b'+' | b'-' | b'\'')
}

/// Ends of names that are files, not domains: `logo@2x.png`.
const FILES: [&[u8]; 14] = [
    b"png", b"jpg", b"jpeg", b"gif", b"svg", b"webp", b"css", b"js", b"html", b"php", b"json",
    b"xml", b"pdf", b"local",
];

/// The address around the `@` at `at`.
pub(super) fn at_sign(text: &[u8], at: usize) -> Option<Hit> {
    let before = &text[at.saturating_sub(BEFORE)..at];
    let after = &text[at + 1..text.len().min(at + AHEAD)];
    let local = before.iter().rev().take(65).take_while(|&&b| is_local(b)).count();
    let name = &before[before.len() - local..];
    let skipped =
        name.iter().take_while(|b| matches!(b, b'.' | b'\'' | b'-' | b'%' | b'+')).count();
    let name = &name[skipped..];
    if name.is_empty()
        || name.len() > 64
        || name.ends_with(b".")
        || name.windows(2).any(|pair| pair == b"..")
    {
        return None;
    }
    let lead = &before[..before.len() - local];
    // `scheme://user@host` and `://user:secret@host` are no addresses, nor is a host of ssh.
    if lead.ends_with(b"//")
        || lead.last() == Some(&b':')
            && memchr::memmem::rfind(lead, b"://").is_some_and(|p| {
                !lead[p + 3..].iter().any(|b| b.is_ascii_whitespace() || *b == b'"' || *b == b'/')
            })
    {
        return None;
    }
    if lead.last().is_some_and(|&b| b >= 0x80 || b == b'@') {
        return None;
    }
    // A message's or a part's identifier, not somebody's address.
    let line = &lead[memchr::memrchr2(b'\n', b'\r', lead).map_or(0, |p| p + 1)..];
    let field = line[..line.len().min(14)].to_ascii_lowercase();
    if [&b"message-id:"[..], b"in-reply-to:", b"references:", b"content-id:"]
        .iter()
        .any(|f| field.starts_with(f))
    {
        return None;
    }
    let mut domain =
        after.iter().take_while(|&&b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.').count();
    while after[..domain].last().is_some_and(|b| matches!(b, b'.' | b'-')) {
        domain -= 1;
    }
    let host = &after[..domain];
    let dot = memchr::memrchr(b'.', host)?;
    let top = &host[dot + 1..];
    let labels_fit = host
        .split(|&b| b == b'.')
        .all(|l| !l.is_empty() && !l.starts_with(b"-") && !l.ends_with(b"-"));
    let top_fits = (2..=24).contains(&top.len())
        && top.iter().all(u8::is_ascii_alphabetic)
        && !FILES.iter().any(|file| top.eq_ignore_ascii_case(file));
    if !labels_fit || !top_fits || domain > 100 {
        return None;
    }
    // `git@host.example:path` names a repository.
    let next = after.get(domain).copied();
    if next == Some(b':')
        && after.get(domain + 1).is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'/')
    {
        return None;
    }
    if next.is_some_and(|b| b == b'@' || b == b'_' || b >= 0x80) {
        return None;
    }
    Some(Hit { start: at - name.len(), end: at + 1 + domain, kind: Some(PhiKind::Email) })
}
