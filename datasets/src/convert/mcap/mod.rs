//! MCAP files and rosbag2 folders with ROS 2 messages.

mod arrays;
mod bag;
mod bags;
mod clock;
mod definitions;
mod encode;
mod export;
mod foreign;
mod grid;
mod import;
mod mapping;
mod pictures;
mod restore;
mod restored_episode;
mod restored_rows;
mod restored_video;
mod scan;
mod series;
mod stream;
mod survey;
mod topics;
mod units;
mod unpack;
mod writer;

pub use bag::TopicCount;
pub use export::{Container, DEFAULT_START_NS, ExportOptions, Exported, export};
pub use grid::TopicUse;
pub use import::{Imported, import};
pub use mapping::{Mapping, NEXT_STATE, TimeSource};
pub use survey::{Inspection, TopicInfo, TopicKind, inspect};
pub use topics::Cameras;
pub use units::JointUnit;
