from pathlib import Path

import cv2
import numpy as np
import pytest

from qlumen.calibration.threshold import (
    DICE_FOR_FEWER_ALARMS,
    HIGH_CANDIDATES,
    LOW_CANDIDATES,
    choose_thresholds,
)
from qlumen.evaluation.pairs import find_pairs
from qlumen.evaluation.run import evaluate, means
from qlumen.networks.bundle import read_bundle, shipped_bundle
from qlumen.realtime.config import load_settings
from qlumen.realtime.segmenter import Segmenter
from qlumen.realtime.sources.scene import SceneSettings, SceneSource

FRAMES = (10, 20, 150)


def test_choice_follows_its_rule(tmp_path: Path) -> None:
    """Scored by `evaluate`, no candidate is better by more than the allowance, and none with a
    higher `high` is good enough."""
    images, masks = tmp_path / "images", tmp_path / "masks"
    images.mkdir()
    masks.mkdir()
    source = SceneSource(SceneSettings(width=160, height=120, seed=3))
    for index in FRAMES:
        frame = source.frame(index)
        assert frame.truth is not None
        cv2.imwrite(str(images / f"{index}.png"), frame.image)
        cv2.imwrite(str(masks / f"{index}.png"), frame.truth * 255)
    pairs = find_pairs(images, masks)
    bundle = read_bundle(shipped_bundle())
    segmenter = Segmenter.open(bundle, load_settings())
    choice = choose_thresholds(pairs, segmenter, 0.001)
    segmenter.close()
    dice = {}
    for low, high in [(a, b) for a in LOW_CANDIDATES for b in HIGH_CANDIDATES if a <= b]:
        overrides = [f"postprocess.low={low}", f"postprocess.high={high}"]
        overrides.append("postprocess.min_area_fraction=0.001")
        candidate = Segmenter.open(bundle, load_settings(None, overrides))
        mean = means(evaluate(pairs, candidate))["dice"]
        assert mean is not None
        dice[low, high] = mean
        candidate.close()
    best = max(dice.values())
    chosen = choice.thresholds
    assert choice.dice == pytest.approx(dice[chosen.low, chosen.high])
    assert choice.dice >= best - DICE_FOR_FEWER_ALARMS - 1e-9
    good = [key for key, value in dice.items() if value >= best - DICE_FOR_FEWER_ALARMS + 1e-9]
    assert chosen.high >= np.max([high for _, high in good])
