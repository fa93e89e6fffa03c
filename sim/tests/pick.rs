//! The scripted operator solves `so101-pick` in lockstep, and does so the same way every time.

use sinew_sim::pick::{PickError, PickTask, ScriptedPick, TaskState};

const CONTROL_HZ: f64 = 30.0;
const LONGEST_EPISODE_S: f64 = 25.0;
/// One step of an STS3215's encoder, rad.
const SERVO_STEP: f64 = std::f64::consts::TAU / 4096.0;

struct Episode {
    state: TaskState,
    seconds: f64,
    attempts: u32,
}

/// Runs one episode with targets rounded to servo steps; `disturb` is called before each tick.
fn run(
    task: &mut PickTask,
    seed: u64,
    mut disturb: impl FnMut(&mut PickTask, &ScriptedPick),
) -> Result<Episode, PickError> {
    task.reset(seed)?;
    let mut operator = ScriptedPick::new(task)?;
    while !operator.is_done() && task.world().time() < LONGEST_EPISODE_S {
        disturb(task, &operator);
        let target = operator.tick(task.world().time(), &task.positions(), &task.state())?;
        let quantised = target.map(|rad| (rad / SERVO_STEP).round() * SERVO_STEP);
        task.advance(&quantised, 1.0 / CONTROL_HZ)?;
    }
    Ok(Episode {
        state: task.state(),
        seconds: task.world().time(),
        attempts: operator.attempts(),
    })
}

#[test]
fn scripted_operator_succeeds_in_at_least_95_of_100_episodes() {
    let mut task = PickTask::new(0).unwrap();
    let (mut solved, mut retried, mut longest, mut total) = (0, 0, 0.0_f64, 0.0);
    for seed in 0..100 {
        match run(&mut task, seed, |_, _| {}) {
            Ok(episode) => {
                solved += u32::from(episode.state.success);
                retried += u32::from(episode.attempts > 1);
                total += episode.seconds;
                if episode.attempts == 1 {
                    longest = longest.max(episode.seconds);
                }
                if !episode.state.success {
                    println!("seed {seed} failed: {:?}", episode.state);
                }
            }
            Err(e) => println!("seed {seed} failed: {e}"),
        }
    }
    println!(
        "{solved} of 100 solved, {retried} needed a second attempt; mean {:.2} s, longest without retry {longest:.2} s",
        total / 100.0
    );
    assert!(solved >= 95, "{solved} of 100");
    assert!(
        longest <= 12.0,
        "an undisturbed episode took {longest:.2} s of simulated time"
    );
}

#[test]
fn an_episode_is_the_same_to_the_byte() {
    let bytes = |task: &mut PickTask| {
        run(task, 7, |_, _| {}).unwrap();
        task.world().save().to_bytes()
    };
    let mut used = PickTask::new(3).unwrap();
    run(&mut used, 5, |_, _| {}).unwrap();
    assert_eq!(
        bytes(&mut used),
        bytes(&mut PickTask::new(7).unwrap()),
        "an earlier episode left a trace"
    );
}

#[test]
fn nothing_is_solved_at_the_start_and_seeds_differ() {
    let mut task = PickTask::new(0).unwrap();
    let mut seen = Vec::new();
    for seed in 0..50 {
        task.reset(seed).unwrap();
        let state = task.state();
        assert!(!state.success && !state.touched, "seed {seed}");
        assert!(!seen.contains(&state.cube_position), "seed {seed}");
        seen.push(state.cube_position);
    }
}

#[test]
fn a_cube_on_the_zone_counts_only_once_it_is_let_go_and_still() {
    let mut task = PickTask::new(2).unwrap();
    let zone = task.state().zone;
    let cube = task.scene().cube;
    let mut place = |z: f64| {
        let pose = sinew_sim::Pose::at([zone[0], zone[1], z], 0.0);
        task.world_mut().place_body(cube, pose).unwrap();
        task.state().success
    };
    assert!(place(0.015));
    assert!(!place(0.05), "a cube in the air is not placed");
}

#[test]
fn a_cube_snatched_away_is_picked_up_at_its_new_place() {
    use sinew_sim::pick::Phase;
    let mut task = PickTask::new(0).unwrap();
    let mut solved = 0;
    for seed in 0..10 {
        let mut snatched = false;
        let episode = run(&mut task, seed, |task, operator| {
            if operator.phase() == Phase::Settle && !snatched {
                snatched = true;
                let cube = task.scene().cube;
                let [_, y] = task.state().zone;
                // Far from the gripper, on the other side of the zone's half of the table.
                let pose =
                    sinew_sim::Pose::at([0.22, if y > 0.0 { -0.11 } else { 0.11 }, 0.015], 0.4);
                task.world_mut().place_body(cube, pose).unwrap();
            }
        })
        .unwrap();
        assert!(snatched);
        solved += u32::from(episode.state.success);
    }
    assert!(solved >= 8, "{solved} of 10");
}

/// The front camera sees the cube all the time that no finger covers it, the wrist camera when
/// the gripper is above it. The pictures are left in cargo's scratch folder for people to look at.
#[test]
fn cameras_see_the_cube_in_every_phase() {
    use sinew_sim::pick::{CAMERA_SIZE, CAMERAS, Phase};
    use sinew_sim::{RenderOptions, Renderer, Viewpoint};
    let mut task = PickTask::new(12).unwrap();
    let options = RenderOptions {
        shadow_size: 512,
        ..RenderOptions::default()
    };
    let mut renderer = Renderer::new(task.world().model(), options).unwrap();
    let (width, height) = CAMERA_SIZE;
    let mut pixels = vec![0; 3 * (width * height) as usize];
    let mut pictures = Vec::new();
    let mut last = Phase::Done;
    run(&mut task, 12, |task, operator| {
        if operator.phase() == last {
            return;
        }
        last = operator.phase();
        for name in CAMERAS {
            let view = Viewpoint::Camera(task.world().model().camera(name).unwrap());
            renderer
                .render(task.world(), view, width, height, &mut pixels)
                .unwrap();
            let path = format!(
                "{}/pick-{:02}-{last:?}-{name}.png",
                env!("CARGO_TARGET_TMPDIR"),
                pictures.len() / 2
            );
            image::save_buffer(path, &pixels, width, height, image::ColorType::Rgb8).unwrap();
            let red = pixels
                .chunks_exact(3)
                .filter(|p| p[0] > 100 && p[1] < 60 && p[2] < 60)
                .count();
            pictures.push((last, name, red));
        }
    })
    .unwrap();
    for (phase, name, red) in &pictures {
        println!("{phase:?} {name}: {red} red pixels");
        assert!(*name == "wrist" || *red > 40, "{phase:?} {name}: {red}");
        assert!(
            *name == "front" || *phase != Phase::Descend || *red > 200,
            "{phase:?} {name}: {red}"
        );
    }
    assert!(pictures.len() >= 24);
}

/// The same servos as on the pseudo-terminal (profiles, torque limits, overload protection,
/// whole ticks), stepped in lockstep so that many episodes are quick and repeatable.
#[test]
fn scripted_operator_succeeds_through_emulated_servos() {
    use sinew_drivers::emulator::SharedChain;
    use sinew_drivers::feetech::registers::{self as reg, Register};
    use sinew_hardware::Blueprint;
    use sinew_sim::pick::{DOF, SimPlant, TickMap, emulated_servos};

    const EPISODES: u64 = 40;
    const TICK_S: f64 = 1.0 / CONTROL_HZ;
    let blueprint = Blueprint::load("so101").unwrap();
    let map = TickMap::from_blueprint(&blueprint).unwrap();
    let (mut solved, mut alarms) = (0, 0);
    for seed in 0..EPISODES {
        let mut task = PickTask::new(seed).unwrap();
        let rest = task.scene().rest;
        task.pose_arm(&rest).unwrap();
        let mut operator = ScriptedPick::new(&task).unwrap();
        let mut plant = SimPlant::new(task, map);
        let chain = SharedChain::new(emulated_servos(&blueprint, &map, &rest).unwrap());
        let write = |servo: usize, register: &Register, value: i32| {
            let bytes = register.encode(value).unwrap().to_le_bytes();
            chain.lock().servos_mut()[servo]
                .write(register.addr, &bytes[..usize::from(register.size)]);
        };
        // What LeRobot sets on a gripper.
        for (register, value) in [
            (reg::TORQUE_LIMIT, 500),
            (reg::PROTECTION_CURRENT, 250),
            (reg::OVERLOAD_TORQUE, 25),
        ] {
            write(DOF - 1, &register, value);
        }
        (0..DOF).for_each(|i| write(i, &reg::TORQUE_ENABLE, 1));
        let mut now = 0.0;
        while !operator.is_done() && now < LONGEST_EPISODE_S {
            let measured = std::array::from_fn(|i| {
                let ticks = chain.lock().servos()[i].get(&reg::PRESENT_POSITION);
                map.rad(i, f64::from(ticks))
            });
            let target = operator
                .tick(now, &measured, &plant.task().state())
                .unwrap();
            for (i, rad) in target.into_iter().enumerate() {
                write(
                    i,
                    &reg::GOAL_POSITION,
                    map.ticks(i, rad).round().clamp(0.0, 4095.0) as i32,
                );
            }
            for _ in 0..10 {
                chain.step(TICK_S / 10.0, &mut plant);
            }
            assert!(plant.take_failure().is_none());
            now += TICK_S;
        }
        let state = plant.task().state();
        solved += u64::from(state.success);
        alarms += chain
            .lock()
            .servos()
            .iter()
            .filter(|servo| servo.alarms() != 0)
            .count();
        if !state.success {
            println!("seed {seed} failed: {state:?}");
        }
    }
    println!("{solved} of {EPISODES} solved, {alarms} servo alarms");
    assert!(solved * 100 >= EPISODES * 95, "{solved} of {EPISODES}");
    assert_eq!(alarms, 0);
}
