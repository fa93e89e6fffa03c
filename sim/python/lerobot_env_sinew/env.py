"""The pick-and-place task as a Gymnasium environment."""

import gymnasium as gym
import numpy as np

from .link import Observation, SinewError, SinewLink, SinewProcess

#: What the arm is to do, as in the recorded datasets.
TASK = "Pick up the cube and place it in the target zone."


class SinewPickEnv(gym.Env):
    """World ``so101-pick`` of ``sinew sim``: an SO-101 puts a cube on a marked zone.

    Observations: ``agent_pos`` (6 joint positions) and ``pixels`` (one RGB image a camera). Actions: 6
    joint targets. Both in LeRobot's units, as ``sinew record`` writes them. The same seed and actions
    give the same observations.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}

    def __init__(
        self,
        world: str = "so101-pick",
        socket: str | None = None,
        binary: str = "sinew",
        fps: int = 10,
        width: int = 80,
        height: int = 60,
        max_episode_steps: int = 250,
        render_mode: str = "rgb_array",
    ):
        super().__init__()
        self.render_mode = render_mode
        self.task = self.task_description = TASK
        self._max_episode_steps = max_episode_steps
        self.metadata = self.metadata | {"render_fps": fps}
        self._period_s = 1.0 / fps
        self._process = None if socket else SinewProcess(binary, world, width, height)
        try:
            self._link = SinewLink(socket) if socket else self._process.connect()
            self._check(world, width, height)
        except BaseException:
            self.close()
            raise
        joints = len(self._link.joints)
        limits = {"low": -np.inf, "high": np.inf, "shape": (joints,), "dtype": np.float32}
        image = gym.spaces.Box(0, 255, (height, width, 3), np.uint8)
        self.action_space = gym.spaces.Box(**limits)
        self.observation_space = gym.spaces.Dict(
            {
                "agent_pos": gym.spaces.Box(**limits),
                "pixels": gym.spaces.Dict({camera["name"]: image for camera in self._link.cameras}),
            }
        )
        self._last: Observation | None = None

    def _check(self, world: str, width: int, height: int) -> None:
        if self._link.world != world:
            raise SinewError(f"the simulator runs {self._link.world}, not {world}")
        for camera in self._link.cameras:
            size = (camera["width"], camera["height"])
            if size != (width, height):
                raise SinewError(
                    f"camera {camera['name']} is {size[0]}x{size[1]}, not {width}x{height}; "
                    "start the simulator with another --camera-size"
                )

    def reset(self, *, seed: int | None = None, options: dict | None = None):
        super().reset(seed=seed)
        if seed is None:
            seed = int(self.np_random.integers(2**31))
        self._last = self._link.reset(seed)
        return self._seen(), {"is_success": self._last.success}

    def step(self, action):
        self._last = self._link.step(np.asarray(action), self._period_s)
        info = {"is_success": self._last.success}
        return self._seen(), self._last.reward, self._last.success, False, info

    def render(self):
        return np.concatenate(list(self._last.images.values()), axis=1) if self._last else None

    def close(self):
        if getattr(self, "_link", None) is not None:
            self._link.close()
        if self._process is not None:
            self._process.close()

    def _seen(self) -> dict:
        return {"agent_pos": self._last.state, "pixels": self._last.images}


gym.register(id="lerobot_env_sinew/so101-pick", entry_point=SinewPickEnv, disable_env_checker=True)
