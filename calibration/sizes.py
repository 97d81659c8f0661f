"""Makes bundles of other input sizes from a bundle's weights, measures them and keeps them.

A compiled network has one static shape, so each size is a separate bundle, in FP32 and in INT8.
A smaller side makes the network faster, but it sees less.
"""

import hashlib
import shutil
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from qlumen.calibration.calibration_images import IMAGE_COUNT
from qlumen.calibration.int8 import make_int8
from qlumen.calibration.ranges import Say
from qlumen.datasets.splits import TRAINING, VALIDATION, split_names
from qlumen.errors import BundleError, MissingExtraError, UsageError
from qlumen.evaluation.measure import measure
from qlumen.evaluation.model_card import write_records
from qlumen.networks.bundle import Bundle, read_bundle
from qlumen.realtime.config.settings import Settings
from qlumen.realtime.segmentation.segmenter import Segmenter
from qlumen.system.caches import cache_folder
from qlumen.system.files import replacing

SIDES = (256, 288, 320, 352, 416)
"""Default sides, in pixels."""
STRIDE = 32
CACHE = "sizes"
INT8_LIBRARY = "nncf"


def check_sides(sides: Sequence[int]) -> None:
    """Raise an error, before any work, for a wrong side or if torch is not installed."""
    for side in sides:
        if side % STRIDE:
            good = max(1, round(side / STRIDE)) * STRIDE
            raise UsageError(f"--side {side} is not a multiple of {STRIDE}; use {good}")
    if find_spec("torch") is None:
        raise MissingExtraError(
            "other input sizes are compiled from the weights, which needs torch: "
            "pip install 'qlumen[train]'; or leave out --data to compare only the given bundles"
        )


def bundles_of_sides(
    bundles: Sequence[Bundle],
    sides: Sequence[int],
    data: Path,
    say: Say = lambda line: None,
    image_count: int = IMAGE_COUNT,
) -> list[Bundle]:
    """Return the bundles, and each FP32 one at these sides in FP32 and, with NNCF, in INT8.

    Earlier results for the same weights and images come from the user's cache. The metrics are
    measured as in replay, on all of `val` and on `negatives_score`.

    Args:
        image_count: number of images for the ranges of INT8

    Raises:
        DatasetError: images are missing
        UsageError: no cache folder is writable
    """
    folder = cache_folder(CACHE)
    if folder is None:
        raise UsageError(
            "bundles of other sizes need a cache folder; set QLUMEN_CACHE to a writable folder"
        )
    if find_spec(INT8_LIBRARY) is None:
        say("nncf is not installed: other sizes are tried only in FP32; pip install nncf")
    cache = _BundleCache(folder, data, image_count, say)
    found = list(bundles)
    for source in bundles:
        if source.precision == "f32":
            own = max(source.manifest.input.width, source.manifest.input.height)
            if source.manifest.imported:
                say(f"{source.folder} is an imported network, which has one input size")
            for side in (own,) if source.manifest.imported else sides:
                found += cache.resize(source, side, found)
    return found


@dataclass(frozen=True, slots=True)
class _BundleCache:
    """Keeps bundles in `folder`, with figures from `data`."""

    folder: Path
    data: Path
    image_count: int
    say: Say

    def resize(self, source: Bundle, side: int, known: Sequence[Bundle]) -> list[Bundle]:
        """Return the source at this side in FP32 and INT8, without those that are known."""
        place = self.folder / f"{_key(source, self.data)}-{side}"
        spec = source.manifest.input
        own = (spec.width, spec.height) == (side, side) or source.manifest.imported is not None
        single = source if own else _read_intact(place) or self._measure(source, side, place)
        result = [] if own else [single]
        if find_spec(INT8_LIBRARY) and not any(_is_made_from(single, bundle) for bundle in known):
            result.append(self._quantise(single, place.with_name(f"{place.name}-int8")))
        return result

    def _quantise(self, single: Bundle, place: Path) -> Bundle:
        """Quantise without a limit on the loss, because the budget uses the measured Dice."""
        kept = _read_intact(place)
        if kept and _is_made_from(single, kept):
            return kept
        self._report(place)
        return make_int8(single, place, self.data, image_count=self.image_count, force=True)

    def _measure(self, source: Bundle, side: int, place: Path) -> Bundle:
        from qlumen.networks.deploy import resize_bundle

        self._report(place)
        with replacing(place) as part:
            bundle = resize_bundle(source, part, side)
            with closing(Segmenter.open(bundle, Settings())) as segmenter:
                metrics = measure(segmenter, self.data, (VALIDATION,))
            write_records(part, bundle.manifest.model_copy(update={"metrics": metrics}))
        return read_bundle(place)

    def _report(self, place: Path) -> None:
        self.say(f"making and measuring {place.name}; {self.folder} keeps it for the next time")


def _read_intact(place: Path) -> Bundle | None:
    """Read a bundle; if it is missing or damaged, remove it and return None."""
    try:
        return read_bundle(place)
    except BundleError:
        shutil.rmtree(place, ignore_errors=True)
        return None


def _is_made_from(single: Bundle, bundle: Bundle) -> bool:
    record = bundle.manifest.quantised
    return record is not None and record.bundle_sha256 == single.sha256


def _key(source: Bundle, data: Path) -> str:
    """Return a key of the source bundle and of the images' names."""
    names = [name for split in (TRAINING, VALIDATION) for name in split_names(data, split)]
    text = "\n".join([source.sha256, *names])
    return f"{source.manifest.name}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
