//! The broker core keeps its promises over some seeds; `cargo xtask simulate` tries many.

use motte_sim::{Outcome, Scenario, Setup, replay, run};

#[test]
fn many_seeds_break_no_promise() {
    let mut sum = Outcome::default();
    for seed in 0..60 {
        match run(Setup::of(seed)) {
            Ok(outcome) => sum.add(&outcome),
            Err(violation) => panic!("seed {seed}, step {}: {}", violation.step, violation.what),
        }
    }
    // A simulation in which nothing happens proves nothing.
    assert!(sum.published > 1_000 && sum.arrived > 300, "{sum:?}");
    assert!(sum.crashes > 50 && sum.faults > 20 && sum.wills > 50, "{sum:?}");
    assert!(sum.looks > 60 && sum.silences > 2 && sum.revoked > 5, "{sum:?}");
    assert!(sum.rotten > 100, "{sum:?}");
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let setup = Setup { steps: 2_000, ..Setup::of(43) };
    assert_eq!(run(setup), run(setup));
}

/// Each of these broke a promise once.
#[test]
fn seeds_that_found_something_stay_sound() {
    for seed in [
        21, 254, 803, 1063, 1901, 2051, 2399, 551, 1759, 2991, 3691, 4803, 4823, 5599, 20_257, 22_129,
        101_099, 1_005_013, 638, 8_883, 22_606, 25_260, 29_101, 32_639, 40_221, 44_899, 76_835, 77_471,
        83_995, 114_637, 145_999, 175_155, 234_535, 393_947, 868_351,
    ] {
        assert_eq!(run(Setup::of(seed)).err(), None, "seed {seed}");
    }
}

#[test]
fn a_scenario_is_replayed_without_some_of_its_steps_and_clients() {
    let mut scenario = Scenario::whole(Setup::of(43));
    scenario.steps.retain(|step| step % 3 != 0);
    scenario.absent.insert(1);
    let outcome = replay(&scenario);
    assert_eq!(outcome, replay(&scenario));
    assert!(outcome.is_ok_and(|outcome| outcome.steps == scenario.steps.len()));
}
