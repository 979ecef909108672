//! What somebody does who holds the store, or a writer's credential, and what it shows as, and to
//! whom. `docs/threat-model.md` says the same in words.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, reason = "how much was tried")]

#[path = "../common/mod.rs"]
mod common;
mod keys;
mod rogue;
mod scenario;
mod stage;
mod store;

use stage::Stage;

#[test]
fn whatever_is_done_shows_as_it_should() {
    let stage = Stage::new();
    let mut wrong = Vec::new();
    let scenarios = [store::SCENARIOS, keys::SCENARIOS, rogue::SCENARIOS];
    for scenario in scenarios.into_iter().flatten() {
        stage.reset();
        (scenario.act)(&stage);
        let seen = [stage.look(None), stage.look(Some("reader")), stage.pass()];
        let expected = [scenario.stranger, scenario.regular, scenario.pass];
        if seen != expected {
            wrong.push(format!("{}: {seen:?} instead of {expected:?}", scenario.name));
        }
    }
    println!("{} scenarios", scenarios.into_iter().flatten().count());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
