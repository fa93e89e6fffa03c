//! Off-screen rendering: orientation, determinism, refusals.

use sinew_runtime::Frame;
use sinew_sim::{RenderOptions, Renderer, SimError, Viewpoint, World};

/// Red box to the left of a camera that looks along +y, blue sphere to the right and above.
const SCENE: &str = r#"<mujoco>
  <visual><headlight ambient="0.6 0.6 0.6" diffuse="0.4 0.4 0.4" specular="0 0 0"/></visual>
  <worldbody>
    <camera name="front" pos="0 -1 0.2" xyaxes="1 0 0 0 0 1" fovy="60"/>
    <camera name="back" pos="0 1 0.2" xyaxes="-1 0 0 0 0 1" fovy="60"/>
    <geom type="plane" size="2 2 0.1" rgba="0.2 0.5 0.2 1"/>
    <geom type="box" size="0.1 0.1 0.1" pos="-0.3 0 0.1" rgba="1 0 0 1"/>
    <body name="ball" pos="0.3 0 0.5"><freejoint/><geom type="sphere" size="0.1" rgba="0 0 1 1"/></body>
  </worldbody>
</mujoco>"#;

const WIDTH: u32 = 160;
const HEIGHT: u32 = 120;

fn scene() -> (World, Renderer) {
    let world = World::from_xml("blocks", SCENE, &[]).unwrap();
    let renderer = Renderer::new(world.model(), RenderOptions::default()).unwrap();
    (world, renderer)
}

fn picture(world: &World, renderer: &mut Renderer, camera: &str) -> Vec<u8> {
    let view = Viewpoint::Camera(world.model().camera(camera).unwrap());
    let mut pixels = vec![0; (3 * WIDTH * HEIGHT) as usize];
    renderer
        .render(world, view, WIDTH, HEIGHT, &mut pixels)
        .unwrap();
    pixels
}

/// Mean column and row of the pixels whose channel `strong` outshines the other two.
fn centre_of(pixels: &[u8], strong: usize) -> (f64, f64) {
    let (mut x, mut y, mut n) = (0.0, 0.0, 0.0);
    for (i, p) in pixels.chunks_exact(3).enumerate() {
        let others = p[(strong + 1) % 3].max(p[(strong + 2) % 3]);
        if p[strong] > 100 && p[strong] > 2 * others.max(20) {
            x += f64::from(i as u32 % WIDTH);
            y += f64::from(i as u32 / WIDTH);
            n += 1.0;
        }
    }
    assert!(n > 20.0, "only {n} pixels of channel {strong}");
    (x / n, y / n)
}

#[test]
fn left_is_left_and_up_is_up() {
    let (world, mut renderer) = scene();
    let front = picture(&world, &mut renderer, "front");
    let (red, blue) = (centre_of(&front, 0), centre_of(&front, 2));
    assert!(
        red.0 < 60.0 && blue.0 > 100.0,
        "columns: red {red:?}, blue {blue:?}"
    );
    assert!(
        blue.1 < red.1,
        "the ball is above the box: red {red:?}, blue {blue:?}"
    );
}

#[test]
fn one_renderer_serves_several_cameras_and_sizes() {
    let (world, mut renderer) = scene();
    let front = picture(&world, &mut renderer, "front");
    let back = picture(&world, &mut renderer, "back");
    assert!(
        centre_of(&back, 0).0 > 100.0,
        "seen from behind the box is on the right"
    );
    let mut small = Frame::new(64, 48, vec![0; 3 * 64 * 48]);
    let view = Viewpoint::Camera(world.model().camera("front").unwrap());
    renderer.render_frame(&world, view, &mut small).unwrap();
    assert_eq!(
        picture(&world, &mut renderer, "front"),
        front,
        "no trace of the other pictures"
    );
}

#[test]
fn the_picture_follows_the_world_and_repeats_to_the_byte() {
    let (mut world, mut renderer) = scene();
    let start = picture(&world, &mut renderer, "front");
    world.step(100).unwrap();
    let later = picture(&world, &mut renderer, "front");
    assert!(
        centre_of(&later, 2).1 > centre_of(&start, 2).1 + 5.0,
        "the ball falls"
    );

    let (mut again, mut other_renderer) = scene();
    again.step(100).unwrap();
    assert_eq!(picture(&again, &mut other_renderer, "front"), later);
}

#[test]
fn renderers_on_two_threads_do_not_meet() {
    let (world, mut renderer) = scene();
    let here = picture(&world, &mut renderer, "front");
    let there = std::thread::scope(|scope| {
        let other = scope.spawn(|| {
            let (world, mut renderer) = scene();
            picture(&world, &mut renderer, "front")
        });
        other.join().unwrap()
    });
    assert_eq!(there, here);
    assert_eq!(picture(&world, &mut renderer, "front"), here);
}

#[test]
fn requests_that_do_not_fit_are_refused() {
    let (world, mut renderer) = scene();
    let view = Viewpoint::Camera(world.model().camera("front").unwrap());
    let refused = |r: Result<(), SimError>, word: &str| {
        let message = r.unwrap_err().to_string();
        assert!(message.contains(word), "{message}");
    };
    refused(
        renderer.render(&world, view, 1000, 10, &mut [0; 30_000]),
        "max_width",
    );
    refused(
        renderer.render(&world, view, 10, 10, &mut [0; 299]),
        "300 bytes",
    );
    refused(renderer.render(&world, view, 0, 10, &mut []), "0x10");
    let other = World::from_xml("other", SCENE, &[]).unwrap();
    refused(
        renderer.render(&other, view, 10, 10, &mut [0; 300]),
        "`other`",
    );
    let huge = RenderOptions {
        max_width: 100_000,
        ..RenderOptions::default()
    };
    assert!(Renderer::new(world.model(), huge).is_err());
}

#[test]
fn geom_groups_decide_what_is_drawn() {
    let world = World::from_xml("blocks", SCENE, &[]).unwrap();
    let options = RenderOptions {
        geom_groups: [false; 6],
        ..RenderOptions::default()
    };
    let mut renderer = Renderer::new(world.model(), options).unwrap();
    assert!(
        picture(&world, &mut renderer, "front")
            .iter()
            .all(|&p| p == 0),
        "an empty scene is black"
    );
    assert!(!renderer.device().is_empty());
}

#[test]
fn shadows_and_samples_change_the_picture() {
    let lit = SCENE.replace(
        "<worldbody>",
        r#"<worldbody><light pos="0.5 -0.5 2" dir="-0.2 0.2 -1"/>"#,
    );
    let world = World::from_xml("lit", &lit, &[]).unwrap();
    let draw = |options| {
        let mut renderer = Renderer::new(world.model(), options).unwrap();
        picture(&world, &mut renderer, "front")
    };
    let plain = draw(RenderOptions::default());
    assert_ne!(
        draw(RenderOptions {
            shadow_size: 512,
            ..RenderOptions::default()
        }),
        plain
    );
    assert_ne!(
        draw(RenderOptions {
            samples: 4,
            ..RenderOptions::default()
        }),
        plain
    );
}
