//! `sinew sim`: simulated worlds.

use crate::args::Sim;
use crate::failure::usage;
use anyhow::Result;

/// Runs the command.
#[cfg(feature = "sim")]
pub(crate) fn sim(args: &Sim) -> Result<()> {
    match args.world.as_str() {
        "so101-pick" if args.serve.is_some() => pick::serve_steps(args),
        "so101-pick" => pick::serve(args),
        "go2-walk" | "g1-walk" if args.serve.is_some() => Err(usage("--serve is for so101-pick")),
        "go2-walk" | "g1-walk" => super::walk::walk(args),
        other => Err(usage(format!(
            "there is no world {other}; known: so101-pick, go2-walk, g1-walk"
        ))),
    }
}

/// Runs the command.
#[cfg(not(feature = "sim"))]
pub(crate) fn sim(_args: &Sim) -> Result<()> {
    Err(usage(
        "this sinew was built without simulation; build it with `--features sim`",
    ))
}

#[cfg(feature = "sim")]
mod pick {
    use super::*;
    use crate::commands::teleop::stop_token;
    use crate::failure::check_seconds;
    use crate::world::{default_port, socket_of};
    use sinew_drivers::emulator::Fault;
    use sinew_runtime::stop::StopCause;
    use sinew_sim::pick::EpisodeServer;
    use sinew_sim::pick::realtime::{SimConfig, SimServer};
    use std::time::{Duration, Instant};

    /// Serves the world until it is stopped.
    pub(super) fn serve(args: &Sim) -> Result<()> {
        check_seconds("--seconds", args.seconds)?;
        let stop = stop_token()?;
        let faults = args
            .fault
            .iter()
            .map(|f| f.parse::<Fault>().map_err(usage))
            .collect::<Result<Vec<_>>>()?;
        let port = args.port_link.clone().unwrap_or_else(default_port);
        let config = SimConfig {
            seed: args.seed,
            camera_fps: args.camera_fps,
            camera_size: args.camera_size,
            wire_timing: !args.no_wire_timing,
            faults,
            socket: Some(socket_of(&port)),
            port_link: Some(port),
            eeprom: args.eeprom.clone(),
            ..SimConfig::default()
        };
        let server = SimServer::start(&config).map_err(usage)?;
        announce(&server, args)?;
        let start = Instant::now();
        let mut state = server.task_state()?;
        while !stop.is_set() {
            server.check()?;
            let now = server.task_state()?;
            if !args.json && (now.success, now.episode) != (state.success, state.episode) {
                let what = if now.success {
                    "success"
                } else {
                    "episode began"
                };
                eprintln!(
                    "  {:.1} s: {what} (seed {})",
                    start.elapsed().as_secs_f64(),
                    now.seed
                );
            }
            state = now;
            if args
                .seconds
                .is_some_and(|seconds| start.elapsed().as_secs_f64() >= seconds)
            {
                stop.request(StopCause::Finished);
            }
            stop.wait(Duration::from_millis(50));
        }
        // Ctrl-C is how this command ends, so it is no interruption.
        server.stop().map_err(Into::into)
    }

    /// Serves worlds in lockstep until it is stopped.
    pub(super) fn serve_steps(args: &Sim) -> Result<()> {
        check_seconds("--seconds", args.seconds)?;
        let socket = args.serve.as_deref().unwrap_or(std::path::Path::new(""));
        let stop = stop_token()?;
        let size = (args.camera_fps > 0).then_some(args.camera_size);
        let server = EpisodeServer::start(socket, size).map_err(usage)?;
        if args.json {
            println!("{}", serde_json::json!({ "socket": server.path() }));
        } else {
            println!("so101-pick waits for steps at {}", server.path().display());
        }
        let start = Instant::now();
        while !stop.is_set() {
            if !server.is_running() {
                return Err(anyhow::anyhow!("the thread that serves worlds ended"));
            }
            let elapsed = start.elapsed().as_secs_f64();
            if args.seconds.is_some_and(|seconds| elapsed >= seconds) {
                stop.request(StopCause::Finished);
            }
            stop.wait(Duration::from_millis(50));
        }
        Ok(())
    }

    fn announce(server: &SimServer, args: &Sim) -> Result<()> {
        let device = server.device();
        let cameras: Vec<_> = server.cameras().iter().map(|c| c.info().clone()).collect();
        if args.json {
            let socket = server.socket();
            println!(
                "{}",
                serde_json::json!({ "device": device, "socket": socket, "cameras": cameras, "seed": args.seed })
            );
            return Ok(());
        }
        println!("so101-pick runs; servo bus at {}", device.display());
        for camera in cameras {
            println!(
                "  camera {}: {}x{} at {} fps",
                camera.name, camera.width, camera.height, args.camera_fps
            );
        }
        let port = if device == default_port() {
            "sim".to_owned()
        } else {
            device.display().to_string()
        };
        println!("drive it from another terminal:  sinew teleop --port {port} --teleop scripted");
        Ok(())
    }
}
