"""A table goes to the hub at HF_ENDPOINT with `datasets` and comes back, whole and streamed."""

import os

import datasets
from datasets import Dataset, load_dataset

print("datasets", datasets.__version__)
made = Dataset.from_dict({"x": list(range(10_000)), "name": [f"row {n}" for n in range(10_000)]})
made.push_to_hub("admin/table", private=True)
print("passed push", flush=True)
loaded = load_dataset("admin/table", split="train")
assert loaded["x"] == made["x"] and loaded["name"][9999] == "row 9999"
print("passed load", flush=True)
streamed = load_dataset("admin/table", split="train", streaming=True)
assert [row["x"] for row in streamed.take(5)] == [0, 1, 2, 3, 4]
print("passed stream", flush=True)
made.push_to_hub("admin/table", split="test")
assert set(load_dataset("admin/table")) == {"train", "test"}
print("passed second split", flush=True)
os._exit(0)
