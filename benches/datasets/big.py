"""Makes a dataset of many episodes out of a small one that lerobot recorded.

usage: big.py SMALL ROOT EPISODES

Rows, statistics and schemas are those of the small dataset's first episode, numbered on; all episodes
refer to its video files. Row groups are lerobot's: one an episode in data, ten episodes in the table.
"""

import json
import os
import shutil
import sys
from pathlib import Path

import numpy
import pyarrow
import pyarrow.parquet as parquet

ROWS = 30
GROUP = 10


def replaced(table, name, values):
    place = table.schema.get_field_index(name)
    return table.set_column(place, table.schema.field(place), pyarrow.array(values, table.schema.field(place).type))


def main():
    small, root, episodes = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    building = root.with_name(root.name + ".part")
    shutil.rmtree(building, ignore_errors=True)
    shutil.copytree(small, building, ignore=shutil.ignore_patterns("*.parquet"))
    shutil.copy(small / "meta/tasks.parquet", building / "meta/tasks.parquet")
    first = "chunk-000/file-000.parquet"
    rows = parquet.read_table(small / "data" / first).slice(0, ROWS)
    with parquet.ParquetWriter(building / "data" / first, rows.schema, compression="snappy") as data:
        for episode in range(episodes):
            rows = replaced(rows, "episode_index", numpy.full(ROWS, episode))
            rows = replaced(rows, "index", numpy.arange(ROWS) + episode * ROWS)
            data.write_table(rows)
    one = parquet.read_table(small / "meta/episodes" / first).slice(0, 1)
    (building / "meta/episodes/chunk-000").mkdir(parents=True, exist_ok=True)
    with parquet.ParquetWriter(building / "meta/episodes" / first, one.schema, compression="snappy") as table:
        for start in range(0, episodes, GROUP):
            numbers = numpy.arange(start, min(start + GROUP, episodes))
            group = pyarrow.concat_tables([one] * len(numbers)).combine_chunks()
            group = replaced(group, "episode_index", numbers)
            group = replaced(group, "length", numpy.full(len(numbers), ROWS))
            group = replaced(group, "dataset_from_index", numbers * ROWS)
            table.write_table(replaced(group, "dataset_to_index", (numbers + 1) * ROWS))
    path = building / "meta/info.json"
    info = json.loads(path.read_text())
    info |= {"total_episodes": episodes, "total_frames": episodes * ROWS, "splits": {"train": f"0:{episodes}"}}
    path.write_text(json.dumps(info, indent=4))
    os.rename(building, root)


if __name__ == "__main__":
    main()
