//! A text as it comes in, in blocks of whole lines, with what was before them in sight.

use super::{
    digits,
    email::at_sign,
    free::{AHEAD, BACK, Hit, at_digit},
    kind::{PhiCounts, PhiKind},
    lines::Lines,
    list::List,
    part::{Part, UNIT},
};

/// Bytes of a block.
const BLOCK: usize = 64 << 10;

/// Finds patients' data in a text that is fed to it piece by piece. Which pieces makes no difference.
#[derive(Clone, Debug)]
pub struct TextScanner {
    /// What is still looked at: at most [`BACK`] bytes before `done`, and what follows.
    window: Vec<u8>,
    /// Where in the text the window begins.
    start: u64,
    /// How much of the window has been looked through.
    done: usize,
    /// Up to where in the window the last value reaches.
    taken: usize,
    block: usize,
    now: u32,
    lines: Lines,
    /// How much of the window has been looked through for columns and segments: within a line that is
    /// longer than a block these are a little ahead, so that it is known what stands in a field before
    /// its first half is taken for free text.
    placed: usize,
    /// What was found ahead, beside what is found now.
    hits: Vec<Hit>,
    /// The last value that was not placed, and where in the window it ends.
    last: Option<(usize, List)>,
}

/// A value that was found, and where in the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// The offset of its first byte.
    pub start: u64,
    /// The offset after its last byte.
    pub end: u64,
    /// What it is.
    pub kind: PhiKind,
}

impl TextScanner {
    /// For one text. `now` is this year: nobody was born after it.
    pub fn new(now: u32) -> Self {
        Self::with_block(now, BLOCK)
    }

    /// With blocks of another size, for tests; at least 4 KiB.
    #[doc(hidden)]
    pub fn with_block(now: u32, block: usize) -> Self {
        Self {
            window: Vec::new(),
            start: 0,
            done: 0,
            taken: 0,
            block: block.max(4096),
            now,
            lines: Lines::default(),
            placed: 0,
            hits: Vec::new(),
            last: None,
        }
    }

    /// Begins another text; the memory is kept.
    pub fn reset(&mut self) {
        self.window.clear();
        (self.start, self.done, self.placed, self.taken) = (0, 0, 0, 0);
        self.hits.clear();
        self.last = None;
        self.lines = Lines::default();
    }

    /// Looks at what comes next. Values are given to `found` in their order, with their bytes: whoever
    /// takes them must not keep these.
    pub fn feed(&mut self, mut piece: &[u8], found: &mut impl FnMut(Span, &[u8])) {
        while !piece.is_empty() {
            // The same blocks, however it comes.
            let room = self.done + self.block + AHEAD - self.window.len();
            let (now, later) = piece.split_at(room.min(piece.len()));
            self.window.extend_from_slice(now);
            piece = later;
            if self.window.len() == self.done + self.block + AHEAD {
                let (from, to) = (self.done, self.done + self.block);
                let block = &self.window[from..to];
                match memchr::memrchr2(b'\n', b'\r', block) {
                    Some(line) => {
                        let end = from + line + 1;
                        // `\r\n` is one line end.
                        let both = self.window[end - 1..].starts_with(b"\r\n");
                        let end = end + usize::from(both);
                        self.look(end, end, true, found);
                    }
                    None => self.look(from + cut(&block[..block.len() - UNIT]), to, false, found),
                }
            }
        }
    }

    /// What comes next stands elsewhere in the text: a table that has begun goes on there, from the
    /// next line on where what comes is `within` one.
    pub fn skip(&mut self, within: bool, found: &mut impl FnMut(Span, &[u8])) {
        let end = self.window.len();
        self.look(end, end, true, found);
        let mut lines = std::mem::take(&mut self.lines);
        self.reset();
        lines.skip(within);
        self.lines = lines;
    }

    /// Looks at the rest: nothing comes any more.
    pub fn finish(&mut self, found: &mut impl FnMut(Span, &[u8])) {
        let end = self.window.len();
        self.look(end, end, true, found);
        self.reset();
    }

    /// Looks through the window up to `to`, for columns and segments up to `ahead`, where a line ends if
    /// `ends`.
    fn look(&mut self, to: usize, ahead: usize, ends: bool, found: &mut impl FnMut(Span, &[u8])) {
        let (text, from) = (self.window.as_slice(), self.done);
        let mut hits = std::mem::take(&mut self.hits);
        // Places first: what stands in a field of a known meaning is that.
        let part = Part { text: &text[..ahead], from: self.placed, ends, now: self.now };
        self.lines.look(&part, &mut hits);
        if !hits.is_sorted_by_key(|hit| hit.start) {
            hits.sort_unstable_by_key(|hit| (hit.start, hit.end));
        }
        let placed = hits.len();
        let mut until = self.taken;
        let mut next = 0;
        let mut segments = self.lines.segments.iter().peekable();
        digits::runs(text, from, to, |at| {
            while next < placed && hits[next].end <= at {
                next += 1;
            }
            let covered = next < placed && hits[next].start <= at;
            if at < until || covered {
                return;
            }
            let listed = || {
                let (end, list) = self.last.as_ref()?;
                list.next(text, *end, at, self.now)
            };
            while segments.next_if(|segment| segment.end <= at).is_some() {}
            let bare = segments.peek().is_some_and(|segment| segment.parts(text, at));
            if let Some(hit) = at_digit(text, at, bare, self.now).or_else(listed)
                && hit.start >= self.taken
            {
                until = hit.end;
                hits.push(hit);
                self.last = List::of(text, &hit).map(|list| (hit.end, list));
            }
        });
        for at in memchr::memchr_iter(b'@', &text[from..to]) {
            hits.extend(at_sign(text, from + at));
        }
        hits.sort_unstable_by_key(|hit| (hit.start, hit.end));
        let here = hits.partition_point(|hit| hit.start < to);
        for hit in hits.drain(..here) {
            // A value may reach over a block's end: the next begins after it.
            if hit.start < self.taken {
                continue;
            }
            self.taken = hit.end;
            let Some(kind) = hit.kind else { continue };
            let span = Span {
                start: self.start + hit.start as u64,
                end: self.start + hit.end as u64,
                kind,
            };
            found(span, &text[hit.start..hit.end]);
        }
        let drop = to.saturating_sub(BACK);
        for hit in &mut hits {
            (hit.start, hit.end) = (hit.start - drop, hit.end - drop);
        }
        self.hits = hits;
        self.window.drain(..drop);
        self.start += drop as u64;
        (self.done, self.placed) = (to - drop, ahead - drop);
        self.lines.shift(drop, self.done);
        self.taken = self.taken.saturating_sub(drop);
        // What ended further back has nothing that follows it.
        self.last = self.last.take().and_then(|(end, list)| Some((end.checked_sub(drop)?, list)));
    }
}

/// Where to leave off within a line: behind a sign that no value holds, nor begins before, if there is
/// one near the end of `text`.
fn cut(text: &[u8]) -> usize {
    let near = text.len().saturating_sub(BACK);
    let parts = |byte: &u8| b"\t\"&*,:;<=>[]^{|}~".contains(byte);
    text[near..].iter().rposition(parts).map_or(text.len(), |at| near + at + 1)
}

/// Counts what is found.
pub(crate) fn counting(counts: &mut PhiCounts) -> impl FnMut(Span, &[u8]) {
    |span, value| counts.add(span.kind, value)
}
