"""Checks the plugin lerobot_env_sinew as LeRobot finds it. Prints one JSON object.

Usage: lerobot_plugin.py SINEW   (with the installed package on PYTHONPATH)
"""

import json
import socket
import struct
import sys
import tempfile
import threading
import time

import numpy as np
import torch
import torchvision
from lerobot.envs.configs import EnvConfig
from lerobot.utils.import_utils import register_third_party_plugins
from torchvision.models.resnet import BasicBlock, ResNet
from torchvision.ops.misc import FrozenBatchNorm2d


def main():
    register_third_party_plugins()
    from lerobot_env_sinew import SinewError, SinewPickEnv

    config = EnvConfig.get_choice_class("sinew")(binary=sys.argv[1], observation_width=32, observation_height=24)
    found = {"features": sorted(config.features_map.values())} | backbone()

    env = SinewPickEnv(**config.gym_kwargs)
    first, _ = env.reset(seed=7)
    found["spaces"] = env.observation_space.contains(first)
    found["same"] = same(rollout(env), rollout(env))
    found["refused"] = []
    for action in (np.zeros(5), np.full(6, np.nan)):
        try:
            env.step(action)
        except SinewError as error:
            found["refused"].append(str(error))
    # It goes on.
    found["after"] = env.step(np.zeros(6))[1]
    env.close()
    try:
        SinewPickEnv(**(config.gym_kwargs | {"binary": "no-such-sinew"}))
    except SinewError as error:
        found["missing"] = str(error)
    found |= links()
    print(json.dumps(found))


def links():
    """A simulator that listens late is waited for; from what is no simulator the link goes away."""
    from lerobot_env_sinew import SinewError
    from lerobot_env_sinew.link import SinewProcess

    class Late(SinewProcess):
        def __init__(self, path):
            self.path = path
            self._process = type("Alive", (), {"poll": lambda self: None})()

    def serve(path, header, left):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
            server.bind(path)
            time.sleep(0.3)
            server.listen()
            client, _ = server.accept()
            client.sendall(struct.pack("<II", len(header), 0) + header)
            client.settimeout(10)
            left.append(client.recv(1) == b"")

    hello = json.dumps({"type": "hello", "version": 1, "world": "late", "joints": [], "cameras": []}).encode()
    found = {"strange": [], "left": []}
    with tempfile.TemporaryDirectory() as folder:
        for number, header in enumerate((hello, b"no json", b"[]", b'{"type":"hello","version":1}')):
            path = f"{folder}/{number}.sock"
            thread = threading.Thread(target=serve, args=(path, header, found["left"]))
            thread.start()
            # The kept error keeps the link, so that only closing it ends the connection.
            kept = None
            try:
                link = Late(path).connect()
                found["late"] = link.world
                link.close()
            except SinewError as error:
                kept = error
                found["strange"].append(str(error))
            thread.join()
            del kept
    return found


def backbone():
    """Names and ranks are torchvision's; training and inference compute the same once it is calibrated."""
    torch.manual_seed(0)
    ours = torchvision.models.resnet10_narrow16(weights=None, norm_layer=FrozenBatchNorm2d)
    theirs = ResNet(BasicBlock, [1, 1, 1, 1], norm_layer=FrozenBatchNorm2d)
    shapes = [{name: value.ndim for name, value in net.state_dict().items()} for net in (ours, theirs)]
    images = torch.rand(4, 3, 60, 80)
    for _ in range(100):
        ours(images)
    trained = ours(images)
    return {
        "names": shapes[0] == shapes[1],
        "output": list(trained.shape),
        "modes": torch.equal(trained, ours.eval()(images)),
        "spread": ours.bn1(ours.conv1(images)).std().item(),
    }


def rollout(env):
    seen = [env.reset(seed=7)[0]]
    seen += [env.step(np.array([5.0 * k, -80.0, 70.0, 80.0, 5.0, 40.0]))[0] for k in range(4)]
    return seen


def same(one, two):
    return all(
        np.array_equal(a["agent_pos"], b["agent_pos"])
        and all(np.array_equal(a["pixels"][camera], b["pixels"][camera]) for camera in a["pixels"])
        for a, b in zip(one, two, strict=True)
    )


main()
