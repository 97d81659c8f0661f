"""Imports data sets of other tools into a data folder, and exports its lists to them.

    FOLDER/NAME/images     as they came
    FOLDER/NAME/masks      PNG, 0 and 255
    FOLDER/NAME/tracks     16-bit PNG, the number of the track + 1
    FOLDER/NAME/index.csv  stem, group, source, tracks
    FOLDER/splits/NAME.txt

`tracks` is there only for objects with a track.
"""

import csv
import shutil
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
from numpy.typing import NDArray

from qlumen.datasets.formats.coco import read_coco, write_coco
from qlumen.datasets.formats.cvat import read_cvat, write_cvat
from qlumen.datasets.formats.files import read_png, write_png
from qlumen.datasets.formats.folders import (
    copy_images,
    read_masks,
    read_nnunet,
    write_masks,
    write_nnunet,
)
from qlumen.datasets.formats.label_studio import read_label_studio, write_label_studio
from qlumen.datasets.formats.shapes import Item, Sample
from qlumen.datasets.formats.yolo import read_yolo, write_yolo
from qlumen.datasets.groups import INDEX, read_origins
from qlumen.datasets.pairs import read_bgr, read_pair
from qlumen.datasets.splits import SPLITS, find_images, is_lesion_free, pair_of, split_names
from qlumen.errors import DatasetError, UsageError
from qlumen.realtime.pixels.arrays import Mask
from qlumen.system.files import replacing

READERS = {"coco": read_coco, "cvat": read_cvat, "label-studio": read_label_studio,
           "masks": read_masks, "nnunet": read_nnunet, "yolo": read_yolo}  # fmt: skip
WRITERS = {"coco": write_coco, "cvat": write_cvat, "label-studio": write_label_studio,
           "masks": write_masks, "nnunet": write_nnunet, "yolo": write_yolo}  # fmt: skip
IMAGE_FOLDERS = ("images", "imagesTr")
TRACKS = "tracks"
MOST_TRACK = 65_534
"""Largest number of a track in 16 bits."""
COLUMNS = ("stem", "group", "source", TRACKS)


@dataclass(frozen=True, slots=True)
class Imported:
    """Counts what was imported: images, those without a lesion, and objects."""

    images: int
    empty: int
    objects: int


def import_dataset(
    source: Path,
    form: str,
    output: Path,
    name: str,
    images: Path | None = None,
    classes: Sequence[str] = (),
) -> Imported:
    """Write `output/name` and its list from annotations of another tool, whole or not at all.

    Args:
        form: a key of `READERS`
        images: folder of the images; default: `images` or `imagesTr` in the folder of the source,
            or that folder
        classes: the classes that are lesions; default: the only one there is

    Raises:
        UsageError: the name is taken or no name of a folder. DatasetError: the source cannot be
            read as `form`, an image is missing or of another size, or a class is.
    """
    folder, listing = output / name, output / SPLITS / f"{name}.txt"
    plain = name == Path(name).name != "" and name.isprintable() and name == name.strip()
    if not plain or name.startswith(".") or name == SPLITS:
        raise UsageError(f"--name {name!r} is no name of a folder")
    for path in (folder, listing):
        if path.exists():
            raise UsageError(f"{path} exists; choose another --name")
    base = source if source.is_dir() else source.parent
    images = images or next((base / i for i in IMAGE_FOLDERS if (base / i).is_dir()), base)
    samples = READERS[form](source, images)
    chosen = _choose(samples, classes)
    files = _match(samples, images)
    with replacing(listing) as list_part, replacing(folder) as part:
        for inner in ("images", "masks"):
            (part / inner).mkdir(parents=True)
        rows = [
            _import_one(part, name, sample, file, chosen)
            for sample, file in zip(samples, files, strict=True)
        ]
        with (part / INDEX).open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            writer.writerows(row[:4] for row in rows)
        listing.parent.mkdir(exist_ok=True)
        list_part.write_text("".join(f"{name}/{row[0]}\n" for row in rows), encoding="utf-8")
    return Imported(len(rows), sum(row[4] == 0 for row in rows), sum(row[4] for row in rows))


def export_dataset(root: Path, split: str, form: str, output: Path) -> int:
    """Write a list of a data folder for another tool, whole or not at all; return its length.

    Raises:
        UsageError: the output exists. DatasetError: the list or one of its files is missing, or a
            mask cannot be read.
    """
    if output.exists():
        raise UsageError(f"{output} exists; choose another --output")
    names = list(dict.fromkeys(split_names(root, split)))
    with replacing(output) as part:
        part.mkdir(parents=True)
        items: Iterator[Item] = _read_items(root, split, names)
        WRITERS[form](items if form == "nnunet" else copy_images(items, part), part)
    return len(names)


def _choose(samples: Sequence[Sample], classes: Sequence[str]) -> set[str]:
    labels = sorted({shape.label for sample in samples for shape in sample.shapes})
    shown = ", ".join(" ".join(one[:40].split()) for one in labels[:10]) or "none"
    if missing := sorted(set(classes) - set(labels)):
        raise DatasetError(f"no class {missing[0]}; there are: {shown}")
    if not classes and len(labels) > 1:
        raise UsageError(f"choose with --class which of these are lesions: {shown}")
    return set(classes or labels)


def _match(samples: Sequence[Sample], images: Path) -> list[Path]:
    """Return the file of each sample: of the same name, and of several in the same folder."""
    named = defaultdict(list)
    for file in find_images(images):
        named[file.name].append(file)
    files = []
    for sample in samples:
        path = PurePosixPath(sample.file.replace("\\", "/"))
        found = named.get(path.name, [])
        if len(found) > 1:
            found = [one for one in found if one.parts[-len(path.parts) :] == path.parts]
        if len(found) != 1:
            raise DatasetError(f"{images} holds {len(found)} images {sample.file[:100]!r}, not one")
        files.append(found[0])
    stems = (sample.stem or file.stem for sample, file in zip(samples, files, strict=True))
    twice = Counter(stems).most_common(1)
    if not files or twice[0][1] > 1:
        raise DatasetError(f"two images are {twice[0][0]!r}" if files else f"no image in {images}")
    return files


def _import_one(
    part: Path, name: str, sample: Sample, file: Path, chosen: set[str]
) -> tuple[str, str, str, str, int]:
    """Write an image and its mask; return its row of the index and the number of its objects."""
    stem = sample.stem or file.stem
    if stem != stem.strip() or not stem.isprintable():
        raise DatasetError(f"the name {stem!r} holds a letter that a list cannot hold")
    height, width = read_bgr(file).shape[:2]
    if sample.size not in (None, (width, height)):
        raise DatasetError(f"{file} is {width}x{height}, its annotation is for {sample.size}")
    mask, tracks = np.zeros((height, width), np.uint8), np.zeros((height, width), np.uint16)
    shapes = [shape for shape in sample.shapes if shape.label in chosen]
    for shape in shapes:
        try:
            with np.errstate(all="ignore"):  # what is no number is refused when it is drawn
                drawn = shape.draw(width, height)
            if shape.track is not None and not 0 <= shape.track <= MOST_TRACK:
                raise ValueError(f"track {shape.track} is not in 0 to {MOST_TRACK}")
        except (ValueError, OSError) as error:
            raise DatasetError(f"{shape.place}: {error}") from None
        mask |= drawn
        if shape.track is not None:
            tracks[drawn > 0] = shape.track + 1
    shutil.copyfile(file, part / "images" / f"{stem}{file.suffix.lower()}")
    write_png(part / "masks" / f"{stem}.png", mask * np.uint8(255))
    if tracks.any():
        (part / TRACKS).mkdir(exist_ok=True)
        write_png(part / TRACKS / f"{stem}.png", tracks)
    numbers = " ".join(str(number - 1) for number in np.unique(tracks[tracks > 0]))
    return stem, sample.group, name, numbers, len(shapes) if mask.any() else 0


def _read_items(root: Path, split: str, names: Sequence[str]) -> Iterator[Item]:
    """Yield each image of a list; a stem that occurs twice gets its folder's name."""
    stems = Counter(name.partition("/")[2] for name in names)
    for origin in read_origins(root, names):
        folder, _, stem = origin.name.partition("/")
        pair = pair_of(root, origin.name)
        if is_lesion_free(split):
            height, width = read_bgr(pair.image).shape[:2]
            mask = np.zeros((height, width), np.uint8)
        else:
            mask = read_pair(pair)[1]
        tracks = read_png(root / folder / TRACKS / f"{stem}.png")
        group = "" if origin.cluster == origin.name else origin.cluster.partition("/")[2]
        file = f"{folder}_{stem}" if stems[stem] > 1 else stem
        size = mask.shape[1], mask.shape[0]
        yield Item(f"{file}{pair.image.suffix}", pair.image, size, group, _part(mask, tracks))


def _part(mask: Mask, tracks: NDArray[np.uint16] | None) -> list[tuple[Mask, int | None]]:
    """Part a mask by track, and what has no track by what is connected."""
    objects: list[tuple[Mask, int | None]] = []
    rest = mask
    if tracks is not None and tracks.shape == mask.shape:
        rest = mask & (tracks == 0)
        for number in np.unique(tracks[(mask & (tracks > 0)) > 0]):
            objects.append((mask & (tracks == number), int(number) - 1))
    count, labels = cv2.connectedComponents(rest, connectivity=8)
    return objects + [((labels == i).astype(np.uint8), None) for i in range(1, count)]
