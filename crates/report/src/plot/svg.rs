//! Writing SVG: numbers that are numbers, text that is text.

use std::fmt::Write;

/// All drawings are this wide, in units that the page scales.
pub(super) const WIDTH: f64 = 720.0;
/// The size of letters.
pub(super) const LETTER: f64 = 13.0;
/// The room that a character surely takes, in all usual fonts: of the wide ones, of other capitals
/// and of the rest.
const WIDE: f64 = 13.0;
const CAPITAL: f64 = 10.5;
const USUAL: f64 = 7.6;

/// A drawing on its way.
pub(super) struct Svg {
    title: String,
    note: String,
    body: String,
    height: f64,
}

/// Marks that change the direction of text.
fn is_turning(c: char) -> bool {
    matches!(c, '\u{200E}' | '\u{200F}' | '\u{061C}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

/// Text as markup has it.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // Not even as a reference may these stand in a document, or turn the text around them.
            c if c.is_control() || is_turning(c) => out.push('\u{FFFD}'),
            c => out.push(c),
        }
    }
    out
}

/// The room that a character takes at most.
fn width(character: char) -> f64 {
    match character {
        'W' | 'M' | 'm' | 'w' | '@' | '%' => WIDE,
        c if !c.is_ascii() => WIDE,
        'A'..='Z' | '_' => CAPITAL,
        _ => USUAL,
    }
}

/// Text that fits into `most`; cut, with a mark, where it is longer.
pub(super) fn fitted(text: &str, most: f64) -> String {
    if room(text) <= most {
        return text.to_owned();
    }
    let mut left = most - WIDE;
    if left < 0.0 {
        return String::new();
    }
    let fits = text.chars().take_while(|c| {
        left -= width(*c);
        left >= 0.0
    });
    fits.chain(['…']).collect()
}

/// The room that a text takes at most.
pub(super) fn room(text: &str) -> f64 {
    text.chars().map(width).sum()
}

/// A number as markup has it: never endless, never none.
fn number(value: f64) -> f64 {
    if value.is_finite() { (value * 10.0).round() / 10.0 } else { 0.0 }
}

impl Svg {
    pub(super) fn new(title: &str, note: &str) -> Self {
        let (title, note) = (escaped(title), escaped(note));
        Self { title, note, body: String::new(), height: 0.0 }
    }

    fn reach(&mut self, y: f64) {
        self.height = self.height.max(number(y));
    }

    /// A rectangle, with what it says of itself.
    pub(super) fn rect(&mut self, class: &str, at: (f64, f64), size: (f64, f64), says: &str) {
        let (x, y) = (number(at.0), number(at.1));
        let (width, height) = (number(size.0.max(0.0)), number(size.1.max(0.0)));
        self.reach(y + height);
        let says = escaped(says);
        let _ = write!(
            self.body,
            "<rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" \
             rx=\"2\"><title>{says}</title></rect>"
        );
    }

    /// Text that ends or begins at a place, no longer than `most`.
    pub(super) fn text(&mut self, class: &str, at: (f64, f64), most: f64, text: &str) {
        let shown = fitted(text, most);
        if shown.is_empty() {
            return;
        }
        let (x, y) = (number(at.0), number(at.1));
        self.reach(y + LETTER / 2.0);
        let whole = match shown == text {
            true => String::new(),
            false => format!("<title>{}</title>", escaped(text)),
        };
        let shown = escaped(&shown);
        let _ =
            write!(self.body, "<text class=\"{class}\" x=\"{x}\" y=\"{y}\">{shown}{whole}</text>");
    }

    /// A line.
    pub(super) fn line(&mut self, class: &str, from: (f64, f64), to: (f64, f64)) {
        let [x1, y1, x2, y2] = [from.0, from.1, to.0, to.1].map(number);
        self.reach(y1.max(y2));
        let _ = write!(
            self.body,
            "<line class=\"{class}\" x1=\"{x1}\" y1=\"{y1}\" x2=\"{x2}\" y2=\"{y2}\"/>"
        );
    }

    /// The element.
    pub(super) fn finish(self) -> String {
        let Self { title, note, body, height } = self;
        let height = (height + 4.0).ceil();
        format!(
            "<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{title}. {note}\" \
             xmlns=\"http://www.w3.org/2000/svg\">{body}</svg>"
        )
    }
}
