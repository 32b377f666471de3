//! Random orders of events, seeded: what must always hold, checked after each run of the controller; and that in the
//! end, with faults over, what is wished is what is there.

use std::collections::BTreeMap;

use orion_model::{Object, Randomness};
use orion_types::{replica::ProcessState, service::Strategy};

use super::world::World;

const SEEDS: u64 = 300;
const STEPS: usize = 250;

struct Before {
    available: u32,
    unfinished: usize,
    desired: u32,
}

/// One run of the controller, and what must hold of it.
fn reconcile_and_check(world: &mut World, case: &str) {
    let before = Before {
        available: world.service.status.available,
        unfinished: world.unfinished(),
        desired: world.service.status.desired,
    };
    // The status is of the last run; what is available now is what this run finds.
    let plan = world.reconcile();
    let found = plan.status.available;
    let update = &world.service.spec.update;
    let desired = world.desired();
    if !plan.starts.is_empty() {
        let allowed = desired + update.max_surge;
        assert!(world.unfinished() <= allowed as usize, "{case}: {} of {allowed}", world.unfinished());
    }
    let stopped_available = plan.edits.iter().filter(|edit| edit.stop.is_some() && edit.replica.is_ready()).count();
    let rolls = update.strategy == Strategy::Rolling && before.desired == desired;
    let surge_impossible = plan.notices.iter().any(|notice| notice.reason == "SurgeImpossible");
    let kept = i64::from(found) - i64::try_from(stopped_available).expect("few");
    let floor = i64::from(desired) - i64::from(update.max_unavailable);
    let duplicates = plan.edits.iter().any(|edit| {
        edit.stop.is_some_and(|reason| reason.as_str() == "DuplicateAfterReturn" || reason.as_str() == "ScaledDown")
    });
    if rolls && !surge_impossible && !duplicates && stopped_available > 0 {
        assert!(kept >= floor.min(i64::from(found)), "{case}: {kept} of {floor} ({} before)", before.available);
    }
    if surge_impossible {
        assert!(stopped_available <= 1 + plan.edits.len() && kept + 1 >= floor, "{case}: one at a time");
    }
    let mut copies: BTreeMap<(u32, String), u32> = BTreeMap::new();
    for name in world.names(|replica| !replica.status.phase.is_finished() && !replica.is_stop_wished()) {
        let spec = &world.replicas[&name].spec;
        assert!(spec.index < desired, "{case}: {name} beyond {desired}");
        *copies.entry((spec.index, spec.revision.clone())).or_default() += 1;
    }
    assert!(copies.values().all(|count| *count == 1), "{case}: {copies:?}");
    assert!(world.unfinished() <= before.unfinished + plan.starts.len());
}

fn one_event(world: &mut World, random: &Randomness) {
    let any = world.names(|_| true);
    let pick = |names: &[String]| names.get(usize::try_from(random.below(names.len() as u64)).expect("small")).cloned();
    match random.below(24) {
        0 => world.deploy(&format!("good-{}", random.below(4))),
        1 => world.deploy(["crash-1", "missing-1", "slow-1"][usize::try_from(random.below(3)).expect("small")]),
        2 => world.scale(u32::try_from(random.below(5)).expect("small")),
        3 => {
            let ready = world.names(orion_types::Replica::is_ready);
            if let Some(name) = pick(&ready) {
                world.lose(&name);
            }
        }
        4 => {
            let lost = world.names(|replica| replica.status.phase == orion_types::replica::Phase::Lost);
            if let Some(name) = pick(&lost) {
                world.find_again(&name);
            }
        }
        5 => {
            let ready = world.names(orion_types::Replica::is_ready);
            if let Some(name) = pick(&ready) {
                world.edit(&name, |replica| {
                    let observed = replica.status.observed.as_mut().expect("it runs");
                    (observed.state, observed.ready) = (ProcessState::Backoff, false);
                });
            }
        }
        6..=9 => world.schedule(),
        10..=12 => world.now = world.now.after(std::time::Duration::from_secs(random.below(20))),
        _ => {
            if let Some(name) = pick(&any).filter(|name| !world.replicas[name].status.phase.is_finished()) {
                world.agent(&name);
            }
        }
    }
}

#[test]
fn whatever_happens_the_bounds_hold_and_what_is_wished_comes_about() {
    for seed in 0..SEEDS {
        let random = Randomness::seeded(seed);
        let mut world = World::new(3, 3);
        let update = &mut world.service.spec.update;
        update.max_surge = u32::try_from(random.below(3)).expect("small");
        update.max_unavailable = u32::try_from(random.below(3)).expect("small").max(u32::from(update.max_surge == 0));
        if random.below(5) == 0 {
            update.strategy = Strategy::Recreate;
        }
        if random.below(4) == 0 {
            world.static_port();
        }
        if random.below(4) == 0 {
            world.slots = 2;
        }
        for step in 0..STEPS {
            one_event(&mut world, &random);
            reconcile_and_check(&mut world, &format!("seed {seed}, step {step}"));
        }
        world.slots = 100;
        world.scale(3);
        world.deploy("good-9");
        let lost = world.names(|replica| replica.status.phase == orion_types::replica::Phase::Lost);
        lost.iter().filter(|_| random.below(2) == 0).for_each(|name| world.find_again(name));
        world.run_for(200);
        assert_eq!(world.indices_of("good-9"), [0, 1, 2], "seed {seed}");
        assert_eq!((world.ready(), world.unfinished()), (3, 3), "seed {seed}");
        let status = &world.service.status;
        assert_eq!((status.failed.clone(), status.stable.clone()), (None, Some(world.revision("good-9"))), "seed {seed}");
        assert_eq!(world.service.name(), "web");
    }
}
