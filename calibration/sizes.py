"""Bundles of other input sizes: made of the weights of one, measured, kept for the next time.

A compiled network has one static shape, so each size is a bundle of its own, in FP32 and in
INT8. The smaller the side the faster the network, and the less it sees.
"""

import hashlib
import shutil
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from qlumen.calibration.calibration_images import PICTURES
from qlumen.calibration.int8 import make_int8
from qlumen.calibration.ranges import Say
from qlumen.datasets.splits import TRAINING, VALIDATION, split_names
from qlumen.errors import BundleError, MissingExtraError, UsageError
from qlumen.evaluation.measure import measure
from qlumen.evaluation.model_card import write_papers
from qlumen.networks.bundle import Bundle, read_bundle
from qlumen.realtime.config.settings import Settings
from qlumen.realtime.segmentation.segmenter import Segmenter
from qlumen.system.caches import cache_folder
from qlumen.system.files import replacing

SIDES = (256, 288, 320, 352, 416)
"""That are tried unless others are named."""
STRIDE = 32
CACHE = "sizes"
INT8_LIBRARY = "nncf"


def check_sides(sides: Sequence[int]) -> None:
    """Raise, before any work, for sides that cannot be, or if torch is not installed."""
    for side in sides:
        if side % STRIDE:
            good = max(1, round(side / STRIDE)) * STRIDE
            raise UsageError(f"--side {side} is not a multiple of {STRIDE}; use {good}")
    if find_spec("torch") is None:
        raise MissingExtraError(
            "other input sizes are compiled from the weights, which needs torch: "
            "pip install 'qlumen[train]'; without it leave out --data: then the sizes of the "
            "bundles given are compared"
        )


def bundles_of_sides(
    bundles: Sequence[Bundle],
    sides: Sequence[int],
    data: Path,
    say: Say = lambda line: None,
    pictures: int = PICTURES,
) -> list[Bundle]:
    """The bundles, and of each FP32 one those of these sides in FP32 and, with NNCF, in INT8.

    What was made before of the same weights, with figures from the same images, is taken from
    the user's cache. Their metrics are of the whole of `val`, through the engine and
    post-processing of replay, and of the held-out pictures without a lesion.

    Args:
        pictures: how many set the ranges of INT8.

    Raises:
        DatasetError: pictures are missing.
        UsageError: there is no cache folder that can be written.
    """
    folder = cache_folder(CACHE)
    if folder is None:
        raise UsageError(
            "there is no cache folder to keep bundles of other sizes in; set QLUMEN_CACHE to a "
            "folder that can be written"
        )
    if find_spec(INT8_LIBRARY) is None:
        say("nncf is not installed: other sizes are tried in FP32 alone; pip install nncf")
    shelf = _Shelf(folder, data, pictures, say)
    found = list(bundles)
    for source in bundles:
        if source.precision == "f32":
            for side in sides:
                found += shelf.of_side(source, side, found)
    return found


@dataclass(frozen=True, slots=True)
class _Shelf:
    """Bundles in `folder`, with figures from `data`."""

    folder: Path
    data: Path
    pictures: int
    say: Say

    def of_side(self, source: Bundle, side: int, there: Sequence[Bundle]) -> list[Bundle]:
        """In FP32 and INT8, but for those that are there already."""
        place = self.folder / f"{_key(source, self.data)}-{side}"
        spec = source.manifest.input
        own = (spec.width, spec.height) == (side, side)
        single = source if own else _whole(place) or self._measure(source, side, place)
        made = [] if own else [single]
        if find_spec(INT8_LIBRARY) and not any(_is_made_from(single, bundle) for bundle in there):
            made.append(self._in_int8(single, place.with_name(f"{place.name}-int8")))
        return made

    def _in_int8(self, single: Bundle, place: Path) -> Bundle:
        """Whatever it loses: that stands in its papers, by which it is judged."""
        kept = _whole(place)
        if kept and _is_made_from(single, kept):
            return kept
        self._tell(place)
        return make_int8(single, place, self.data, pictures=self.pictures, force=True)

    def _measure(self, source: Bundle, side: int, place: Path) -> Bundle:
        from qlumen.networks.deploy import resize_bundle

        self._tell(place)
        with replacing(place) as part:
            bundle = resize_bundle(source, part, side)
            with closing(Segmenter.open(bundle, Settings())) as segmenter:
                metrics = measure(segmenter, self.data, (VALIDATION,))
            write_papers(part, bundle.manifest.model_copy(update={"metrics": metrics}))
        return read_bundle(place)

    def _tell(self, place: Path) -> None:
        self.say(f"making and measuring {place.name}, once; it is kept in {self.folder}")


def _whole(place: Path) -> Bundle | None:
    """The bundle that is there; none where there is none, or what is there is damaged, which
    then is removed."""
    try:
        return read_bundle(place)
    except BundleError:
        shutil.rmtree(place, ignore_errors=True)
        return None


def _is_made_from(single: Bundle, bundle: Bundle) -> bool:
    record = bundle.manifest.quantised
    return record is not None and record.bundle_sha256 == single.sha256


def _key(source: Bundle, data: Path) -> str:
    """Of the weights with their papers, and of the images by name."""
    names = [name for split in (TRAINING, VALIDATION) for name in split_names(data, split)]
    text = "\n".join([source.sha256, *names])
    return f"{source.manifest.name}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
