"""Independent ROS 2 peers for Sinew's topics; each command prints one JSON object.

  hashes                     RIHS01 hashes of the types Sinew speaks, computed by rosbags
  decode TYPE HEX            what rosbags reads in CDR bytes that Sinew wrote
  encode                     a JointState that rosbags wrote, as hex
  listen PORT TOPIC COUNT    COUNT joint states that zenoh-ros2-sdk receives
  command PORT TOPIC NAMES POSITIONS SECONDS   publishes joint commands at 20 Hz
  station PORT NAMESPACE NODE   is a ROS node until it is killed
"""

import json
import sys
import threading
import time

TYPES = [
    "std_msgs/msg/String",
    "sensor_msgs/msg/JointState",
    "sensor_msgs/msg/Image",
    "sensor_msgs/msg/CompressedImage",
    "trajectory_msgs/msg/JointTrajectory",
    "diagnostic_msgs/msg/DiagnosticArray",
]
NUMBERS = ["Float32", "Float64", "Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64"]
TYPES += [f"std_msgs/msg/{number}MultiArray" for number in NUMBERS]
JOINT_STATE = """std_msgs/Header header
string[] name
float64[] position
float64[] velocity
float64[] effort
================================================================================
MSG: std_msgs/Header
builtin_interfaces/Time stamp
string frame_id
================================================================================
MSG: builtin_interfaces/Time
int32 sec
uint32 nanosec
"""


def store():
    from rosbags.typesys import Stores, get_typestore

    return get_typestore(Stores.ROS2_JAZZY)


def plain(value):
    """Message fields as JSON."""
    if hasattr(value, "__dataclass_fields__"):
        return {k: plain(getattr(value, k)) for k in value.__dataclass_fields__ if not k.startswith("__")}
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return value


def hashes():
    types = store()
    return {t: types.hash_rihs01(t) for t in TYPES}


def decode(ros_type, hex_bytes):
    return plain(store().deserialize_cdr(bytes.fromhex(hex_bytes), ros_type))


def encode():
    import numpy as np

    types = store()
    get = types.types
    message = get["sensor_msgs/msg/JointState"](
        header=get["std_msgs/msg/Header"](stamp=get["builtin_interfaces/msg/Time"](sec=5, nanosec=6), frame_id="arm"),
        name=["a", "bcd"],
        position=np.array([0.5, -1.0]),
        velocity=np.array([0.25]),
        effort=np.array([], dtype=np.float64),
    )
    return {"hex": bytes(types.serialize_cdr(message, "sensor_msgs/msg/JointState")).hex()}


def sdk_arguments(port):
    """The SDK computes a type's hash only with the network at hand; rosbags knows it offline."""
    ros_type = "sensor_msgs/msg/JointState"
    return {
        "msg_type": ros_type,
        "msg_definition": JOINT_STATE,
        "type_hash": store().hash_rihs01(ros_type),
        "router_port": int(port),
    }


def listen(port, topic, count):
    from zenoh_ros2_sdk import ROS2Subscriber

    got, done = [], threading.Event()

    def received(message):
        got.append({"name": list(message.name), "position": [float(p) for p in message.position]})
        if len(got) >= int(count):
            done.set()

    subscriber = ROS2Subscriber(topic, callback=received, **sdk_arguments(port))
    print("ready", file=sys.stderr, flush=True)
    done.wait(20)
    subscriber.close()
    return {"received": got[: int(count)]}


def command(port, topic, names, positions, seconds):
    import numpy as np
    from zenoh_ros2_sdk import ROS2Publisher

    publisher = ROS2Publisher(topic, **sdk_arguments(port))
    get = store().types
    deadline = time.monotonic() + float(seconds)
    sent = 0
    while time.monotonic() < deadline:
        publisher.publish(
            header=get["std_msgs/msg/Header"](
                stamp=get["builtin_interfaces/msg/Time"](sec=int(time.time()), nanosec=0), frame_id=""
            ),
            name=names.split(","),
            position=np.array([float(p) for p in positions.split(",")]),
            velocity=np.array([], dtype=np.float64),
            effort=np.array([], dtype=np.float64),
        )
        sent += 1
        time.sleep(0.05)
    publisher.close()
    return {"sent": sent}


def station(port, namespace, node):
    from zenoh_ros2_sdk import ROS2Subscriber

    subscriber = ROS2Subscriber(
        "/so101/joint_states", callback=lambda _: None, node_name=node, namespace=namespace, **sdk_arguments(port)
    )
    print(json.dumps({"ready": True}), flush=True)
    threading.Event().wait()
    subscriber.close()


if __name__ == "__main__":
    verbs = {"hashes": hashes, "decode": decode, "encode": encode, "listen": listen, "command": command, "station": station}
    if len(sys.argv) < 2 or sys.argv[1] not in verbs:
        sys.exit(__doc__)
    print(json.dumps(verbs[sys.argv[1]](*sys.argv[2:])), flush=True)
