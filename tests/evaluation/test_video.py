"""Scores of alarms on video: worked cases, and the shipped network on short scenes."""

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import poisson

from qlumen.calibration.alarms_command import record_alarms
from qlumen.errors import DatasetError, UsageError
from qlumen.evaluation.command import command
from qlumen.evaluation.video.alarms import LesionScores, VideoScores, is_hit, score_video
from qlumen.evaluation.video.froc import operating_points, rate_interval, summarise
from qlumen.evaluation.video.videos import Sights, Video, pan, scene_videos, sights
from qlumen.networks.bundle import read_bundle
from qlumen.realtime.analysis.frame_analysis import FrameAnalysis
from qlumen.realtime.analysis.interpret import Interpreter
from qlumen.realtime.config.settings import load_settings
from qlumen.realtime.engines.choose import bundle_folder
from qlumen.realtime.frames import Finding, Frame, Judgement, Observation, Track
from qlumen.realtime.pixels.arrays import Box
from qlumen.realtime.pixels.bgr_image import BgrImage
from qlumen.realtime.segmentation.segmenter import Segmenter
from qlumen.realtime.sources.scene.source import SceneSettings, SceneSource
from qlumen.realtime.tracking.findings import segment_findings

SIZE = 64, 48
GREY = BgrImage(np.full((48, 64, 3), 90, np.uint8))
HERE, THERE = (0, 0, 20, 20), (40, 20, 60, 40)


def finding(box: Box) -> Finding:
    x0, y0, x1, y1 = box
    corners = [[x0, y0], [x1 - 1, y0], [x1 - 1, y1 - 1], [x0, y1 - 1]]
    return Finding(box, 0.9, (x1 - x0) * (y1 - y0), np.array(corners, np.int32))


def add(row: VideoScores, tenth: int, shown: list[Box], alarms: list[Box], see: Sights) -> None:
    """Add a frame of a tenth of a second."""
    frame = Frame(tenth, tenth, Fraction(1, 10), GREY, 0)
    tracks = tuple(
        Track(i, finding(box), 0.0, alarm=True, new=True) for i, box in enumerate(alarms, 1)
    )
    segmentation = segment_findings([finding(box) for box in shown], SIZE)
    seen = Observation(SIZE, frame.time_s, None, None, judged=True)  # type: ignore[arg-type]
    row.add(frame, Judgement(seen, None, segmentation, tracks), see)


def test_alarms_are_sorted_by_what_is_in_view() -> None:
    """An alarm on the lesion is true, one elsewhere is beside it, one without a lesion is false;
    time without a lesion is counted apart."""
    row = VideoScores("v", "c")
    for tenth in range(100):
        see = {3: HERE} if 20 <= tenth < 60 else {}
        alarms = {10: [THERE], 35: [HERE], 40: [THERE], 80: [HERE]}.get(tenth, [])
        add(row, tenth, [HERE] if 30 <= tenth < 45 else [], alarms, see)
    assert (row.seconds, row.free_seconds) == (pytest.approx(10), pytest.approx(6))
    assert (row.false_s, row.beside_s) == ([1.0, 8.0], [4.0])
    lesion = row.lesions[3]
    assert (lesion.appeared_s, lesion.delay_s) == (2.0, pytest.approx(1.5))
    assert (lesion.frames, lesion.boxed, lesion.alarms_s) == (40, 15, [3.5])
    summary = summarise([row])
    assert summary["false_per_minute"] == pytest.approx(2 / 0.1)
    assert summary["boxed_frames"] == pytest.approx(15 / 40)
    assert (summary["lesions"], summary["found_in_3_s"]) == (1, 1.0)


@pytest.mark.parametrize(
    ("tenths", "appeared"),
    [
        ([*range(9)], None),  # too short
        ([*range(11)], 0.0),
        ([*range(5), *range(7, 15)], 0.0),  # a gap of 0.3 s is bridged
        ([*range(5), *range(30, 45)], 3.0),  # only the second appearance lasts
    ],
)
def test_an_appearance_lasts_a_second(tenths: list[int], appeared: float | None) -> None:
    """A lesion that is in view for less than a second at once is not counted."""
    lesion = LesionScores()
    for tenth in tenths:
        lesion.see(tenth / 10, hit=False)
    assert lesion.appeared_s == appeared


def test_a_late_alarm_counts_as_found_but_not_in_time() -> None:
    """Found within three seconds is a part of found at all."""
    row = VideoScores("v", "c")
    for tenth in range(60):
        add(row, tenth, [], {50: [HERE], 55: [HERE]}.get(tenth, []), {1: HERE, 2: THERE})
    summary = summarise([row])
    assert (summary["found_in_3_s"], summary["found"]) == (0.0, 0.5)
    assert (summary["median_delay_s"], summary["alarms_per_found_lesion"]) == (5.0, 2.0)
    assert summary["false_per_minute"] is None


def test_a_part_of_a_lesion_is_a_hit() -> None:
    """A small finding inside, or boxes with an IoU of 0.3, hit; a neighbour does not."""
    assert is_hit((5, 5, 8, 8), HERE)
    assert is_hit((0, 0, 20, 66), HERE)
    assert not is_hit((0, 0, 20, 67), HERE)
    assert not is_hit((20, 0, 40, 20), HERE)


def test_no_false_alarm_has_the_bound_of_a_poisson_count() -> None:
    """With the upper bound as the true rate, no event has a chance of 2.5%."""
    quiet = [VideoScores(f"v{i}", f"c{i}", 90.0, 60.0) for i in range(5)]
    interval = rate_interval(quiet)
    assert interval is not None
    assert interval[0] == 0
    assert poisson.pmf(0, interval[1] * 5) == pytest.approx(0.025)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 9)), min_size=1, max_size=8))
def test_interval_draws_whole_clusters(rows: list[tuple[int, int]]) -> None:
    """Videos of one cluster have no interval; else it holds the rate and lies in the extremes."""
    videos = [
        VideoScores("v", f"c{i}", 60.0 * m, 60.0 * m, [0.0] * n) for i, (n, m) in enumerate(rows)
    ]
    rate = summarise(videos)["false_per_minute"]
    interval = rate_interval(videos)
    assert interval is not None
    assert interval[0] <= rate + 1e-9
    assert rate <= interval[1] + 1e-9 or len(rows) > 1
    if rate:
        together = rate_interval([replace(video, cluster="one") for video in videos])
        assert together == pytest.approx([rate, rate])
        rates = [n / m for n, m in rows]
        assert min(rates) - 1e-9 <= interval[0] <= interval[1] <= max(rates) + 1e-9


def test_sights_are_the_boxes_of_the_labels() -> None:
    """Each label has the box of its pixels; a label below 0.05% of the image is not in view."""
    labels = np.zeros((100, 100), np.uint8)
    labels[10:20, 30:50] = 1
    labels[60:63, 5:8] = 4
    labels[99, 95:99] = 9
    assert sights(labels) == {1: (30, 10, 50, 20), 4: (5, 60, 8, 63)}


def test_a_panned_view_moves_smoothly_and_keeps_the_surround() -> None:
    """The surround stays to the byte, the content moves a little from image to image, and each
    seed gives its own way."""
    image = SceneSource(SceneSettings(width=320, height=240)).frame(30).image
    views = list(pan(image, 12, np.random.default_rng(1)))
    again = list(pan(image, 12, np.random.default_rng(1)))
    dark = image.max(axis=2) < 3
    dark[20:-20, 60:-60] = False
    assert dark.sum() > 1000
    assert all((one == two).all() for one, two in zip(views, again, strict=True))
    assert all((view[dark] == image[dark]).all() for view in views)
    steps = [np.abs(a.astype(int) - b).mean() for a, b in pairwise(views)]
    far = np.abs(views[0].astype(int) - views[-1]).mean()
    assert 0 < max(steps) < far


def test_scenes_have_seeds_of_their_own() -> None:
    """Five minutes are scenes of two, two and one, each of another colon."""
    videos = scene_videos(5.0, polyps=False)
    assert [video.frame_count for video in videos] == [3000, 3000, 1500]
    assert len({video.cluster for video in videos}) == 3


def test_alarms_are_those_of_live() -> None:
    """Each operating point has the tracks and findings of an analysis with its thresholds that
    does not look ahead."""
    settings = load_settings(None, ["analysis.look_ahead=false", "temporal.hold_s=0.08"])
    bundle = read_bundle(bundle_folder(settings))
    source = SceneSource(SceneSettings(width=320, height=240, frame_count=40, seed=2))

    def play() -> Iterator[tuple[Frame, Sights]]:
        for frame in source.frames():
            yield frame, sights(frame.truth)  # type: ignore[arg-type]

    video = Video("scene", "scene", 40, play)
    with closing(Segmenter.open(bundle, settings)) as segmenter:
        analysis = FrameAnalysis(segmenter, settings, related=True)

        def make() -> list[Interpreter]:
            fit = segmenter.preprocess.fit
            return [Interpreter(segmenter.postprocess, fit, settings.temporal)]

        scores = score_video(video, analysis, make)[0]
        expected = VideoScores("scene", "scene")
        plain = FrameAnalysis(segmenter, settings, related=True)
        for frame, judgement in plain.judge_all(source.frames()):
            expected.add(frame, judgement, sights(frame.truth))  # type: ignore[arg-type]
    assert scores == expected
    assert scores.seconds == pytest.approx(1.6)


def test_points_are_the_positions_of_the_dial() -> None:
    """They get more sensitive, one log-odd each; a threshold of the settings is one more point."""
    settings = load_settings(None, ["postprocess.sensitivity=4"])
    bundle = read_bundle(bundle_folder(settings))
    points = operating_points(bundle, settings)
    assert [point.position for point in points] == [1, 2, 3, 4, 5]
    assert [point.own for point in points] == [False, False, False, True, False]
    assert points[2].thresholds == bundle.manifest.thresholds.model_dump()
    highs = np.array([point.thresholds["high"] for point in points])
    odds = np.log(highs / (1 - highs))
    np.testing.assert_allclose(np.diff(odds), -1, atol=0.01)
    assert all(point.thresholds["low"] <= point.thresholds["high"] for point in points)
    own = operating_points(bundle, load_settings(None, ["postprocess.high=0.77"]))[-1]
    assert (own.position, own.own, own.thresholds["high"]) == (0, True, 0.77)


def test_command_scores_all_rows(tmp_path: Path) -> None:
    """The JSON has the three rows at the same points; images of one group are one cluster."""
    folder = tmp_path / "frames"
    (folder / "images").mkdir(parents=True)
    (tmp_path / "splits").mkdir()
    for number, stem in enumerate("ab"):
        image = SceneSource(SceneSettings(width=200, height=160, polyps=False)).frame(9 * number)
        cv2.imwrite(str(folder / "images" / f"{stem}.jpg"), image.image)
    (folder / "index.csv").write_text("stem,source,group\na,here,g\nb,here,g\n")
    (tmp_path / "splits" / "negatives_score.txt").write_text("frames/a\nframes/b\n")
    file = tmp_path / "r.json"
    result = run("--video", "--data", tmp_path, "--minutes", 0.005, "--json", file)
    assert result.exit_code == 0, result.output
    rows = json.loads(file.read_text())["rows"]
    assert list(rows) == ["scene", "panned", "polyps"]
    highs = [[(point["high"], point["own"]) for point in row] for row in rows.values()]
    assert highs[0] == highs[1] == highs[2]
    assert [video["cluster"] for video in rows["panned"][0]["videos"]] == ["frames/g"]
    assert rows["scene"][0]["minutes"] == pytest.approx(0.005, abs=0.001)
    assert "threshold" in result.output
    records = record_alarms(json.loads(file.read_text())["rows"])
    assert list(records) == [1, 2, 3, 4, 5]
    assert set(records[1].false_per_minute) >= {"scene", "panned"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--minutes", "3"], "--minutes needs --video"),
        (["--video", "--data", "d", "--split", "val"], "give only --data and --minutes"),
        (["--video", "--images", "d"], "give --images with"),
        (["--video", "--set", "analysis.temporal=false"], "counts alarms"),
    ],
)
def test_options_of_video(arguments: list[str], message: str) -> None:
    """Options that --video does not take raise an error."""
    result = CliRunner().invoke(command, arguments)
    assert isinstance(result.exception, UsageError)
    assert message in str(result.exception)


def test_missing_list_is_named_before_any_frame(tmp_path: Path) -> None:
    """A data folder without lesion-free images raises an error."""
    with pytest.raises(DatasetError, match="negatives_score"):
        run("--video", "--data", tmp_path)
    (tmp_path / "splits").mkdir()
    (tmp_path / "splits" / "negatives_score.txt").write_text("folder/absent\n")
    with pytest.raises(DatasetError, match=r"absent\.jpg, which is missing"):
        run("--video", "--data", tmp_path)


def test_the_shortest_scene_has_a_frame() -> None:
    """A length below a frame is one frame."""
    assert [video.frame_count for video in scene_videos(1e-9, polyps=True)] == [1]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(command, [str(a) for a in arguments], catch_exceptions=False)
