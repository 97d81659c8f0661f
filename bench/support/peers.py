"""Runs one contestant of `bench/race.py` in its own process.

    python bench/support/peers.py NAME CLIP FOLDER FRAMES

It prints one line of JSON: frames, seconds from the request of the first frame until the output is
closed, milliseconds from a decoded frame to its drawn one, and the peak of memory. Each contestant
first loads and runs its network once. Peers have random weights: they cost as much as trained
ones, but their masks are random. So the scripts draw a disc of a lesion's size instead of the mask.
FOLDER holds the files that `race.py` has prepared.
"""

import json
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from qlumen.networks.bundle import read_bundle
from qlumen.realtime.config.settings import Settings, load_settings
from qlumen.realtime.engines.choose import bundle_folder
from qlumen.realtime.pixels.bgr_image import BgrImage

SIZE_PX = 352
"""Input size of every network, the same as qlumen's."""
KIB_PER_MIB = 1024
FRAME_SIZE = (1920, 1080)
THRESHOLD = 0.5
DISC_RADIUS_PX = 35
"""Radius of a disc of 3% of the network's input."""
FLOOR_QUEUE = 2
GREEN = (0, 230, 230)
Image = NDArray[np.uint8]
Segment = Callable[[Image], Image]
Result = dict[str, object]


def main() -> None:
    name, clip, folder, frames = sys.argv[1:]
    result = RUNS[name](Path(clip), Path(folder), int(frames))
    print(json.dumps({**result, "peak_mib": peak_mib()}))


def peak_mib() -> float:
    """Return the peak of this process alone: `getrusage` starts with the size of its parent."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / KIB_PER_MIB


def eager_unet(clip: Path, folder: Path, frames: int) -> Result:
    """Run cv2.VideoCapture, a 64-wide U-Net in eager torch, cv2 blend, cv2.VideoWriter."""
    import torch

    from support.classic_unet import ClassicUNet

    torch.set_num_threads(os.cpu_count() or 1)
    network = ClassicUNet().eval()

    def segment(image: Image) -> Image:
        batch = torch.from_numpy(_batch(image))
        with torch.inference_mode():
            return _mask(network(batch)[0, 0].numpy())

    return _script(clip, folder, frames, segment)


def onnx_unet(clip: Path, folder: Path, frames: int) -> Result:
    """Run `eager_unet` in ONNX Runtime, all graph optimisations, all cores."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = os.cpu_count() or 1
    session = onnxruntime.InferenceSession(
        folder / "unet.onnx", options, providers=["CPUExecutionProvider"]
    )
    name = session.get_inputs()[0].name

    def segment(image: Image) -> Image:
        return _mask(session.run(None, {name: _batch(image)})[0][0, 0])

    return _script(clip, folder, frames, segment)


def smp_openvino(clip: Path, folder: Path, frames: int) -> Result:
    """Run the loop with segmentation-models-pytorch's ResNet-34 U-Net in OpenVINO, FP32."""
    return _smp(clip, folder, frames, "smp")


def smp_openvino_int8(clip: Path, folder: Path, frames: int) -> Result:
    """Run `smp_openvino` with its network quantised to INT8 by NNCF."""
    return _smp(clip, folder, frames, "smp_int8")


def _smp(clip: Path, folder: Path, frames: int, name: str) -> Result:
    from qlumen.networks.openvino import ov

    network = ov.Core().compile_model(
        folder / f"{name}.xml", "CPU", {"PERFORMANCE_HINT": "LATENCY", "CACHE_DIR": str(folder)}
    )
    return _script(clip, folder, frames, lambda image: _mask(network(_batch(image))[0][0, 0]))


def yolo(clip: Path, folder: Path, frames: int) -> Result:
    """Run ultralytics: `predict(stream=True)` in OpenVINO, FP32, `plot()`, written with cv2.
    With random weights it finds almost nothing, so it draws little."""
    return _yolo(clip, folder, frames, "yolo")


def yolo_int8(clip: Path, folder: Path, frames: int) -> Result:
    """Run `yolo` with its exported network quantised to INT8 by NNCF."""
    return _yolo(clip, folder, frames, "yolo_int8")


def _yolo(clip: Path, folder: Path, frames: int, name: str) -> Result:
    from support import torchvision_operators

    torchvision_operators.declare()
    from ultralytics import YOLO

    model = YOLO(folder / f"{name}_openvino_model", task="segment")
    model.predict(np.zeros((SIZE_PX, SIZE_PX, 3), np.uint8), imgsz=SIZE_PX, verbose=False)
    results = model.predict(
        str(clip), stream=True, imgsz=SIZE_PX, verbose=False, conf=0.25, save=False
    )
    begun, writer, milliseconds = time.monotonic(), None, []
    for result in islice(results, frames):
        drawing = time.monotonic()
        drawn = result.plot()
        milliseconds.append(sum(result.speed.values()) + 1000 * (time.monotonic() - drawing))
        writer = writer or _writer(folder / "yolo.mp4", drawn.shape)
        writer.write(drawn)
    if writer:
        writer.release()
    return _result(begun, milliseconds)


def supervision_loop(clip: Path, folder: Path, frames: int) -> Result:
    """Run Roboflow's supervision: threaded video loop, mask and polygon annotators, with
    qlumen's INT8 network and post-processing, one frame at a time."""
    from fractions import Fraction

    import supervision

    from qlumen.realtime.frames import Frame
    from qlumen.realtime.segmentation.segmenter import Segmenter

    segmenter = Segmenter.open(read_bundle(bundle_folder(Settings())), Settings(), live=True)
    segmenter.warm_up(FRAME_SIZE)
    colour = supervision.Color(230, 230, 0)
    by = supervision.ColorLookup.INDEX
    fill = supervision.MaskAnnotator(color=colour, opacity=0.15, color_lookup=by)
    outline = supervision.PolygonAnnotator(color=colour, color_lookup=by)
    milliseconds: list[float] = []

    def annotate(image: Image, index: int) -> Image:
        begun = time.monotonic()
        frame = Frame(index, index, Fraction(1, 25), BgrImage(image), 0)
        probability = segmenter.engine.infer(segmenter.preprocess(frame.pixels))
        found = segmenter.finish(frame, probability)
        drawn = image
        if found.findings:
            masks = np.stack([_fill(f.contour, image.shape[:2]) for f in found.findings])
            boxes = np.array([f.box for f in found.findings], np.float32)
            detections = supervision.Detections(boxes, masks)
            drawn = outline.annotate(fill.annotate(image.copy(), detections), detections)
        milliseconds.append(1000 * (time.monotonic() - begun))
        return drawn

    begun = time.monotonic()
    supervision.process_video(str(clip), str(folder / "sv.mp4"), annotate, max_frames=frames)
    result = _result(begun, milliseconds)
    segmenter.close()
    return result


def ffmpeg_floor(clip: Path, folder: Path, frames: int) -> Result:
    """Decode and encode, each in its own thread, with replay's libx264, preset and crf, without
    any conversion of pixels or drawing."""
    import av

    chosen = Settings().recorder
    begun, waiting = time.monotonic(), deque[Future[None]]()
    with (
        av.open(str(clip)) as source,
        av.open(str(folder / "floor.mp4"), "w") as target,
        ThreadPoolExecutor(1) as thread,
    ):
        given = source.streams.video[0]
        options = {"crf": str(chosen.crf), "preset": chosen.preset}
        stream = target.add_stream("libx264", rate=given.average_rate, options=options)
        stream.width, stream.height = given.codec_context.width, given.codec_context.height
        stream.pix_fmt = "yuv420p"

        def encode(frame: av.VideoFrame | None) -> None:
            target.mux(stream.encode(frame))

        for frame in islice(source.decode(given), frames):
            frame.pict_type = av.video.frame.PictureType.NONE
            waiting.append(thread.submit(encode, frame))
            if len(waiting) > FLOOR_QUEUE:
                waiting.popleft().result()
        thread.submit(encode, None).result()
    return _result(begun, [0.0] * frames)


def qlumen_replay(clip: Path, folder: Path, frames: int) -> Result:
    """Run `qlumen replay --output` with default settings (INT8). Frames wait in queues: this is
    best for throughput, but not for the time of one frame."""
    return _replay(clip, folder, frames, Settings())


def qlumen_replay_fp32(clip: Path, folder: Path, frames: int) -> Result:
    """Run `qlumen replay --output` with the FP32 network."""
    return _replay(clip, folder, frames, load_settings(None, ["model.bundle=lite0-vqc4"]))


def _replay(clip: Path, folder: Path, frames: int, settings: Settings) -> Result:
    from qlumen.realtime.replay.outputs import Outputs
    from qlumen.realtime.replay.replay import replay

    summary = replay(str(clip), Outputs(video=folder / "replay.mp4"), settings, frames)
    assert summary.end_to_end_ms is not None
    times = summary.end_to_end_ms
    return {"frames": summary.frames, "seconds": summary.seconds, "p50": times.p50,
            "p99": times.p99}  # fmt: skip


def qlumen_live(clip: Path, folder: Path, frames: int) -> Result:
    """Run `qlumen live --record` at the recording's own rate: each frame appears immediately,
    with the findings of the frame before. Times are the delay of a frame."""
    return _live(clip, folder, frames, [])


def qlumen_live_synchronous(clip: Path, folder: Path, frames: int) -> Result:
    """Run `qlumen live --record`; each frame waits for its findings. Times are its delay."""
    return _live(clip, folder, frames, ["live.mode=synchronous", "live.wait_ms=1000"])


def _live(clip: Path, folder: Path, frames: int, overrides: list[str]) -> Result:
    from rich.console import Console

    from qlumen.realtime.live.outputs import LiveOutputs
    from qlumen.realtime.live.session import LiveSession

    target = folder / "live.mp4"
    target.unlink(missing_ok=True)
    settings = load_settings(None, ["source.loop=true", *overrides])
    outputs = LiveOutputs(record=target)
    with LiveSession(str(clip), outputs, settings, Console(stderr=True)) as session:
        summary = session.run(max(0.2, frames / 25))
    delay, age = summary.raw_delay_ms, summary.annotation_age_ms
    return {
        "frames": summary.shown, "seconds": summary.seconds,
        "p50": delay.p50 if delay else 0.0, "p99": delay.p99 if delay else 0.0,
        "age_p50": age.p50 if age else 0.0, "age_p99": age.p99 if age else 0.0,
    }  # fmt: skip


RUNS: dict[str, Callable[[Path, Path, int], Result]] = {
    "eager_unet": eager_unet,
    "onnx_unet": onnx_unet,
    "smp_openvino": smp_openvino,
    "smp_openvino_int8": smp_openvino_int8,
    "yolo": yolo,
    "yolo_int8": yolo_int8,
    "supervision": supervision_loop,
    "ffmpeg_floor": ffmpeg_floor,
    "qlumen_replay": qlumen_replay,
    "qlumen_replay_fp32": qlumen_replay_fp32,
    "qlumen_live": qlumen_live,
    "qlumen_live_synchronous": qlumen_live_synchronous,
}


def _script(clip: Path, folder: Path, frames: int, segment: Segment) -> Result:
    """Run the usual simple loop."""
    segment(np.zeros((SIZE_PX, SIZE_PX, 3), np.uint8))
    disc = np.zeros((SIZE_PX, SIZE_PX), np.uint8)
    cv2.circle(disc, (SIZE_PX // 2, SIZE_PX // 2), DISC_RADIUS_PX, 1, cv2.FILLED)
    begun, writer, milliseconds = time.monotonic(), None, []
    for image in islice(_capture(clip), frames):
        grabbed = time.monotonic()
        segment(image)
        full = cv2.resize(disc, image.shape[1::-1], interpolation=cv2.INTER_NEAREST)
        coloured = image.copy()
        coloured[full > 0] = GREEN
        drawn = cv2.addWeighted(coloured, 0.4, image, 0.6, 0)
        milliseconds.append(1000 * (time.monotonic() - grabbed))
        writer = writer or _writer(folder / "script.mp4", drawn.shape)
        writer.write(drawn)
    if writer:
        writer.release()
    return _result(begun, milliseconds)


def _capture(clip: Path) -> Iterator[Image]:
    capture = cv2.VideoCapture(str(clip))
    while True:
        there, image = capture.read()
        if not there:
            return
        yield image


def _writer(path: Path, shape: tuple[int, ...]) -> cv2.VideoWriter:
    """Open a writer of MPEG-4 part 2: it is cheaper, and OpenCV's wheels have no H.264."""
    return cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 25, shape[1::-1])


def _batch(image: Image) -> NDArray[np.float32]:
    small = cv2.cvtColor(cv2.resize(image, (SIZE_PX, SIZE_PX)), cv2.COLOR_BGR2RGB)
    return np.ascontiguousarray(small.transpose(2, 0, 1)[None], np.float32) / 255


def _mask(probability: NDArray[np.float32]) -> Image:
    return (probability > THRESHOLD).astype(np.uint8)


def _fill(contour: NDArray[np.int32], size: tuple[int, int]) -> NDArray[np.bool_]:
    mask = np.zeros(size, np.uint8)
    cv2.fillPoly(mask, [contour], 1)
    return mask.astype(bool)


def _result(begun: float, milliseconds: list[float]) -> Result:
    p50, p99 = np.percentile(milliseconds, (50, 99))
    seconds = time.monotonic() - begun
    return {"frames": len(milliseconds), "seconds": seconds, "p50": p50, "p99": p99}


if __name__ == "__main__":
    main()
