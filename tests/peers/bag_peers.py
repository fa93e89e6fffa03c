"""Judges bags by rosbags and by the mcap package (tests/tests/bags.rs).

Usage: bag_peers.py read BAG | mcap FILE | write BAG SECONDS

`read` opens a rosbag2 folder with rosbags and prints, for each topic, the type, the number of messages and
their contents in short; `mcap` does the same with the mcap package and mcap-ros2-support, reading one file.
`write` makes a rosbag2 folder with rosbags, as a robot would record it: joint states at 100 Hz, commands at
50 Hz, JPEG pictures at 20 Hz with a gap. All print JSON.
"""

import json
import math
import sys
from pathlib import Path

VIDEO = "foxglove_msgs/msg/CompressedVideo"
DEFINITION = "builtin_interfaces/Time timestamp\nstring frame_id\nuint8[] data\nstring format\n"


def store():
    from rosbags.typesys import Stores, get_types_from_msg, get_typestore

    types = get_typestore(Stores.ROS2_JAZZY)
    types.register(get_types_from_msg(DEFINITION, VIDEO))
    return types


def short(kind, message):
    """What a test compares of a message."""
    if kind.endswith("JointState"):
        return {"name": list(message.name), "position": [float(p) for p in message.position]}
    if kind.endswith("String"):
        return message.data
    if kind.endswith("MultiArray"):
        return [float(v) for v in message.data]
    if hasattr(message, "format"):
        return {"format": message.format, "bytes": len(message.data), "head": bytes(message.data[:16]).hex()}
    return None


def add(topics, topic, kind, time, message):
    entry = topics.setdefault(topic, {"type": kind, "times": [], "messages": []})
    entry["times"].append(time)
    entry["messages"].append(short(kind, message))


def read(path):
    from rosbags.rosbag2 import Reader

    types, topics = store(), {}
    with Reader(Path(path)) as bag:
        hashes = {c.topic: [c.digest, types.hash_rihs01(c.msgtype)] for c in bag.connections}
        declared = {c.topic: c.msgcount for c in bag.connections}
        for connection, time, raw in bag.messages():
            message = types.deserialize_cdr(raw, connection.msgtype)
            add(topics, connection.topic, connection.msgtype, time, message)
        total = bag.message_count
    return {"topics": topics, "hashes": hashes, "declared": declared, "total": total}


def mcap(path):
    from mcap.reader import make_reader
    from mcap_ros2.decoder import DecoderFactory

    topics = {}
    with open(path, "rb") as file:
        reader = make_reader(file, validate_crcs=True, decoder_factories=[DecoderFactory()])
        summary = reader.get_summary()
        for schema, channel, message, decoded in reader.iter_decoded_messages():
            add(topics, channel.topic, schema.name, message.log_time, decoded)
        records = [record.name for record in reader.iter_metadata()]
        profile = reader.get_header().profile
    counted = summary.statistics.message_count
    return {"topics": topics, "metadata": records, "profile": profile, "total": counted}


def jpeg(number):
    """A picture with the number in black and white blocks, as datasets/tests/support/mod.rs draws it."""
    import io

    import numpy
    from PIL import Image

    image = numpy.full((240, 320, 3), 90, numpy.uint8)
    for bit in range(20):
        x, y = bit % 10 * 32, bit // 10 * 32
        image[y : y + 32, x : x + 32] = (number >> bit & 1) * 255
    out = io.BytesIO()
    Image.fromarray(image).save(out, "JPEG", quality=90)
    return numpy.frombuffer(out.getvalue(), numpy.uint8)


def write(path, seconds):
    import numpy
    from rosbags.rosbag2 import StoragePlugin, Writer

    types = store()
    get = types.types
    empty = numpy.array([], dtype=numpy.float64)
    start = 1_700_000_000_000_000_000

    def header(time):
        stamp = get["builtin_interfaces/msg/Time"](sec=time // 10**9, nanosec=time % 10**9)
        return get["std_msgs/msg/Header"](stamp=stamp, frame_id="")

    with Writer(Path(path), version=9, storage_plugin=StoragePlugin.MCAP) as bag:
        joints, image = "sensor_msgs/msg/JointState", "sensor_msgs/msg/CompressedImage"
        topics = [
            (bag.add_connection("/joint_states", joints, typestore=types), joints, 100, 0),
            (bag.add_connection("/arm/joint_command", joints, typestore=types), joints, 50, 1),
            (bag.add_connection("/cam/front/image_raw/compressed", image, typestore=types), image, 20, 2),
        ]
        events = []
        for connection, kind, rate, order in topics:
            events += [(start + i * 10**9 // rate, order, i, connection, kind) for i in range(int(float(seconds) * rate))]
        for time, _, i, connection, kind in sorted(events, key=lambda e: e[:3]):
            if kind == image:
                if 10 <= i < 14:
                    continue
                message = get[kind](header=header(time), format="jpeg", data=jpeg(i))
            else:
                sign = -1 if "command" in connection.topic else 1
                phase = (time - start) / 1e9
                position = numpy.array([sign * math.sin(phase + joint) for joint in range(3)])
                message = get[kind](header=header(time), name=["a", "b", "c"], position=position, velocity=empty, effort=empty)
            bag.write(connection, time, types.serialize_cdr(message, kind))
    return {"start": start}


if __name__ == "__main__":
    verbs = {"read": read, "mcap": mcap, "write": write}
    if len(sys.argv) < 2 or sys.argv[1] not in verbs:
        sys.exit(__doc__)
    print(json.dumps(verbs[sys.argv[1]](*sys.argv[2:])), flush=True)
