//! Weekly windows: when how much may be sent, and when a cutover may be.

use std::{fmt, str::FromStr};

use crate::{Rate, RateError};

/// Minutes of a week.
pub const WEEK: u32 = 7 * DAY;
const WEEK_SECONDS: f64 = WEEK as f64 * 60.0;
const DAY: u32 = 24 * 60;
const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

/// Hours of some days of the week, in local time: `Mon-Fri 07:00-19:00`. One that ends before it
/// begins goes on into the next day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Hours {
    /// A bit for each day, Monday's the lowest.
    days: u8,
    /// Minutes after midnight.
    from: u32,
    /// Minutes after midnight; up to the next day's end.
    to: u32,
}

/// Why text is no window.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WindowError {
    /// It has another form.
    #[error(
        "a window is days and hours, such as \"Mon-Fri 07:00-19:00\" or \"Sat,Sun 00:00-24:00\"; one \
         of bandwidth has a rate after them"
    )]
    Form,
    /// Unknown days.
    #[error("days are Mon, Tue, Wed, Thu, Fri, Sat, Sun, as Mon-Fri or Sat,Sun, or daily")]
    Days,
    /// Unknown hours.
    #[error("hours are from 00:00 to 24:00, such as 07:00-19:00, and not empty")]
    Hours,
    /// The rate cannot be understood.
    #[error("{0}")]
    Rate(#[from] RateError),
}

fn day(name: &str) -> Result<u32, WindowError> {
    let found = DAYS.iter().position(|day| day.eq_ignore_ascii_case(name));
    found.map(|day| day as u32).ok_or(WindowError::Days)
}

fn days(text: &str) -> Result<u8, WindowError> {
    if text.eq_ignore_ascii_case("daily") {
        return Ok(0x7f);
    }
    let mut days = 0;
    for part in text.split(',') {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        let (mut at, to) = (day(from)?, day(to)?);
        loop {
            days |= 1 << at;
            if at == to {
                break;
            }
            at = (at + 1) % 7;
        }
    }
    Ok(days)
}

fn minute(text: &str) -> Result<u32, WindowError> {
    let (hour, minute) = text.split_once(':').ok_or(WindowError::Hours)?;
    let number = |text: &str| match text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit()) {
        true => text.parse::<u32>().map_err(|_| WindowError::Hours),
        false => Err(WindowError::Hours),
    };
    let (hour, minute) = (number(hour)?, number(minute)?);
    let minutes = hour * 60 + minute;
    if minute > 59 || minutes > DAY { Err(WindowError::Hours) } else { Ok(minutes) }
}

impl FromStr for Hours {
    type Err = WindowError;

    fn from_str(text: &str) -> Result<Self, WindowError> {
        let (on, hours) = text.split_once(' ').ok_or(WindowError::Form)?;
        let (from, to) = hours.split_once('-').ok_or(WindowError::Form)?;
        let (from, to) = (minute(from)?, minute(to)?);
        if from == to || from == DAY {
            return Err(WindowError::Hours);
        }
        let to = if to < from { to + DAY } else { to };
        Ok(Self { days: days(on)?, from, to })
    }
}

impl fmt::Display for Hours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let on: Vec<_> = (0..7).filter(|day| self.days >> day & 1 == 1).collect();
        match on.as_slice() {
            [0, 1, 2, 3, 4, 5, 6] => f.write_str("daily")?,
            [first, .., last] if (last - first) as usize + 1 == on.len() => {
                write!(f, "{}-{}", DAYS[*first as usize], DAYS[*last as usize])?;
            }
            on => {
                let names: Vec<_> = on.iter().map(|day| DAYS[*day as usize]).collect();
                f.write_str(&names.join(","))?;
            }
        }
        let to = if self.to > DAY { self.to - DAY } else { self.to };
        let (from, to) = ((self.from / 60, self.from % 60), (to / 60, to % 60));
        write!(f, " {:02}:{:02}-{:02}:{:02}", from.0, from.1, to.0, to.1)
    }
}

impl Hours {
    /// Whether the minute of the week, counted from Monday 00:00, is within.
    pub fn holds(&self, minute: u32) -> bool {
        self.begins().any(|begin| (minute + WEEK - begin) % WEEK < self.minutes())
    }

    /// How long it is each time, in minutes.
    pub fn minutes(&self) -> u32 {
        self.to - self.from
    }

    /// The minutes of the week at which it begins.
    pub fn begins(&self) -> impl Iterator<Item = u32> + '_ {
        (0..7).filter(|day| self.days >> day & 1 == 1).map(|day| day * DAY + self.from)
    }

    /// The minutes of the week at which it begins or ends.
    fn edges(&self) -> impl Iterator<Item = u32> + '_ {
        self.begins().flat_map(|begin| [begin, (begin + self.minutes()) % WEEK])
    }
}

/// Hours in which no more than a rate is sent: `Mon-Fri 07:00-19:00 20 MiB/s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Window {
    /// When.
    pub hours: Hours,
    /// How much.
    pub rate: Rate,
}

impl FromStr for Window {
    type Err = WindowError;

    fn from_str(text: &str) -> Result<Self, WindowError> {
        let mut words = text.splitn(3, ' ');
        let (Some(on), Some(hours), Some(rate)) = (words.next(), words.next(), words.next()) else {
            return Err(WindowError::Form);
        };
        Ok(Self { hours: format!("{on} {hours}").parse()?, rate: rate.parse()? })
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.hours, self.rate)
    }
}

/// A stretch of time at one rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stretch {
    /// Seconds after the beginning.
    pub from: f64,
    /// Seconds after the beginning.
    pub to: f64,
    /// Bytes a second.
    pub rate: f64,
}

/// A stretch of time and the most that may be sent in it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limit {
    /// Seconds after the beginning.
    pub from: f64,
    /// Seconds after the beginning.
    pub to: f64,
    /// `None` where there is no limit.
    pub rate: Option<Rate>,
}

/// What may be sent when: windows, of those that overlap the last one counts, and outside of them
/// a rate, or no limit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schedule {
    /// The windows.
    pub windows: Vec<Window>,
    /// Outside of them.
    pub otherwise: Option<Rate>,
}

impl Schedule {
    /// The most that may be sent at that minute of the week; `None` where there is no limit.
    pub fn at(&self, minute: u32) -> Option<Rate> {
        let window = self.windows.iter().rev().find(|window| window.hours.holds(minute % WEEK));
        window.map_or(self.otherwise, |window| Some(window.rate))
    }

    /// What holds from `start` on, a time of the week in seconds, for `long` seconds: each stretch
    /// with its limit.
    pub fn limits(&self, start: f64, long: f64) -> Vec<Limit> {
        const MOST: usize = 1000;
        let mut now = 0.0;
        let mut limits: Vec<Limit> = Vec::new();
        while now < long && limits.len() < MOST {
            let at = (start + now).rem_euclid(WEEK_SECONDS);
            let rate = self.at((at / 60.0) as u32);
            let end = (now + self.next_edge(at) - at).min(long);
            match limits.last_mut() {
                Some(last) if last.rate == rate => last.to = end,
                _ => limits.push(Limit { from: now, to: end, rate }),
            }
            now = end;
        }
        limits
    }

    /// The next time of the week, in seconds, at which a window begins or ends, after `at`.
    fn next_edge(&self, at: f64) -> f64 {
        let edges = self.windows.iter().flat_map(|window| window.hours.edges());
        let later = edges.map(|edge| f64::from(edge) * 60.0).filter(|edge| *edge > at + 1e-6);
        later.fold(WEEK_SECONDS, f64::min)
    }

    /// How `bytes` are sent from `start` on, a time of the week in seconds, over a link that brings
    /// `link` bytes a second. At most a year; what is not sent by then, never is.
    pub fn send(&self, start: f64, bytes: f64, link: f64) -> Vec<Stretch> {
        const YEAR: f64 = 365.0 * 86_400.0;
        let (mut now, mut left) = (0.0, bytes);
        let mut stretches: Vec<Stretch> = Vec::new();
        while left > 0.0 && now < YEAR {
            let at = (start + now).rem_euclid(WEEK_SECONDS);
            let limit = self.at((at / 60.0) as u32);
            let rate = limit.map_or(link, |rate| link.min(rate.bytes_per_second().get() as f64));
            let next = self.next_edge(at);
            if rate <= 0.0 {
                break;
            }
            let end = (now + next - at).min(now + left / rate);
            match stretches.last_mut() {
                Some(last) if last.rate == rate => last.to = end,
                _ => stretches.push(Stretch { from: now, to: end, rate }),
            }
            left -= (end - now) * rate;
            // What rounding leaves is less than a byte.
            if left < 0.5 {
                break;
            }
            now = end;
        }
        stretches
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hours(text: &str) -> Hours {
        text.parse().expect("hours")
    }

    #[test]
    fn limits_of_a_stretch_are_those_of_its_minutes() {
        let schedule = Schedule {
            windows: vec!["Mon-Fri 08:00-18:00 2 MiB/s".parse().expect("a window")],
            otherwise: None,
        };
        let (hour, day) = (3600.0, 86_400.0);
        let spans = |start: f64, long: f64| -> Vec<(f64, f64, bool)> {
            let limits = schedule.limits(start * hour, long * hour);
            limits.iter().map(|l| (l.from / hour, l.to / hour, l.rate.is_some())).collect()
        };
        // From Monday at 7, and from Friday at 17 on.
        assert_eq!(spans(7.0, 4.0), [(0.0, 1.0, false), (1.0, 4.0, true)]);
        let weekend = spans(4.0 * 24.0 + 17.0, 72.0);
        assert_eq!(weekend, [(0.0, 1.0, true), (1.0, 63.0, false), (63.0, 72.0, true)]);
        assert!(schedule.limits(0.0, 0.0).is_empty());
        assert_eq!(schedule.limits(0.0, 7.0 * day).len(), 11);
    }

    #[test]
    fn what_is_written_is_what_is_meant() {
        let work = hours("Mon-Fri 07:00-19:00");
        assert!(work.holds(7 * 60) && work.holds(4 * DAY + 18 * 60 + 59));
        assert!(!work.holds(19 * 60) && !work.holds(5 * DAY + 12 * 60));
        let night = hours("Sun 22:00-06:00");
        assert!(night.holds(6 * DAY + 23 * 60) && night.holds(5 * 60) && !night.holds(6 * 60));
        assert!(hours("daily 00:00-24:00").holds(WEEK - 1));
        assert_eq!(hours("fri-mon 01:00-02:00").begins().count(), 4);
        for text in ["Mon-Fri 07:00-19:00", "Sat,Mon 22:30-06:00", "daily 00:00-24:00"] {
            let again = hours(&hours(text).to_string());
            assert_eq!(again, hours(text), "{text}");
        }
        for bad in [
            "",
            "Mon",
            "Mon 7:00-19:00",
            "Mon 07:00",
            "Mon 07:00-07:00",
            "Mon 24:00-06:00",
            "Mon 07:60-08:00",
            "Mon 07:00-24:01",
            "Someday 07:00-19:00",
            "Mon- 07:00-19:00",
        ] {
            assert!(bad.parse::<Hours>().is_err(), "{bad}");
        }
        assert!("Mon-Fri 07:00-19:00 20 MiB/s".parse::<Window>().is_ok());
        assert!("Mon-Fri 07:00-19:00".parse::<Window>().is_err());
        assert!("Mon-Fri 07:00-19:00 fast".parse::<Window>().is_err());
    }

    #[test]
    fn the_last_window_counts() {
        let window = |text: &str| text.parse::<Window>().expect("a window");
        let windows = vec![window("daily 00:00-24:00 1 MB/s"), window("Sat 08:00-12:00 5 MB/s")];
        let schedule = Schedule { windows, otherwise: None };
        let rate = |minute| schedule.at(minute).map(|rate| rate.bytes_per_second().get());
        assert_eq!(rate(0), Some(1_000_000));
        assert_eq!(rate(5 * DAY + 9 * 60), Some(5_000_000));
    }

    #[test]
    fn what_does_not_fit_into_the_night_goes_on_the_next_one() {
        let windows = vec!["Mon-Fri 06:00-22:00 1 MB/s".parse().expect("a window")];
        let schedule = Schedule { windows, otherwise: None };
        // From Monday 22:00: eight hours at 10 MB/s are 288 GB, then sixteen at 1 MB/s 57.6 GB.
        let sent = schedule.send(22.0 * 3600.0, 400e9, 10e6);
        assert_eq!(sent.len(), 3);
        assert_eq!((sent[0].to, sent[1].to), (8.0 * 3600.0, 24.0 * 3600.0));
        assert!((sent[2].to - (24.0 * 3600.0 + 54.4e9 / 10e6)).abs() < 1.0);
    }

    proptest! {
        #[test]
        fn what_is_sent_is_what_there_is(
            start in 0.0..604_800.0_f64, bytes in 1.0..1e13_f64, link in 1e3..1e9_f64,
        ) {
            let windows = ["Mon-Fri 07:00-19:00 2 MB/s", "Sat 22:00-03:00 1 kB/s"];
            let windows = windows.map(|text| text.parse().expect("a window")).to_vec();
            let schedule = Schedule { windows, otherwise: "50 MB/s".parse().ok() };
            let sent = schedule.send(start, bytes, link);
            let total: f64 = sent.iter().map(|s| (s.to - s.from) * s.rate).sum();
            let end = sent.last().map_or(0.0, |s| s.to);
            prop_assert!((total - bytes).abs() < 1.0 + bytes * 1e-9 || end >= 365.0 * 86_400.0);
            prop_assert!(sent.windows(2).all(|pair| pair[0].to == pair[1].from));
        }

        #[test]
        fn text_is_no_panic(text: String) {
            let _ = (text.parse::<Hours>(), text.parse::<Window>());
        }
    }
}
