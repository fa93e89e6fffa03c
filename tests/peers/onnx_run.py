"""Runs an exported policy in onnxruntime, on an observation that lerobot has computed actions for.

Usage: onnx_run.py MODEL.onnx GOLDEN.safetensors

Prints the largest difference from lerobot's `actions`, as a share of their range.
"""

import sys

import onnxruntime
from safetensors.numpy import load_file


def main():
    model, golden = sys.argv[1:]
    values = load_file(golden)
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    found = session.run(None, {field.name: values[field.name] for field in session.get_inputs()})[0]
    wanted = values["actions"]
    assert found.shape == wanted.shape, (found.shape, wanted.shape)
    print(abs(found - wanted).max() / (wanted.max() - wanted.min()))


if __name__ == "__main__":
    main()
