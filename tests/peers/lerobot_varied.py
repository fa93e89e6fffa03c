"""Records a varied dataset with the real lerobot package, for the doctor to find nothing wrong with.

Usage: lerobot_varied.py ROOT

Six episodes of different lengths with three tasks, written in two sessions (so that there are two
files of each kind); joints that wander, a matrix, a flag, a whole number, text and a noisy camera.
"""

import os
import sys

os.environ["HF_HUB_OFFLINE"] = "1"

import numpy  # noqa: E402
from lerobot.datasets.lerobot_dataset import LeRobotDataset  # noqa: E402

LENGTHS = [90, 60, 200, 160, 120, 180]
TASKS = ["pick", "place", "wipe"]


def record(dataset, random, episodes):
    for episode in episodes:
        state = random.uniform(-50, 50, 4)
        for frame in range(LENGTHS[episode]):
            state = state + numpy.sin(0.05 * frame + numpy.arange(4) + episode) + random.normal(0, 0.05, 4)
            dataset.add_frame(
                {
                    "observation.state": state.astype(numpy.float32),
                    "action": (state + 0.5).astype(numpy.float32),
                    "observation.environment_state": random.normal(0, 1e4, (2, 3)).astype(numpy.float32),
                    "next.done": numpy.array([frame == LENGTHS[episode] - 1]),
                    "mode": numpy.array([frame % 7]),
                    "remark": f"frame {frame}",
                    "observation.images.front": random.integers(0, 255, (48, 64, 3), numpy.uint8),
                    "task": TASKS[episode % 3] if frame < 30 else TASKS[(episode + 1) % 3],
                }
            )
        dataset.save_episode()
    dataset.finalize()


def main():
    vector = {"dtype": "float32", "shape": (4,), "names": ["a.pos", "b.pos", "c.pos", "d.pos"]}
    features = {
        "observation.state": vector,
        "action": vector,
        "observation.environment_state": {"dtype": "float32", "shape": (2, 3), "names": None},
        "next.done": {"dtype": "bool", "shape": (1,), "names": None},
        "mode": {"dtype": "int64", "shape": (1,), "names": None},
        "remark": {"dtype": "string", "shape": (1,), "names": None},
        "observation.images.front": {"dtype": "video", "shape": (48, 64, 3), "names": ["height", "width", "channels"]},
    }
    random = numpy.random.default_rng(7)
    dataset = LeRobotDataset.create("sinew/varied", 25, features, root=sys.argv[1], robot_type="so101_follower")
    record(dataset, random, range(3))
    dataset = LeRobotDataset.resume("sinew/varied", root=sys.argv[1])
    record(dataset, random, range(3, 6))


if __name__ == "__main__":
    main()
