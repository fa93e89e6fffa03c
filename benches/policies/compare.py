"""Times one ACT chunk on several engines, in turn. See README.md.

Usage: compare.py EXAMPLES [--rounds N] [--threads N]

Every engine is a process that computes one chunk for each line that it is sent and answers with the milliseconds.
"""

import argparse
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

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


def start(command):
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    ready = process.stdout.readline()
    if not ready.startswith("ready"):
        process.kill()
        return None
    return process, ready.split()[1:]


def ask(process):
    process.stdin.write("\n")
    process.stdin.flush()
    return float(process.stdout.readline())


def finish(process):
    process.stdin.close()
    return process.stdout.read().split()


def main():
    if len(sys.argv) > 1 and sys.argv[1] == "serve":
        _, _, kind, folder, threads = sys.argv
        {"torch": serve_torch, "onnxruntime": serve_onnxruntime}[kind](pathlib.Path(folder), int(threads))
        return
    parser = argparse.ArgumentParser()
    parser.add_argument("examples", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--checkpoint", type=pathlib.Path, help="one that was made before")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        measure(args, args.checkpoint or make(pathlib.Path(scratch)))


def make(scratch):
    from policies import act

    act.case(scratch / "default", *CASE)
    return scratch / "default/pretrained_model"


def measure(args, folder):
    threads = str(args.threads)
    steps = str(args.examples / "checkpoint_steps")
    subprocess.run([str(args.examples / "export_onnx"), folder, folder / "act.onnx"], check=True)
    calibrate = start([steps, folder, "ort", "calibrate", threads])
    for _ in range(8):
        ask(calibrate[0])
    finish(calibrate[0])
    python = [sys.executable, str(HERE), "serve"]
    commands = {
        "torch": [*python, "torch", folder, threads],
        "onnxruntime": [*python, "onnxruntime", folder, threads],
        "ort": [steps, folder, "ort", "fp32", threads],
        "rten": [steps, folder, "rten", "fp32", threads],
        "ort int8": [steps, folder, "ort", "int8", threads],
    }
    running = {name: start(command) for name, command in commands.items()}
    times = {name: [] for name, found in running.items() if found}
    for _ in range(args.rounds):
        for name in times:
            times[name].append(ask(running[name][0]))
    first = statistics.median(times["torch"])
    print(f"{'engine':12} {'median ms':>10} {'min':>8} {'max':>8} {'torch ÷ it':>11}  load/first ms, resident MB")
    for name, values in times.items():
        process, ready = running[name]
        median = statistics.median(values)
        rest = " ".join(ready + finish(process))
        print(f"{name:12} {median:10.1f} {min(values):8.1f} {max(values):8.1f} {first / median:11.2f}  {rest}")
    for name in running.keys() - times.keys():
        print(f"{name:12} is not there")


if __name__ == "__main__":
    main()
