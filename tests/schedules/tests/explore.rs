//! Drawn schedules, a part of them by random choice and a part by priorities that change a few times
//! (PCT: Burckhardt and others, ASPLOS 2010), which finds what takes few changes to show.
//! 50 times as many with `DROVER_TEST_LONG=1`.

use drover_schedules::{Shape, Sharing, share, walk};

fn explore(schedules: usize, run: impl Fn() + Send + Sync + Clone + 'static) {
    let long = std::env::var_os("DROVER_TEST_LONG").is_some();
    let schedules = if long { schedules * 50 } else { schedules };
    shuttle::check_random(run.clone(), schedules / 2);
    shuttle::check_pct(run, schedules / 2, 3);
}

const SHAPE: Shape =
    Shape { depth: 2, width: 2, quiet: false, workers: 2, limit: 1, most: 1, taken: usize::MAX };

#[test]
fn a_walk_comes_to_its_end_in_order() {
    for workers in 1..=3 {
        for limit in [0, 1, 3, 100] {
            for (most, quiet) in [(1, false), (2, false), (1, true), (2, true)] {
                let shape = Shape { workers, limit, most, quiet, ..SHAPE };
                explore(100, move || walk(shape));
            }
        }
    }
}

#[test]
fn a_walk_that_nobody_reads_to_the_end_stops() {
    for taken in 0..4 {
        for most in [1, 3] {
            let shape = Shape { workers: 3, taken, most, ..SHAPE };
            explore(400, move || walk(shape));
        }
    }
}

const SHARING: Sharing = Sharing { threads: 3, most: 2, turns: 2, failing: None, broken: None };

#[test]
fn connections_go_round() {
    for most in 1..=3 {
        let sharing = Sharing { most, ..SHARING };
        explore(1000, move || share(sharing));
    }
}

#[test]
fn connections_that_end_or_cannot_be_made() {
    for failing in [None, Some(1), Some(2)] {
        for broken in [None, Some(0), Some(1), Some(3)] {
            for most in [1, 2] {
                let sharing = Sharing { failing, broken, most, ..SHARING };
                explore(300, move || share(sharing));
            }
        }
    }
}
