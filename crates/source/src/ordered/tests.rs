use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;

use super::*;

/// A tree of work: what comes of one piece.
#[derive(Clone, Debug)]
enum Item {
    Event(u32),
    Work(Vec<Item>),
}

fn items() -> impl Strategy<Value = Vec<Item>> {
    let leaf = any::<u32>().prop_map(Item::Event);
    let item = leaf
        .prop_recursive(6, 200, 8, |inner| prop::collection::vec(inner, 0..8).prop_map(Item::Work));
    prop::collection::vec(item, 0..8)
}

fn in_order(items: &[Item], out: &mut Vec<u32>) {
    for item in items {
        match item {
            Item::Event(event) => out.push(*event),
            Item::Work(below) => in_order(below, out),
        }
    }
}

fn outcome(items: Vec<Item>) -> Outcome<Vec<Item>, u32> {
    let mut outcome = Outcome::new();
    for item in items {
        match item {
            Item::Event(event) => outcome.event(event, 1),
            Item::Work(below) => outcome.work(below),
        }
    }
    outcome
}

/// A worker that gives way as often as `seed` says, so that the schedules differ.
fn worker(mut seed: u32) -> impl FnMut(Vec<Item>) -> Outcome<Vec<Item>, u32> {
    move |items| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        for _ in 0..seed >> 29 {
            thread::yield_now();
        }
        outcome(items)
    }
}

fn start(items: Vec<Item>, workers: u32, limit: usize, seed: u32) -> Ordered<Vec<Item>, u32> {
    Ordered::start(outcome(items), (0..workers).map(|n| worker(seed ^ n)), limit).unwrap()
}

/// A wide and deep tree of `n` events.
fn wide(n: u32) -> Vec<Item> {
    (0..n / 10)
        .map(|at| Item::Work((0..10).map(|event| Item::Event(at * 10 + event)).collect()))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_tree_comes_out_in_order_through_any_bound(
        tree in items(), workers in 1_u32..5, limit in 0_usize..12, most in 1_usize..5,
        seed in any::<u32>(),
    ) {
        let mut expected = Vec::new();
        in_order(&tree, &mut expected);
        let some = (0..workers).map(|n| {
            let mut run = worker(seed ^ n);
            move |works: Vec<_>| works.into_iter().map(&mut run).collect()
        });
        let walk = Ordered::start_with(outcome(tree), some, limit, most).unwrap();
        prop_assert_eq!(walk.collect::<Vec<u32>>(), expected);
    }
}

#[test]
fn what_waits_is_bounded() {
    let (workers, limit, piece) = (4, 50, 10);
    let mut walk = start(wide(5_000), workers, limit, 1);
    let mut found = 0;
    while walk.next().is_some() {
        found += 1;
        let waiting = walk.shared.lock().waiting;
        assert!(waiting <= limit + workers as usize * piece, "{waiting} events wait");
    }
    assert_eq!(found, 5_000);
    assert_eq!(walk.shared.lock().waiting, 0);
}

#[test]
fn the_workers_go_no_further_than_the_bound_without_a_reader() {
    let done = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&done);
    let run = move |items: Vec<Item>| {
        count.fetch_add(items.len(), Ordering::Relaxed);
        outcome(items)
    };
    let mut walk = Ordered::start(outcome(wide(5_000)), [run], 50).unwrap();
    assert_eq!(walk.next(), Some(0));
    // The one worker sleeps when it has no work that it may begin.
    let mut state = walk.shared.lock();
    while state.idle_workers == 0 {
        drop(state);
        thread::yield_now();
        state = walk.shared.lock();
    }
    drop(state);
    assert!(done.load(Ordering::Relaxed) <= 50 + 2 * 10);
    assert_eq!(walk.count(), 4_999);
}

#[test]
fn dropping_it_ends_the_workers() {
    let mut walk = start(wide(5_000), 4, 100, 2);
    let shared = Arc::downgrade(&walk.shared);
    assert_eq!(walk.by_ref().take(3).count(), 3);
    drop(walk);
    assert_eq!(shared.strong_count(), 0);
}

#[test]
fn a_panic_reaches_the_reader() {
    let run = |items: Vec<Item>| match items.first() {
        Some(Item::Event(700)) => panic!("on purpose"),
        _ => outcome(items),
    };
    let walk = Ordered::start(outcome(wide(5_000)), [run, run], 100).unwrap();
    let caught = panic::catch_unwind(panic::AssertUnwindSafe(|| walk.count()));
    assert!(caught.is_err());
}

#[test]
fn a_long_chain_is_no_recursion() {
    // Each piece gives one event and one further piece.
    let run = |left: u32| {
        let mut outcome = Outcome::new();
        outcome.event(left, 1);
        if left > 0 {
            outcome.work(left - 1);
        }
        outcome
    };
    let mut first = Outcome::new();
    first.work(200_000);
    let walk = Ordered::start(first, [run, run], 10).unwrap();
    assert!(walk.eq((0..=200_000).rev()));
}
