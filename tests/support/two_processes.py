"""Trains for an epoch as one of several processes, and writes its weights to a file."""

import sys
from pathlib import Path

import torch

from qlumen.training.data import load_split
from qlumen.training.loop import Trainer
from qlumen.training.settings import TrainSettings


def main(data: Path, folder: Path) -> None:
    settings = TrainSettings(
        epochs=1,
        batch_size=4,
        input_size=64,
        bottleneck="identity",
        pretrained=False,
        threads=1,
        device="cpu",
    )
    splits = [load_split(data, split, size=64) for split in ("train", "val")]
    trainer = Trainer(settings, folder / "run", splits[0], splits[1])
    trainer.run()
    torch.save(trainer.network.state_dict(), folder / f"{trainer.devices.rank}.pt")
    trainer.devices.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
