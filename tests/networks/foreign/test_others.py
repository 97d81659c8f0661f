"""Imports a network of three classes, and follows the other ones to the picture."""

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from qlumen.calibration.import_job import import_network
from qlumen.calibration.temperature import temper, write_temperature
from qlumen.errors import UsageError
from qlumen.networks.bundle import Bundle, read_bundle, write_manifest
from qlumen.realtime.analysis.frame_analysis import FrameAnalysis
from qlumen.realtime.cli import commands
from qlumen.realtime.config.settings import load_settings
from qlumen.realtime.engines.openvino import OpenVinoEngine
from qlumen.realtime.frames import Frame
from qlumen.realtime.overlay.findings import ORANGE_BGR, Overlay
from qlumen.realtime.pixels.bgr_image import BgrImage
from qlumen.realtime.segmentation.segmenter import Segmenter

from support.foreign import ANSWERS, HEIGHT, WIDTH, make_small, write_onnx

THREE = ANSWERS.model_copy(
    update={"activation": "softmax", "normalise": "unit", "target": ("polyp", 1)}
)
OTHERS = (("instrument", 2), ("wall", 0))
IMAGE = np.random.default_rng(2).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("three") / "three.onnx"
    return write_onnx(make_small(3), path, 1, 3, HEIGHT, WIDTH)


@pytest.fixture
def bundle(source: Path, tmp_path: Path) -> Bundle:
    answers = THREE.model_copy(update={"others": OTHERS})
    import_network(source, tmp_path / "bundle", answers, "three")
    return read_bundle(tmp_path / "bundle")


def test_maps_are_the_original_s_probabilities(bundle: Bundle) -> None:
    """Polyp, instrument and wall come in this order, as torch's softmax gives them."""
    assert bundle.manifest.imported
    assert bundle.manifest.imported.others == OTHERS
    values = torch.from_numpy(IMAGE[..., ::-1].copy()).permute(2, 0, 1)[None] / 255
    with torch.no_grad():
        expected = torch.softmax(make_small(3)(values), 1)[0, [1, 2, 0]].numpy()
    with OpenVinoEngine(bundle.model) as engine:
        np.testing.assert_allclose(engine.infer(IMAGE), expected, atol=1e-5)


def test_temperature_divides_all_logits(bundle: Bundle) -> None:
    with OpenVinoEngine(bundle.model) as engine:
        before = engine.infer(IMAGE)
    write_temperature(bundle, 2.0)
    write_manifest(bundle.folder, bundle.manifest)
    with OpenVinoEngine(bundle.model) as engine:
        np.testing.assert_allclose(engine.infer(IMAGE), temper(before, 2.0), atol=5e-5)


@pytest.mark.parametrize("related", [True, False])
def test_others_are_shown_and_are_no_findings(
    bundle: Bundle, source: Path, tmp_path: Path, related: bool
) -> None:
    """Findings are those of a bundle without other classes; areas of those have their names."""
    import_network(source, tmp_path / "alone", THREE, "alone")
    settings = load_settings(None, ["postprocess.low=0.4", "postprocess.high=0.4"])
    image = cv2.resize(IMAGE[:8, :8], (4 * WIDTH, 4 * HEIGHT), interpolation=cv2.INTER_NEAREST)
    frames = [Frame(i, i, Fraction(1, 25), BgrImage(image), 0) for i in range(3)]
    judged = []
    for each in (bundle, read_bundle(tmp_path / "alone")):
        segmenter = Segmenter.open(each, settings)
        analysis = FrameAnalysis(segmenter, settings, related=related)
        judged.append([judgement for _, judgement in analysis.judge_all(frames)])
        judged.append([analysis.judge(frame) for frame in frames])
        segmenter.close()
    for with_others, alone in zip(judged[0] + judged[1], judged[2] + judged[3], strict=True):
        shown, expected = with_others.segmentation, alone.segmentation
        assert not expected.others
        assert {one.label for one in shown.others} == {"instrument", "wall"}
        np.testing.assert_array_equal(shown.mask, expected.mask)
        assert [one.box for one in shown.findings] == [one.box for one in expected.findings]
        assert [one.finding.box for one in with_others.tracks] == [
            one.finding.box for one in alone.tracks
        ]


def test_outline_of_another_class_has_its_own_colour(bundle: Bundle) -> None:
    """It is orange, has no tint, and findings are drawn over it."""
    settings = load_settings(None, [])
    segmenter = Segmenter.open(bundle, settings)
    frame = Frame(0, 0, Fraction(1, 25), BgrImage(IMAGE), 0)
    shown = FrameAnalysis(segmenter, settings, related=False).judge(frame).segmentation
    segmenter.close()
    large = [replace(one, label="") for one in shown.others if one.area_px > 50][:1]
    assert large
    overlay = Overlay(line_width_px=1)
    alone = replace(shown, findings=(), mask=np.zeros_like(shown.mask), others=tuple(large))
    drawn, marked = overlay(IMAGE, alone), overlay.marker_mask(alone)
    colours = {tuple(pixel) for pixel in drawn[marked > 0].tolist()}
    assert colours == {ORANGE_BGR, (24, 24, 24)}
    both, own = replace(shown, others=()), replace(shown, others=tuple(large))
    assert both.findings
    over = overlay.marker_mask(both) > 0
    np.testing.assert_array_equal(overlay(IMAGE, own)[over], overlay(IMAGE, both)[over])


def test_command_takes_other_classes(source: Path, tmp_path: Path) -> None:
    words = ["import", source, "--output", tmp_path / "made", "--channels", "rgb", "--fit",
             "stretch", "--normalise", "unit", "--activation", "softmax", "--licence", "MIT",
             "--class", "polyp=1", "--also", "instrument=2"]  # fmt: skip
    commands.main([str(word) for word in words], standalone_mode=False)
    record = json.loads((tmp_path / "made" / "bundle.json").read_text())["imported"]
    assert record["others"] == [["instrument", 2]]


@pytest.mark.parametrize("number", [1, 3])
def test_wrong_other_class_is_refused(source: Path, tmp_path: Path, number: int) -> None:
    answers = THREE.model_copy(update={"others": (("cap", number),)})
    with pytest.raises(UsageError, match=f"--also cap={number}: name another class than polyp=1"):
        import_network(source, tmp_path / "bundle", answers, "three")
