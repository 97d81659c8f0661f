"""Draws the plots and the worst images of `qlumen evaluate`."""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from qlumen.datasets.pairs import Pair, read_pair
from qlumen.errors import MissingExtraError, SinkError
from qlumen.evaluation.run import still_frame
from qlumen.realtime.analysis.frame_analysis import FrameAnalysis
from qlumen.realtime.pixels.arrays import Image, Mask

COUNT = 16
COLUMNS = 4
TILE_PX = 256
TEXT_PX = 20
TRUTH_BGR = (255, 255, 255)
FOUND_BGR = (0, 255, 0)
TITLE = "lowest Dice first; white: truth, green: found; research tool, not a medical device"


def check_matplotlib(option: str) -> None:
    """Raise MissingExtraError, before any work, if `option` cannot draw plots."""
    if find_spec("matplotlib") is None:
        raise MissingExtraError(
            f"{option} needs matplotlib, which is not installed: pip install 'qlumen[train]'"
        )


def draw(
    plots: Path | None,
    worst_file: Path | None,
    sets: Mapping[str, Mapping[str, Any]],
    pairs: Mapping[str, Sequence[Pair]],
    analysis: FrameAnalysis,
) -> list[dict[str, Any]]:
    """Draw the outputs that have a path, and return set, name and Dice of the worst images.

    Args:
        sets: reports by the set's name
        pairs: files by the set's name
    """
    if plots:
        from qlumen.evaluation.plots import draw_plots

        draw_plots(plots, sets)
    files = [pair for name in sets for pair in pairs[name]]
    places = [name for name in sets for _ in pairs[name]]
    dice = [row["dice"] for name in sets for row in sets[name]["images"]]
    rows = worst(dice)
    if worst_file:
        draw_worst(worst_file, [(files[row], dice[row]) for row in rows], analysis)
    return [{"set": places[r], "name": files[r].image.name, "dice": dice[r]} for r in rows]


def worst(dice: Sequence[float]) -> list[int]:
    """Return the rows of the 16 lowest Dice, the lowest first; equal ones keep their order."""
    return np.argsort(np.asarray(dice), kind="stable")[:COUNT].tolist()


def draw_worst(path: Path, rows: Sequence[tuple[Pair, float]], analysis: FrameAnalysis) -> None:
    """Write a PNG of four images per row, each with both outlines, its name and its Dice.

    Raises:
        SinkError: the file cannot be written
    """
    tiles = [_tile(pair, dice, analysis) for pair, dice in rows]
    blank = np.zeros((TILE_PX + TEXT_PX, TILE_PX, 3), np.uint8)
    tiles += [blank] * (-len(tiles) % COLUMNS)
    lines = [np.hstack(tiles[i : i + COLUMNS]) for i in range(0, len(tiles), COLUMNS)]
    title = np.zeros((TEXT_PX, COLUMNS * TILE_PX, 3), np.uint8)
    _write_text(title, TITLE)
    _, data = cv2.imencode(".png", np.vstack([title, *lines]))
    try:
        path.write_bytes(data.tobytes())
    except OSError as error:
        raise SinkError(f"{path} cannot be written: {error.strerror}") from None


def _tile(pair: Pair, dice: float, analysis: FrameAnalysis) -> Image:
    image, truth = read_pair(pair)
    frame = still_frame(0, image, pair.name)
    found = analysis.judge(frame).segmentation.mask
    tile = np.zeros((TILE_PX + TEXT_PX, TILE_PX, 3), np.uint8)
    zoom = TILE_PX / max(image.shape[:2])
    width, height = (max(1, round(side * zoom)) for side in frame.size)
    small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    for mask, colour in ((truth, TRUTH_BGR), (found, FOUND_BGR)):
        cv2.drawContours(small, _outlines(mask, (width, height)), -1, colour, 1, cv2.LINE_AA)
    tile[TEXT_PX : TEXT_PX + height, :width] = small
    _write_text(tile, f"{dice:.3f}  {pair.name.rpartition('/')[2]}")
    return tile


def _outlines(mask: Mask, size: tuple[int, int]) -> Sequence[np.ndarray]:
    small = cv2.resize(mask * np.uint8(255), size, interpolation=cv2.INTER_AREA)
    binary = (small >= 128).astype(np.uint8)
    found, _ = cv2.findContours(binary, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    return found


def _write_text(image: Image, text: str) -> None:
    place = (4, TEXT_PX - 6)
    cv2.putText(image, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.42, TRUTH_BGR, 1, cv2.LINE_AA)
