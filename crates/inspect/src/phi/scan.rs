//! A text as it comes in, in blocks of whole lines, with what was before them in sight.

use super::{
    digits,
    email::at_sign,
    free::{AHEAD, BACK, Hit, at_digit},
    kind::{PhiCounts, PhiKind},
    lines::Lines,
    list::List,
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
    hits: Vec<Hit>,
    /// In the middle of a line longer than a block.
    within_line: bool,
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
            hits: Vec::new(),
            within_line: false,
            last: None,
        }
    }

    /// Begins another text; the memory is kept.
    pub fn reset(&mut self) {
        self.window.clear();
        (self.start, self.done, self.taken, self.within_line) = (0, 0, 0, false);
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
                let line = memchr::memrchr2(b'\n', b'\r', &self.window[from..to]);
                self.look(line.map_or(to, |at| from + at + 1), line.is_some(), found);
            }
        }
    }

    /// What comes next stands elsewhere in the text: a table that has begun goes on there.
    pub fn skip(&mut self, found: &mut impl FnMut(Span, &[u8])) {
        let end = self.window.len();
        self.look(end, true, found);
        let lines = std::mem::take(&mut self.lines);
        self.reset();
        self.lines = lines;
    }

    /// Looks at the rest: nothing comes any more.
    pub fn finish(&mut self, found: &mut impl FnMut(Span, &[u8])) {
        let end = self.window.len();
        self.look(end, true, found);
        self.reset();
    }

    /// Looks through the window up to `to`, which is the end of a line if `whole`.
    fn look(&mut self, to: usize, whole: bool, found: &mut impl FnMut(Span, &[u8])) {
        let (text, from) = (self.window.as_slice(), self.done);
        let mut hits = std::mem::take(&mut self.hits);
        hits.clear();
        // Places first: what stands in a field of a known meaning is that.
        if whole && !self.within_line {
            self.lines.look(text, from, to, self.now, &mut hits);
        } else {
            self.lines.segments.clear();
        }
        self.within_line = !whole;
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
        for hit in &hits {
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
        self.hits = hits;
        let drop = to.saturating_sub(BACK);
        self.window.drain(..drop);
        self.start += drop as u64;
        self.done = to - drop;
        self.taken = self.taken.saturating_sub(drop);
        // What ended further back has nothing that follows it.
        self.last = self.last.take().and_then(|(end, list)| Some((end.checked_sub(drop)?, list)));
    }
}

/// Counts what is found.
pub(crate) fn counting(counts: &mut PhiCounts) -> impl FnMut(Span, &[u8]) {
    |span, value| counts.add(span.kind, value)
}
