"""``--env.type=sinew``."""

import os
from dataclasses import dataclass, field

from lerobot.configs import FeatureType, PolicyFeature
from lerobot.envs.configs import EnvConfig
from lerobot.utils.constants import ACTION, OBS_IMAGES, OBS_STATE

#: Joints of the SO-101.
JOINTS = 6
CAMERAS = ("front", "wrist")


@EnvConfig.register_subclass("sinew")
@dataclass
class SinewEnv(EnvConfig):
    """A task of ``sinew sim``. Starts a simulator, or uses one that listens on ``socket``."""

    task: str | None = "so101-pick"
    #: Steps a second of simulated time; the policy's rate.
    fps: int = 10
    episode_length: int = 250
    #: Socket of a running ``sinew sim so101-pick --serve``; empty to start one for each environment.
    socket: str | None = None
    #: The sinew program to start.
    binary: str = field(default_factory=lambda: os.environ.get("SINEW", "sinew"))
    observation_width: int = 80
    observation_height: int = 60
    features: dict[str, PolicyFeature] = field(
        default_factory=lambda: {
            ACTION: PolicyFeature(type=FeatureType.ACTION, shape=(JOINTS,)),
            "agent_pos": PolicyFeature(type=FeatureType.STATE, shape=(JOINTS,)),
        }
    )
    features_map: dict[str, str] = field(
        default_factory=lambda: {
            ACTION: ACTION,
            "agent_pos": OBS_STATE,
            **{f"pixels/{camera}": f"{OBS_IMAGES}.{camera}" for camera in CAMERAS},
        }
    )

    def __post_init__(self):
        shape = (self.observation_height, self.observation_width, 3)
        for camera in CAMERAS:
            self.features[f"pixels/{camera}"] = PolicyFeature(type=FeatureType.VISUAL, shape=shape)

    @property
    def package_name(self) -> str:
        return "lerobot_env_sinew"

    @property
    def gym_kwargs(self) -> dict:
        return {
            "world": self.task,
            "socket": self.socket,
            "binary": self.binary,
            "fps": self.fps,
            "width": self.observation_width,
            "height": self.observation_height,
            "max_episode_steps": self.episode_length,
        }
