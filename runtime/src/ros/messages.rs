//! The standard ROS 2 messages that Sinew speaks, with their RIHS01 type hashes (Jazzy
//! definitions; `tests/peers/topics_peers.py` recomputes the hashes with `rosbags`).

use super::cdr::{Cdr, CdrError, CdrReader, CdrWriter};

/// A message with a topic type.
pub trait Message: Cdr + Send + 'static {
    /// The type as it stands in key expressions.
    const TYPE: &'static str;
    /// The hash of the type's description.
    const HASH: &'static str;

    /// The type as ROS names it, such as `std_msgs/msg/String`.
    fn ros_name() -> String {
        let name = Self::TYPE.replace("::msg::dds_::", "/msg/");
        name.strip_suffix('_').unwrap_or(&name).to_owned()
    }

    /// Encodes into `out`, replacing what it held.
    fn encode(&self, out: &mut Vec<u8>) {
        self.write(&mut CdrWriter::new(out));
    }
    /// Decodes; trailing bytes are ignored, as DDS does.
    fn decode(bytes: &[u8]) -> Result<Self, CdrError> {
        Self::read(&mut CdrReader::new(bytes)?)
    }
}

macro_rules! message {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty),* $(,)? } $($ros:literal $hash:literal)?) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Default)]
        pub struct $name { $($(#[$field_doc])* pub $field: $type),* }

        impl Cdr for $name {
            fn write(&self, out: &mut CdrWriter<'_>) { $(self.$field.write(out);)* }
            fn read(from: &mut CdrReader<'_>) -> Result<Self, CdrError> {
                Ok(Self { $($field: Cdr::read(from)?),* })
            }
        }
        $(impl Message for $name {
            const TYPE: &'static str = $ros;
            const HASH: &'static str = concat!("RIHS01_", $hash);
        })?
    };
}

/// The std_msgs `*MultiArray` of each number type.
macro_rules! multi_arrays {
    ($($number:ty, $name:ident $hash:literal;)*) => {$(
        impl Message for MultiArray<$number> {
            const TYPE: &'static str = concat!("std_msgs::msg::dds_::", stringify!($name), "MultiArray_");
            const HASH: &'static str = concat!("RIHS01_", $hash);
        }
    )*};
}

/// std_msgs/Float32MultiArray and its siblings: numbers with the lengths of their sides.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct MultiArray<T> {
    /// The sides.
    pub layout: Layout,
    /// The numbers, last side fastest.
    pub data: Vec<T>,
}

impl<T: Cdr> Cdr for MultiArray<T> {
    fn write(&self, out: &mut CdrWriter<'_>) {
        self.layout.write(out);
        self.data.write(out);
    }
    fn read(from: &mut CdrReader<'_>) -> Result<Self, CdrError> {
        Ok(Self {
            layout: Cdr::read(from)?,
            data: Cdr::read(from)?,
        })
    }
}

message! {
    /// builtin_interfaces/Time, since the Unix epoch (Duration has the same layout).
    Time {
        /// Whole seconds.
        sec: i32,
        /// Nanoseconds within the second.
        nanosec: u32,
    }
}
message! {
    /// std_msgs/Header.
    Header {
        /// When the content was measured.
        stamp: Time,
        /// Coordinate frame.
        frame_id: String,
    }
}
message! {
    /// sensor_msgs/JointState; positions rad, velocities rad/s, efforts N·m.
    JointStateMsg {
        /// Time and frame.
        header: Header,
        /// Joint names.
        name: Vec<String>,
        /// rad.
        position: Vec<f64>,
        /// rad/s.
        velocity: Vec<f64>,
        /// N·m.
        effort: Vec<f64>,
    }
    "sensor_msgs::msg::dds_::JointState_" "a13ee3a330e346c9d87b5aa18d24e11690752bd33a0350f11c5882bc9179260e"
}
message! {
    /// sensor_msgs/Image.
    ImageMsg {
        /// Time and camera.
        header: Header,
        /// Rows.
        height: u32,
        /// Columns.
        width: u32,
        /// `rgb8` here.
        encoding: String,
        /// 0.
        is_bigendian: u8,
        /// Bytes a row.
        step: u32,
        /// Rows top to bottom.
        data: Vec<u8>,
    }
    "sensor_msgs::msg::dds_::Image_" "d31d41a9a4c4bc8eae9be757b0beed306564f7526c88ea6a4588fb9582527d47"
}
message! {
    /// sensor_msgs/CompressedImage.
    CompressedImageMsg {
        /// Time and camera.
        header: Header,
        /// `jpeg` or `png`.
        format: String,
        /// The file's bytes.
        data: Vec<u8>,
    }
    "sensor_msgs::msg::dds_::CompressedImage_" "15640771531571185e2efc8a100baf923961a4d15d5569652e6cb6691e8e371a"
}
message! {
    /// trajectory_msgs/JointTrajectoryPoint.
    TrajectoryPoint {
        /// rad.
        positions: Vec<f64>,
        /// rad/s.
        velocities: Vec<f64>,
        /// rad/s².
        accelerations: Vec<f64>,
        /// N·m.
        effort: Vec<f64>,
        /// Since the trajectory's stamp.
        time_from_start: Time,
    }
}
message! {
    /// trajectory_msgs/JointTrajectory: an action chunk.
    JointTrajectoryMsg {
        /// When the chunk begins.
        header: Header,
        /// Joint names.
        joint_names: Vec<String>,
        /// One point a step.
        points: Vec<TrajectoryPoint>,
    }
    "trajectory_msgs::msg::dds_::JointTrajectory_" "179b33eba59d676f6d967ac71fe35e7ca2f64b2f3928f4a018cec115e213796e"
}
message! {
    /// diagnostic_msgs/KeyValue.
    KeyValue {
        /// What.
        key: String,
        /// How much.
        value: String,
    }
}
message! {
    /// diagnostic_msgs/DiagnosticStatus.
    DiagnosticStatus {
        /// 0 ok, 1 warning, 2 error, 3 stale.
        level: u8,
        /// The component.
        name: String,
        /// A sentence.
        message: String,
        /// Which device.
        hardware_id: String,
        /// Figures.
        values: Vec<KeyValue>,
    }
}
message! {
    /// diagnostic_msgs/DiagnosticArray.
    DiagnosticArrayMsg {
        /// Time.
        header: Header,
        /// One entry a component.
        status: Vec<DiagnosticStatus>,
    }
    "diagnostic_msgs::msg::dds_::DiagnosticArray_" "5a8a36efb05fb25070fa0fb3810290c0e6cd4862b54a8fb975a1ee8dc55a333e"
}
message! {
    /// foxglove_msgs/CompressedVideo: one encoded frame of a video stream.
    CompressedVideoMsg {
        /// When the picture was taken.
        timestamp: Time,
        /// Camera.
        frame_id: String,
        /// The encoded frame; key frames carry all that a decoder needs to begin.
        data: Vec<u8>,
        /// `h264`, `h265`, `vp9` or `av1`.
        format: String,
    }
    "foxglove_msgs::msg::dds_::CompressedVideo_" "32039eafc3770e589c86c4dabff9c392ce9955ebffd43f5f60763011d43d8d1d"
}
message! {
    /// std_msgs/MultiArrayDimension: one side of an array.
    Dimension {
        /// What the side counts.
        label: String,
        /// Its length.
        size: u32,
        /// Numbers from one entry of the side before this one to the next.
        stride: u32,
    }
}
message! {
    /// std_msgs/MultiArrayLayout.
    Layout {
        /// Sides, outermost first.
        dim: Vec<Dimension>,
        /// Numbers before the first.
        data_offset: u32,
    }
}
multi_arrays! {
    f32, Float32 "0599f6f85b4bfca379873a0b4375a0aca022156bd2d7021275d116ed1fa8bfe0";
    f64, Float64 "1025ddc6b9552d191f89ef1a8d2f60f3d373e28b283d8891ddcc974e8c55397f";
    i8, Int8 "f21998d4b492abd63330765d75d5831238d400740386f651f13a872a4d2188db";
    i16, Int16 "b58810e8e5b90fb19a5062469eb8409f5ab11a446d60de7157a1457e52a076ce";
    i32, Int32 "84a7346323525d1b4dfca899df3820f245e54009dac5a6b69217d14fdefd1701";
    i64, Int64 "e60f9fe34d697f0939ad49d33158693c1277fbac0e2f04b7c2995dc21c89b422";
    u8, UInt8 "5687e861b8d307a5e48b7515467ae7a5fc2daf805bd0ce6d8e9e604bade9f385";
    u16, UInt16 "94fe73428ec63baecc774f8fb82406123e9291cf728f1b7c91caf5335129492b";
    u32, UInt32 "6c2577c7ad3cbdcc2164a41c12f1d5ad314ea320f3fb1ee47e78019fe16bb5b0";
    u64, UInt64 "fc1c685c2f76bdc6983da025cb25d2db5fb5157b059e300f6d957d86f981b366";
}
message! {
    /// std_msgs/String.
    StringMsg {
        /// The text.
        data: String,
    }
    "std_msgs::msg::dds_::String_" "df668c740482bbd48fb39d76a70dfd4bd59db1288021743503259e948f6b1a18"
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_captured_string_sample_is_reproduced() {
        // "hello 0" as zenoh-ros2-sdk 0.1.8 sent it.
        let wire = [
            0, 1, 0, 0, 8, 0, 0, 0, b'h', b'e', b'l', b'l', b'o', b' ', b'0', 0,
        ];
        let message = StringMsg {
            data: "hello 0".to_owned(),
        };
        let mut out = Vec::new();
        message.encode(&mut out);
        assert_eq!(out, wire);
        assert_eq!(StringMsg::decode(&wire), Ok(message));
    }

    #[test]
    fn a_promised_gigabyte_is_refused_before_it_is_reserved() {
        let wire = [
            0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 63,
        ];
        assert!(matches!(
            JointStateMsg::decode(&wire),
            Err(CdrError::Truncated { .. })
        ));
    }

    proptest! {
        #[test]
        fn joint_state_round_trips(names in proptest::collection::vec("[a-z_]{0,9}", 0..9),
                                   values in proptest::collection::vec(-9.0f64..9.0, 0..9), sec in any::<i32>()) {
            let message = JointStateMsg {
                header: Header { stamp: Time { sec, nanosec: 7 }, frame_id: "base".into() },
                name: names, position: values.clone(), velocity: vec![], effort: values,
            };
            let mut out = Vec::new();
            message.encode(&mut out);
            prop_assert_eq!(JointStateMsg::decode(&out), Ok(message));
        }

        #[test]
        fn foreign_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut framed = super::super::cdr::HEADER.to_vec();
            framed.extend(&bytes);
            for input in [&bytes, &framed] {
                let _ = JointStateMsg::decode(input);
                let _ = ImageMsg::decode(input);
                let _ = CompressedImageMsg::decode(input);
                let _ = JointTrajectoryMsg::decode(input);
                let _ = DiagnosticArrayMsg::decode(input);
                let _ = StringMsg::decode(input);
                let _ = CompressedVideoMsg::decode(input);
                let _ = MultiArray::<i64>::decode(input);
            }
        }
    }
}
