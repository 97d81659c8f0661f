"""Copies the frames of a recording as they come, and nothing else, beside live video.

    python bench/support/control.py CLIP

It ends with SIGTERM, and then prints its delays as JSON. Each runs from the moment when a frame
is due until its planes are copied, so it holds one wake-up, as the delay of live video does. It
has real-time priority where that is allowed, also as live video has.
"""

import json
import signal
import sys
import time
from dataclasses import asdict
from itertools import islice

import av
import numpy as np

from qlumen.realtime.latency import NS_PER_S, DurationHistogram
from qlumen.realtime.pixels.planes import Planes
from qlumen.system.threads import raise_priority

FRAMES = 16


def main() -> None:
    stopping = False

    def stop(*_: object) -> None:
        nonlocal stopping
        stopping = True

    signal.signal(signal.SIGTERM, stop)
    with av.open(sys.argv[1]) as container:
        rate = container.streams.video[0].average_rate
        images = [Planes(frame) for frame in islice(container.decode(video=0), FRAMES)]
    frames = [(image.luma, *image.chroma) for image in images]
    copies = [np.zeros_like(plane) for plane in frames[0]]
    step_ns, delays, number = round(NS_PER_S / rate), DurationHistogram(), 0
    raise_priority()
    begun_ns = time.monotonic_ns()
    while not stopping:
        due_ns = begun_ns + number * step_ns
        time.sleep(max(0, due_ns - time.monotonic_ns()) / NS_PER_S)
        for copy, plane in zip(copies, frames[number % len(frames)], strict=True):
            np.copyto(copy, plane)
        delays.add(time.monotonic_ns() - due_ns)
        number += 1
    print(json.dumps({"ms": asdict(delays.summary()), "histogram": delays.encode()}))


if __name__ == "__main__":
    main()
