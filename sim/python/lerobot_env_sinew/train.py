"""``python -m lerobot_env_sinew.train``: ``lerobot-train`` with the dataset class of ``sinew-datasets``.

The same arguments, batches and losses; LeRobot's own class decodes every picture of a chunk of actions where
only the first is wanted, which costs more than training a small policy does.
"""


def main() -> None:
    """Runs LeRobot's training program."""
    from lerobot.datasets import factory
    from lerobot.scripts import lerobot_train
    from sinew_datasets import SinewDataset

    # What lerobot's make_dataset calls.
    factory.LeRobotDataset = SinewDataset
    lerobot_train.main()


if __name__ == "__main__":
    main()
