"""The names of `import qlumen`, against the commands that do the same."""

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask

import qlumen

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"(?:^    .*\n(?:\n(?=    ))?)+", re.MULTILINE)
HEAVY = ("torch", "gradio", "openvino", "av", "cv2", "numpy", "numba")
SMALL = {"scene.width": 320, "scene.height": 240, "scene.frames": 30, "scene.seed": 2}


@pytest.fixture(scope="module")
def model() -> Iterator[qlumen.Model]:
    with qlumen.load(settings=SMALL) as opened:
        yield opened


@pytest.fixture(scope="module")
def frames(model: qlumen.Model) -> list[qlumen.Result]:
    return list(qlumen.replay("scene", model))


def run_qlumen(*arguments: object) -> None:
    subprocess.run(
        [Path(sys.executable).with_name("qlumen"), *map(str, arguments)], check=True,
        capture_output=True, timeout=240,
    )  # fmt: skip


def small() -> list[str]:
    return [part for key, value in SMALL.items() for part in ("--set", f"{key}={value}")]


def test_the_import_loads_no_library() -> None:
    """A program that only imports qlumen pays for none of the libraries."""
    code = f"import qlumen, sys; print([m for m in {HEAVY} if m in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


def test_each_name_exists_and_no_other_is_promised() -> None:
    """There are at most twelve names; the page and the docstring list the same."""
    assert len(qlumen.__all__) <= 12
    assert all(getattr(qlumen, name).__module__.startswith("qlumen") for name in qlumen.__all__)
    page = (ROOT / "docs/python.md").read_text("utf-8").split("## One image")[0]
    assert set(re.findall(r"`(\w+)`", page)) == set(qlumen.__all__)
    assert set(re.findall(r"`(\w+)`", qlumen.__doc__ or "")) == set(qlumen.__all__)
    with pytest.raises(AttributeError, match="no attribute 'predict'"):
        qlumen.predict  # noqa: B018


def test_a_recording_has_the_findings_of_replay(
    frames: list[qlumen.Result], tmp_path: Path
) -> None:
    """Each frame has the findings, tracks and condition that `qlumen replay` writes."""
    file = tmp_path / "e.jsonl"
    run_qlumen("replay", "scene", "--events", file, *small())
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    written = [line for line in lines if "findings" in line]
    assert len(frames) == len(written) == SMALL["scene.frames"]
    assert any(frame.findings for frame in frames)
    for frame, line in zip(frames, written, strict=True):
        assert [list(one.box) for one in frame.findings] == [one["box"] for one in line["findings"]]
        assert frame.time_s == pytest.approx(line["time_s"])


def test_an_image_has_the_findings_of_a_folder(
    frames: list[qlumen.Result], tmp_path: Path, model: qlumen.Model
) -> None:
    """The order of the channels does not matter if it is told; grey is three equal channels."""
    image = max(frames, key=lambda frame: frame.mask.sum()).image
    cv2.imwrite(str(tmp_path / "a.png"), image)
    (folder,) = qlumen.replay(tmp_path, model)
    for other in (model(image), model(image[..., ::-1], colour="rgb")):
        assert np.array_equal(other.mask, folder.mask)
        assert [one.score for one in other.findings] == [one.score for one in folder.findings]
    assert folder.name == "a.png"
    assert folder.mask.any()
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    assert np.array_equal(model(grey, colour="grey").mask, model(np.dstack([grey] * 3)).mask)


def test_drawing_is_that_of_replay(frames: list[qlumen.Result], tmp_path: Path) -> None:
    """The image equals the snapshot that `qlumen replay` writes of the frame, pixel by pixel."""
    run_qlumen("replay", "scene", "--snapshots", tmp_path, *small())
    files = sorted(tmp_path.glob("*.png"))
    assert len(files) == len(frames)
    for file, frame in zip(files, frames, strict=True):
        assert np.array_equal(cv2.imread(str(file)), qlumen.draw(frame))


def test_a_result_converts(frames: list[qlumen.Result]) -> None:
    """Masks of arrays and of COCO annotations, decoded by pycocotools, make up the mask."""
    frame = next(frame for frame in frames if frame.findings)
    arrays, annotations = frame.to_numpy(), frame.to_coco(image_id=7, first_id=3)
    assert np.array_equal(arrays["masks"].any(axis=0), frame.mask.astype(bool))
    decoded = [coco_mask.decode(one["segmentation"]) for one in annotations]
    assert np.array_equal(np.array(decoded).astype(bool), arrays["masks"])
    assert [one["id"] for one in annotations] == [3 + n for n in range(len(annotations))]
    assert {one["image_id"] for one in annotations} == {7}
    numbers = [track.number for track in frame.tracks if track.alarm]
    assert sorted(arrays["tracks"]) == sorted(one["track_id"] for one in annotations) == numbers
    assert json.loads(json.dumps(annotations)) == annotations
    x0, y0, x1, y1 = arrays["boxes"].T
    assert (arrays["masks"].sum((1, 2)) <= (x1 - x0) * (y1 - y0)).all()
    assert frame.probability is not None
    assert frame.probability.shape == frame.mask.shape


def test_a_result_without_findings_converts(model: qlumen.Model) -> None:
    """Empty arrays keep their shapes."""
    result = model(np.zeros((40, 60, 3), np.uint8))
    arrays = result.to_numpy()
    assert [arrays[name].shape for name in ("boxes", "scores", "masks", "tracks")] == [
        (0, 4), (0,), (0, 40, 60), (0,),
    ]  # fmt: skip
    assert result.to_coco() == []
    assert np.array_equal(qlumen.draw(result), result.image)


def test_supervision_takes_a_result(frames: list[qlumen.Result]) -> None:
    """Its detections have the boxes, masks and numbers, and its annotators draw them."""
    supervision = pytest.importorskip("supervision")
    frame = next(frame for frame in frames if frame.findings)
    detections = frame.to_supervision()
    assert len(detections) == len(frame.findings)
    assert np.array_equal(detections.mask.any(axis=0), frame.mask.astype(bool))
    drawn = supervision.BoxAnnotator().annotate(frame.image.copy(), detections)
    assert not np.array_equal(drawn, frame.image)


@pytest.mark.parametrize(
    ("image", "colour", "message"),
    [
        (np.zeros((4, 4), np.uint8), "bgr", r"is \(4, 4\) uint8; bgr takes \(height, width, 3\)"),
        (np.zeros((4, 4, 3), np.float32), "rgb", "float32; rgb takes"),
        (np.zeros((0, 4, 3), np.uint8), "bgr", "each side 1 or more"),
        (np.zeros((4, 4, 4), np.uint8), "rgb", r"\(4, 4, 4\)"),
        (np.zeros((4, 4, 3), np.uint8), "yuv", "use bgr, rgb or grey"),
        ("frame.png", "bgr", "None str"),
    ],
)
def test_a_wrong_image_is_refused(
    model: qlumen.Model, image: object, colour: str, message: str
) -> None:
    """The message has what came and what is taken."""
    with pytest.raises(qlumen.QlumenError, match=message):
        model(image, colour=colour)  # type: ignore[arg-type]


def test_wrong_input_is_refused_at_once(tmp_path: Path) -> None:
    """No frame has to be asked for."""
    with pytest.raises(qlumen.QlumenError, match="no such file"):
        qlumen.replay(tmp_path / "none.mp4")
    with pytest.raises(qlumen.QlumenError, match=r"engine\.thread"):
        qlumen.load(settings={"engine.thread": 1})
    with pytest.raises(qlumen.QlumenError):
        qlumen.load(tmp_path)
    with pytest.raises(qlumen.QlumenError):
        qlumen.live(tmp_path / "none.mp4")


def test_live_frames_come_in_order_and_end() -> None:
    """A source that ends gives rising indices, each with the state of that moment."""
    settings = SMALL | {"scene.frames": 50}
    with qlumen.load(settings=settings) as opened, qlumen.live("scene", opened) as video:
        seen = list(video)
    numbers = [frame.index for frame in seen]
    assert numbers == sorted(set(numbers))
    assert len(numbers) + video.dropped == settings["scene.frames"]
    assert seen[0].time_s == 0
    assert 0 < seen[-1].time_s < 2.5
    assert all(frame.image.shape == (240, 320, 3) for frame in seen)


def test_frames_that_pass_are_counted() -> None:
    """With the frames that a slow program gets they are all of the source, also after a break."""
    settings = SMALL | {"scene.frames": 40}
    with qlumen.load(settings=settings) as opened, qlumen.live("scene", opened) as video:
        first = next(iter(video))
        seen = [first.index]
        for frame in video:
            assert video.dropped == frame.index - len(seen)
            seen.append(frame.index)
            time.sleep(0.2)
    assert 0 < video.dropped == settings["scene.frames"] - len(seen)
    assert list(video) == []
    assert video.dropped == settings["scene.frames"] - len(seen)


def test_live_video_ends_when_it_is_closed() -> None:
    """A program that leaves the block early ends the session and its threads."""
    code = (
        "import qlumen, threading\n"
        "with qlumen.live('pattern') as video:\n"
        "    print(next(iter(video)).size)\n"
        "print([t.name for t in threading.enumerate() if t is not threading.main_thread()])\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=240, check=True
    )
    size, threads = result.stdout.splitlines()
    assert size == "(1920, 1080)"
    assert not {"api", "display", "engine"} & set(json.loads(threads.replace("'", '"')))


def test_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All examples of the page run one after the other, on a recording and a frame of the scene."""
    monkeypatch.chdir(tmp_path)
    run_qlumen("replay", "scene", "--output", "exam.mp4", *small())
    run_qlumen("replay", "scene", "--snapshots", "frames", *small(), "--limit", 1)
    next(Path("frames").iterdir()).rename("frame.png")
    names: dict[str, object] = {}
    blocks = BLOCK.findall((ROOT / "docs/python.md").read_text("utf-8"))
    assert len(blocks) >= 4
    for block in blocks:
        exec(dedent(block), names)
    assert Path("drawn.png").is_file()


@pytest.mark.parametrize(
    ("script", "arguments", "written"),
    [
        ("batch", ["frames", "o.json"], "o.json"),
        ("own_sink", ["scene", "o.txt", "1"], "o.txt"),
        ("own_model", [str(ROOT / "models/lite0-vqc4"), "exam.mp4"], None),
        ("events", ["exam.mp4", "o.csv"], "o.csv"),
    ],
)
def test_the_examples_run(
    script: str,
    arguments: list[str],
    written: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each script ends well and writes its file."""
    monkeypatch.chdir(tmp_path)
    run_qlumen("replay", "scene", "--output", "exam.mp4", "--snapshots", "frames",
               "--set", "snapshots.every=10", *small())  # fmt: skip
    result = subprocess.run(
        [sys.executable, ROOT / f"examples/{script}.py", *arguments],
        capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert result.stdout
    assert written is None or (tmp_path / written).is_file()


def test_the_notebook_runs() -> None:
    """Its code cells run in order."""
    cells = json.loads((ROOT / "examples/tour.ipynb").read_text("utf-8"))["cells"]
    names: dict[str, object] = {}
    for cell in cells:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), names)
    assert names["shown"]
