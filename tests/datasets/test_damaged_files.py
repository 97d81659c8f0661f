"""Checks that damaged and hostile files end in one clear line and leave nothing behind."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from qlumen.datasets.command import command
from qlumen.datasets.transfer import import_dataset
from qlumen.errors import DatasetError, QlumenError, UsageError

SIZE = {"width": 8, "height": 6}


def coco(segmentation: Any, image: dict[str, Any] | None = None, **fields: Any) -> str:
    one = {"image_id": 1, "category_id": 1, "segmentation": segmentation, **fields}
    images = [{"id": 1, "file_name": "a.png", **SIZE, **(image or {})}]
    categories = [{"id": 1, "name": "polyp"}]
    return json.dumps({"images": images, "categories": categories, "annotations": [one]})


def runs(counts: Any, size: tuple[int, int] = (6, 8)) -> dict[str, Any]:
    return {"size": size, "counts": counts}


def cvat(shape: str, size: str = 'width="8" height="6"') -> str:
    return f'<annotations><image id="0" name="a.png" {size}>{shape}</image></annotations>'


def studio(region: dict[str, Any], times: int = 1) -> str:
    size = {"original_width": 8, "original_height": 6}
    one = {"result": [{"type": "polygonlabels", **size, **region}]}
    return json.dumps([{"data": {"image": "a.png"}, "annotations": [one] * times}])


def brush(stored: list[int]) -> str:
    return studio({"type": "brushlabels", "value": {"rle": stored}})


BOMB = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><annotations>&b;</annotations>'
OUTSIDE = '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><annotations>&a;</annotations>'
TRACK = '<annotations><track id="{}" label="polyp">{}</track></annotations>'
POLYGON = '<polygon frame="{}" outside="0" points="1,1;5,1;5,5"/>'
SQUARE = [1, 1, 5, 1, 5, 5, 1, 5]
YAML = "names: [polyp]\n"
CASES = {
    "not JSON": ("coco", "{'a': 1}", "key must be a string"),
    "deep JSON": ("coco", "[" * 100_000, "recursion limit"),
    "no images": ("coco", '{"categories": [], "annotations": []}', "images: Field required"),
    "not UTF-8": ("coco", b"\xff\xfe{", "not text in UTF-8"),
    "runs too long": ("coco", coco(runs([40, 9])), "annotations.0: run lengths do not fill 8x6"),
    "runs negative": ("coco", coco(runs([50, -2])), "do not fill"),
    "runs end early": ("coco", coco(runs("0oooo")), "end within a number"),
    "runs of no letters": ("coco", coco(runs("\x7f\x80")), "annotations.0"),
    "endless number": ("coco", coco(runs("o" * 10_000)), "a letter that cannot be"),
    "runs of another size": ("coco", coco(runs([10**12], (10**6, 10**6))), "not that of the image"),
    "infinite point": ("coco", coco([[1, 1, 5, 1, 5, 1e999]]), "finite number"),
    "far point": ("coco", coco([[1, 1, 5, 1, 5, 1e9]]), "far outside of 8x6"),
    "odd numbers": ("coco", coco([[1, 1, 5, 1, 5, 5, 2]]), "an x without a y"),
    "long outline": ("coco", coco([[0, 0, 30, 30] * 99_999]), "longer than 4,000,000 px"),
    "box only": ("coco", coco([]), "has no outline"),
    "unknown image": ("coco", coco([SQUARE], image_id=2), "is not in the file"),
    "other size": ("coco", coco([SQUARE], {"width": 9}), "is 8x6, its annotation is for (9, 6)"),
    "path to elsewhere": ("coco", coco([SQUARE], {"file_name": "../x.png"}), "holds 0 images"),
    "large track": ("coco", coco([SQUARE], track_id=70_000), "track 70000 is not in 0 to 65534"),
    "entities": ("cvat", BOMB, "document type or entities"),
    "outer entity": ("cvat", OUTSIDE, "document type or entities"),
    "hidden entity": ("cvat", BOMB.encode("utf-16"), "not text in UTF-8"),
    "cut XML": ("cvat", "<annotations><image", "not XML that can be read"),
    "bad points": ("cvat", cvat('<polygon points="1,1;2"/>'), "shape 0 (polygon): points must be"),
    "nan points": ("cvat", cvat('<polygon points="1,1;nan,2;3,3"/>'), "no number"),
    "box": ("cvat", cvat('<box xtl="1" ytl="1" xbr="3" ybr="3"/>'), "draw a polygon or a mask"),
    "mask outside": ("cvat", cvat('<mask rle="0,9" left="6" top="0" width="3" height="3"/>'),
                     "lies outside of 8x6"),
    "negative mask": ("cvat", cvat('<mask rle="0,4" left="1" top="1" width="-2" height="-2"/>'),
                      "lies outside of 8x6"),
    "size of text": ("cvat", cvat("", 'width="x" height="6"'), "'x' is no whole number"),
    "frame twice": ("cvat", TRACK.format(1, POLYGON.format(0) * 2), "that of another"),
    "no frame": ("cvat", TRACK.format(1, '<polygon points="1,1;2,2;3,1"/>'), "has no frame"),
    "number of 5,000 digits": ("cvat", TRACK.format("9" * 5_000, POLYGON.format(0)), "no whole"),
    "text as point": ("label-studio", studio({"value": {"points": [["a", 1]]}}), "valid number"),
    "two annotations": ("label-studio", studio({}, 2), "has 2 annotations; keep one"),
    "turned": ("label-studio", studio({"image_rotation": 90}), "turn it back"),
    "short brush": ("label-studio", brush([0, 0, 0, 192]),
                    "ends too early"),
    "large brush": ("label-studio", brush([255] * 40),
                    "an image of 8x6 4 a pixel"),
    "brush of no bytes": ("label-studio", brush([256]),
                          "0.result.0"),
    "YAML object": ("yolo", ("!!python/object/apply:os.system [true]", ""), "could not determine"),
    "no names": ("yolo", ("names: 3", ""), "names must be"),
    "box line": ("yolo", (YAML, "0 0.5 0.5 0.2 0.2"), "line 1: 4 numbers are no outline"),
    "no labels": ("yolo", (YAML, None), "with a folder labels beside it"),
    "no such class": ("yolo", (YAML, "4 0 0 1 0 1 1"), "data.yaml has no class 4"),
    "no number": ("yolo", (YAML, "0 0 0 1 0 1 x"), "could not convert string to float"),
    "nan share": ("yolo", (YAML, "0 0 0 1 0 1 nan"), "line 1: a point is no number"),
    "volume": ("nnunet", '{"labels": {"polyp": 1}, "file_ending": ".nii.gz"}', "save as PNG"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_damage_is_named(tmp_path: Path, case: str) -> None:
    """The line names the file and what is wrong, and no folder is left."""
    form, content, message = CASES[case]
    source = write_source(tmp_path, form, content)
    with pytest.raises(DatasetError) as caught:
        import_dataset(source, form, tmp_path / "out", "new")
    line = str(caught.value)
    assert message in line
    assert str(tmp_path) in line
    assert "\n" not in line
    assert len(line) < 400 + len(str(tmp_path))
    assert not list((tmp_path / "out").rglob("*"))


def write_source(root: Path, form: str, content: Any) -> Path:
    folder = root / ("imagesTr" if form == "nnunet" else "images")
    folder.mkdir()
    cv2.imwrite(str(folder / "a.png"), np.zeros((6, 8, 3), np.uint8))
    if form == "yolo":
        (root / "data.yaml").write_text(content[0])
        if content[1] is not None:
            (root / "labels").mkdir()
            (root / "labels/a.txt").write_text(content[1])
        return root
    name = {"cvat": "a.xml", "nnunet": "dataset.json"}.get(form, "a.json")
    (root / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return root if form == "nnunet" else root / name


@pytest.mark.parametrize("name", ["", "..", ".hidden", "a/b", "splits", "line\nbreak"])
def test_names_are_checked(tmp_path: Path, name: str) -> None:
    """A name that is no folder in the data folder is refused."""
    source = write_source(tmp_path, "coco", coco([SQUARE]))
    with pytest.raises(UsageError, match="is no name of a folder"):
        import_dataset(source, "coco", tmp_path / "out", name)


def test_what_exists_stays(tmp_path: Path) -> None:
    """A folder or a list of the name is refused and not changed."""
    source = write_source(tmp_path, "coco", coco([SQUARE]))
    for path in ("out/splits/new.txt", "out/new/mine"):
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).write_text("mine")
        with pytest.raises(UsageError, match="exists; choose another --name"):
            import_dataset(source, "coco", tmp_path / "out", "new")
        assert (tmp_path / path).read_text() == "mine"
        (tmp_path / path).unlink()


def test_a_class_must_be_chosen(tmp_path: Path) -> None:
    """Of several classes one must be chosen, and it must be there."""
    shape = '<polygon label="{}" points="1,1;5,1;5,5"/>'
    text = cvat(shape.format("polyp") + shape.format("glare"))
    source = write_source(tmp_path, "cvat", text)
    with pytest.raises(UsageError, match=r"choose with --class which .*: glare, polyp"):
        import_dataset(source, "cvat", tmp_path / "out", "new")
    with pytest.raises(DatasetError, match="no class ulcer; there are: glare, polyp"):
        import_dataset(source, "cvat", tmp_path / "out", "new", classes=["ulcer"])


def test_commands(tmp_path: Path) -> None:
    """The commands import, export and check, and name what is missing."""
    source = write_source(tmp_path, "coco", coco([SQUARE]))
    data, out = str(tmp_path / "data"), str(tmp_path / "yolo")
    run = CliRunner().invoke
    into = ["--format", "coco", "--output", data]
    done = run(command, ["import", str(source), *into, "--name", "s"])
    assert done.exit_code == 0, done.output
    assert "1 images, 0 without a lesion, 1 objects" in done.output
    done = run(command, ["export", data, "--list", "s", "--format", "yolo", "--output", out])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "yolo/labels/a.txt").read_text().startswith("0 0.125000 0.166667")
    assert run(command, ["check", data, "--json", str(tmp_path / "c.json")]).exit_code == 0
    assert json.loads((tmp_path / "c.json").read_text())["lists"]["s"]["images"] == 1
    again = run(command, ["export", data, "--list", "s", "--format", "yolo", "--output", out])
    assert isinstance(again.exception, QlumenError)
    gone = run(command, ["import", "no", *into, "--name", "t"])
    assert "no file or folder no" in str(gone.exception)
