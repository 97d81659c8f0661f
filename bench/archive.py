"""Kills an archive's driver and workers at random, and measures how it uses two cores.

    python bench/archive.py [--kills 20] [--pairs 5] [--json FILE] [--page docs/scaling.md]

The kills: 24 recordings (scenes, the real clips where they are, three damaged, one of 30 minutes,
one that changes its size, one twice) are judged without a disturbance, and again with the driver
and workers killed at random moments. The tables must be the same, row for row.

The pairs: minute-long recordings are judged by one worker of one core, by two, by one of all
cores, and by plain replays one after the other. All of these alternate; the workers have started.
"""

import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import psutil

from qlumen.networks.bundle import read_bundle
from qlumen.realtime.archive.folder import ArchiveFolder
from qlumen.realtime.archive.judge import Job
from qlumen.realtime.archive.recordings import find_recordings
from qlumen.realtime.archive.tables import HOW, SCHEMAS, read_table
from qlumen.realtime.config.settings import load_settings
from qlumen.realtime.engines.choose import bundle_folder

from support.common import Row, parser, report
from support.recording import record_scene

CLIPS = Path(__file__).parents[2] / "shared/data/clips"
QLUMEN = (sys.executable, "-c", "from qlumen.realtime.cli import main; main()")
SCENES, SCENE_S, LONG_S, MINUTE_S = 15, 8, 1800, 60
SMALL = 320
"""Width of most recordings, px."""
PAUSE_S = 4.0, 40.0
"""Shortest and longest time from the start of a run to a kill."""
START, END = "<!-- figures -->", "<!-- end of figures -->"


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--kills", type=int, default=20)
    arguments.add_argument("--pairs", type=int, default=5)
    arguments.add_argument("--page", type=Path, help="write the figures into this guide")
    options = arguments.parse_args()
    rows: list[Row] = []
    ratios: dict[str, float] = {}
    with TemporaryDirectory() as scratch:
        if options.kills:
            rows.append(try_kills(Path(scratch), options.kills))
        if options.pairs:
            ratios = measure_pairs(Path(scratch), options.pairs)
    report(rows, ratios, options.json)
    if options.page:
        text = options.page.read_text("utf-8")
        before, _, rest = text.partition(START)
        lines = [f"| {name} | {value:.2f} |" for name, value in ratios.items()]
        table = "\n".join(["| what | ratio, median of the pairs |", "|---|---|", *lines])
        after = rest.partition(END)[2]
        options.page.write_text(f"{before}{START}\n\n{table}\n\n{END}{after}", "utf-8")


def make_archive(folder: Path) -> None:
    """Write the 24 recordings."""
    folder.mkdir()
    made = [
        record_scene(folder / f"scene{i:02}.mp4", 25 * SCENE_S, SMALL, seed=i)
        for i in range(SCENES)
    ]
    record_scene(folder / "long.mp4", 5 * LONG_S, SMALL, fps=5, seed=90)
    shutil.copy(made[0], folder / "again.mp4")
    for path in sorted(CLIPS.glob("*.mp*")):
        shutil.copy(path, folder)
    content = made[1].read_bytes()
    (folder / "cut.mp4").write_bytes(content[: len(content) // 2])
    (folder / "noise.mp4").write_bytes(random.Random(1).randbytes(100_000))
    middle, end = content[:-30_000], content[-30_000:]
    holes = (middle[i : i + 9000] + bytes(1000) for i in range(0, len(middle), 10_000))
    (folder / "holes.mp4").write_bytes(b"".join(holes)[: len(middle)] + end)
    wide = record_scene(folder / "wide.mp4", 25 * SCENE_S, 2 * SMALL, seed=91)
    parts = []
    for path in (made[2], wide):
        part = folder / f"{path.stem}.part"
        command = ["ffmpeg", "-v", "error", "-i", path, "-c", "copy", "-f", "mpegts", part]
        subprocess.run(command, check=True)
        parts.append(part.read_bytes())
        part.unlink()
    wide.unlink()
    (folder / "sizes.ts").write_bytes(b"".join(parts))


def tables(output: Path) -> list[list[tuple[object, ...]]]:
    """Return the rows of all tables, without what differs from run to run."""
    (version,) = (path.name for path in (output / "versions").iterdir())
    content = [read_table(output, table, version) for table in SCHEMAS]
    return [
        [tuple(value for key, value in row.items() if key not in HOW) for row in rows]
        for rows in content
    ]


def try_kills(scratch: Path, kills: int) -> Row:
    given, chance = scratch / "given", random.Random(7)
    make_archive(given)
    command = [*QLUMEN, "archive", str(given), "--workers", "2", "--output"]
    begin = time.monotonic()
    subprocess.run([*command, str(scratch / "whole")], capture_output=True, check=False)
    whole_s = time.monotonic() - begin
    output = scratch / "killed"
    for number in range(kills):
        driver = psutil.Popen([*command, str(output)], stdout=-3, stderr=-3)
        time.sleep(chance.uniform(*PAUSE_S))
        workers = [one for one in driver.children(recursive=True) if "_judge" in one.name()]
        if number % 2 and workers:
            chance.choice(workers).kill()
            time.sleep(chance.uniform(*PAUSE_S) / 2)
        driver.send_signal(signal.SIGKILL)
        driver.wait()
        done = len(list(output.glob("recordings/*/*.parquet")))
        print(f"kill {number + 1}: {done} recordings judged", flush=True)
    subprocess.run([*command, str(output)], capture_output=True, check=False)
    if tables(output) != tables(scratch / "whole"):
        sys.exit(f"the tables differ; see {output}")
    return {
        "recordings": len(list(given.iterdir())),
        "rows": sum(map(len, tables(output))),
        "whole_s": round(whole_s),
        "kills": kills,
        "tables": "identical",
    }


def measure_pairs(scratch: Path, pairs: int) -> dict[str, float]:
    from qlumen.realtime.archive.run import Workers, cluster, judge_all

    settings = load_settings(None, ())
    bundle = read_bundle(bundle_folder(settings))
    given = scratch / "minutes"
    given.mkdir()
    for seed in range(2):
        record_scene(given / f"{seed}.mp4", 25 * MINUTE_S, 2 * SMALL, seed=seed)
    recordings = find_recordings([str(given)])

    def archive(workers: Workers) -> None:
        output = scratch / "timed"
        shutil.rmtree(output, ignore_errors=True)
        folder = ArchiveFolder(output, bundle, settings)
        job = Job(output, folder.version, bundle.sha256, settings)
        with folder.claimed():
            judge_all(folder, job, recordings, workers, lambda recording, outcome: None)
        assert not any(one.error for one in folder.entries.values())

    def replays() -> None:
        for one in recordings:
            words = ["replay", one.location, "--json", str(scratch / "replay.json")]
            subprocess.run([*QLUMEN, *words], check=True, capture_output=True)

    times: dict[str, list[float]] = {}
    with cluster(None, None) as here:
        ways: dict[str, Callable[[], None]] = {
            "one": lambda: archive(Workers(1, 1, 0.0)),
            "two": lambda: archive(Workers(2, 1, 0.0)),
            "all": lambda: archive(Workers(1, here.count * here.cpus, 0.0)),
            "replays": replays,
        }
        for number in range(pairs + 1):  # the first round starts workers and is left out
            for name, way in ways.items():
                begin = time.monotonic()
                way()
                times.setdefault(name, []).append(time.monotonic() - begin)
                print(f"round {number}, {name}: {times[name][-1]:.1f} s", flush=True)
    ratios = {
        "two workers of one core over twice one": ("one", "two", 0.5),
        "archive on all cores over plain replays": ("all", "replays", 1.0),
    }
    found = {
        text: median(factor * a / b for a, b in zip(times[one][1:], times[two][1:], strict=True))
        for text, (one, two, factor) in ratios.items()
    }
    video_s = MINUTE_S * len(recordings)
    found["seconds of video a second, one core"] = video_s / median(times["one"][1:])
    return found


if __name__ == "__main__":
    main()
