//! Rerun: joints, targets, images and the arm in 3D.

use crate::failure::usage;
use crate::session::Rig;
use crate::world::World;
use anyhow::Result;
use sinew_runtime::control::TickRecord;
use sinew_runtime::ring::RingReader;
use std::thread::JoinHandle;

/// Where a recording goes.
#[derive(Debug)]
pub(crate) struct View {}

impl View {
    pub(crate) fn open(_to: &str, _rig: &Rig, _world: &World) -> Result<Self> {
        Err(usage("this sinew was built without the viewer; build it with `cargo build -p sinew --features view`"))
    }

    pub(crate) fn follow(self, _ticks: RingReader<TickRecord>) -> Result<JoinHandle<()>> {
        Err(usage("this sinew was built without the viewer"))
    }
}
