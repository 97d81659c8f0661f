"""The input normalisation the network is trained with: (value - MEAN) / STD, RGB.

As published with EfficientNet-Lite: the same for all channels, so that INT8 needs none.
"""

MEAN = 127.0
STD = 128.0
