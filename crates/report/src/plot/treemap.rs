//! Rectangles whose areas are the amounts, laid out as squares as far as that goes (Bruls, Huizing,
//! van Wijk: Squarified Treemaps, 2000).

use super::{
    Amount, size,
    svg::{LETTER, Svg, WIDTH},
};

const HEIGHT: f64 = 320.0;
/// More rectangles cannot be told apart; the rest becomes one.
const MOST: usize = 40;
/// Colours that follow one another.
const COLOURS: usize = 6;

#[derive(Clone, Copy)]
struct Room {
    x: f64,
    y: f64,
    width: f64,
    height: f64,
}

pub(super) fn draw(svg: &mut Svg, amounts: &[Amount]) {
    let there = amounts.iter().filter(|a| size(a.value) > 0.0);
    let mut amounts: Vec<_> = there.map(|a| Amount { value: size(a.value), ..a.clone() }).collect();
    amounts.sort_by(|a, b| b.value.total_cmp(&a.value));
    if amounts.len() > MOST {
        let rest: f64 = amounts[MOST - 1..].iter().map(|a| a.value).sum();
        let count = amounts.len() - MOST + 1;
        amounts.truncate(MOST - 1);
        amounts.push(Amount::new(format!("{count} more"), rest, ""));
    }
    let total: f64 = amounts.iter().map(|a| a.value).sum();
    if total <= 0.0 || !total.is_finite() {
        return;
    }
    let scale = WIDTH * HEIGHT / total;
    let areas: Vec<f64> = amounts.iter().map(|a| a.value * scale).collect();
    let mut room = Room { x: 0.0, y: 0.0, width: WIDTH, height: HEIGHT };
    let mut from = 0;
    while from < areas.len() {
        let side = room.width.min(room.height);
        let mut to = from + 1;
        while to < areas.len() && worst(&areas[from..=to], side) <= worst(&areas[from..to], side) {
            to += 1;
        }
        let sum: f64 = areas[from..to].iter().sum();
        let upright = room.width >= room.height;
        let thick = if side > 0.0 { sum / side } else { 0.0 };
        let mut along = 0.0;
        for (amount, area) in amounts[from..to].iter().zip(&areas[from..to]) {
            let long = if thick > 0.0 { area / thick } else { 0.0 };
            let (x, y, width, height) = match upright {
                true => (room.x, room.y + along, thick, long),
                false => (room.x + along, room.y, long, thick),
            };
            along += long;
            let number = amounts.iter().position(|other| std::ptr::eq(other, amount)).unwrap_or(0);
            one(svg, amount, number, Room { x, y, width, height });
        }
        match upright {
            true => (room.x, room.width) = (room.x + thick, room.width - thick),
            false => (room.y, room.height) = (room.y + thick, room.height - thick),
        }
        from = to;
    }
}

/// How far the worst of a row is from a square.
fn worst(row: &[f64], side: f64) -> f64 {
    let sum: f64 = row.iter().sum();
    let least = row.iter().copied().fold(f64::MAX, f64::min);
    let most = row.iter().copied().fold(0.0, f64::max);
    let (sum, side) = (sum * sum, side * side);
    (side * most / sum).max(sum / (side * least))
}

fn one(svg: &mut Svg, amount: &Amount, number: usize, room: Room) {
    let Room { x, y, width, height } = room;
    let says = match amount.shown.is_empty() {
        true => amount.label.clone(),
        false => format!("{}: {}", amount.label, amount.shown),
    };
    let class = format!("area c{}", number % COLOURS);
    svg.rect(&class, (x + 1.0, y + 1.0), (width - 2.0, height - 2.0), &says);
    let inner = width - 12.0;
    if height > LETTER * 1.6 {
        svg.text("in", (x + 6.0, y + LETTER + 3.0), inner, &amount.label);
    }
    if height > LETTER * 3.0 {
        svg.text("in small", (x + 6.0, y + 2.0 * LETTER + 5.0), inner, &amount.shown);
    }
}
