//! A Rerun recording of a run: joints, targets, images and the arm in 3D.
//!
//! Rerun is some 400 crates, so it is behind the feature `view`; without it the same type says what
//! to build. Records are drained from a ring on an ordinary thread: a slow disk or viewer costs
//! records, counted, and never a tick.

use crate::failure::usage;
use crate::session::Rig;
use crate::world::World;
use anyhow::Result;
use sinew_runtime::control::TickRecord;
use sinew_runtime::ring::RingReader;
use std::thread::JoinHandle;

#[cfg(feature = "view")]
pub(crate) use rerun_view::View;

#[cfg(feature = "view")]
mod rerun_view {
    use super::*;
    use anyhow::Context;
    use rerun::{Image, LineStrips3D, Points3D, RecordingStream, RecordingStreamBuilder, Scalars};
    use sinew_hardware::Chain;
    use std::time::Duration;

    /// An open recording.
    pub(crate) struct View {
        recording: RecordingStream,
        rig: Rig,
        chain: Option<Chain>,
        cameras: Vec<String>,
    }

    impl std::fmt::Debug for View {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.debug_struct("View")
                .field("cameras", &self.cameras)
                .finish_non_exhaustive()
        }
    }

    impl View {
        /// Opens the viewer (`spawn`) or a file.
        pub(crate) fn open(to: &str, rig: &Rig, world: &World) -> Result<Self> {
            let builder = RecordingStreamBuilder::new("sinew");
            let recording = if to == "spawn" {
                builder.spawn().map_err(|e| usage(format!("the Rerun viewer did not open: {e}; `pip install rerun-sdk==0.36.3` brings it")))?
            } else {
                builder.save(to).map_err(|e| usage(format!("{to}: {e}")))?
            };
            let tool = rig
                .blueprint
                .kinematics
                .as_ref()
                .and_then(|k| k.tools.first())
                .map(|tool| tool.name.clone());
            let chain = tool.and_then(|tool| Chain::new(&rig.blueprint, &tool).ok());
            let cameras = world
                .cameras()
                .into_iter()
                .map(|camera| camera.name)
                .collect();
            Ok(Self {
                recording,
                rig: rig.clone(),
                chain,
                cameras,
            })
        }

        /// Logs ticks until the session ends.
        pub(crate) fn follow(self, mut ticks: RingReader<TickRecord>) -> Result<JoinHandle<()>> {
            let thread = std::thread::Builder::new()
                .name("view".into())
                .spawn(move || {
                    let mut seen = vec![0; self.cameras.len()];
                    let mut start = None;
                    loop {
                        let closed = ticks.is_closed();
                        while let Some(record) = ticks.pop() {
                            let start = *start.get_or_insert(record.tick.started_ns);
                            if let Err(error) = self.log(&record, start, &mut seen) {
                                tracing::warn!("the Rerun recording ends here: {error}");
                                return;
                            }
                        }
                        if closed {
                            let _ = self.recording.flush_blocking();
                            return;
                        }
                        std::thread::sleep(Duration::from_millis(5));
                    }
                });
            thread.context("cannot start the view's thread")
        }

        fn log(
            &self,
            record: &TickRecord,
            start: u64,
            seen: &mut [u64],
        ) -> rerun::RecordingStreamResult<()> {
            let tick = &record.tick;
            let recording = &self.recording;
            recording.set_duration_secs("time", (tick.started_ns - start) as f64 * 1e-9);
            let joints = self
                .rig
                .names
                .iter()
                .zip(self.rig.units.joints())
                .enumerate();
            for (i, (name, units)) in joints {
                let scalar = |rad: f64| Scalars::single(units.to_lerobot(rad));
                recording.log(
                    format!("joints/{name}/measured"),
                    &scalar(tick.state.position[i]),
                )?;
                recording.log(
                    format!("joints/{name}/target"),
                    &scalar(tick.target.position[i]),
                )?;
            }
            recording.log(
                "loop/wake_error_us",
                &Scalars::single(tick.wake_error_ns as f64 / 1e3),
            )?;
            recording.log(
                "loop/observation_age_ms",
                &Scalars::single(tick.age_ns as f64 / 1e6),
            )?;
            self.log_arm("arm/measured", tick.state.positions(), [80, 160, 255])?;
            self.log_arm("arm/target", tick.target.positions(), [255, 160, 60])?;
            for ((camera, seen), frame) in self.cameras.iter().zip(seen).zip(&record.frames) {
                if let Some(frame) = frame.as_ref().filter(|frame| frame.seq > *seen) {
                    *seen = frame.seq;
                    let image = Image::from_rgb24(frame.data.clone(), [frame.width, frame.height]);
                    recording.log(format!("cameras/{camera}"), &image)?;
                }
            }
            Ok(())
        }

        fn log_arm(
            &self,
            path: &str,
            joints: &[f64],
            colour: [u8; 3],
        ) -> rerun::RecordingStreamResult<()> {
            let Some(chain) = &self.chain else {
                return Ok(());
            };
            let outline = chain.outline(&chain.select(joints));
            let line: Vec<[f32; 3]> = outline.iter().map(|p| p.map(|x| x as f32)).collect();
            let colour = rerun::Color::from_rgb(colour[0], colour[1], colour[2]);
            self.recording.log(
                format!("{path}/joints"),
                &Points3D::new(line.clone())
                    .with_radii([0.008])
                    .with_colors([colour]),
            )?;
            self.recording.log(
                format!("{path}/links"),
                &LineStrips3D::new([line])
                    .with_radii([0.004])
                    .with_colors([colour]),
            )
        }
    }
}

/// Stands in where Rerun was not built in.
#[cfg(not(feature = "view"))]
#[derive(Debug)]
pub(crate) struct View;

#[cfg(not(feature = "view"))]
impl View {
    pub(crate) fn open(_to: &str, _rig: &Rig, _world: &World) -> Result<Self> {
        Err(usage(
            "this sinew was built without the viewer; build it with `cargo build -p sinew --features view`",
        ))
    }

    pub(crate) fn follow(self, _ticks: RingReader<TickRecord>) -> Result<JoinHandle<()>> {
        Err(usage(
            "this sinew was built without the viewer; build it with `cargo build -p sinew --features view`",
        ))
    }
}
