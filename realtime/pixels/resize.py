"""Makes an image or a plane smaller or larger."""

import cv2
import numpy as np
from numpy.typing import NDArray


def resize(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Make a new `(height, width, ...) uint8` of an image or a plane of any size.

    Pairs of pixels are averaged while the image stays larger than `size`, then it is interpolated.
    This avoids aliasing in a tenth of the time of averaging by a factor that is not whole
    (1080p to 352x352: 0.7 ms; `INTER_AREA` alone 8 ms on one core).
    """
    height, width = image.shape[:2]
    while width >= 2 * size[0] and height >= 2 * size[1]:
        width, height = (width + 1) // 2, (height + 1) // 2
        even = image.shape[1] == 2 * width and image.shape[0] == 2 * height
        method = cv2.INTER_AREA if even else cv2.INTER_LINEAR
        image = cv2.resize(image, (width, height), interpolation=method).astype(
            np.uint8, copy=False
        )
    return cv2.resize(image, size, interpolation=cv2.INTER_LINEAR).astype(np.uint8, copy=False)
