"""Times one ACT chunk on several engines, in turn. See README.md.

Usage: compare.py EXAMPLES [--rounds N] [--threads N] [--seed N] [--checkpoint FOLDER]

Every engine is a process that computes one chunk for each line that it is sent and answers with the milliseconds.
"""

import argparse
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import turns

HERE = pathlib.Path(__file__).resolve()
sys.path.insert(0, str(HERE.parents[2] / "tests/peers"))
CASE = (0, {"state": 6, "images": {"front": (480, 640), "wrist": (480, 640)}}, {}, {})


def serve(step):
    """Computes a chunk for each line."""
    step()
    print("ready", flush=True)
    for _line in sys.stdin:
        begun = time.perf_counter()
        step()
        print(f"{(time.perf_counter() - begun) * 1e3:.3f}", flush=True)


def serve_torch(folder, threads):
    import torch
    from lerobot.policies.act.modeling_act import ACTPolicy

    torch.set_num_threads(threads)
    policy = ACTPolicy.from_pretrained(folder)
    policy.eval()
    batch = {"observation.state": torch.randn(1, 6)}
    batch |= {f"observation.images.{name}": torch.randn(1, 3, 480, 640) for name in ["front", "wrist"]}
    with torch.inference_mode():
        serve(lambda: policy.predict_action_chunk(batch))


def serve_onnxruntime(folder, threads):
    import numpy
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(folder / "act.onnx"), options, providers=["CPUExecutionProvider"])
    random = numpy.random.default_rng(0)
    feed = {"observation.state": random.standard_normal(6, numpy.float32)}
    for name in ["front", "wrist"]:
        feed[f"observation.images.{name}"] = random.integers(0, 255, (480, 640, 3), numpy.uint8)
    serve(lambda: session.run(None, feed))


def main():
    if len(sys.argv) > 1 and sys.argv[1] == "serve":
        _, _, kind, folder, threads = sys.argv
        {"torch": serve_torch, "onnxruntime": serve_onnxruntime}[kind](pathlib.Path(folder), int(threads))
        return
    parser = argparse.ArgumentParser()
    parser.add_argument("examples", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0, help="of the order of turns")
    parser.add_argument("--checkpoint", type=pathlib.Path, help="one that was made before; it is copied")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        measure(args, work_on(args.checkpoint, pathlib.Path(scratch)))


def work_on(checkpoint, scratch):
    """A checkpoint that files may be added to: a new one, or a copy."""
    if checkpoint:
        return pathlib.Path(shutil.copytree(checkpoint, scratch / "copy"))
    from policies import act

    act.case(scratch / "default", *CASE)
    return scratch / "default/pretrained_model"


def calibrate(steps, folder, threads):
    """Ranges for int8, into the folder."""
    try:
        side = turns.Side("the calibration for int8", [steps, folder, "ort", "calibrate", threads])
        for _ in range(8):
            side.turn()
        side.close()
    except turns.Missing as error:
        sys.exit(f"benches/policies: {error}")


def measure(args, folder):
    threads = str(args.threads)
    steps = str(args.examples / "checkpoint_steps")
    subprocess.run([str(args.examples / "export_onnx"), folder, folder / "act.onnx"], check=True)
    calibrate(steps, folder, threads)
    python = [sys.executable, str(HERE), "serve"]
    commands = {
        "torch": [*python, "torch", folder, threads],
        "onnxruntime": [*python, "onnxruntime", folder, threads],
        "ort": [steps, folder, "ort", "fp32", threads],
        "rten": [steps, folder, "rten", "fp32", threads],
        "ort int8": [steps, folder, "ort", "int8", threads],
    }
    sides, missing = turns.start(commands)
    orders = turns.take_turns(sides, args.rounds, args.seed)
    times = {side.name: side.times for side in sides}
    first = statistics.median(times.get("torch", [float("nan")]))
    print(f"{'engine':12} {'median ms':>10} {'min':>8} {'max':>8} {'torch ÷ it':>11}  load/first ms, resident MB")
    for side in sides:
        values = side.times
        median = statistics.median(values)
        rest = " ".join(side.ready[1:] + side.rest)
        print(f"{side.name:12} {median:10.1f} {min(values):8.1f} {max(values):8.1f} {first / median:11.2f}  {rest}")
    turns.keep("act", sides, orders, threads=args.threads, seed=args.seed, missing=missing)
    turns.end(missing)


if __name__ == "__main__":
    main()
