"""Compares replay with its engine alone, and with a classic U-Net in a simple loop.

    python bench/replay.py [--json FILE] [--clip FILE] [--frames N] [--rounds N]
                           [--set KEY=VALUE ...]

One run measures the engine alone on images in memory, replay of a 1080p recording without sinks,
replay with the recorder at its own and other presets, and a classic U-Net in eager torch on the
same frames. Every other round reverses the order. Without --clip the recording is the built-in
scene, encoded first. `bare_replay` and `bare_recording` are the limits of these cores: only
FFmpeg's decoder, the engine on images in memory, and x264 run side by side.
"""

import statistics
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import av
import torch

from qlumen.networks.bundle import read_bundle
from qlumen.realtime.config.settings import Settings, load_settings
from qlumen.realtime.engines.base import Engine, Ticket
from qlumen.realtime.engines.choose import bundle_folder
from qlumen.realtime.pixels.arrays import Image
from qlumen.realtime.replay.outputs import Outputs
from qlumen.realtime.replay.replay import replay
from qlumen.realtime.segmentation.segmenter import Segmenter
from qlumen.realtime.sinks.h264 import Encoding, H264Writer, Muxing
from qlumen.realtime.sources.ffmpeg.container import ContainerSource

from support.classic_unet import ClassicUNet
from support.common import parser, report
from support.recording import record_scene

PRESETS = ("veryfast", "superfast", "ultrafast")
"""Presets of x264 in addition to the default one."""
EAGER_FRAMES = 5
SETTLE_S = 1.0
"""Time until threads of the last run no longer spin while they wait for work."""
IMAGES = 32
RATE, TIME_BASE = Fraction(25), Fraction(1, 25)


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--clip", type=Path, help="a recording to use instead of the scene")
    arguments.add_argument("--frames", type=int, default=250, help="frames a round")
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--set", action="append", default=[], help="a setting of qlumen replay")
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        clip = options.clip or record_scene(Path(folder) / "scene.mp4", options.frames)
        rows = measure(clip, options.frames, options.rounds, Path(folder), options.set)
    by_name = {row["name"]: row for row in rows}
    engine = by_name["engine"]
    ratios = {
        "replay_over_engine": by_name["replay"]["fps"] / engine["fps"],
        "bare_replay_over_engine": by_name["bare_replay"]["fps"] / engine["fps"],
        "record_over_engine": by_name["replay_recording"]["fps"] / engine["fps"],
        "bare_record_over_engine": by_name["bare_recording"]["fps"] / engine["fps"],
        **{
            f"record_{preset}_over_engine": by_name[f"replay_recording_{preset}"]["fps"]
            / engine["fps"]
            for preset in PRESETS
        },
        "eager_unet_over_engine": by_name["eager_classic_unet"]["ms"] / engine["ms"],
    }
    report(rows, ratios, options.json)


def measure(
    clip: Path, frames: int, rounds: int, folder: Path, overrides: list[str]
) -> list[dict[str, object]]:
    settings = load_settings(overrides=overrides)
    segmenter = Segmenter.open(read_bundle(bundle_folder(settings)), settings)
    segmenter.engine.warm_up()
    images = network_images(clip, segmenter)
    unet = ClassicUNet().eval()
    bare = Bare(clip, segmenter.engine, images, frames)
    runs: dict[str, Callable[[], float]] = {
        "engine": bare.engine_fps,
        "decode": bare.decode_fps,
        "bare_replay": bare.replay_fps,
        "replay": lambda: replay(str(clip), Outputs(), settings, frames).fps,
        "bare_recording": lambda: bare.recording_fps(folder / "bare.mp4", settings),
        "replay_recording": lambda: recording_fps(clip, folder, settings, frames),
        **{
            f"replay_recording_{preset}": partial(
                recording_fps, clip, folder, with_preset(preset, overrides), frames
            )
            for preset in PRESETS
        },
        "eager_classic_unet": lambda: eager_fps(unet, images[:EAGER_FRAMES]),
    }
    rates: dict[str, list[float]] = {name: [] for name in runs}
    cores: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name in list(runs)[:: -1 if len(rates["engine"]) % 2 else 1]:
            time.sleep(SETTLE_S)
            wall, cpu = time.monotonic(), time.process_time()
            rates[name].append(runs[name]())
            cores[name].append((time.process_time() - cpu) / (time.monotonic() - wall))
    segmenter.close()
    medians = {name: statistics.median(values) for name, values in rates.items()}
    return [
        {
            "name": name,
            "fps": fps,
            "ms": 1000 / fps,
            "cores": statistics.median(cores[name]),
            "rounds_fps": rates[name],
        }
        for name, fps in medians.items()
    ]


def with_preset(preset: str, overrides: list[str]) -> Settings:
    return load_settings(overrides=[*overrides, f"recorder.preset={preset}"])


def recording_fps(clip: Path, folder: Path, settings: Settings, frames: int) -> float:
    outputs = Outputs(video=folder / f"{settings.recorder.preset}.mp4")
    return replay(str(clip), outputs, settings, frames).fps


def network_images(clip: Path, segmenter: Segmenter) -> list[Image]:
    """Return the first frames of the clip at the network's size."""
    with ContainerSource(str(clip)) as source:
        return [segmenter.preprocess(frame.pixels) for frame in islice(source.frames(), IMAGES)]


@dataclass(frozen=True, slots=True)
class Bare:
    """Measures the necessary parts of a replay, alone and side by side, in frames/s."""

    clip: Path
    engine: Engine
    images: list[Image]
    frames: int

    def engine_fps(self) -> float:
        return self._rate(range(self.frames))

    def decode_fps(self) -> float:
        started = time.perf_counter()
        decoded = sum(1 for _ in self._decode())
        return decoded / (time.perf_counter() - started)

    def replay_fps(self) -> float:
        return self._rate(self._decode())

    def recording_fps(self, path: Path, settings: Settings) -> float:
        recorder = settings.recorder
        encoding = Encoding(recorder.crf, recorder.preset, recorder.threads)
        with path.open("wb") as file, ThreadPoolExecutor(1) as thread:
            muxing = Muxing.mp4(TIME_BASE)
            writer = H264Writer(file, muxing, encoding, self._size(), TIME_BASE, RATE)
            waiting: deque[Future[None]] = deque()

            def encode(number: int, frame: av.VideoFrame) -> None:
                if len(waiting) == settings.pipeline.queue_frames:
                    waiting.popleft().result()
                waiting.append(thread.submit(writer.write, frame, number))

            rate = self._rate(self._decode(), encode)
            thread.submit(writer.finish).result()
        return rate

    def _rate(
        self, items: Iterable[Any], also: Callable[[int, Any], None] = lambda number, item: None
    ) -> float:
        """Return the engine's rate: one frame for each item, as many in flight as in replay."""
        flying: deque[Ticket] = deque()
        started = time.perf_counter()
        for number, item in enumerate(items):
            if len(flying) == self.engine.requests:
                flying.popleft().result()
            flying.append(self.engine.submit(self.images[number % len(self.images)]))
            also(number, item)
        while flying:
            flying.popleft().result()
        return self.frames / (time.perf_counter() - started)

    def _size(self) -> tuple[int, int]:
        with av.open(str(self.clip)) as container:
            return container.streams.video[0].width, container.streams.video[0].height

    def _decode(self) -> Iterator[av.VideoFrame]:
        """Decode with FFmpeg, set up as in replay."""
        with av.open(str(self.clip)) as container:
            stream = container.streams.video[0]
            stream.thread_type = "SLICE"
            stream.codec_context.thread_count = 0
            yield from islice(container.decode(stream), self.frames)


def eager_fps(network: torch.nn.Module, images: list[Image]) -> float:
    """Run an eager torch network on one image after the other, as simple scripts do."""
    started = time.perf_counter()
    with torch.inference_mode():
        for image in images:
            batch = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
            network(batch).numpy()
    return len(images) / (time.perf_counter() - started)


if __name__ == "__main__":
    main()
