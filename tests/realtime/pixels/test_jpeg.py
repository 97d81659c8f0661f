"""Another library reads our JPEG files back."""

from io import BytesIO

import numpy as np
import PIL.Image
import pytest

from qlumen.errors import SinkError
from qlumen.realtime.pixels.jpeg import jpeg_bytes

from support.media import make_images


def test_pillow_reads_the_image_back() -> None:
    """Quality 95 changes little, and a lower quality is smaller."""
    image = make_images(1, 320, 240)[0]
    file = jpeg_bytes(image, 95)
    read = np.asarray(PIL.Image.open(BytesIO(file)))[:, :, ::-1]
    assert read.shape == image.shape
    assert np.abs(read.astype(int) - image).mean() < 2
    assert len(jpeg_bytes(image, 50)) < len(file)


def test_an_image_that_is_too_wide_is_an_error() -> None:
    with pytest.raises(SinkError, match="65501x1 cannot be encoded as JPEG"):
        jpeg_bytes(np.zeros((1, 65501, 3), np.uint8), 90)
