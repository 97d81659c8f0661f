import json
import shutil
from contextlib import suppress
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qlumen.errors import ConfigError, QlumenError, ReviewError, SinkError
from qlumen.networks.bundle import Thresholds
from qlumen.realtime.config.settings import load_settings
from qlumen.realtime.frames import Condition
from qlumen.realtime.replay.outputs import Outputs
from qlumen.realtime.replay.replay import replay
from qlumen.realtime.review.findings import Findings, find, share_of_field
from qlumen.realtime.review.process import process
from qlumen.realtime.review.records import FRAMES as FRAMES_FILE
from qlumen.realtime.review.records import MANIFEST, MAPS
from qlumen.realtime.review.review import Review

from support.reviews import (
    BLIP,
    DARK,
    FRAMES,
    SEEN,
    SIDE,
    SIZE,
    make_recording,
    make_review,
    usual_map,
)

SCENE = ["scene.width=320", "scene.height=240", "scene.frames=10", "scene.seed=3"]
EAGER = Thresholds(low=0.1, high=0.12, min_area_fraction=0.0005)
HOLD_FRAMES = 3


@pytest.fixture(scope="module")
def review_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a review of maps whose truth is known."""
    folder = tmp_path_factory.mktemp("made")
    return make_review(folder / "review", make_recording(folder / "clip.mp4"))


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Review the scene with the shipped network."""
    folder = tmp_path_factory.mktemp("scene") / "review"
    process("scene", folder, load_settings(None, SCENE))
    return folder


def replay_masks(folder: Path, thresholds: Thresholds) -> list[np.ndarray]:
    """Replay the same scene with the network at these thresholds and return its masks."""
    chosen = [f"postprocess.{key}={value}" for key, value in thresholds.model_dump().items()]
    replay("scene", Outputs(masks=folder), load_settings(None, [*SCENE, *chosen]))
    return [cv2.imread(str(file), 0) // 255 for file in sorted(folder.iterdir())]


def test_findings_without_the_network_are_those_of_a_replay(scene: Path, tmp_path: Path) -> None:
    """At other thresholds than the review's, masks are those of a replay, bit by bit."""
    wanted = replay_masks(tmp_path / "masks", EAGER)
    with Review(scene) as review:
        found = find(review, EAGER)
        assert len(found.frames) == len(wanted)
        for place, mask in enumerate(wanted):
            assert np.array_equal(found.mask(place, review.frames[place].size), mask)
    assert any(mask.any() for mask in wanted), "the scene has to hold findings"


@pytest.mark.data
def test_findings_of_a_real_clip_are_those_of_a_replay(data_dir: Path, tmp_path: Path) -> None:
    """On the first frames of a real clip, findings from stored maps are those of a replay."""
    clip, settings = data_dir / "clips" / "ldpolypvideo_test101.mp4", load_settings()
    events, short = tmp_path / "events.jsonl", tmp_path / "short.mkv"
    _first_packets(clip, short, 75)
    replay(str(short), Outputs(events=events), settings)
    process(str(short), tmp_path / "review", settings)
    with Review(tmp_path / "review") as review:
        found = find(review)
    replayed = [json.loads(line)["findings"] for line in events.read_text().splitlines()]
    assert sum(map(len, replayed)) >= 5
    for ours, theirs in zip(found.frames, replayed, strict=True):
        assert [list(one.box) for one in ours] == [one["box"] for one in theirs]
        for one, other in zip(ours, theirs, strict=True):
            assert one.area_px == other["area_px"]
            assert one.contour.tolist() == other["contour"]
            assert one.score == pytest.approx(other["score"], abs=1e-4)


def _first_packets(clip: Path, target: Path, count: int) -> None:
    with av.open(str(clip)) as source, av.open(str(target), "w") as container:
        stream = container.add_stream_from_template(source.streams.video[0])
        for index, packet in enumerate(source.demux(video=0)):
            if index < count and packet.dts is not None:
                packet.stream = stream
                container.mux(packet)


def list_shown(found: Findings) -> list[int]:
    return [place for place, frame in enumerate(found.frames) if frame]


def test_tracks_are_those_that_were_put_in(review_folder: Path) -> None:
    """The disc is one lesion, shown in its frames until the cut to the dark.

    The blip and the dark frames are no lesions.
    """
    with Review(review_folder) as review:
        found = find(review)
        (track,) = found.tracks
        assert [one.place for one in track.sightings] == list(SEEN)
        assert found.brief == 0 if BLIP in DARK else 1
        assert list_shown(found) == [*SEEN]
        area = np.pi * 7**2 * (SIZE[0] / SIDE) * (SIZE[1] / SIDE)
        assert track.best.finding.area_px == pytest.approx(area, rel=0.05)
        record = review.frames[track.best.place]
        share = share_of_field(track.best.finding, record)
        assert share == pytest.approx(area / record.field_px, rel=0.05)


def test_dark_frames_are_recognised(review_folder: Path) -> None:
    """The condition changes with the third dark frame, because the hold is three frames."""
    with Review(review_folder) as review:
        dark = [i for i, f in enumerate(review.frames) if f.condition is Condition.UNDEREXPOSED]
    assert dark == list(range(DARK[0] + HOLD_FRAMES - 1, FRAMES))


def test_a_higher_threshold_finds_less_without_the_network(review_folder: Path) -> None:
    """A higher threshold leaves out what does not reach it; only the folder is read."""
    with Review(review_folder) as review:
        none = find(review, Thresholds(low=0.5, high=0.99, min_area_fraction=0.0005))
        late = find(review, Thresholds(low=0.5, high=0.944, min_area_fraction=0.0005))
        brief = find(review, Thresholds(low=0.5, high=0.962, min_area_fraction=0.0005))
    assert not any(none.frames)
    reached = [index for index in SEEN if usual_map(index).max() >= 0.944]
    assert reached[0] > SEEN[0]
    assert list_shown(late) == [*reached]
    assert not any(brief.frames)
    assert brief.brief == 1


def test_contradicting_thresholds_are_refused(review_folder: Path) -> None:
    """A low threshold above the high one is an error of the settings, merged as in `report`."""
    with Review(review_folder) as review:
        given = review.manifest.thresholds.model_copy(update={"low": 0.9, "high": 0.5})
        with pytest.raises(ConfigError, match=r"low 0\.9 and high 0\.5"):
            find(review, given)


def test_images_are_the_recordings_own(review_folder: Path, tmp_path: Path) -> None:
    """A stored image shows its frame, reduced to the longest side of the setting."""
    recording = make_recording(tmp_path / "clip.mp4")
    small = make_review(tmp_path / "r", recording, overrides=["review.picture_px=160"])
    with Review(review_folder) as whole, Review(small) as reduced:
        for place in (0, 7):
            image, less = whole.image(place), reduced.image(place)
            assert image.shape == (SIZE[1], SIZE[0], 3)
            assert less.shape == (120, 160, 3)
            wanted = cv2.resize(image, (160, 120), interpolation=cv2.INTER_AREA)
            assert cv2.absdiff(less, wanted).mean() < 3


def test_single_images_and_folders_of_stills(tmp_path: Path) -> None:
    """In stills each finding is its own track, whatever the sizes and the order."""
    stills = tmp_path / "stills"
    stills.mkdir()
    rng = np.random.default_rng(0)
    for name, (width, height) in (("a.png", (60, 40)), ("b.png", (90, 90))):
        cv2.imwrite(str(stills / name), rng.integers(60, 200, (height, width, 3), np.uint8))
    folder = make_review(tmp_path / "r", stills, maps=lambda index: usual_map(5))
    with Review(folder) as review:
        found = find(review)
        assert [len(frame) for frame in found.frames] == [1, 1]
        assert [track.best.place for track in found.tracks] == [0, 1]
        assert [record.name for record in review.frames] == ["a.png", "b.png"]
    alone = make_review(tmp_path / "r2", stills / "b.png", maps=lambda index: usual_map(5))
    with Review(alone) as review:
        assert len(find(review).tracks) == 1


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    """A review is never mixed with other files, nor with an older review."""
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(SinkError, match=r"holds notes\.txt"):
        process("scene", tmp_path, load_settings(None, SCENE))
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (MANIFEST, None, "no complete review in"),
        (MANIFEST, b"{}", "is not a review"),
        (MANIFEST, b'{"format": 99}', "has format 99"),
        (MANIFEST, b'{"format": 2}', "make the review again"),
        (FRAMES_FILE, b"", "has no frame"),
        (FRAMES_FILE, b'{"index": 0}\n', "make the review again"),
        (MAPS, None, "make the review again"),
        (MAPS, b"", "cut short"),
    ],
)
def test_damaged_reviews_are_refused(
    review_folder: Path, tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    """The error names a missing, cut or invalid file in one line."""
    folder = shutil.copytree(review_folder, tmp_path / "r")
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content)
    with pytest.raises(ReviewError, match=message) as error, Review(folder) as review:
        find(review)
    assert "\n" not in str(error.value)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_fuzzed_reviews_end_in_a_clear_error_or_in_findings(
    review_folder: Path, tmp_path: Path, data: st.DataObject
) -> None:
    """Changed bytes in a review's text files never raise another kind of error."""
    folder = tmp_path / "fuzzed"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(review_folder, folder)
    path = folder / data.draw(st.sampled_from([MANIFEST, FRAMES_FILE]))
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    with suppress(QlumenError), Review(folder) as review:
        find(review)
