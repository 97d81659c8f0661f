"""Tests that the memory of freed frames is used again."""

import platform

import pytest

from support.media import start_python

ROUNDS, FRAMES = 20, 4
FAULTS = f"""
import resource
import av
from qlumen.realtime.replay.allocator import keep_freed_memory

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

assert not {{kept}} or keep_freed_memory()
frame = av.VideoFrame(1920, 1080, "yuv420p")
for turn in range({ROUNDS} + 2):
    begun = faults() if turn == 2 else begun if turn else 0
    frames = [frame.reformat(format="bgr24", threads=1) for _ in range({FRAMES})]
    del frames
print(faults() - begun)
"""


def count_faults(kept: bool) -> int:
    output, errors = start_python(FAULTS.format(kept=kept)).communicate(timeout=120)
    assert not errors, errors
    return int(output)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")
def test_frames_do_not_fault_again_and_again() -> None:
    """Page faults are at most a tenth of those that freeing to the system costs."""
    assert count_faults(True) * 10 < count_faults(False)
