"""Opens a network that is called like a function."""

import json
import os
import threading
from collections.abc import Mapping
from fractions import Fraction
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from qlumen.errors import UsageError
from qlumen.networks.bundle import read_bundle
from qlumen.realtime.analysis.frame_analysis import FrameAnalysis
from qlumen.realtime.config.settings import load_settings
from qlumen.realtime.engines.choose import bundle_folder
from qlumen.realtime.frames import Frame
from qlumen.realtime.pixels.arrays import Image
from qlumen.realtime.pixels.bgr_image import BgrImage
from qlumen.realtime.segmentation.segmenter import Segmenter
from qlumen.result import Result
from qlumen.system.closing import Closing

Colour = Literal["bgr", "rgb", "grey"]


def load(
    bundle: str | os.PathLike[str] | None = None, settings: Mapping[str, object] | None = None
) -> "Model":
    """Open a network.

    Args:
        bundle: folder of a bundle, or the name of a shipped one; None: the shipped one that is
            fastest on this computer.
        settings: values by `section.key`, such as `{"engine.threads": 1}`; the keys are those of
            `configs/default.yaml`.

    Raises:
        QlumenError: the bundle cannot be read, or a setting is wrong.
    """
    given = dict(settings or {})
    if bundle is not None:
        given["model.bundle"] = os.fspath(bundle)
    return Model(given)


class Model(Closing):
    """Finds lesions in single images. Threads may share it; their calls wait for each other.

    `load` makes it. It holds memory and threads until `close`, or the end of its `with` block.
    """

    def __init__(self, given: Mapping[str, object]) -> None:
        overrides = [f"{key}={json.dumps(value)}" for key, value in given.items()]
        self.settings = load_settings(None, overrides)
        self.bundle = read_bundle(bundle_folder(self.settings))
        self.segmenter = Segmenter.open(self.bundle, self.settings)
        self._analysis = FrameAnalysis(self.segmenter, self.settings, related=False)
        self._lock = threading.Lock()

    def __call__(self, image: NDArray[np.uint8], *, colour: Colour = "bgr") -> Result:
        """Find the lesions of an image, as `qlumen replay` does for a folder of images.

        Args:
            image: `(H, W, 3) uint8`, or `(H, W) uint8` if it is grey.
            colour: order of the channels: `bgr` as from OpenCV, `rgb` as from Pillow, or `grey`.

        Raises:
            UsageError: the image has another shape or type.
        """
        frame = Frame(0, 0, Fraction(1, 25), BgrImage(_to_bgr(image, colour)), 0)
        with self._lock:
            judgement = self._analysis.judge(frame)
        return Result.of(frame, judgement, self.segmenter.preprocess.fit)

    def close(self) -> None:
        """Release the network."""
        self.segmenter.close()

    def __repr__(self) -> str:
        return f"<qlumen.Model {self.bundle.manifest.name}>"


def _to_bgr(image: NDArray[np.uint8], colour: str) -> Image:
    form = {"bgr": (3,), "rgb": (3,), "grey": ()}.get(colour)
    if form is None:
        raise UsageError(f"colour is {colour!r}; use bgr, rgb or grey")
    shape, kind = getattr(image, "shape", None), getattr(image, "dtype", type(image).__name__)
    if shape is None or len(shape) < 2 or 0 in shape or shape[2:] != form or kind != np.uint8:
        wanted = "(height, width)" if colour == "grey" else "(height, width, 3)"
        raise UsageError(
            f"the image is {shape} {kind}; {colour} takes {wanted} uint8, each side 1 or more"
        )
    if colour == "bgr":
        return np.ascontiguousarray(image)
    code = cv2.COLOR_RGB2BGR if colour == "rgb" else cv2.COLOR_GRAY2BGR
    return np.asarray(cv2.cvtColor(np.ascontiguousarray(image), code), dtype=np.uint8)
