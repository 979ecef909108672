//! Plots: plain data that becomes inline SVG.
//!
//! Nothing in a plot is fetched, scripted or styled in place: shapes have classes, and the one style
//! sheet of the page gives them their colours, in light, in dark and on paper. Each plot has a name
//! and a description for who does not see it, and the page has its numbers as a table beside it.
//! Text is cut to the room that it surely has, and whole in its own tooltip.

mod bars;
mod gantt;
mod heat;
mod map;
mod svg;
mod treemap;

/// One thing and how much of it there is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Amount {
    /// What it is.
    pub label: String,
    /// How much; negative and endless amounts count as nothing.
    pub value: f64,
    /// How much it may become; the same where it is less.
    pub most: f64,
    /// The amount as people read it.
    pub shown: String,
}

impl Amount {
    /// Of a thing.
    pub fn new(label: impl Into<String>, value: f64, shown: impl Into<String>) -> Self {
        Self { label: label.into(), value, most: value, shown: shown.into() }
    }

    /// With how much it may become.
    pub fn up_to(self, most: f64) -> Self {
        Self { most, ..self }
    }
}

/// A stretch of time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Span {
    /// What goes on.
    pub label: String,
    /// Seconds after the beginning.
    pub from: f64,
    /// Seconds after the beginning.
    pub to: f64,
    /// The stretch as people read it.
    pub shown: String,
}

/// A line from one thing to another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// The place on the left, counted from 0.
    pub left: usize,
    /// The place on the right.
    pub right: usize,
}

/// What is drawn.
#[derive(Clone, Debug, PartialEq)]
pub enum Plot {
    /// One bar below the other.
    Bars(Vec<Amount>),
    /// Rectangles whose areas are the amounts.
    Treemap(Vec<Amount>),
    /// Seven days, Monday first, of 24 hours each.
    Week(Box<[[f64; 24]; 7]>),
    /// Stretches of time, one below the other, and behind them such as concern all.
    Gantt {
        /// One below the other.
        spans: Vec<Span>,
        /// Behind them.
        shades: Vec<Span>,
    },
    /// Who is connected to what.
    Map {
        /// On the left.
        left: Vec<String>,
        /// On the right.
        right: Vec<String>,
        /// Who with whom.
        links: Vec<Link>,
    },
}

/// A plot with its name.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// What it shows, in a few words.
    pub title: String,
    /// What is to be seen in it, for who does not see it, and how to read it.
    pub note: String,
    /// What is drawn.
    pub plot: Plot,
}

impl Figure {
    /// With a name and a description.
    pub fn new(title: impl Into<String>, note: impl Into<String>, plot: Plot) -> Self {
        Self { title: title.into(), note: note.into(), plot }
    }

    /// Whether there is nothing to see.
    pub fn is_empty(&self) -> bool {
        let none = |amounts: &[Amount]| amounts.iter().all(|amount| size(amount.value) == 0.0);
        match &self.plot {
            Plot::Bars(amounts) | Plot::Treemap(amounts) => none(amounts),
            Plot::Week(days) => days.iter().flatten().all(|value| size(*value) == 0.0),
            Plot::Gantt { spans, .. } => spans.is_empty(),
            Plot::Map { links, .. } => links.is_empty(),
        }
    }

    /// The drawing: one `svg` element.
    pub fn svg(&self) -> String {
        let mut svg = svg::Svg::new(&self.title, &self.note);
        match &self.plot {
            Plot::Bars(amounts) => bars::draw(&mut svg, amounts),
            Plot::Treemap(amounts) => treemap::draw(&mut svg, amounts),
            Plot::Week(days) => heat::draw(&mut svg, days),
            Plot::Gantt { spans, shades } => gantt::draw(&mut svg, spans, shades),
            Plot::Map { left, right, links } => map::draw(&mut svg, left, right, links),
        }
        svg.finish()
    }

    /// Its numbers, a name and a value each.
    pub fn rows(&self) -> Vec<[String; 2]> {
        match &self.plot {
            Plot::Bars(amounts) | Plot::Treemap(amounts) => {
                amounts.iter().map(|a| [a.label.clone(), a.shown.clone()]).collect()
            }
            Plot::Week(days) => heat::rows(days),
            Plot::Gantt { spans, shades } => {
                spans.iter().chain(shades).map(|s| [s.label.clone(), s.shown.clone()]).collect()
            }
            Plot::Map { left, right, links } => {
                let name = |names: &[String], at: usize| names.get(at).cloned().unwrap_or_default();
                links.iter().map(|l| [name(left, l.left), name(right, l.right)]).collect()
            }
        }
    }
}

/// An amount that can be drawn: sums of many of the largest are still finite.
fn size(value: f64) -> f64 {
    if value.is_finite() && value > 0.0 { value.min(1e300) } else { 0.0 }
}

#[cfg(test)]
mod tests;
