"""Tests `qlumen calibrate threshold` on a small network and images of the scene."""

import json
import shutil
import sys
from pathlib import Path

import cv2
import pytest
from click.testing import CliRunner, Result

from qlumen.calibration.command import command
from qlumen.calibration.threshold import choose_best, collect, operating_points
from qlumen.datasets.splits import lesion_free_files, split_pairs
from qlumen.errors import BundleError, DatasetError, MissingExtraError, UsageError
from qlumen.evaluation.run import evaluate, means
from qlumen.networks.bundle import CARD, MANIFEST, Bundle, read_bundle
from qlumen.realtime.analysis.frame_analysis import FrameAnalysis
from qlumen.realtime.config.settings import Settings
from qlumen.realtime.segmentation.segmenter import Segmenter


@pytest.fixture
def bundle(tiny: Bundle, tmp_path: Path) -> Bundle:
    return read_bundle(Path(shutil.copytree(tiny.folder, tmp_path / "bundle")))


def run(bundle: Bundle, data: Path, *options: object) -> Result:
    arguments = ["threshold", "--bundle", bundle.folder, "--data", data, *options]
    return CliRunner().invoke(command, [str(a) for a in arguments], catch_exceptions=False)


def test_command_writes_what_it_found(bundle: Bundle, scene_data: Path, tmp_path: Path) -> None:
    """The bundle has the thresholds, temperature and figures of the report, and right hashes. The
    engine reaches the stated Dice, and a second fit changes nothing."""
    report_file, plot = tmp_path / "report.json", tmp_path / "plot.png"
    result = run(bundle, scene_data, "--write", "--json", report_file, "--plot", plot)
    assert result.exit_code == 0, result.output
    report = json.loads(report_file.read_text())
    renewed = read_bundle(bundle.folder)
    assert renewed.sha256 != bundle.sha256
    assert renewed.manifest.thresholds.model_dump() == report["chosen"]["thresholds"]
    assert renewed.manifest.calibration["temperature"] == report["temperature"]
    assert report["ece"]["val"]["after"] <= report["ece"]["val"]["before"]
    segmenter = Segmenter.open(renewed, Settings())
    analysis = FrameAnalysis(segmenter, Settings(), related=False)
    dice = means(evaluate(split_pairs(scene_data, "val"), analysis))["dice"]
    samples = collect(
        split_pairs(scene_data, "val"),
        lesion_free_files(scene_data, "negatives_train"),
        segmenter,
    )
    segmenter.close()
    assert renewed.manifest.metrics["val"]["dice"] == pytest.approx(dice, abs=1e-4)
    assert report["chosen"]["dice"] == pytest.approx(dice, abs=5e-3)
    again = choose_best(operating_points(samples, "stretch", 0))
    assert again.thresholds == renewed.manifest.thresholds
    assert "## Calibration" in (renewed.folder / CARD).read_text()
    assert cv2.imread(str(plot)).std() > 10


def test_lists_to_fit_on_can_be_named(bundle: Bundle, scene_data: Path, tmp_path: Path) -> None:
    """The fit takes the named lists, says so, and keeps the limit on findings; a list that is
    missing raises an error."""
    file = tmp_path / "r.json"
    lists = ["--split", "train", "--negatives", "negatives_score", "--most-findings", "0.5"]
    assert run(bundle, scene_data, *lists, "--json", file).exit_code == 0
    report = json.loads(file.read_text())
    assert report["fitted_on"] == "train"
    assert "at most 50% of the images of `negatives_score`" in report["rule"]
    shares = [point["with_findings"] for point in report["points"]]
    assert report["chosen"]["with_findings"] <= max(0.5, min(shares))
    with pytest.raises(DatasetError, match="no list negatives_absent"):
        run(bundle, scene_data, "--negatives", "negatives_absent")


def test_without_write_nothing_changes(bundle: Bundle, scene_data: Path) -> None:
    """Without --write the command does not change the bundle."""
    assert run(bundle, scene_data).exit_code == 0
    assert read_bundle(bundle.folder).sha256 == bundle.sha256


def test_missing_data_is_named(bundle: Bundle, tmp_path: Path) -> None:
    """The error names the missing list of a split."""
    with pytest.raises(DatasetError, match=r"no split .*val\.txt"):
        run(bundle, tmp_path)


def test_plot_cannot_replace_an_input(bundle: Bundle, scene_data: Path) -> None:
    """A plot in the place of a bundle's file raises an error before any work."""
    with pytest.raises(UsageError, match="is the input itself"):
        run(bundle, scene_data, "--plot", bundle.folder / MANIFEST)
    assert read_bundle(bundle.folder).sha256 == bundle.sha256


def test_missing_matplotlib_is_named(
    bundle: Bundle, scene_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the library the error says what to install, before any work."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'qlumen\[train\]'"):
        run(bundle, scene_data, "--plot", tmp_path / "plot.png")


def test_damaged_bundle_is_refused(bundle: Bundle, scene_data: Path) -> None:
    """One changed file stops the fit."""
    (bundle.folder / "network.xml").write_text("<net/>")
    with pytest.raises(BundleError, match=r"network\.xml does not match"):
        run(bundle, scene_data, "--write")
