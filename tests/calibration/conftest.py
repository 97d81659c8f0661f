"""Provides a small data set of the scene, and a network that marks about half of each image."""

import shutil
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from qlumen.datasets.splits import split_pairs
from qlumen.evaluation.run import evaluate
from qlumen.networks.bottlenecks import BottleneckConfig
from qlumen.networks.bundle import Bundle, Thresholds
from qlumen.networks.export import Deployed, write_bundle
from qlumen.networks.unet import NetworkConfig, UNet
from qlumen.realtime.analysis.frame_analysis import FrameAnalysis
from qlumen.realtime.config.settings import Settings
from qlumen.realtime.segmentation.segmenter import Segmenter
from qlumen.realtime.sources.scene.source import SceneSettings, SceneSource

from support.few_checks import few_checks

SIZE = 64
SPREAD = 2.0
"""Standard deviation of the logits."""


@pytest.fixture(scope="session")
def scene_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write frames in the layout of the real data: 4 for training, 3 for validation, and 2
    lesion-free images in each of two lists."""
    root = tmp_path_factory.mktemp("scene-data")
    for part in ("scene/images", "scene/masks", "splits", "negatives/images"):
        (root / part).mkdir(parents=True)
    source = SceneSource(SceneSettings(width=96, height=80, frame_count=240))
    names = []
    for index in range(10, 220, 30):
        frame = source.frame(index)
        assert frame.truth is not None
        cv2.imwrite(str(root / f"scene/images/{index}.jpg"), frame.image)
        cv2.imwrite(str(root / f"scene/masks/{index}.png"), frame.truth * 255)
        names.append(f"scene/{index}")
    (root / "splits/train.txt").write_text("\n".join(names[:4]))
    (root / "splits/val.txt").write_text("\n".join(names[4:]))
    free = SceneSource(SceneSettings(width=96, height=80, frame_count=240, polyps=False))
    for side in ("train", "score"):
        names = [f"negatives/{side}{number}" for number in range(2)]
        (root / f"splits/negatives_{side}.txt").write_text("\n".join(names))
        for number in range(2):
            path = root / f"negatives/images/{side}{number}.jpg"
            cv2.imwrite(str(path), free.frame(40 * number).image)
    return root


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory, scene_data: Path) -> Bundle:
    """Write an untrained network with a head whose logits spread around 0."""
    torch.manual_seed(0)
    config = NetworkConfig((16, 8, 8, 8), BottleneckConfig(qubits=2))
    network = UNet(config).eval()
    image = cv2.imread(str(scene_data / "scene/images/10.jpg"))
    small = cv2.resize(image, (SIZE, SIZE))[None]
    with torch.no_grad():
        network.bottleneck.gate.fill_(1)
        probability = Deployed(network)(torch.from_numpy(np.ascontiguousarray(small)))
        logits = torch.logit(probability.double())
        scale = float(SPREAD / logits.std())
        network.head.weight.mul_(scale)
        network.head.bias.copy_(scale * (network.head.bias - logits.median()))
    thresholds = Thresholds(low=0.5, high=0.5, min_area_fraction=0)
    with few_checks():
        return write_bundle(
            tmp_path_factory.mktemp("tiny"), network, name="tiny", version="0", size=SIZE,
            thresholds=thresholds, provenance=PAPERS,
        )  # fmt: skip


@pytest.fixture(scope="session")
def truth_is_fp32(tiny: Bundle, scene_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy the data with the FP32 network's masks as truth; its Dice is 1, and INT8's is lower."""
    root = tmp_path_factory.mktemp("truth") / "data"
    shutil.copytree(scene_data, root)
    with closing(Segmenter.open(tiny, Settings())) as segmenter:
        analysis = FrameAnalysis(segmenter, Settings(), related=False)
        evaluate(split_pairs(root, "val"), analysis, save_masks=root / "scene/masks")
    return root


PAPERS = {
    "settings": {
        "epochs": 1, "batch_size": 1, "input_size": SIZE, "seed": 0, "rate": 0.001,
    },
    "started_from": None, "train_images": 4, "val_images": 3, "epochs_done": 1, "best_epoch": 1,
    "best_validation_dice": 0.5,
}  # fmt: skip
