"""Plays chunks of random actions through lerobot's own classes and prints what came out at every step.

Usage: lerobot_actions.py

Prints one JSON object:
- `select`: what `ACTPolicy.select_action` returns, by its queue (`coeff` null) or by temporal ensembling; one
  entry has `n_action_steps`, `coeff`, `chunks` (one for each time the policy was asked: step, rows) and `actions`,
  one a step.
- `client`: the robot client of the asynchronous inference, with everything between its socket and its
  robot real. One entry has `blend`, `threshold`, `chunk` and `ticks`; a tick has `delivered` (first timestep and
  rows of the chunk that arrived before it, or null), `executed` (timestep and action sent to the robot, or null)
  and `asked` (whether the client sent an observation after it).
Only the network is replaced by random numbers, in float32 as networks give them.
"""

import json
import logging
import pickle
import threading
from queue import Queue
from types import SimpleNamespace

import torch
from lerobot.async_inference.configs import AGGREGATE_FUNCTIONS
from lerobot.async_inference.helpers import FPSTracker, TimedAction
from lerobot.async_inference.robot_client import RobotClient
from lerobot.configs.types import FeatureType, PolicyFeature
from lerobot.policies.act.configuration_act import ACTConfig
from lerobot.policies.act.modeling_act import ACTPolicy
from lerobot.transport import services_pb2

logging.disable(logging.INFO)

JOINTS = 6
SEEDS = [0, 1, 2]


def random_chunk(generator, length):
    """Actions as of a motion: a start, a drift and noise, in degrees."""
    start = torch.randn(JOINTS, generator=generator) * 40
    drift = torch.randn(JOINTS, generator=generator) * 2
    noise = torch.randn(length, JOINTS, generator=generator)
    return start + torch.arange(length)[:, None] * drift + noise


def select(seed, chunk, n_action_steps, coeff, steps):
    config = ACTConfig(
        input_features={
            "observation.state": PolicyFeature(FeatureType.STATE, (JOINTS,)),
            "observation.environment_state": PolicyFeature(FeatureType.ENV, (4,)),
        },
        output_features={"action": PolicyFeature(FeatureType.ACTION, (JOINTS,))},
        chunk_size=chunk,
        n_action_steps=n_action_steps,
        temporal_ensemble_coeff=coeff,
        use_vae=False,
        dim_model=16,
        n_heads=2,
        dim_feedforward=16,
        n_encoder_layers=1,
        pretrained_backbone_weights=None,
        device="cpu",
    )
    policy = ACTPolicy(config)
    generator = torch.Generator().manual_seed(seed)
    asked = []
    now = 0

    def predict(batch):
        rows = random_chunk(generator, chunk)
        asked.append({"step": now, "rows": rows.tolist()})
        return rows[None]

    policy.predict_action_chunk = predict
    policy.reset()
    actions = []
    for now in range(steps):
        actions.append(policy.select_action({})[0].tolist())
    return {
        "seed": seed,
        "chunk": chunk,
        "n_action_steps": n_action_steps,
        "coeff": coeff,
        "chunks": asked,
        "actions": actions,
    }


class Server:
    """The server's end of the wire: keeps what was sent, and answers with the chunk that is due."""

    def __init__(self, stopped):
        self.stopped = stopped
        self.newest = None
        self.answer = None

    def SendObservations(self, parts):  # noqa: N802
        self.newest = pickle.loads(b"".join(part.data for part in parts))

    def GetActions(self, _):  # noqa: N802
        self.stopped.set()  # the client's loop ends after this answer
        return services_pb2.Actions(data=pickle.dumps(self.answer))


def make_client(blend, threshold):
    client = RobotClient.__new__(RobotClient)
    sent = []
    names = [f"joint_{i}.pos" for i in range(JOINTS)]
    client.robot = SimpleNamespace(
        action_features=names, send_action=sent.append, get_observation=lambda: dict.fromkeys(names, 0.0)
    )
    client.config = SimpleNamespace(aggregate_fn=AGGREGATE_FUNCTIONS[blend], client_device="cpu")
    client.shutdown_event = threading.Event()
    client.stub = Server(client.shutdown_event)
    client.latest_action_lock, client.action_queue_lock = threading.Lock(), threading.Lock()
    client.latest_action, client.action_chunk_size = -1, -1
    client._chunk_size_threshold = threshold
    client.action_queue, client.action_queue_size = Queue(), []
    client.start_barrier = threading.Barrier(1)
    client.fps_tracker = FPSTracker(target_fps=30)
    client.must_go = threading.Event()
    client.must_go.set()
    return client, sent


def drive_client(seed, blend, threshold, chunk, ticks):
    client, sent = make_client(blend, threshold)
    generator = torch.Generator().manual_seed(seed)
    number = lambda low, high: int(torch.randint(low, high + 1, (1,), generator=generator))  # noqa: E731
    log, due, first = [], None, True
    for tick in range(ticks):
        delivered = None
        if due is not None and tick >= due[0]:
            start = due[1]
            # Some chunks are short, but each has something that is not late.
            shortest = max(client.latest_action - start + 2, chunk // 2)
            length = chunk if first or number(0, 3) else number(min(shortest, chunk), chunk)
            rows = random_chunk(generator, length)
            client.stub.answer = [TimedAction(0.0, start + i, row) for i, row in enumerate(rows)]
            client.receive_actions()
            client.shutdown_event.clear()
            delivered, due, first = {"start": start, "rows": rows.tolist()}, None, False
        executed = None
        if client.actions_available():
            client.control_loop_action()
            executed = {"step": client.latest_action, "action": list(sent.pop().values())}
        asked = client._ready_to_send_observation()
        if asked:
            client.control_loop_observation("task")
            if due is None:
                # Now and then inference takes longer than the queue lasts.
                latency = number(1, 4) if number(0, 4) else number(1, 3 * chunk // 2)
                due = (tick + latency, client.stub.newest.get_timestep())
        log.append({"delivered": delivered, "executed": executed, "asked": asked})
    return {"seed": seed, "blend": blend, "threshold": threshold, "chunk": chunk, "ticks": log}


def main():
    selected, driven = [], []
    for seed in SEEDS:
        for chunk, n_action_steps in [(10, 10), (16, 5), (7, 1)]:
            selected.append(select(seed, chunk, n_action_steps, None, 45))
        for chunk, coeff in [(10, 0.01), (20, 0.5), (8, 0.0), (12, -0.1), (2, 0.01), (100, 0.01)]:
            selected.append(select(seed, chunk, 1, coeff, 3 * min(chunk, 40)))
        for blend in AGGREGATE_FUNCTIONS:
            for threshold, chunk in [(0.5, 10), (0.7, 15), (0.0, 8), (1.0, 12)]:
                driven.append(drive_client(seed, blend, threshold, chunk, 120))
    print(json.dumps({"select": selected, "client": driven}))


if __name__ == "__main__":
    main()
