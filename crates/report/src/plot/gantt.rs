//! Stretches of time, one below the other, before such as concern all of them.

use super::{
    Span, size,
    svg::{Svg, WIDTH, room},
};
use crate::format;

const BAR: f64 = 16.0;
const STEP: f64 = 24.0;
const LABELS: f64 = 220.0;
const TOP: f64 = 22.0;
/// Marks along the time.
const MARKS: u32 = 4;

pub(super) fn draw(svg: &mut Svg, spans: &[Span], shades: &[Span]) {
    let end = spans.iter().map(|span| size(span.to)).fold(0.0, f64::max);
    let labels = spans.iter().map(|span| room(&span.label)).fold(0.0, f64::max).min(LABELS);
    let left = labels + 10.0;
    let long = WIDTH - left - 4.0;
    let at =
        |seconds: f64| if end > 0.0 { left + size(seconds).min(end) / end * long } else { left };
    let bottom = TOP + spans.len() as f64 * STEP;
    for shade in shades {
        let (from, to) = (at(shade.from), at(shade.to.max(shade.from)));
        let says = format!("{}: {}", shade.label, shade.shown);
        svg.rect("shade", (from, TOP - 4.0), (to - from, bottom - TOP + 4.0), &says);
    }
    for mark in 0..MARKS {
        let seconds = end * f64::from(mark) / f64::from(MARKS);
        svg.line("grid", (at(seconds), TOP - 4.0), (at(seconds), bottom));
        let text =
            if mark == 0 { "now".to_owned() } else { format!("+{}", format::duration(seconds)) };
        svg.text(
            "label small",
            (at(seconds) + 2.0, TOP - 8.0),
            long / f64::from(MARKS) - 4.0,
            &text,
        );
    }
    for (number, span) in spans.iter().enumerate() {
        let y = TOP + number as f64 * STEP;
        let says = format!("{}: {}", span.label, span.shown);
        svg.text("label end", (left - 8.0, y + BAR - 4.0), labels, &span.label);
        let (from, to) = (at(span.from), at(span.to.max(span.from)));
        svg.rect("bar", (from, y), ((to - from).max(2.0), BAR), &says);
    }
}
