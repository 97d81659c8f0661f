"""Reads clips with true masks: recordings, ClinicDB's sequences, panned polyp-free images.

The data lie in `../shared/data` beside the project, or in `QLUMEN_DATA`.
"""

import csv
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np

from qlumen.realtime.pixels.arrays import Box, Image, Mask
from qlumen.realtime.sources.ffmpeg.container import ContainerSource
from qlumen.realtime.sources.images import read_image

RECORDED_FPS = 25
SEQUENCE_FPS = 5
"""ClinicDB does not give the time between its frames. From one frame to the next the scene moves
three to six times as far as in the recordings."""
ATLAS = "atlas, 2 clips"
LDPOLYP = "LDPolypVideo, 1 clip"
SEQUENCES_SEEN = "ClinicDB, 26 sequences trained on"
SEQUENCES_OF_VAL = "ClinicDB, 3 sequences of `val`, trained on"
NEGATIVES = "polyp-free pictures, panned"

FULL_FRAME_S, CROP_S = 3, 2
CROP_EVERY = 10
LONGEST_GAP = 5
"""Largest distance of two annotated frames between which boxes are interpolated."""
VIEW_SHARE = 0.75
"""Share of the image that a panned clip shows at its widest."""
ZOOM = 0.12
NOISE_SIGMA = 2.0


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """Holds the images of a clip and their true masks.

    Attributes:
        group: line of the table that the clip belongs to.
        images: `(H, W, 3) uint8` BGR, of one size.
        truth: true mask of each image, or None where it is not annotated.
        followed: like `truth`, with gaps of up to 5 frames filled by interpolation.
    """

    name: str
    group: str
    fps: int
    images: list[Image]
    truth: list[Mask | None]
    followed: list[Mask | None]

    @property
    def seconds(self) -> float:
        return len(self.truth) / self.fps


def data_folder() -> Path:
    root = Path(__file__).resolve().parents[2]
    folder = Path(os.environ.get("QLUMEN_DATA") or root.parent / "shared" / "data")
    if not folder.is_dir():
        raise SystemExit(f"no real data in {folder}; set QLUMEN_DATA")
    return folder


def all_clips(folder: Path) -> Iterator[Clip]:
    """Yield one clip after the other: all images together take gigabytes."""
    yield from real_clips(folder)
    yield from sequences(folder)
    yield from negatives(folder)


def real_clips(folder: Path) -> Iterator[Clip]:
    for path in sorted((folder / "clips").glob("atlas_*.mpg")):
        images = _frames(path)
        unknown: list[Mask | None] = [None] * len(images)
        yield Clip(path.stem, ATLAS, RECORDED_FPS, images, unknown, unknown)
    for path in sorted((folder / "clips").glob("ldpolypvideo_*.mp4")):
        images = _frames(path)
        boxes = json.loads(path.with_suffix(".boxes.json").read_text(encoding="utf-8"))["boxes"]
        known = {int(index): [tuple(box) for box in found] for index, found in boxes.items()}
        size = images[0].shape[:2]
        truth = [_boxes_mask(known[i], size) if i in known else None for i in range(len(images))]
        between = _interpolate(known, len(images))
        followed = [None if one is None else _boxes_mask(one, size) for one in between]
        yield Clip(path.stem, LDPOLYP, RECORDED_FPS, images, truth, followed)


def sequences(folder: Path) -> Iterator[Clip]:
    """Yield ClinicDB's frames in their order, evenly spaced in time."""
    base = folder / "cvc-clinicdb"
    held_out = set((folder / "splits" / "val.txt").read_text(encoding="utf-8").split())
    listing = (folder / "splits" / "clinicdb_sequences.csv").read_text(encoding="utf-8")
    for row in csv.DictReader(listing.splitlines()):
        numbers = range(int(row["first_frame"]), int(row["last_frame"]) + 1)
        unseen = any(f"cvc-clinicdb/{number}" in held_out for number in numbers)
        images = [read_image(base / "images" / f"{number}.jpg") for number in numbers]
        truth: list[Mask | None] = [_mask(base / "masks" / f"{n}.png") for n in numbers]
        group = SEQUENCES_OF_VAL if unseen else SEQUENCES_SEEN
        yield Clip(f"clinicdb_{row['sequence']}", group, SEQUENCE_FPS, images, truth, truth)


def negatives(folder: Path) -> Iterator[Clip]:
    """Yield all full frames and each tenth crop, slowly panned and zoomed, with some noise."""
    full = sorted((folder / "negatives" / "colitis_fullframe").glob("*.jpg"))
    crops = sorted((folder / "negatives" / "mucosa_crops_256").glob("*.jpg"))[::CROP_EVERY]
    lengths = [(path, FULL_FRAME_S) for path in full] + [(path, CROP_S) for path in crops]
    for seed, (path, seconds) in enumerate(lengths):
        images = pan(read_image(path), seconds * RECORDED_FPS, np.random.default_rng(seed))
        nothing: list[Mask | None] = [np.zeros(images[0].shape[:2], np.uint8)] * len(images)
        yield Clip(path.stem, NEGATIVES, RECORDED_FPS, images, nothing, nothing)


def pan(image: Image, count: int, rng: np.random.Generator) -> list[Image]:
    """Make images of the same size from a window that moves across and zooms in and out."""
    height, width = image.shape[:2]
    angle = rng.uniform(0, 2 * np.pi)
    noise = rng.normal(0, NOISE_SIGMA, image.shape).astype(np.float32)
    reach = (1 - VIEW_SHARE) / 2 * np.array([width, height]) * [np.cos(angle), np.sin(angle)]
    made = []
    for phase in np.linspace(-1, 1, count):
        scale = VIEW_SHARE * (1 - ZOOM * np.cos(phase * np.pi / 2))
        middle = np.array([width, height]) / 2 + phase * reach
        corner = middle - scale * np.array([width, height]) / 2
        matrix = np.array([[scale, 0, corner[0]], [0, scale, corner[1]]])
        view = cv2.warpAffine(
            image, matrix, (width, height),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REFLECT_101,
        )  # fmt: skip
        noisy = view + np.roll(noise, rng.integers(0, (height, width)), (0, 1))
        made.append(np.clip(noisy + 0.5, 0, 255).astype(np.uint8))
    return made


def _frames(path: Path) -> list[Image]:
    with ContainerSource(str(path)) as source:
        return [frame.image for frame in source.frames()]


def _mask(path: Path) -> Mask:
    return (read_image(path)[..., 0] >= 128).astype(np.uint8)


def _boxes_mask(boxes: list[Box], size: tuple[int, ...]) -> Mask:
    mask = np.zeros(size, np.uint8)
    for x0, y0, x1, y1 in boxes:
        mask[y0:y1, x0:x1] = 1
    return mask


def _interpolate(known: dict[int, list[Box]], count: int) -> list[list[Box] | None]:
    """Interpolate boxes between frames up to 5 apart that have one box each."""
    followed = [known.get(index) for index in range(count)]
    frames = sorted(known)
    for first, last in pairwise(frames):
        if last - first > LONGEST_GAP or len(known[first]) != 1 or len(known[last]) != 1:
            continue
        for index in range(first + 1, last):
            share = (index - first) / (last - first)
            a, b = np.array(known[first][0]), np.array(known[last][0])
            x0, y0, x1, y1 = np.rint(a + share * (b - a)).astype(int).tolist()
            followed[index] = [(x0, y0, x1, y1)]
    return followed
