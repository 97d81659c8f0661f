"""Makes bundles of a small network at another side, scores them and uses them again."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from qlumen.calibration import sizes
from qlumen.calibration.candidates import candidates
from qlumen.calibration.command import command
from qlumen.calibration.sizes import bundles_of_sides
from qlumen.datasets.splits import split_pairs
from qlumen.errors import DatasetError, MissingExtraError, UsageError
from qlumen.evaluation.run import evaluate, means
from qlumen.networks.bundle import CARD, MODEL_WEIGHTS, RESIZED_FROM, Bundle, read_bundle
from qlumen.realtime.analysis.frame_analysis import FrameAnalysis
from qlumen.realtime.config.settings import Settings, load_settings
from qlumen.realtime.segmentation.segmenter import Segmenter

OTHER = 32


@pytest.fixture(scope="module")
def size_bundles(
    tiny: Bundle, scene_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[list[Bundle], Path]:
    """Make the small network at another side, in FP32 and INT8, and return it with its cache."""
    cache = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QLUMEN_CACHE", str(cache))
        return bundles_of_sides([tiny], [OTHER], scene_data, image_count=6), cache


def fail(*_: object, **__: object) -> None:
    pytest.fail("made again")


def test_other_side_is_made_in_both_precisions(
    tiny: Bundle, scene_data: Path, size_bundles: tuple[list[Bundle], Path]
) -> None:
    """The given bundle comes first. The others have the new side, name their source, and state the
    Dice that their own engine reaches on validation."""
    first, single, eighth = size_bundles[0]
    assert first is tiny
    assert [b.manifest.input.width for b in (single, eighth)] == [OTHER, OTHER]
    assert single.manifest.provenance[RESIZED_FROM] == tiny.sha256
    assert eighth.manifest.quantised is not None
    assert eighth.manifest.quantised.bundle_sha256 == single.sha256
    assert f"Compiled for {OTHER}x{OTHER}" in (single.folder / CARD).read_text()
    with Segmenter.open(single, Settings()).engine as engine:
        assert engine.input_size == (OTHER, OTHER)
    segmenter = Segmenter.open(single, Settings())
    analysis = FrameAnalysis(segmenter, Settings(), related=False)
    dice = means(evaluate(split_pairs(scene_data, "val"), analysis))["dice"]
    segmenter.close()
    assert single.manifest.metrics["val"]["dice"] == pytest.approx(dice, abs=1e-4)
    stated = {c.bundle.folder: c.accuracy for c in candidates(size_bundles[0], {"openvino"})
              if c.precision == "f32"}  # fmt: skip
    assert stated[single.folder] == single.manifest.metrics["val"]["dice"]
    assert stated[eighth.folder] == eighth.manifest.metrics["val"]["dice"]


def test_existing_sizes_are_not_made_again(
    tiny: Bundle,
    scene_data: Path,
    size_bundles: tuple[list[Bundle], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Bundles of the same weights and images come from the cache, and a given INT8 bundle also
    counts."""
    bundles, cache = size_bundles
    monkeypatch.setenv("QLUMEN_CACHE", str(cache))
    monkeypatch.setattr(sizes, "make_int8", fail)
    monkeypatch.setattr(sizes, "measure", fail)
    again = bundles_of_sides([tiny], [OTHER], scene_data)
    assert [b.sha256 for b in again] == [b.sha256 for b in bundles]
    given = [bundles[1], bundles[2]]
    assert bundles_of_sides(given, [OTHER], scene_data) == given


def test_damaged_or_foreign_entries_are_made_again(
    tiny: Bundle,
    scene_data: Path,
    size_bundles: tuple[list[Bundle], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A cached bundle with a flipped bit is made again, and other images give a new bundle."""
    cache = tmp_path / "cache"
    shutil.copytree(size_bundles[1], cache)
    monkeypatch.setenv("QLUMEN_CACHE", str(cache))
    monkeypatch.setattr(sizes, "find_spec", lambda name: None)  # FP32 alone
    (place,) = (p for p in (cache / "sizes").iterdir() if not p.name.endswith("int8"))
    data = bytearray((place / MODEL_WEIGHTS).read_bytes())
    data[100] ^= 1
    (place / MODEL_WEIGHTS).write_bytes(data)
    lines: list[str] = []
    mended = bundles_of_sides([tiny], [OTHER], scene_data, lines.append)
    assert mended[1].manifest.metrics == size_bundles[0][1].manifest.metrics
    assert "nncf is not installed" in lines[0]
    assert place.name in lines[1]
    other = tmp_path / "data"
    shutil.copytree(scene_data, other)
    (other / "splits/val.txt").write_text((scene_data / "splits/train.txt").read_text())
    foreign = bundles_of_sides([tiny], [OTHER], other)[1]
    assert foreign.folder != mended[1].folder
    assert read_bundle(mended[1].folder).sha256 == mended[1].sha256


def test_command_writes_the_chosen_bundle_beside_the_configuration(
    tiny: Bundle,
    scene_data: Path,
    size_bundles: tuple[list[Bundle], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A bundle that only the cache has is copied, and the copy runs."""
    monkeypatch.setenv("QLUMEN_CACHE", str(size_bundles[1]))
    output = tmp_path / "here.yaml"
    single = size_bundles[0][1]
    better = single.manifest.metrics["val"] | {"dice": 0.99}
    monkeypatch.setitem(single.manifest.metrics, "val", better)
    monkeypatch.setattr(sizes._BundleCache, "resize", lambda *_: [single])
    arguments = ["budget", "--bundle", tiny.folder, "--output", output, "--seconds", 1]
    arguments += ["--engine", "openvino", "--fps", 2, "--source-size", "96x80"]
    arguments += ["--data", scene_data, "--side", OTHER]
    result = CliRunner().invoke(command, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "not tried: less accurate" in result.output
    settings = load_settings(output)
    assert settings.model.bundle == (tmp_path / "here-bundle").resolve()
    bundle = read_bundle(settings.model.bundle)
    assert bundle.manifest.input.width == OTHER
    segmenter = Segmenter.open(bundle, settings)
    assert segmenter.engine.infer(np.zeros((OTHER, OTHER, 3), np.uint8)).shape == (16, 16)
    segmenter.close()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (["--side", 96], UsageError, "give the images with --data"),
        (["--data", "{}", "--side", 100], UsageError, "not a multiple of 32; use 96"),
        (["--data", "{}"], DatasetError, "no split"),
    ],
)
def test_wrong_sizes_end_before_any_work(
    tiny: Bundle, tmp_path: Path, options: list[object], error: type[Exception], message: str
) -> None:
    """The error names the wrong option and says what to do."""
    given = [str(option).format(tmp_path) for option in options]
    arguments = ["budget", "--bundle", str(tiny.folder), "--output", str(tmp_path / "x.yaml")]
    with pytest.raises(error, match=message):
        CliRunner().invoke(command, [*arguments, *given], catch_exceptions=False)


def test_existing_bundle_folder_stays(tiny: Bundle, tmp_path: Path) -> None:
    """An existing folder in the place of the bundle raises an error."""
    (tmp_path / "x-bundle").mkdir()
    arguments = ["budget", "--output", tmp_path / "x.yaml", "--data", tiny.folder.parent]
    with pytest.raises(UsageError, match="x-bundle, which exists"):
        CliRunner().invoke(command, [str(a) for a in arguments], catch_exceptions=False)


def test_missing_torch_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The error names the command to install torch, and what works without it."""
    monkeypatch.setattr(sizes, "find_spec", lambda name: None)
    arguments = ["budget", "--output", str(tmp_path / "x.yaml"), "--data", str(tmp_path / "data")]
    with pytest.raises(MissingExtraError, match=r"pip install 'qlumen\[train\]'.*leave out --data"):
        CliRunner().invoke(command, arguments, catch_exceptions=False)
