//! The broker core keeps its promises over many seeds.

use motte_sim::{Setup, run};

#[test]
fn a_thousand_seeds_break_no_promise() {
    let mut published = 0;
    let mut arrived = 0;
    for seed in 0..1_000 {
        let setup = Setup {
            seed,
            clients: 3 + (seed % 8) as usize,
            shards: 1 + (seed % 3) as u16,
            steps: 400,
            power_cuts: 0,
        };
        match run(setup) {
            Ok(outcome) => {
                published += outcome.published;
                arrived += outcome.arrived;
            }
            Err(violation) => panic!("seed {seed}, step {}: {}", violation.step, violation.what),
        }
    }
    // A simulation in which nothing happens proves nothing.
    assert!(published > 20_000 && arrived > 20_000, "published {published}, arrived {arrived}");
}

#[test]
fn what_was_acknowledged_outlives_the_power() {
    let (mut power_cuts, mut arrived) = (0, 0);
    for seed in 0..400 {
        let setup = Setup {
            seed,
            clients: 3 + (seed % 8) as usize,
            shards: 1 + (seed % 3) as u16,
            steps: 400,
            power_cuts: 15,
        };
        match run(setup) {
            Ok(outcome) => {
                power_cuts += outcome.power_cuts;
                arrived += outcome.arrived;
            }
            Err(violation) => panic!("seed {seed}, step {}: {}", violation.step, violation.what),
        }
    }
    assert!(power_cuts > 1_500 && arrived > 4_000, "power cuts {power_cuts}, arrived {arrived}");
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let setup = Setup { seed: 42, clients: 8, shards: 3, steps: 2_000, power_cuts: 10 };
    assert_eq!(run(setup), run(setup));
}
