"""Maps high dynamic range (HDR) to the range and the colours of ordinary video.

PQ (SMPTE ST 2084) gives the light of each pixel in cd/m2, HLG (ARIB STD-B67) that of the scene;
both are in ITU-R BT.2100. Light up to the white of ordinary video, 203 cd/m2 (ITU-R BT.2408),
keeps its brightness, and brighter light is compressed. The result is for a BT.1886 display with
the primaries of BT.709.
"""

from functools import cache

import av
import cv2
import numpy as np
from av.video.reformatter import ColorPrimaries
from numpy.typing import NDArray

from qlumen.realtime.pixels.arrays import Image

PQ, HLG = 16, 18  # ITU-T H.273, TransferCharacteristics
NAMES = {PQ: "PQ", HLG: "HLG"}
WHITE_CD_M2 = 203.0
PQ_PEAK_CD_M2 = 10_000.0
HLG_PEAK_CD_M2 = 1000.0
HLG_GAMMA = 1.2
"""Gamma of a display with `HLG_PEAK_CD_M2` (BT.2100, table 5)."""
DISPLAY_GAMMA = 2.4
KNEE = 0.8
"""Share of white from which light is compressed."""
STEPS = 1 << 16
TO_BT709_BGR = np.array(
    [[1.1187, -0.1006, -0.0182], [-0.0083, 1.1329, -0.1246], [-0.0728, -0.5876, 1.6605]],
    np.float32,
)
"""Linear light of BT.2020 to BT.709 (ITU-R BT.2087), for blue, green, red."""
LUMINANCE_BGR = np.array([[0.0593, 0.6780, 0.2627]], np.float32)


def is_hdr(frame: av.VideoFrame) -> bool:
    """Check whether the frame is flagged as PQ or HLG."""
    return frame.color_trc in NAMES


def map_to_sdr(samples: NDArray[np.uint16], frame: av.VideoFrame, image: Image) -> None:
    """Write what an ordinary display shows into `image`, `(H, W, 3) uint8` BGR.

    Args:
        samples: `(H, W, 3) uint16` BGR of full range, as `frame` stores them.
        frame: frame with flags for which `is_hdr` holds.
    """
    light = _light(frame.color_trc)[samples]
    if frame.color_trc == HLG:
        luminance = cv2.transform(light, LUMINANCE_BGR)
        light *= (np.maximum(luminance, 1e-6) ** np.float32(HLG_GAMMA - 1))[..., None]
        light *= HLG_PEAK_CD_M2 / WHITE_CD_M2
    if frame.color_primaries == ColorPrimaries.BT2020:
        light = cv2.transform(light, TO_BT709_BGR)
    # Steps of the square root are fine enough for dark places.
    places = np.sqrt(np.clip(light, 0, None, out=light), out=light)
    limit = np.sqrt(PQ_PEAK_CD_M2 / WHITE_CD_M2)
    np.minimum(places * ((STEPS - 1) / limit), STEPS - 1, out=places)
    np.copyto(image, _levels()[places.astype(np.uint16)])


@cache
def _light(transfer: int) -> NDArray[np.float32]:
    """Return the linear light of each 16-bit sample: PQ in shares of white, HLG of the scene."""
    signal = np.arange(STEPS) / (STEPS - 1)
    if transfer == PQ:
        m1, m2 = 2610 / 16384, 2523 / 4096 * 128
        c1, c2, c3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
        power = signal ** (1 / m2)
        light = (np.maximum(power - c1, 0) / (c2 - c3 * power)) ** (1 / m1)
        return (light * (PQ_PEAK_CD_M2 / WHITE_CD_M2)).astype(np.float32)
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    high = (np.exp((signal - c) / a) + b) / 12
    return np.where(signal <= 0.5, signal**2 / 3, high).astype(np.float32)


@cache
def _levels() -> NDArray[np.uint8]:
    """Return the 8-bit level of each step of the square root of light."""
    light = (np.arange(STEPS) / (STEPS - 1)) ** 2 * (PQ_PEAK_CD_M2 / WHITE_CD_M2)
    room = 1 - KNEE
    compressed = 1 - room * np.exp(-(light - KNEE) / room)
    shown = np.where(light <= KNEE, light, compressed)
    return np.round(255 * shown ** (1 / DISPLAY_GAMMA)).astype(np.uint8)
