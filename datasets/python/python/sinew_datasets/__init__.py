"""LeRobot v3.0 datasets for PyTorch, read in Rust.

``SinewDataset`` takes the place of lerobot's ``LeRobotDataset`` where a dataset is read::

    from sinew_datasets import SinewDataset

    dataset = SinewDataset("lerobot/pusht", delta_timestamps={"action": [0.0, 0.1, 0.2]})
    loader = torch.utils.data.DataLoader(dataset, batch_size=32, shuffle=True, num_workers=4)

Without PyTorch its items hold numpy arrays. ``SinewDataset.loader`` reads batches ahead in threads of
its own and needs no DataLoader.
"""

from ._native import DatasetError
from .dataset import SinewDataset
from .loader import Loader
from .meta import Episodes, Metadata

__all__ = ["DatasetError", "Episodes", "Loader", "Metadata", "SinewDataset"]
