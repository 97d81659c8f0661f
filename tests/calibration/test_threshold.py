from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qlumen.calibration.threshold import (
    DICE_FOR_FEWER_ALARMS,
    DICE_FOR_NEGATIVES,
    HIGH_CANDIDATES,
    LOW_CANDIDATES,
    MOST_FINDINGS,
    Choice,
    choose_best,
    choose_thresholds,
)
from qlumen.datasets.pairs import find_pairs
from qlumen.evaluation.negatives import evaluate_negatives
from qlumen.evaluation.run import evaluate, means
from qlumen.networks.bundle import Bundle, Thresholds
from qlumen.realtime.analysis.frame_analysis import FrameAnalysis
from qlumen.realtime.config.settings import Settings, load_settings
from qlumen.realtime.segmentation.postprocess import Postprocessor
from qlumen.realtime.segmentation.segmenter import Segmenter
from qlumen.realtime.sources.scene.source import SceneSettings, SceneSource

FRAMES = (10, 20, 150)


def test_choice_follows_its_rule(tiny: Bundle, tmp_path: Path) -> None:
    """By the scores of `evaluate`, no candidate is better than the allowance, and no good enough
    candidate has a higher `high`."""
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
    segmenter = Segmenter.open(tiny, load_settings())
    choice = choose_thresholds(pairs, segmenter, 0.001)
    dice = {}
    for low, high in [(a, b) for a in LOW_CANDIDATES for b in HIGH_CANDIDATES if a <= b]:
        overrides = [f"postprocess.low={low}", f"postprocess.high={high}"]
        overrides.append("postprocess.min_area_fraction=0.001")
        candidate = segmenter.with_thresholds(tiny, load_settings(None, overrides))
        mean = means(evaluate(pairs, FrameAnalysis(candidate, Settings(), related=False)))["dice"]
        assert mean is not None
        dice[low, high] = mean
    segmenter.close()
    best = max(dice.values())
    chosen = choice.thresholds
    assert choice.dice == pytest.approx(dice[chosen.low, chosen.high])
    assert choice.dice >= best - DICE_FOR_FEWER_ALARMS - 1e-9
    good = [key for key, value in dice.items() if value >= best - DICE_FOR_FEWER_ALARMS + 1e-9]
    assert chosen.high >= np.max([high for _, high in good])


@st.composite
def scored_choices(draw: st.DrawFn) -> list[Choice]:
    """Draw pairs of candidates with any scores."""
    shares = st.sampled_from([0.0, 0.01, 0.05, 0.06, 0.2, 0.5])
    few = st.sampled_from([0.0, 0.1, 0.2])
    rows = st.tuples(st.sampled_from(HIGH_CANDIDATES), st.floats(0.8, 0.82), shares, few, few)
    return [
        Choice(Thresholds(low=0.5, high=high, min_area_fraction=0), dice, share, 1 - missed, false)
        for high, dice, share, missed, false in draw(st.lists(rows, min_size=1, max_size=12))
    ]


@given(scored_choices())
def test_rule_for_lesion_free_images(choices: list[Choice]) -> None:
    """The rule prefers no other candidate to the choice."""
    got = choose_best(choices)
    shares = [choice.with_findings for choice in choices if choice.with_findings is not None]
    assert got.with_findings is not None
    if min(shares) > MOST_FINDINGS:
        assert got.with_findings == min(shares)
    else:
        assert got.with_findings <= MOST_FINDINGS
    most = max(MOST_FINDINGS, min(shares))
    allowed = [
        one for one in choices if one.with_findings is not None and one.with_findings <= most
    ]
    floor = max(one.dice for one in allowed) - DICE_FOR_NEGATIVES
    assert got.dice >= floor
    for other in allowed:
        if other.dice < floor:
            continue
        assert other.sensitivity <= got.sensitivity
        if other.sensitivity == got.sensitivity:
            assert other.false_findings >= got.false_findings
            if other.false_findings == got.false_findings:
                assert other.dice <= got.dice


def test_share_is_counted_on_the_images(tiny: Bundle, tmp_path: Path) -> None:
    """The share of lesion-free images with a finding equals a count by `evaluate_negatives`."""
    source = SceneSource(SceneSettings(width=160, height=120, seed=3))
    files = []
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    for index in FRAMES:
        frame = source.frame(index)
        assert frame.truth is not None
        cv2.imwrite(str(tmp_path / "images" / f"{index}.png"), frame.image)
        cv2.imwrite(str(tmp_path / "masks" / f"{index}.png"), frame.truth * 255)
        files.append(tmp_path / "images" / f"{index}.png")
    pairs = find_pairs(tmp_path / "images", tmp_path / "masks")
    segmenter = Segmenter.open(tiny, load_settings())
    choice = choose_thresholds(pairs, segmenter, 0.001, files)
    postprocess = Postprocessor(**choice.thresholds.model_dump())
    chosen = replace(segmenter, postprocess=postprocess)
    rows = evaluate_negatives(files, FrameAnalysis(chosen, Settings(), related=False))
    segmenter.close()
    assert choice.with_findings == pytest.approx(np.mean([row.findings > 0 for row in rows]))
