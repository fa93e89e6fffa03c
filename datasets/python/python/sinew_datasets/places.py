"""Where a dataset lies on this machine, and how it gets there."""

import os
from collections.abc import Iterable
from pathlib import Path

VERSION = "v3.0"


def lerobot_home() -> Path:
    """LeRobot's folder for datasets: ``$HF_LEROBOT_HOME``, or its default."""
    home = os.environ.get("HF_LEROBOT_HOME")
    if home:
        return Path(home).expanduser()
    hub = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME", "~/.cache"), "huggingface")
    return Path(hub).expanduser() / "lerobot"


def streamed(repo_id: str, root: str | os.PathLike | None, revision: str | None) -> str | None:
    """The dataset's place on a hub, if ``repo_id`` says that it is to be read from there by ranges."""
    if not repo_id.startswith(("hub://", "hf://datasets/")):
        return None
    if root is not None:
        raise ValueError(f"{repo_id} is read from the hub without a folder; leave root out, or name the repository without the prefix")
    return repo_id if revision is None else f"{repo_id}@{revision}"


def find(repo_id: str, root: str | os.PathLike | None, revision: str | None) -> Path | None:
    """The dataset's folder: ``root``, ``repo_id`` as a path, or what LeRobot or the Hub's client keep."""
    if root is not None:
        candidates: Iterable[Path | None] = [Path(root)]
    else:
        home = lerobot_home()
        candidates = [Path(repo_id), home / repo_id, _snapshot(home / "hub", repo_id, revision or VERSION)]
    for folder in candidates:
        if folder is not None and (folder / "meta" / "info.json").is_file():
            return folder
    return None


def _snapshot(cache: Path, repo_id: str, revision: str) -> Path | None:
    """A snapshot in the Hub client's layout: ``refs`` name commits, ``snapshots`` hold them."""
    repo = cache / ("datasets--" + repo_id.replace("/", "--"))
    ref = repo / "refs" / revision
    return repo / "snapshots" / (ref.read_text().strip() if ref.is_file() else revision)


def download(
    repo_id: str,
    root: str | os.PathLike | None,
    revision: str | None,
    token: str | bool | None,
    videos: bool,
) -> Path:
    """Downloads the dataset from the Hub, to where LeRobot would put it."""
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        looked = root if root is not None else f"{repo_id} and {lerobot_home() / repo_id}"
        raise FileNotFoundError(
            f"no LeRobot v3.0 dataset at {looked} (no meta/info.json there); to download {repo_id!r} "
            "from the Hugging Face Hub, install huggingface_hub"
        ) from error
    where = {"local_dir": root} if root is not None else {"cache_dir": lerobot_home() / "hub"}
    try:
        found = snapshot_download(
            repo_id,
            repo_type="dataset",
            revision=revision or VERSION,
            ignore_patterns=None if videos else "videos/*",
            token=token,
            **where,
        )
    except (OSError, ValueError) as error:
        raise FileNotFoundError(
            f"no LeRobot v3.0 dataset at {root or repo_id}, and it cannot be downloaded from the Hub: {error}"
        ) from error
    return Path(found)
