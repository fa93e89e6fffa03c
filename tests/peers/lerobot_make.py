"""Records a small dataset with the real lerobot package, for ours to read and to append to.

Usage: lerobot_make.py ROOT

Two episodes of 12 rows with the features and the counter pictures of datasets/tests/support/mod.rs.
"""

import os
import sys

os.environ["HF_HUB_OFFLINE"] = "1"

import numpy  # noqa: E402
from lerobot.datasets.lerobot_dataset import LeRobotDataset  # noqa: E402

JOINTS = ["shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper"]
CAMERAS = ["front", "wrist"]
BLOCK = 32


def picture(number):
    image = numpy.full((240, 320, 3), 90, numpy.uint8)
    for bit in range(20):
        x, y = bit % 10 * BLOCK, bit // 10 * BLOCK
        image[y : y + BLOCK, x : x + BLOCK] = (number >> bit & 1) * 255
    return image


def main():
    names = [f"{joint}.pos" for joint in JOINTS]
    vector = {"dtype": "float32", "shape": (6,), "names": names}
    video = {"dtype": "video", "shape": (240, 320, 3), "names": ["height", "width", "channels"]}
    features = {"observation.state": vector, "action": vector}
    features |= {f"observation.images.{camera}": video for camera in CAMERAS}
    features["timing.state_capture_s"] = {"dtype": "float64", "shape": (1,), "names": ["t_s"]}
    features["timing.camera_age_s"] = {"dtype": "float64", "shape": (2,), "names": ["front_s", "wrist_s"]}
    dataset = LeRobotDataset.create("sinew/test", 30, features, root=sys.argv[1], robot_type="so101_follower")
    for episode in range(2):
        for frame in range(12):
            state = numpy.array([episode * 1000 + frame + joint / 10 for joint in range(6)], numpy.float32)
            row = {"observation.state": state, "action": -state, "task": "pick the cube"}
            row["timing.state_capture_s"] = numpy.array([frame / 30 + 0.001])
            row["timing.camera_age_s"] = numpy.array([0.01, 0.02])
            for index, camera in enumerate(CAMERAS):
                row[f"observation.images.{camera}"] = picture(episode << 14 | index << 12 | frame)
            dataset.add_frame(row)
        dataset.save_episode()
    dataset.finalize()


if __name__ == "__main__":
    main()
