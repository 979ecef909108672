//! Text of DICOM headers: `SpecificCharacterSet` (0008,0005), PS3.3 section C.12.1.1.2.
//!
//! Names of manufacturers and institutions are what is wanted here, and they are for people to read:
//! what cannot be decoded comes out with replacement characters, and never as an error.

use encoding_rs::{
    BIG5, EUC_JP, EUC_KR, Encoding, GB18030, GBK, ISO_2022_JP, ISO_8859_2, ISO_8859_3, ISO_8859_4,
    ISO_8859_5, ISO_8859_6, ISO_8859_7, ISO_8859_8, ISO_8859_15, SHIFT_JIS, UTF_8, WINDOWS_874,
    WINDOWS_1252, WINDOWS_1254,
};

/// Characters of a text that are kept.
const LONGEST: usize = 64;

/// How the texts of a header are to be read.
#[derive(Clone, Debug)]
pub(super) struct Charset {
    /// What is read until an escape sequence says otherwise.
    first: &'static Encoding,
    /// Whether escape sequences may switch.
    switches: bool,
    /// Whether the header named a set that is not known here.
    pub unknown: bool,
}

impl Default for Charset {
    /// ISO_IR 6, ASCII. Bytes above it are read as UTF-8 where they are, else as Latin-1, which is
    /// what devices that forget to say so mostly mean.
    fn default() -> Self {
        Self { first: UTF_8, switches: false, unknown: false }
    }
}

fn term(name: &str) -> Option<&'static Encoding> {
    Some(match name.trim_start_matches("ISO_IR ").trim_start_matches("ISO 2022 IR ").trim() {
        "6" | "192" | "" => UTF_8,
        "100" => WINDOWS_1252,
        "101" => ISO_8859_2,
        "109" => ISO_8859_3,
        "110" => ISO_8859_4,
        "144" => ISO_8859_5,
        "127" => ISO_8859_6,
        "126" => ISO_8859_7,
        "138" => ISO_8859_8,
        "148" => WINDOWS_1254,
        "203" => ISO_8859_15,
        "166" => WINDOWS_874,
        "13" => SHIFT_JIS,
        "87" | "159" => ISO_2022_JP,
        "149" => EUC_KR,
        "58" => GBK,
        "GB18030" => GB18030,
        "GBK" => GBK,
        "Big5" | "BIG5" => BIG5,
        _ => return None,
    })
}

/// Escape sequences (PS3.3, tables C.12-3 and C.12-4), and what follows them.
const ESCAPES: &[(&[u8], &Encoding)] = &[
    (b"\x1b(B", UTF_8),
    (b"\x1b-A", WINDOWS_1252),
    (b"\x1b-B", ISO_8859_2),
    (b"\x1b-C", ISO_8859_3),
    (b"\x1b-D", ISO_8859_4),
    (b"\x1b-L", ISO_8859_5),
    (b"\x1b-G", ISO_8859_6),
    (b"\x1b-F", ISO_8859_7),
    (b"\x1b-H", ISO_8859_8),
    (b"\x1b-M", WINDOWS_1254),
    (b"\x1b-b", ISO_8859_15),
    (b"\x1b-T", WINDOWS_874),
    (b"\x1b)I", SHIFT_JIS),
    (b"\x1b(J", SHIFT_JIS),
    (b"\x1b$)C", EUC_KR),
    (b"\x1b$)A", GBK),
];

impl Charset {
    /// From the value of (0008,0005): terms parted by backslashes, the first of which may be empty.
    pub fn new(value: &[u8]) -> Self {
        let text = String::from_utf8_lossy(value);
        let mut terms = text.split('\\').map(|t| t.trim_matches(|c: char| c == ' ' || c == '\0'));
        let first = terms.next().unwrap_or_default();
        let switches = first.starts_with("ISO 2022") || terms.next().is_some();
        // The terms of a single set are read where a writer put ISO-IR or ISO IR for them, too.
        let plain = first.replace("ISO-IR", "ISO_IR").replace("ISO IR", "ISO_IR");
        match term(&plain) {
            Some(encoding) => Self { first: encoding, switches, unknown: false },
            None => Self { first: UTF_8, switches, unknown: true },
        }
    }

    /// A value as people read it: without padding and control characters, at most 64 characters.
    pub fn text(&self, value: &[u8]) -> String {
        let value = &value[..value.len().min(LONGEST * 8)];
        let decoded = if self.switches && value.contains(&0x1b) {
            self.switching(value)
        } else {
            decode(self.first, value)
        };
        let kept: String = decoded.chars().filter(|c| !c.is_control()).collect();
        kept.trim().chars().take(LONGEST).collect()
    }

    fn switching(&self, value: &[u8]) -> String {
        let mut out = String::new();
        let mut encoding = self.first;
        let mut rest = value;
        while !rest.is_empty() {
            let next = rest[1..].iter().position(|&b| b == 0x1b).map_or(rest.len(), |p| p + 1);
            let (mut part, after) = rest.split_at(next);
            rest = after;
            if part.starts_with(b"\x1b$") && !part.starts_with(b"\x1b$)")
                || part.starts_with(b"\x1b(I")
            {
                // JIS X 0208 and 0212: the decoder wants the escape sequence itself.
                let jis = if part.starts_with(b"\x1b$(D") {
                    decode_jis0212(part)
                } else {
                    decode(ISO_2022_JP, part)
                };
                out.push_str(&jis);
                continue;
            }
            if let Some((escape, then)) =
                ESCAPES.iter().find(|(escape, _)| part.starts_with(escape))
            {
                encoding = then;
                part = &part[escape.len()..];
            } else if part.first() == Some(&0x1b) {
                part = &part[1..];
            }
            out.push_str(&decode(encoding, part));
        }
        out
    }
}

fn decode(encoding: &'static Encoding, bytes: &[u8]) -> String {
    if encoding == UTF_8 && std::str::from_utf8(bytes).is_err() {
        return WINDOWS_1252.decode_without_bom_handling(bytes).0.into_owned();
    }
    encoding.decode_without_bom_handling(bytes).0.into_owned()
}

/// JIS X 0212 after its escape sequence, by way of EUC-JP, which writes it with 0x8f before each.
fn decode_jis0212(part: &[u8]) -> String {
    let euc: Vec<u8> =
        part[4..].chunks_exact(2).flat_map(|pair| [0x8f, pair[0] | 0x80, pair[1] | 0x80]).collect();
    EUC_JP.decode_without_bom_handling(&euc).0.into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_set_reads_its_own_bytes() {
        // The examples of PS3.5, annexes H, I, J and K, and Latin-1.
        let cases: &[(&str, &[u8], &str)] = &[
            ("ISO_IR 100", b"Universit\xe4t Z\xfcrich ", "Universität Zürich"),
            ("ISO_IR 192", "Universität Zürich\0".as_bytes(), "Universität Zürich"),
            ("", b"Universit\xe4t", "Universität"),
            ("ISO_IR 13", b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3", "ﾔﾏﾀﾞ^ﾀﾛｳ"),
            ("\\ISO 2022 IR 87", b"\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B", "山田^太郎"),
            ("\\ISO 2022 IR 149", b"\x1b$)C\xb1\xe8^\x1b$)C\xc8\xf1\xc1\xdf", "김^희중"),
            ("\\ISO 2022 IR 58", b"\x1b$)A\xd0\xa1\xb6\xab", "小东"),
            ("GB18030", b"\xcd\xf5^\xd0\xa1\xb6\xab", "王^小东"),
            ("ISO_IR 144", b"\xbb\xee\xda\xe1", "Люкс"),
            ("ISO_IR 126", b"\xc4\xe9\xef\xed\xf5\xf3\xe9\xef\xf2", "Διονυσιος"),
        ];
        for (set, bytes, text) in cases {
            let charset = Charset::new(set.as_bytes());
            assert_eq!(charset.text(bytes), *text, "{set}");
            assert!(!charset.unknown, "{set}");
        }
        assert!(Charset::new(b"KLINGON 7").unknown);
        assert_eq!(Charset::new(b"KLINGON 7").text(b"a\x1b[2Jb\n"), "a[2Jb");
    }
}
