//! The path under fire: rounds of a collection and an upload, in which the agent, the server, the line and the disks fail
//! at random moments. After each round everything is brought back, and what the parties were told must hold.
//!
//! `HOLDFAST_FIRE_ROUNDS` says how many rounds there are, and `HOLDFAST_FIRE_SEED` runs the one round again whose seed it
//! is. What a machine cannot do (without root, or without a part of the kernel) is left out, and standard error says so.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a panic is how a test says that it failed")]

mod fault;
mod ground;
mod round;
mod truth;

use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use harness::{Postgres, Random, is_root_or_skipped};

use fault::KINDS;
use ground::Ground;
use round::Plan;

const ROUNDS: u64 = 20;
/// Rounds on one ground: its evidence stays where it is, and its disk is small.
const ROUNDS_OF_GROUND: u64 = 8;
/// Grounds at a time: a round waits more than it works.
const GROUNDS: usize = 3;

/// To standard error as it is: a test that passes would keep it to itself.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "fire: {text}");
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{variable} is a number")))
}

#[test]
fn nothing_acknowledged_is_lost_whatever_fails() {
    if !is_root_or_skipped("the path under fire: disks and lines of its own") {
        return;
    }
    let seeds: Vec<u64> = match number("HOLDFAST_FIRE_SEED") {
        Some(seed) => vec![seed],
        None => {
            // The first fault of a round is of the kind that its seed leaves over: a few rounds try each kind.
            let start = Random::seeded().number() >> 16;
            let rounds = number("HOLDFAST_FIRE_ROUNDS").unwrap_or(ROUNDS);
            (0..rounds).map(|n| (start + n * 7919) * KINDS.len() as u64 + n % KINDS.len() as u64).collect()
        }
    };
    say("skipped: a jump of the calendar's clock: it is the whole machine's; those that count from the boot do jump");
    // Said by the harness where there is none.
    let has_postgres = Postgres::start().is_some();
    let (next, failed) = (AtomicU64::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..GROUNDS.min(seeds.len()) {
            scope.spawn(|| {
                // One for each kind of database.
                let mut grounds: [Option<Ground>; 2] = [None, None];
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    let Some(seed) = seeds.get(usize::try_from(n).unwrap()) else { break };
                    let plan = Plan::from_seed(*seed, has_postgres);
                    let ground = &mut grounds[usize::from(plan.on_postgres)];
                    let kept = ground.take().filter(|ground| ground.rounds < ROUNDS_OF_GROUND);
                    let mut there = kept.unwrap_or_else(|| Ground::new(plan.on_postgres));
                    let (begun, text) = (Instant::now(), plan.to_string());
                    let ran = catch_unwind(AssertUnwindSafe(|| there.round(&plan)));
                    let secs = begun.elapsed().as_secs_f64();
                    match ran {
                        Ok(end) => {
                            say(&format!("round {n}, seed {seed}: {text}: {end} ({secs:.1} s)"));
                            there.rounds += 1;
                            *ground = Some(there);
                        }
                        Err(_) => {
                            say(&format!("round {n} FAILED: HOLDFAST_FIRE_SEED={seed}: {text} ({secs:.1} s)"));
                            there.tell_logs();
                            failed.lock().unwrap().push(*seed);
                        }
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "rounds failed; run one again with HOLDFAST_FIRE_SEED=SEED: {failed:?}");
}
