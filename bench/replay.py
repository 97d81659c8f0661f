"""Replay against its bare engine, and against the loop everybody starts from.

    python bench/replay.py [--json FILE] [--clip FILE] [--frames N] [--rounds N]
                           [--set KEY=VALUE ...]

In one run, rounds alternating: the engine alone on pictures already in memory, replay of a
1080p recording without sinks, replay with the recorder at its own and other presets, and a
classic U-Net in eager torch on the same frames. Without --clip the recording is the built-in
scene, encoded first. `replay_over_engine_at_most` is what a replay could reach on these cores if
besides the network nothing but FFmpeg's decoder took processor time.
"""

import statistics
import tempfile
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from itertools import islice
from pathlib import Path

import av
import torch

from qlumen.networks.bundle import read_bundle
from qlumen.realtime.config import Settings, load_settings
from qlumen.realtime.engines.base import Engine, Ticket
from qlumen.realtime.engines.choose import bundle_folder
from qlumen.realtime.frames import Image
from qlumen.realtime.outputs import Outputs
from qlumen.realtime.replay import replay
from qlumen.realtime.segmenter import Segmenter
from qlumen.realtime.sources.container import ContainerSource

from classic_unet import ClassicUNet
from common import parser, report
from recording import record_scene

PRESETS = ("veryfast", "superfast", "ultrafast")
"""Of x264, beside the default one."""
EAGER_FRAMES = 5
SETTLE_S = 1.0
"""Until threads of the run before no longer wait for work by spinning."""
PICTURES = 32


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--clip", type=Path, help="a recording to take instead of the scene")
    arguments.add_argument("--frames", type=int, default=250, help="frames a round")
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--set", action="append", default=[], help="a setting of qlumen replay")
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        clip = options.clip or record_scene(Path(folder) / "scene.mp4", options.frames)
        rows = measure(clip, options.frames, options.rounds, Path(folder), options.set)
    by_name = {row["name"]: row for row in rows}
    engine = by_name["engine"]
    processor_ms = {name: by_name[name]["cpu_ms"] for name in ("engine", "decode")}
    ratios = {
        "replay_over_engine_at_most": processor_ms["engine"] / sum(processor_ms.values()),
        "replay_over_engine": by_name["replay"]["fps"] / engine["fps"],
        "record_over_engine": by_name["replay_recording"]["fps"] / engine["fps"],
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
    pictures = network_pictures(clip, segmenter)
    unet = ClassicUNet().eval()
    runs: dict[str, Callable[[], float]] = {
        "engine": lambda: engine_fps(segmenter.engine, pictures, frames),
        "decode": lambda: decode_fps(clip, frames),
        "replay": lambda: replay(str(clip), Outputs(), settings, frames).fps,
        "replay_recording": lambda: recording_fps(clip, folder, settings, frames),
        **{
            f"replay_recording_{preset}": partial(
                recording_fps, clip, folder, with_preset(preset, overrides), frames
            )
            for preset in PRESETS
        },
        "eager_classic_unet": lambda: eager_fps(unet, pictures[:EAGER_FRAMES]),
    }
    rates: dict[str, list[float]] = {name: [] for name in runs}
    cpu_ms: dict[str, list[float]] = {name: [] for name in ("engine", "decode")}
    for _ in range(rounds):
        for name, run in runs.items():
            time.sleep(SETTLE_S)
            started = time.process_time()
            rates[name].append(run())
            if name in cpu_ms:
                cpu_ms[name].append(1000 * (time.process_time() - started) / frames)
    segmenter.close()
    medians = {name: statistics.median(values) for name, values in rates.items()}
    processor = {name: statistics.median(values) for name, values in cpu_ms.items()}
    return [
        {"name": name, "fps": fps, "ms": 1000 / fps, "rounds_fps": rates[name]}
        | ({"cpu_ms": processor[name]} if name in processor else {})
        for name, fps in medians.items()
    ]


def with_preset(preset: str, overrides: list[str]) -> Settings:
    return load_settings(overrides=[*overrides, f"recorder.preset={preset}"])


def recording_fps(clip: Path, folder: Path, settings: Settings, frames: int) -> float:
    outputs = Outputs(video=folder / f"{settings.recorder.preset}.mp4")
    return replay(str(clip), outputs, settings, frames).fps


def network_pictures(clip: Path, segmenter: Segmenter) -> list[Image]:
    """The first frames of the clip, at the network's size."""
    with ContainerSource(str(clip)) as source:
        return [segmenter.preprocess(frame.pixels) for frame in islice(source.frames(), PICTURES)]


def engine_fps(engine: Engine, pictures: list[Image], frames: int) -> float:
    """The engine alone, as many frames in flight as replay keeps."""
    flying: deque[Ticket] = deque()
    started = time.perf_counter()
    for index in range(frames):
        if len(flying) == engine.requests:
            flying.popleft().result()
        flying.append(engine.submit(pictures[index % len(pictures)]))
    while flying:
        flying.popleft().result()
    return frames / (time.perf_counter() - started)


def decode_fps(clip: Path, frames: int) -> float:
    """FFmpeg's decoder alone, as replay sets it up."""
    started = time.perf_counter()
    with av.open(str(clip)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "SLICE"
        decoded = sum(1 for _ in islice(container.decode(stream), frames))
    return decoded / (time.perf_counter() - started)


def eager_fps(network: torch.nn.Module, pictures: list[Image]) -> float:
    """Picture by picture through an eager torch network, as such scripts do."""
    started = time.perf_counter()
    with torch.inference_mode():
        for picture in pictures:
            batch = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255
            network(batch).numpy()
    return len(pictures) / (time.perf_counter() - started)


if __name__ == "__main__":
    main()
