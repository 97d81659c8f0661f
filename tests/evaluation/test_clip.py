import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from qlumen.errors import DatasetError
from qlumen.evaluation.clip import evaluate_clip, read_boxes
from qlumen.evaluation.command import command
from qlumen.networks.bundle import find_bundle, read_bundle
from qlumen.realtime.analysis.frame_analysis import FrameAnalysis
from qlumen.realtime.config.settings import load_settings
from qlumen.realtime.engines.choose import bundle_folder
from qlumen.realtime.segmentation.segmenter import Segmenter
from qlumen.realtime.sources.choose import open_source
from qlumen.realtime.sources.scene.source import SceneSettings, SceneSource

from support.media import write_video

FRAMES = 12
SCENE = SceneSettings(width=160, height=120, frame_count=FRAMES, seed=3)


@pytest.fixture
def analysis() -> Iterator[FrameAnalysis]:
    """Judge each frame alone, without a search for the field."""
    settings = load_settings(None, ["analysis.field=false"])
    with closing(Segmenter.open(read_bundle(find_bundle()), settings)) as segmenter:
        yield FrameAnalysis(segmenter, settings, related=False)


def test_own_findings_as_boxes_are_all_hit(analysis: FrameAnalysis) -> None:
    """A run hits all boxes that come from the same run, and no box after a shift."""
    true = {}
    for index, frame in enumerate(SceneSource(SCENE).frames()):
        segmenter = analysis.segmenter
        found = segmenter.finish(frame, segmenter.submit(frame.pixels).result()).findings
        if found and index % 2:
            true[index] = (found[0].box,)
    assert true
    same = evaluate_clip(SceneSource(SCENE), analysis, true)
    away = dict.fromkeys(true, ((500, 500, 510, 510),))
    other = evaluate_clip(SceneSource(SCENE), analysis, away)
    assert same.frames == other.frames == FRAMES
    assert same.with_findings == other.with_findings >= len(true)
    assert set(same.boxed) == set(true)
    assert all(row.hit == 1 for row in same.boxed.values())
    assert all(row.hit == 0 and row.false_findings > 0 for row in other.boxed.values())


def test_alarms_of_a_clip_are_those_of_its_tracks(tmp_path: Path) -> None:
    """Without boxes the command tells when alarms begin: those of an analysis of the same file."""
    clip, file = tmp_path / "clip.mp4", tmp_path / "r.json"
    images = [frame.image for frame in SceneSource(replace(SCENE, frame_count=40)).frames()]
    write_video(clip, images, rate=Fraction(25))
    changes = ["temporal.hold_s=0.08", "postprocess.high=0.8"]
    arguments = ["--clip", str(clip), "--json", str(file)]
    for change in changes:
        arguments += ["--set", change]
    result = CliRunner().invoke(command, arguments, catch_exceptions=False)
    settings = load_settings(None, changes)
    bundle = read_bundle(bundle_folder(settings))
    with (
        closing(Segmenter.open(bundle, settings)) as segmenter,
        open_source(str(clip), settings) as source,
    ):
        analysis = FrameAnalysis(segmenter, settings, related=True)
        alarms = [
            {"time_s": frame.time_s, "box": list(one.finding.box)}
            for frame, judgement in analysis.judge_all(source.frames())
            for one in judgement.tracks
            if one.new
        ]
    assert alarms
    assert json.loads(file.read_text())["alarms"] == alarms
    assert f"alarms at {alarms[0]['time_s']:.2f}" in result.output


def test_boxes_beyond_the_end_are_named(analysis: FrameAnalysis) -> None:
    """Boxes on frames that the clip does not have raise an error."""
    with pytest.raises(DatasetError, match=r"frames \[12, 40\], but the clip has 12"):
        evaluate_clip(SceneSource(SCENE), analysis, {40: ((0, 0, 1, 1),), 12: ()})


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"boxes": {"a": []}}', '{"boxes": {"1": [[1, 2]]}}', '{"boxes": 3}']
)
def test_files_of_another_form_are_refused(tmp_path: Path, text: str) -> None:
    """The error shows the right form."""
    path = tmp_path / "b.json"
    path.write_text(text)
    with pytest.raises(DatasetError, match="the form is"):
        read_boxes(path)


@pytest.mark.data
def test_clip_with_true_boxes(data_dir: Path, tmp_path: Path) -> None:
    """The command's number of hits equals a count of its rows, and all 31 boxed frames count."""
    clip = data_dir / "clips" / "ldpolypvideo_test101.mp4"
    file = tmp_path / "r.json"
    arguments = ["--clip", clip, "--boxes", clip.with_suffix(".boxes.json"), "--json", file]
    result = CliRunner().invoke(command, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    content = json.loads(file.read_text())
    assert content["frames"] == 181
    assert len(content["boxed_frames"]) == 31
    hit = np.sum([row["hit"] > 0 for row in content["boxed_frames"]])
    assert content["boxed"]["frame_sensitivity"] == pytest.approx(hit / 31)
    assert f"hits on {hit} of the 31 frames" in result.output.replace("\n", " ")
