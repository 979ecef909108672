//! Data elements of DICOM (PS3.5, section 7), read where they lie in a slice: no value is copied,
//! no length is believed, and nothing is allocated for what a header claims.

/// How a data set is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Syntax {
    /// Elements name their value representation.
    pub explicit: bool,
    /// Numbers have their high byte first.
    pub big: bool,
}

/// The syntax of the meta header, and of most data sets.
pub(super) const EXPLICIT_LITTLE: Syntax = Syntax { explicit: true, big: false };

/// Group and element.
pub(super) type Tag = (u16, u16);

pub(super) const ITEM: Tag = (0xfffe, 0xe000);
pub(super) const ITEM_END: Tag = (0xfffe, 0xe00d);
pub(super) const SEQUENCE_END: Tag = (0xfffe, 0xe0dd);

/// Length of a sequence or item whose end is marked.
pub(super) const UNDEFINED: u32 = 0xffff_ffff;

/// Sequences within sequences beyond this are not followed.
const DEPTH: usize = 16;

/// The front of one element.
#[derive(Clone, Copy, Debug)]
pub(super) struct Element {
    pub tag: Tag,
    /// Two letters; empty where the syntax does not say.
    pub vr: [u8; 2],
    pub length: u32,
    /// Where its value begins in the slice.
    pub value: usize,
}

/// Why no further element can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// The slice ends within it.
    End,
    /// What stands there is no element.
    Malformed,
}

const VRS: &[u8] = b"AEASATCSDADSDTFDFLISLOLTOBODOFOLOVOWPNSHSLSQSSSTSVTMUCUIULUNURUSUTUV";

/// Whether these two letters are a value representation.
pub(super) fn is_vr(letters: &[u8]) -> bool {
    VRS.chunks_exact(2).any(|vr| vr == letters)
}

fn u16_at(data: &[u8], at: usize, big: bool) -> Option<u16> {
    let bytes = data.get(at..at.checked_add(2)?)?.try_into().ok()?;
    Some(if big { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) })
}

fn u32_at(data: &[u8], at: usize, big: bool) -> Option<u32> {
    let bytes = data.get(at..at.checked_add(4)?)?.try_into().ok()?;
    Some(if big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
}

/// The number in a value of `US`.
pub(super) fn number(value: &[u8], syntax: Syntax) -> Option<u16> {
    u16_at(value, 0, syntax.big)
}

/// The front of the element at `at`.
pub(super) fn element(data: &[u8], at: usize, syntax: Syntax) -> Result<Element, Stop> {
    let group = u16_at(data, at, syntax.big).ok_or(Stop::End)?;
    let number = u16_at(data, at + 2, syntax.big).ok_or(Stop::End)?;
    let tag = (group, number);
    let short = |vr| -> Result<Element, Stop> {
        let length = u32_at(data, at + 4, syntax.big).ok_or(Stop::End)?;
        Ok(Element { tag, vr, length, value: at + 8 })
    };
    // Items have no value representation in any syntax.
    if group == 0xfffe || !syntax.explicit {
        return short([0; 2]);
    }
    let vr: [u8; 2] =
        data.get(at + 4..at + 6).ok_or(Stop::End)?.try_into().map_err(|_| Stop::End)?;
    if !is_vr(&vr) {
        return Err(Stop::Malformed);
    }
    match &vr {
        b"OB" | b"OD" | b"OF" | b"OL" | b"OV" | b"OW" | b"SQ" | b"SV" | b"UC" | b"UN" | b"UR"
        | b"UT" | b"UV" => {
            let length = u32_at(data, at + 8, syntax.big).ok_or(Stop::End)?;
            Ok(Element { tag, vr, length, value: at + 12 })
        }
        _ => {
            let length = u16_at(data, at + 6, syntax.big).ok_or(Stop::End)?;
            Ok(Element { tag, vr, length: length.into(), value: at + 8 })
        }
    }
}

impl Element {
    /// Its value, where all of it is in `data`.
    pub fn value<'a>(&self, data: &'a [u8]) -> Option<&'a [u8]> {
        data.get(self.value..self.value.checked_add(self.length as usize)?)
    }

    /// The syntax of what a sequence holds: a `UN` of undefined length holds implicit little endian,
    /// whatever is around it.
    pub fn inner(&self, syntax: Syntax) -> Syntax {
        match &self.vr {
            b"UN" => Syntax { explicit: false, big: false },
            _ => syntax,
        }
    }

    /// Where the element after it begins: its length is added, or its items are walked.
    pub fn end(&self, data: &[u8], syntax: Syntax) -> Result<usize, Stop> {
        if self.length != UNDEFINED {
            return self.value.checked_add(self.length as usize).ok_or(Stop::Malformed);
        }
        sequence_end(data, self.value, self.inner(syntax), DEPTH)
    }
}

/// Where a sequence of undefined length ends, whose first item begins at `at`.
fn sequence_end(data: &[u8], mut at: usize, syntax: Syntax, depth: usize) -> Result<usize, Stop> {
    if depth == 0 {
        return Err(Stop::Malformed);
    }
    loop {
        let item = element(data, at, syntax)?;
        match item.tag {
            SEQUENCE_END => return Ok(item.value),
            ITEM if item.length == UNDEFINED => at = item_end(data, item.value, syntax, depth)?,
            ITEM => at = item.value.checked_add(item.length as usize).ok_or(Stop::Malformed)?,
            _ => return Err(Stop::Malformed),
        }
    }
}

fn item_end(data: &[u8], mut at: usize, syntax: Syntax, depth: usize) -> Result<usize, Stop> {
    loop {
        let inner = element(data, at, syntax)?;
        if inner.tag == ITEM_END {
            return Ok(inner.value);
        }
        at = match inner.length {
            UNDEFINED => sequence_end(data, inner.value, inner.inner(syntax), depth - 1)?,
            length => inner.value.checked_add(length as usize).ok_or(Stop::Malformed)?,
        };
    }
}

/// The items of the sequence `parent`, as ranges of `data`, as far as they can be read and at most
/// `limit`.
pub(super) fn items(
    data: &[u8],
    parent: &Element,
    syntax: Syntax,
    limit: usize,
) -> Vec<(usize, usize)> {
    let inner = parent.inner(syntax);
    let stop = match parent.length {
        UNDEFINED => data.len(),
        length => parent.value.saturating_add(length as usize).min(data.len()),
    };
    let mut found = Vec::new();
    let mut at = parent.value;
    while at < stop && found.len() < limit {
        let Ok(item) = element(data, at, inner) else { break };
        if item.tag != ITEM {
            break;
        }
        let end = match item.length {
            UNDEFINED => match item_end(data, item.value, inner, DEPTH) {
                Ok(end) => end,
                Err(_) => break,
            },
            length => item.value.saturating_add(length as usize).min(stop),
        };
        found.push((item.value, end));
        at = end;
    }
    found
}
