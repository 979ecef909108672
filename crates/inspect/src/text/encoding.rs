//! Encodings of text, judged by its beginning; what is wide becomes UTF-8 before it is looked
//! through, what has one byte for ASCII is looked through as it is.

/// How a text is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Encoding {
    /// ASCII or UTF-8.
    Utf8,
    /// One byte for each character, ASCII among them: Latin-1, Windows code pages and the like.
    Bytes,
    /// UTF-16, low byte first.
    Utf16Little,
    /// UTF-16, high byte first.
    Utf16Big,
}

impl Encoding {
    /// The word that JSON and people read.
    pub fn as_str(self) -> &'static str {
        match self {
            Encoding::Utf8 => "utf-8",
            Encoding::Bytes => "one byte per character",
            Encoding::Utf16Little => "utf-16le",
            Encoding::Utf16Big => "utf-16be",
        }
    }
}

/// Control characters that texts hold: tab, line feed, vertical tab (which frames HL7), form feed,
/// carriage return, end of file (DOS), file separator (HL7), escape.
fn is_text_control(byte: u8) -> bool {
    matches!(byte, 9..=13 | 0x1a | 0x1b | 0x1c)
}

/// The encoding of `head`, the beginning of a file, or `None` where it is no text. `cut` says that
/// the file goes on after it, so that its last character may be cut.
pub(crate) fn detect(head: &[u8], cut: bool) -> Option<Encoding> {
    match head {
        [0xff, 0xfe, 0, 0, ..] => return None,
        [0xff, 0xfe, ..] => return Some(Encoding::Utf16Little),
        [0xfe, 0xff, ..] => return Some(Encoding::Utf16Big),
        [] => return None,
        _ => {}
    }
    if memchr::memchr(0, head).is_some() {
        return wide(head);
    }
    let control = head.iter().filter(|&&b| b < 32 && !is_text_control(b)).count();
    if control * 200 > head.len() {
        return None;
    }
    match std::str::from_utf8(head) {
        Ok(_) => Some(Encoding::Utf8),
        Err(error) if cut && error.error_len().is_none() => Some(Encoding::Utf8),
        // Of Latin text few bytes are above ASCII, of other alphabets most letters are, and blanks
        // and line ends stay.
        Err(_) => {
            let high = head.iter().filter(|&&b| b >= 0x80).count();
            let blank = head.iter().filter(|&&b| b == b' ' || b == b'\n' || b == b'\r').count();
            let plain = high * 4 < head.len() || (control == 0 && blank * 20 > head.len());
            plain.then_some(Encoding::Bytes)
        }
    }
}

/// UTF-16 without a mark: every second byte is mostly zero, and the others are no controls.
fn wide(head: &[u8]) -> Option<Encoding> {
    let pairs = head.len() / 2;
    if pairs < 8 {
        return None;
    }
    let (mut low, mut high, mut control) = (0, 0, 0);
    for pair in head.chunks_exact(2) {
        low += usize::from(pair[1] == 0 && pair[0] != 0);
        high += usize::from(pair[0] == 0 && pair[1] != 0);
        let code = pair[0] | pair[1];
        control += usize::from(code < 32 && !is_text_control(code));
    }
    if control * 200 > pairs {
        return None;
    }
    if low * 10 > pairs * 8 {
        return Some(Encoding::Utf16Little);
    }
    (high * 10 > pairs * 8).then_some(Encoding::Utf16Big)
}

/// Turns UTF-16 into UTF-8 piece by piece. Halves of characters that stand alone become U+FFFD.
pub(crate) struct Transcoder {
    big: bool,
    byte: Option<u8>,
    half: Option<u16>,
}

impl Transcoder {
    /// For an encoding that needs one.
    pub fn new(encoding: Encoding) -> Option<Self> {
        match encoding {
            Encoding::Utf16Little => Some(Self { big: false, byte: None, half: None }),
            Encoding::Utf16Big => Some(Self { big: true, byte: None, half: None }),
            Encoding::Utf8 | Encoding::Bytes => None,
        }
    }

    /// Appends what `input` stands for to `out`; what is cut off at its end is kept for the next.
    pub fn feed(&mut self, input: &[u8], out: &mut Vec<u8>) {
        for &byte in input {
            let Some(first) = self.byte.take() else {
                self.byte = Some(byte);
                continue;
            };
            let unit = if self.big {
                u16::from_be_bytes([first, byte])
            } else {
                u16::from_le_bytes([first, byte])
            };
            if unit < 0x80 && self.half.is_none() {
                out.push(unit as u8);
                continue;
            }
            self.unit(unit, out);
        }
    }

    fn unit(&mut self, unit: u16, out: &mut Vec<u8>) {
        let mut push = |c: char| out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        if let Some(high) = self.half.take() {
            if let Some(Ok(c)) = char::decode_utf16([high, unit]).next() {
                return push(c);
            }
            push(char::REPLACEMENT_CHARACTER);
        }
        match unit {
            0xd800..=0xdbff => self.half = Some(unit),
            _ => push(char::from_u32(unit.into()).unwrap_or(char::REPLACEMENT_CHARACTER)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wide_bytes(text: &str, big: bool) -> Vec<u8> {
        text.encode_utf16()
            .flat_map(|u| if big { u.to_be_bytes() } else { u.to_le_bytes() })
            .collect()
    }

    #[test]
    fn encodings_are_told_apart() {
        assert_eq!(detect(b"plain\r\n", false), Some(Encoding::Utf8));
        assert_eq!(detect("Müller".as_bytes(), false), Some(Encoding::Utf8));
        assert_eq!(detect(&"Müller".as_bytes()[..2], true), Some(Encoding::Utf8));
        assert_eq!(detect(b"M\xfcller, Z\xfcrich", false), Some(Encoding::Bytes));
        assert_eq!(
            detect(&wide_bytes("Name;Geburtsdatum\r\n", false), false),
            Some(Encoding::Utf16Little)
        );
        assert_eq!(
            detect(&wide_bytes("Name;Geburtsdatum\r\n", true), false),
            Some(Encoding::Utf16Big)
        );
        assert_eq!(detect(&[0; 64], false), None);
        assert_eq!(detect(b"\x01\x02\x03\x04abc", false), None);
    }

    #[test]
    fn pieces_do_not_matter() {
        let text = "Zoë 🩺 10";
        for big in [false, true] {
            let bytes = wide_bytes(text, big);
            for size in 1..bytes.len() {
                let encoding = if big { Encoding::Utf16Big } else { Encoding::Utf16Little };
                let mut transcoder = Transcoder::new(encoding).unwrap();
                let mut out = Vec::new();
                bytes.chunks(size).for_each(|piece| transcoder.feed(piece, &mut out));
                assert_eq!(String::from_utf8(out).unwrap(), text);
            }
        }
    }
}
