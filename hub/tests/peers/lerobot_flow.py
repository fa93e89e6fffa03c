"""A LeRobot data set goes to the hub at HF_ENDPOINT and comes back, and so does a policy.

`lerobot_flow.py` uses the shim of hub/python; `lerobot_flow.py bare` goes without, and the push then ends early, but
what it pushed can be loaded.
"""

import os
import sys
from pathlib import Path

BARE = sys.argv[1:] == ["bare"]
if not BARE:
    sys.path.insert(0, str(Path(__file__).parents[2] / "python"))
    import sinew_hub_shim  # noqa: F401

import numpy  # noqa: E402
from huggingface_hub import HfApi  # noqa: E402
from lerobot.datasets.lerobot_dataset import LeRobotDataset  # noqa: E402

REPO = "admin/pick"
FEATURES = {
    "observation.state": {"dtype": "float32", "shape": (2,), "names": ["a", "b"]},
    "action": {"dtype": "float32", "shape": (2,), "names": ["a", "b"]},
}


def make(root):
    dataset = LeRobotDataset.create(REPO, 30, FEATURES, root=root, robot_type="so101_follower", use_videos=False)
    for episode in range(2):
        for frame in range(10):
            state = numpy.array([episode, frame], numpy.float32)
            dataset.add_frame({"observation.state": state, "action": -state, "task": "pick"})
        dataset.save_episode()
    dataset.finalize()
    return dataset


def push():
    dataset = make(Path("made").absolute())
    if not BARE:
        dataset.push_to_hub(private=True)
        return
    try:
        dataset.push_to_hub(private=True)
    except Exception as error:  # noqa: BLE001
        print("the push ended early:", type(error).__name__)


def load():
    dataset = LeRobotDataset(REPO, root=Path("loaded").absolute())
    assert len(dataset) == 20, len(dataset)
    assert dataset[13]["observation.state"].tolist() == [1.0, 3.0], dataset[13]
    info = HfApi().dataset_info(REPO)
    assert info.private and "LeRobot" in info.tags, info


def policy():
    from lerobot.configs.types import FeatureType, PolicyFeature
    from lerobot.policies.act.configuration_act import ACTConfig
    from lerobot.policies.act.modeling_act import ACTPolicy

    state = PolicyFeature(type=FeatureType.STATE, shape=(2,))
    environment = PolicyFeature(type=FeatureType.ENV, shape=(2,))
    action = PolicyFeature(type=FeatureType.ACTION, shape=(2,))
    config = ACTConfig(
        input_features={"observation.state": state, "observation.environment_state": environment},
        output_features={"action": action},
        dim_model=32, n_heads=2, dim_feedforward=32, n_encoder_layers=1, n_vae_encoder_layers=1, chunk_size=4,
        n_action_steps=4, device="cpu", push_to_hub=False,
    )
    ours = ACTPolicy(config)
    ours.push_to_hub("admin/act")
    theirs = ACTPolicy.from_pretrained("admin/act")
    pairs = zip(ours.state_dict().items(), theirs.state_dict().items(), strict=True)
    assert all(a[0] == b[0] and a[1].equal(b[1]) for a, b in pairs)


if __name__ == "__main__":
    push()
    print("passed push", flush=True)
    load()
    print("passed load", flush=True)
    if not BARE:
        policy()
        print("passed policy", flush=True)
    os._exit(0)
