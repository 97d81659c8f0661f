"""Converts between BGR and 4:2:0 at 1080p on one thread: our kernels, FFmpeg's swscale, OpenCV.

OpenCV converts only planar 4:2:0 of BT.601, so only its time counts. Errors are differences in
levels from the formula of BT.709, which swscale also uses. `bias` is their mean.
"""

from collections.abc import Callable
from functools import partial
from statistics import median

import av
import cv2
import numpy as np
from av.video.reformatter import Colorspace
from numpy.typing import NDArray

from qlumen.realtime.pixels.arrays import Image
from qlumen.realtime.pixels.pool import FramePool
from qlumen.realtime.pixels.yuv import to_video_frame
from qlumen.realtime.sources.ffmpeg.conversion import to_bgr
from qlumen.realtime.sources.scene.source import SceneSettings, SceneSource

from support.common import interleaved_ms, parser, report

WIDTH, HEIGHT = 1920, 1080
RED, BLUE = 0.2126, 0.0722
Values = NDArray[np.float64]


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--rounds", type=int, default=200, help="calls of each function")
    options = arguments.parse_args()
    cv2.setNumThreads(1)
    image = SceneSource(SceneSettings(width=WIDTH, height=HEIGHT)).frame(3).image
    frame = to_video_frame(image)
    frame.colorspace = Colorspace.ITU709
    packed, pool = frame.to_ndarray(), FramePool()
    functions: dict[str, Callable[[], Image]] = {
        "decode_ours": partial(to_bgr, frame, pool),
        "decode_swscale": partial(swscale_to_bgr, frame, np.empty_like(image)),
        "decode_opencv": partial(cv2.cvtColor, packed, cv2.COLOR_YUV2BGR_I420),
        "encode_ours": lambda: luma(to_video_frame(image)),
        "encode_swscale": lambda: luma(swscale_to_yuv(image)),
        "encode_opencv": partial(cv2.cvtColor, image, cv2.COLOR_BGR2YUV_I420),
    }
    exact = {"decode": exact_bgr(packed), "encode": exact_luma(image)}
    times = interleaved_ms(functions, options.rounds)
    rows = [
        {"name": name, "ms_p50": median(ms), "ms_min": min(ms)}
        | ({} if name.endswith("opencv") else errors(functions[name](), exact[name[:6]]))
        for name, ms in times.items()
    ]
    ratios = {
        f"{name}_over_ours": median(times[name]) / median(times[f"{name[:6]}_ours"])
        for name in times
        if not name.endswith("ours")
    }
    report(rows, ratios, options.json)


def swscale_to_bgr(frame: av.VideoFrame, image: Image) -> Image:
    """Convert into an array that can be kept, as a frame must be."""
    converted = frame.reformat(format="bgr24", src_colorspace=Colorspace.ITU709, threads=1)
    rows = np.frombuffer(converted.planes[0], np.uint8).reshape(HEIGHT, -1)
    np.copyto(image, rows[:, : 3 * WIDTH].reshape(image.shape))
    return image


def swscale_to_yuv(image: Image) -> av.VideoFrame:
    frame = av.VideoFrame.from_ndarray(image, format="bgr24")
    return frame.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU709, threads=1)


def luma(frame: av.VideoFrame) -> Image:
    """Return the luma samples without a copy."""
    plane = frame.planes[0]
    return np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[:HEIGHT, :WIDTH]


def exact_bgr(packed: Image) -> Values:
    y = (packed[:HEIGHT] - 16.0) / 219
    chroma = packed[HEIGHT:].reshape(2, HEIGHT // 2, WIDTH // 2).repeat(2, axis=1)
    u, v = (chroma.repeat(2, axis=2) - 128.0) / 224
    b, r = y + 2 * (1 - BLUE) * u, y + 2 * (1 - RED) * v
    g = (y - RED * r - BLUE * b) / (1 - RED - BLUE)
    return 255 * np.stack([b, g, r], axis=2).clip(0, 1)


def exact_luma(image: Image) -> Values:
    return 16 + 219 / 255 * (image @ np.array([BLUE, 1 - RED - BLUE, RED]))


def errors(got: Image, wanted: Values) -> dict[str, float]:
    difference = got - wanted
    return {"error_max": float(np.abs(difference).max()), "bias": float(difference.mean())}


if __name__ == "__main__":
    main()
