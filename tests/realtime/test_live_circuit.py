from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from qlumen.networks.bundle import find_bundle, read_bundle
from qlumen.realtime.config.settings import load_settings
from qlumen.realtime.segmentation.segmenter import Segmenter
from qlumen.realtime.sources.ffmpeg.container import ContainerSource

FRAMES = 20
MAX_SHARE = 1e-5
"""Share of pixels that may differ between live circuit and tables."""


@pytest.mark.data
def test_live_circuit_gives_the_masks_of_the_tables(data_dir: Path) -> None:
    """On 20 frames of a real recording, at most 1 pixel in 100,000 differs."""
    with ContainerSource(str(data_dir / "clips" / "ldpolypvideo_test101.mp4")) as source:
        frames = list(islice(source.frames(), FRAMES))
    bundle = read_bundle(find_bundle())
    masks = []
    for executor in ("surrogate", "lightning.qubit"):
        segmenter = Segmenter.open(bundle, load_settings(None, [f"quantum.executor={executor}"]))
        try:
            found = [
                segmenter.finish(frame, segmenter.submit(frame.pixels).result()).mask
                for frame in frames
            ]
        finally:
            segmenter.close()
        masks.append(np.stack(found))
    assert masks[0].any()
    assert np.mean(masks[0] != masks[1]) <= MAX_SHARE
