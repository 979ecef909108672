//! Words read backwards from a place, in small letters without their accents.

/// A word, packed: at most 16 letters count.
pub(super) type Packed = u128;

/// Up to 16 letters of a word in lower case.
pub(super) fn packed(word: &[u8]) -> Packed {
    let len = word.len().min(16);
    let mut bytes = [0; 16];
    bytes[..len].copy_from_slice(&word[..len]);
    // Of letters the sixth bit is what makes them small.
    let small = u128::from_le_bytes([0x20; 16]);
    u128::from_le_bytes(bytes) | small & (u128::MAX >> (128 - 8 * len.max(1)))
}

/// Letters of a word that is read at all.
const LONGEST: usize = 32;

/// The letters of Latin-1 from `À` on without their accents; a blank where there is no letter.
const FOLDED: &[u8; 64] = b"aaaaaaaceeeeiiiidnooooo ouuuuypsaaaaaaaceeeeiiiidnooooo ouuuuypy";

/// What stands at the end of a text above ASCII.
enum Wide {
    /// A letter, without its accent, of so many bytes.
    Letter(u8, usize),
    /// A blank, a dash, a quote, a degree sign, of so many bytes.
    Gap(usize),
    Other,
}

fn wide(text: &[u8]) -> Wide {
    match *text {
        [.., 0xc3, low @ 0x80..=0xbf] => match FOLDED[usize::from(low - 0x80)] {
            b' ' => Wide::Gap(2),
            letter if low < 0xa0 => Wide::Letter(letter.to_ascii_uppercase(), 2),
            letter => Wide::Letter(letter, 2),
        },
        // No-break space, guillemets, middle dot, and what follows an abbreviated "number".
        [.., 0xc2, 0xa0 | 0xab | 0xb0 | 0xb7 | 0xba | 0xbb] => Wide::Gap(2),
        // Dashes, curly quotes, dots of an ellipsis, narrow space; minus; number sign.
        [.., 0xe2, 0x80, 0x90..=0xa6 | 0xaf] | [.., 0xe2, 0x88, 0x92] | [.., 0xe2, 0x84, 0x96] => {
            Wide::Gap(3)
        }
        [.., 0xef, 0xbb, 0xbf] => Wide::Gap(3),
        // Alone: Latin-1.
        [.., 0xa0 | 0xab | 0xb0 | 0xb7 | 0xba | 0xbb] => Wide::Gap(1),
        [.., high @ 0xc0..=0xff] => match FOLDED[usize::from(high - 0xc0)] {
            b' ' => Wide::Gap(1),
            letter => Wide::Letter(letter, 1),
        },
        _ => Wide::Other,
    }
}

/// Where the element of HTML begins that ends with `text` and a `>`, if it only says how a page looks.
fn element(text: &[u8]) -> Option<usize> {
    let from = text.len().saturating_sub(96);
    let open = from + memchr::memrchr(b'<', &text[from..])?;
    let name = text[open + 1..].strip_prefix(b"/").unwrap_or(&text[open + 1..]);
    let len = name.iter().take_while(|b| b.is_ascii_alphanumeric()).count();
    const NAMES: [&[u8]; 20] = [
        b"td", b"th", b"tr", b"span", b"div", b"b", b"i", b"u", b"p", b"br", b"dd", b"dt", b"li",
        b"em", b"strong", b"font", b"a", b"label", b"nobr", b"small",
    ];
    NAMES.iter().any(|known| name[..len].eq_ignore_ascii_case(known)).then_some(open)
}

/// Bytes between words that are passed over.
const GAPS: [bool; 256] = {
    let mut gaps = [false; 256];
    let list = b" \t:=\"'></()[]-.|*_,+{\\`~^?";
    let mut at = 0;
    while at < list.len() {
        gaps[list[at] as usize] = true;
        at += 1;
    }
    gaps
};

/// One word.
#[derive(Clone, Copy, Default)]
pub(super) struct Word {
    pub packed: Packed,
    /// Where it begins.
    pub start: usize,
    /// Its first letter is a capital.
    pub capital: bool,
}

/// Walks back over words.
pub(super) struct Words<'a> {
    pub text: &'a [u8],
    /// `:`, `=` or `|` between the last word and the end.
    pub marked: bool,
    started: bool,
    /// Ends of lines that were passed.
    pub breaks: u8,
}

impl<'a> Words<'a> {
    pub fn new(text: &'a [u8]) -> Self {
        Self { text, marked: false, started: false, breaks: 0 }
    }

    /// Whether a digit behind `rest` only tells several of a sort apart: `phone1`, `phone 2:`.
    fn is_ordinal(rest: &[u8]) -> bool {
        let word = rest.strip_suffix(b" ").unwrap_or(rest);
        word.last().is_some_and(u8::is_ascii_alphabetic)
    }

    /// The word before; `None` at a digit, at the end of a clause, at any other sign, and at the
    /// beginning.
    pub fn next(&mut self) -> Option<Word> {
        let mut comma = false;
        loop {
            let (&last, rest) = self.text.split_last()?;
            match last {
                b'a'..=b'z' | b'A'..=b'Z' => break,
                b'#' => {
                    self.text = rest;
                    self.started = true;
                    return Some(Word { packed: packed(b"no"), start: rest.len(), capital: false });
                }
                b'\n' => {
                    // A label may stand in a line before, if no other stands here; a blank line
                    // parts what it does not announce.
                    self.breaks += 1;
                    if self.breaks > 1 + u8::from(self.marked) || self.started && self.marked {
                        return None;
                    }
                }
                b'\r' => {}
                b';' => {
                    // `&nbsp;`, and parameters of vCards: `TEL;TYPE=CELL`.
                    let follows = self.started && rest.last().is_some_and(u8::is_ascii_alphabetic);
                    if !follows && !rest.ends_with(b"&nbsp") {
                        return None;
                    }
                }
                // The last column of the line above.
                b'|' if self.breaks > 0 => return None,
                b':' | b'=' | b'|' if !self.started => self.marked = true,
                b',' => {
                    // In JSON and tables a comma ends what was before.
                    if std::mem::replace(&mut comma, true) {
                        return None;
                    }
                }
                b'>' => {
                    self.text = element(rest).map_or(rest, |start| &rest[..start]);
                    continue;
                }
                _ if GAPS[usize::from(last)] => {}
                b'0'..=b'9' if !self.started && Self::is_ordinal(rest) => {}
                0x80.. => match wide(self.text) {
                    Wide::Letter(..) => break,
                    Wide::Gap(len) => {
                        self.text = &self.text[..self.text.len() - len];
                        continue;
                    }
                    Wide::Other => return None,
                },
                _ => return None,
            }
            self.text = rest;
        }
        self.started = true;
        self.word()
    }

    /// The word that the text ends with.
    fn word(&mut self) -> Option<Word> {
        // Plain letters, up to a capital before small ones.
        let mut at = self.text.len();
        let mut capital = false;
        while at > 0 && !capital && self.text[at - 1].is_ascii_lowercase() {
            at -= 1;
        }
        while at > 0 && self.text[at - 1].is_ascii_uppercase() {
            at -= 1;
            capital = true;
        }
        match self.text[..at].last() {
            // `birthDate` is two words.
            Some(b'a'..=b'z') => {}
            Some(0x80..) => return self.long_word(),
            Some(b'0' | b'1' | b'5') if capital => return self.long_word(),
            _ => {}
        }
        let (text, word) = self.text.split_at(at);
        if word.is_empty() || word.len() >= LONGEST {
            return self.long_word();
        }
        self.text = text;
        Some(Word { packed: packed(word), start: at, capital })
    }

    /// The same, with letters above ASCII, and digits that stand for letters.
    fn long_word(&mut self) -> Option<Word> {
        let mut letters = [0; LONGEST];
        let (mut first, mut at) = (LONGEST, self.text.len());
        let mut capital = false;
        while first > 0 {
            let (letter, len) = match self.text[..at].last() {
                Some(byte) if byte.is_ascii_alphabetic() => (*byte, 1),
                // Numbers that a reader of images took for letters: `D0B`, `S5N`.
                Some(digit @ (b'0' | b'5' | b'1'))
                    if first < LONGEST
                        && at >= 2
                        && capital
                        && self.text[at - 2].is_ascii_uppercase() =>
                {
                    (
                        if *digit == b'0' {
                            b'O'
                        } else if *digit == b'5' {
                            b'S'
                        } else {
                            b'I'
                        },
                        1,
                    )
                }
                Some(0x80..) => match wide(&self.text[..at]) {
                    Wide::Letter(letter, len) => (letter, len),
                    _ => break,
                },
                _ => break,
            };
            // `birthDate` is two words.
            if capital && letter.is_ascii_lowercase() {
                break;
            }
            first -= 1;
            at -= len;
            letters[first] = letter;
            capital = letter.is_ascii_uppercase();
        }
        if first == 0 {
            return None;
        }
        self.text = &self.text[..at];
        Some(Word { packed: packed(&letters[first..]), start: at, capital })
    }
}
