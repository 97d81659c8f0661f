"""Adds 8-bit ranges to the shipped network, and computes what an engine should make of them."""

from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import torch

from qlumen.calibration.calibration_images import CalibrationImages
from qlumen.calibration.export import Network
from qlumen.calibration.range_search import ranges_of
from qlumen.calibration.ranges import write_ranges
from qlumen.networks.bundle import Bundle
from qlumen.networks.eightbit import eight_bit_network
from qlumen.realtime.engines.base import Probability
from qlumen.realtime.pixels.arrays import Image
from qlumen.realtime.segmentation.preprocess import Preprocessor

from support.engine_contract import EngineContract, Remembered, bundle, scene

EIGHT_BIT_SHARE = 1e-2
"""Share of pixels that may differ from torch: values between two steps round either way."""


@cache
def eight_bit_bundle() -> Bundle:
    """Return the shipped bundle with ranges from frames of the scene."""
    spec = bundle().manifest.input
    prepare = Preprocessor((spec.width, spec.height), spec.fit)
    images = CalibrationImages(("scene",), tuple(prepare(frame.pixels) for frame in scene()))
    folder = Path(mkdtemp(prefix="qlumen-ranges-")) / "bundle"
    return write_ranges(folder, bundle(), ranges_of(bundle(), images), images)


@cache
def torch_rounding() -> Network:
    """Return what TensorRT should compute, on the CPU."""
    network = eight_bit_network(eight_bit_bundle())

    def run(image: Image) -> Probability:
        with torch.no_grad():
            map_: Probability = network(torch.from_numpy(image)[None])[0, 0].numpy()
        return map_

    return Remembered(run)


class EightBitContract(EngineContract):
    """Tests an engine with the bundle of `eight_bit_bundle`."""

    max_share = EIGHT_BIT_SHARE

    @staticmethod
    def reference() -> Network:
        return torch_rounding()
