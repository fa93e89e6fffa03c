"""Makes checkpoints of random weights with the real lerobot package, and records what it computes with them.

Usage: lerobot_policies.py ARCHITECTURE OUT

ARCHITECTURE is a module of the folder `policies` beside this file. Every case becomes a folder of OUT:
- `pretrained_model/`, as `lerobot-train` writes it (or as it did in the generation that the case is of);
- `golden.safetensors`: what goes in under the names of the policy's inputs (images as uint8, height × width ×
  colours), the same as the network sees it under `in/…`, values on the way under `mid/…`, the network's answer
  `chunk`, and the actions in the robot's units `actions`.
The names of the cases are printed as a JSON list.
"""

import importlib
import json
import pathlib
import sys


def main():
    architecture, out = sys.argv[1:]
    cases = importlib.import_module(f"policies.{architecture}").cases(pathlib.Path(out))
    print(json.dumps(cases))


if __name__ == "__main__":
    main()
