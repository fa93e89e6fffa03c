"""The scene and the features that both sides record (in Rust: benches/src/scene.rs)."""

import numpy

FPS = 30
WIDTH, HEIGHT = 640, 480
CAMERAS = ["front", "wrist"]


def pictures(count=60):
    """A moving gradient with noise, which is harder than a real scene at rest."""
    random = numpy.random.default_rng(7)
    y, x = numpy.mgrid[0:HEIGHT, 0:WIDTH]
    found = []
    for number in range(count):
        grain = random.integers(0, 8, (HEIGHT, WIDTH))
        channels = [x // 2 + 2 * number + grain, y // 2 + number + grain, x // 4 + y // 4 + grain]
        found.append(numpy.stack(channels, axis=-1).astype(numpy.uint8))
    return found


def features():
    names = [f"joint_{i}.pos" for i in range(6)]
    vector = {"dtype": "float32", "shape": (6,), "names": names}
    video = {"dtype": "video", "shape": (HEIGHT, WIDTH, 3), "names": ["height", "width", "channels"]}
    return {"observation.state": vector, "action": vector} | {f"observation.images.{c}": video for c in CAMERAS}


def row(number, shown):
    state = numpy.full(6, number, numpy.float32)
    cameras = {f"observation.images.{c}": shown[(number + i) % len(shown)] for i, c in enumerate(CAMERAS)}
    return {"observation.state": state, "action": state, "task": "measure"} | cameras
