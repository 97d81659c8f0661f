"""Compares `model(image)` with the same steps as `qlumen replay` takes them for a single image.

    python bench/api.py [--json FILE] [--width PX] [--height PX] [--rounds N]

Both judge the same rendered frame with one open network, in turns.
"""

from fractions import Fraction
from statistics import median

import qlumen
from qlumen.realtime.analysis.frame_analysis import FrameAnalysis
from qlumen.realtime.frames import Frame
from qlumen.realtime.pixels.bgr_image import BgrImage
from qlumen.realtime.sources.scene.source import SceneSettings, SceneSource

from support.common import interleaved_ms, parser, report


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--width", type=int, default=1280)
    arguments.add_argument("--height", type=int, default=720)
    arguments.add_argument("--rounds", type=int, default=100, help="calls of each")
    options = arguments.parse_args()
    scene = SceneSource(SceneSettings(width=options.width, height=options.height))
    image = scene.frame(30).image
    with qlumen.load() as model:
        analysis = FrameAnalysis(model.segmenter, model.settings, related=False)
        frame = Frame(0, 0, Fraction(1, 25), BgrImage(image), 0)
        times = interleaved_ms(
            {"model": lambda: model(image), "replay": lambda: analysis.judge(frame)},
            options.rounds,
        )
    middle = {name: median(values) for name, values in times.items()}
    rows = [{"name": name, "ms": value} for name, value in middle.items()]
    report(rows, {"model_over_replay": middle["model"] / middle["replay"]}, options.json)


if __name__ == "__main__":
    main()
