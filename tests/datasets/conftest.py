"""Writes small data folders for the tests of this folder."""

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

Labels = NDArray[np.uint16]
"""Number of the object at each pixel, `(H, W)`; 0 is none."""
Write = Callable[..., Path]


@pytest.fixture(scope="session")
def write_folder() -> Write:
    """Return a function that writes label maps as a list with masks and, if asked, tracks."""

    def write(
        root: Path, labels: Sequence[Labels], name: str = "set", *, tracks: bool = False
    ) -> Path:
        folders = ("images", "masks", *(["tracks"] if tracks else []))
        for folder in folders:
            (root / name / folder).mkdir(parents=True)
        for place, one in enumerate(labels):
            image = np.random.default_rng(place).integers(0, 255, (*one.shape, 3), np.uint8)
            cv2.imwrite(str(root / name / f"images/{place}.png"), image)
            cv2.imwrite(str(root / name / f"masks/{place}.png"), (one > 0).astype(np.uint8) * 255)
            if tracks:
                cv2.imwrite(str(root / name / f"tracks/{place}.png"), one)
        (root / "splits").mkdir(exist_ok=True)
        lines = "".join(f"{name}/{place}\n" for place in range(len(labels)))
        (root / f"splits/{name}.txt").write_text(lines)
        rows = "".join(f"{place},patient {place},here\n" for place in range(len(labels)))
        (root / name / "index.csv").write_text(f"stem,group,source\n{rows}")
        return root

    return write
