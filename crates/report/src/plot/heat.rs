//! A week: seven days of 24 hours, the darker the more.

use super::{
    size,
    svg::{Svg, WIDTH},
};
use crate::format;

const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const LEFT: f64 = 40.0;
const CELL: f64 = 24.0;
const TOP: f64 = 20.0;
/// Shades, the lightest first; none is none.
const SHADES: f64 = 7.0;

pub(super) fn draw(svg: &mut Svg, days: &[[f64; 24]; 7]) {
    let most = days.iter().flatten().map(|value| size(*value)).fold(0.0, f64::max);
    let wide = (WIDTH - LEFT) / 24.0;
    for hour in (0..24).step_by(3) {
        let x = LEFT + hour as f64 * wide;
        svg.text("label small", (x, TOP - 6.0), 3.0 * wide, &format!("{hour:02}:00"));
    }
    for (day, hours) in days.iter().enumerate() {
        let y = TOP + day as f64 * CELL;
        svg.text("label end", (LEFT - 8.0, y + CELL - 8.0), LEFT, DAYS[day]);
        for (hour, value) in hours.iter().enumerate() {
            // By their roots: few and many are told apart as well as many and very many.
            let part = if most > 0.0 { (size(*value) / most).sqrt() } else { 0.0 };
            let shade = (part * SHADES).ceil() as u32;
            let says = format!("{} {hour:02}:00: {}", DAYS[day], count(*value));
            let at = (LEFT + hour as f64 * wide, y);
            svg.rect(&format!("heat h{shade}"), at, (wide - 2.0, CELL - 2.0), &says);
        }
    }
}

fn count(value: f64) -> String {
    format::count(size(value) as u64)
}

pub(super) fn rows(days: &[[f64; 24]; 7]) -> Vec<[String; 2]> {
    let mut rows = Vec::new();
    for (day, hours) in days.iter().enumerate() {
        for (hour, value) in hours.iter().enumerate().filter(|(_, value)| size(**value) > 0.0) {
            rows.push([format!("{} {hour:02}:00", DAYS[day]), count(*value)]);
        }
    }
    rows
}
