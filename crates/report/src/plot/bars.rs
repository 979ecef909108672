//! Bars, one below the other.

use super::{
    Amount, size,
    svg::{Svg, WIDTH, room},
};

/// The height of a bar and of the room between two.
const BAR: f64 = 16.0;
const STEP: f64 = 24.0;
/// The most room that labels take.
const LABELS: f64 = 250.0;
/// The least that is left for bars.
const LEAST: f64 = 200.0;

pub(super) fn draw(svg: &mut Svg, amounts: &[Amount]) {
    let upper = |amount: &Amount| size(amount.value).max(size(amount.most));
    let most = amounts.iter().map(upper).fold(0.0, f64::max);
    let widest =
        |texts: &mut dyn Iterator<Item = &String>| texts.map(|text| room(text)).fold(0.0, f64::max);
    let labels = widest(&mut amounts.iter().map(|a| &a.label)).min(LABELS);
    let shown = widest(&mut amounts.iter().map(|a| &a.shown)).min(WIDTH - LABELS - LEAST);
    let left = labels + 10.0;
    let longest = WIDTH - left - shown - 12.0;
    for (at, amount) in amounts.iter().enumerate() {
        let y = at as f64 * STEP + 4.0;
        let long = if most > 0.0 { size(amount.value) / most * longest } else { 0.0 };
        // Whatever there is can be seen.
        let long = if size(amount.value) > 0.0 { long.max(1.5) } else { 0.0 };
        let says = format!("{}: {}", amount.label, amount.shown);
        svg.text("label end", (left - 8.0, y + BAR - 4.0), labels, &amount.label);
        let band = if most > 0.0 { upper(amount) / most * longest } else { 0.0 }.max(long);
        if band > long {
            svg.rect("band", (left, y), (band, BAR), &says);
        }
        svg.rect("bar", (left, y), (long, BAR), &says);
        svg.text("label", (left + band + 6.0, y + BAR - 4.0), shown, &amount.shown);
    }
}
