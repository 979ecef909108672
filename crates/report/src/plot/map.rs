//! Who is connected to what: two columns, and lines between them.

use super::{
    Link,
    svg::{LETTER, Svg, WIDTH},
};

const STEP: f64 = 24.0;
const COLUMN: f64 = 250.0;

pub(super) fn draw(svg: &mut Svg, left: &[String], right: &[String], links: &[Link]) {
    let rows = left.len().max(right.len()) as f64;
    // The shorter column stands in the middle of the other.
    let y = |at: usize, of: usize| ((rows - of as f64) / 2.0 + at as f64) * STEP + STEP / 2.0;
    for link in links.iter().filter(|l| l.left < left.len() && l.right < right.len()) {
        let from = (COLUMN, y(link.left, left.len()));
        svg.line("link", from, (WIDTH - COLUMN, y(link.right, right.len())));
    }
    for (column, names, x) in [(0, left, COLUMN - 6.0), (1, right, WIDTH - COLUMN + 6.0)] {
        for (at, name) in names.iter().enumerate() {
            let class = if column == 0 { "label end" } else { "label" };
            svg.text(class, (x, y(at, names.len()) + LETTER / 3.0), COLUMN - 10.0, name);
        }
    }
}
