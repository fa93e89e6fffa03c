"""LeRobot plugin: Sinew's simulated tasks (``--env.type=sinew``) and narrow ResNet backbones.

LeRobot imports every installed package whose name begins with ``lerobot_env_``, so installing this one
is all it takes.
"""

from . import backbone
from .config import SinewEnv
from .env import SinewPickEnv
from .link import SinewError, SinewLink

backbone.register()

__all__ = ["SinewEnv", "SinewError", "SinewLink", "SinewPickEnv"]
