//! The definitions of the messages that are written, as MCAP readers want them: the message, then
//! each message that it is made of behind a line and its name.

/// Separates a definition from the next.
macro_rules! of {
    ($name:literal) => {
        concat!(
            "================================================================================\nMSG: ",
            $name,
            "\n"
        )
    };
}

macro_rules! header {
    () => {
        concat!(
            of!("std_msgs/Header"),
            "builtin_interfaces/Time stamp\nstring frame_id\n",
            time!()
        )
    };
}

macro_rules! time {
    () => {
        concat!(
            of!("builtin_interfaces/Time"),
            "int32 sec\nuint32 nanosec\n"
        )
    };
}

macro_rules! layout {
    () => {
        concat!(
            of!("std_msgs/MultiArrayLayout"),
            "std_msgs/MultiArrayDimension[] dim\nuint32 data_offset\n",
            of!("std_msgs/MultiArrayDimension"),
            "string label\nuint32 size\nuint32 stride\n"
        )
    };
}

macro_rules! arrays {
    ($($ros:literal $element:literal),*) => {
        &[$((
            concat!("std_msgs/msg/", $ros, "MultiArray"),
            concat!("std_msgs/MultiArrayLayout layout\n", $element, "[] data\n", layout!()),
        )),*]
    };
}

/// Names and definitions.
const MESSAGES: &[(&str, &str)] = &[
    (
        "sensor_msgs/msg/JointState",
        concat!(
            "std_msgs/Header header\nstring[] name\nfloat64[] position\nfloat64[] velocity\nfloat64[] effort\n",
            header!()
        ),
    ),
    (
        "sensor_msgs/msg/CompressedImage",
        concat!(
            "std_msgs/Header header\nstring format\nuint8[] data\n",
            header!()
        ),
    ),
    (
        "foxglove_msgs/msg/CompressedVideo",
        concat!(
            "builtin_interfaces/Time timestamp\nstring frame_id\nuint8[] data\nstring format\n",
            time!()
        ),
    ),
    ("std_msgs/msg/String", "string data\n"),
];

/// The std_msgs `*MultiArray` of each number type.
const ARRAYS: &[(&str, &str)] = arrays!(
    "Float32" "float32", "Float64" "float64", "Int8" "int8", "Int16" "int16", "Int32" "int32",
    "Int64" "int64", "UInt8" "uint8", "UInt16" "uint16", "UInt32" "uint32", "UInt64" "uint64"
);

/// The definition of a message that is written; empty for others.
pub(super) fn definition(ros_name: &str) -> &'static str {
    let found = MESSAGES.iter().chain(ARRAYS).find(|(n, _)| *n == ros_name);
    found.map_or("", |(_, text)| text)
}
