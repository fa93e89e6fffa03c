"""One Python side of the benchmark; compare.py starts it.

usage: client.py SIDE serve ROOT      reads blocks from standard input, as benches/src/bin/datasets.rs does
       client.py SIDE open ROOT       opens a dataset once
       client.py SIDE record ROOT SECONDS    records in real time and saves
       client.py lerobot make ROOT EPISODES FRAMES    records with lerobot's defaults

SIDE: lerobot-pyav, lerobot-torchcodec, sinew-dataloader, sinew-loader; for `record` lerobot-default,
lerobot-streaming-av1 or lerobot-streaming-h264.
"""

import json
import os
import sys
import time

os.environ["HF_HUB_OFFLINE"] = "1"

BATCH = 8
WORKERS = 2


def open_dataset(side, root):
    if side.startswith("lerobot"):
        from lerobot.datasets.lerobot_dataset import LeRobotDataset

        backend = side.removeprefix("lerobot-")
        return LeRobotDataset("sinew/bench", root=root, video_backend=backend, return_uint8=True)
    from sinew_datasets import SinewDataset

    # lerobot keeps no pictures.
    return SinewDataset(root, return_uint8=True, cache_bytes=0)


def memory_mb(field):
    with open("/proc/self/status") as status:
        line = next(line for line in status if line.startswith(field))
    return int(line.split()[1]) * 1024 / 1e6


def opening(side, root):
    import torch  # noqa: F401

    if side.startswith("lerobot"):
        import lerobot.datasets.lerobot_dataset  # noqa: F401
    else:
        import sinew_datasets  # noqa: F401
    before = memory_mb("VmRSS")
    start = time.perf_counter()
    dataset = open_dataset(side, root)
    seconds = time.perf_counter() - start
    answer = {"seconds": seconds, "episodes": dataset.num_episodes}
    print(json.dumps(answer | {"peak_mb": memory_mb("VmHWM"), "imports_mb": before}))


def blocks(side, root):
    """One block a line: what the dataset gives, timed."""
    kept = None
    for line in sys.stdin:
        command, *numbers = line.split()
        numbers = [int(n) for n in numbers]
        # What workers inherit must not be open yet: lerobot's decoders fail when two processes share one.
        kept = kept if kept is not None and command == "get" else open_dataset(side, root)
        cameras = len(kept.meta.video_keys)
        if command == "get":
            kept[0]
        start = time.perf_counter()
        if command == "get":
            for index in numbers:
                kept[index]
            frames = len(numbers)
        elif side == "sinew-loader":
            options = {"start": numbers[0]} if command == "load" else {"shuffle": True, "seed": numbers[0]}
            frames = 0
            for batch in kept.loader(batch_size=BATCH, threads=WORKERS, **options):
                frames += len(batch["index"])
                if frames >= numbers[1]:
                    break
        else:
            frames, start = loaded(kept, command, numbers)
        seconds = time.perf_counter() - start
        print(json.dumps({"frames": frames * cameras, "seconds": seconds}), flush=True)


def loaded(dataset, command, numbers):
    """Frames of a DataLoader after its first batch, and when that came."""
    import torch
    from torch.utils.data import DataLoader, Subset

    if command == "load":
        indices = range(numbers[0], numbers[0] + numbers[1])
    else:
        order = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(numbers[0]))
        indices = order[: numbers[1]].tolist()
    batches = iter(DataLoader(Subset(dataset, indices), batch_size=BATCH, num_workers=WORKERS))
    next(batches)
    start = time.perf_counter()
    return sum(len(batch["index"]) for batch in batches), start


def create(root, **options):
    import scene
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    # As lerobot-record does: four threads a camera write the pictures.
    writers = 0 if options.get("streaming_encoding") else 4 * len(scene.CAMERAS)
    described = scene.features()
    return LeRobotDataset.create(
        "sinew/bench", scene.FPS, described, root=root, robot_type="none", image_writer_threads=writers, **options
    )


def make(root, episodes, frames):
    import scene

    shown = scene.pictures()
    dataset = create(root)
    for episode in range(episodes):
        for frame in range(frames):
            dataset.add_frame(scene.row(episode * frames + frame, shown))
        dataset.save_episode()
    dataset.finalize()


def record(side, root, seconds):
    """A loop at 30 Hz with absolute deadlines; a period that is over before its row is taken is missed."""
    import av
    import scene
    from lerobot.configs import RGBEncoderConfig

    options = {"streaming_encoding": True} if "streaming" in side else {}
    if side.endswith("h264"):
        options["rgb_encoder"] = RGBEncoderConfig(vcodec="h264")
    shown = scene.pictures()
    dataset = create(root, **options)
    start, rows, missed, period = time.perf_counter(), 0, 0, 1 / scene.FPS
    for tick in range(seconds * scene.FPS):
        due = start + tick * period
        now = time.perf_counter()
        if now >= due + period:
            missed += 1
            continue
        time.sleep(max(0.0, due - now))
        dataset.add_frame(scene.row(tick, shown))
        rows += 1
    saving = time.perf_counter()
    dataset.save_episode()
    saved = time.perf_counter() - saving
    dataset.finalize()
    frames = {}
    for key in dataset.meta.video_keys:
        with av.open(str(dataset.root / dataset.meta.get_video_file_path(0, key))) as container:
            frames[key] = sum(packet.size > 0 for packet in container.demux(video=0))
    lost = sum(rows - count for count in frames.values())
    print(json.dumps({"rows": rows, "missed_rows": missed, "lost_frames": lost, "save_seconds": saved}))


def main():
    side, command, root, *numbers = sys.argv[1:]
    numbers = [int(n) for n in numbers]
    if command == "serve":
        blocks(side, root)
    elif command == "open":
        opening(side, root)
    elif command == "record":
        record(side, root, *numbers)
    elif command == "make":
        make(root, *numbers)
    else:
        sys.exit(f"unknown command {command}")


if __name__ == "__main__":
    main()
