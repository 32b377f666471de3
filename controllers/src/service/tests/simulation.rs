//! Random orders of events, seeded: what must always hold, checked after each run of the controller; and that in the
//! end, with faults over, what is wished is what is there.

use std::{collections::BTreeMap, time::Duration};

use orion_model::{Object, Randomness};
use orion_types::{replica::ProcessState, service::Strategy};

use super::{super::plan::Edit, world::World};

const SEEDS: u64 = 100;
const STEPS: usize = 250;

/// One run of the controller, and what must hold of it.
fn reconcile_and_check(world: &mut World, case: &str) {
    let (unfinished, was_desired) = (world.unfinished(), world.service.status.desired);
    let available = world.available();
    let plan = world.reconcile();
    let update = &world.service.spec.update;
    let desired = world.desired();
    if !plan.starts.is_empty() {
        let allowed = desired + update.max_surge;
        assert!(world.unfinished() <= allowed as usize, "{case}: {} of {allowed}", world.unfinished());
    }
    let stopped = |reason: &str| {
        let of = |edit: &&Edit| edit.stop.is_some_and(|why| reason.is_empty() || why.as_str() == reason);
        let names = plan.edits.iter().filter(of).map(|edit| edit.replica.name());
        names.filter(|name| available.contains(*name)).count()
    };
    let surge_impossible = plan.notices.iter().any(|notice| notice.reason == "SurgeImpossible");
    // Scaling down and what came back are no rollout: there the index decides, and one of two copies stays.
    let rolled = stopped("") - stopped("ScaledDown") - stopped("DuplicateAfterReturn");
    if update.strategy == Strategy::Rolling && was_desired == desired && rolled > 0 {
        let kept = available.len() - stopped("");
        let unavailable = if surge_impossible { update.max_unavailable.max(1) } else { update.max_unavailable };
        let floor = desired.saturating_sub(unavailable) as usize;
        assert!(kept >= floor, "{case}: {kept} of {floor}, {} before", available.len());
    }
    let mut copies: BTreeMap<(u32, String), u32> = BTreeMap::new();
    for name in world.names(|replica| !replica.status.phase.is_finished() && !replica.is_stop_wished()) {
        let spec = &world.replicas[&name].spec;
        assert!(spec.index < desired, "{case}: {name} beyond {desired}");
        *copies.entry((spec.index, spec.revision.clone())).or_default() += 1;
    }
    let doubted = plan.wake.moment().is_some_and(|moment| moment <= world.now.after(Duration::from_secs(5)));
    assert!(doubted || copies.values().all(|count| *count == 1), "{case}: {copies:?}");
    assert!(world.unfinished() <= unfinished + plan.starts.len());
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
        10..=12 => world.now = world.now.after(Duration::from_secs(random.below(20))),
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
        assert_eq!(
            (status.failed.clone(), status.stable.clone()),
            (None, Some(world.revision("good-9"))),
            "seed {seed}"
        );
    }
}
