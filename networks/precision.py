"""The precisions that a network's arithmetic can have."""

from typing import Literal

Precision = Literal["f32", "bf16", "f16"]
