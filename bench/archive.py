"""Kills an archive's driver and workers at random, and measures how it uses two cores.

    python bench/archive.py [--kills 20] [--pairs 5] [--json FILE]

The kills: 24 recordings (scenes, the real clips where they are, three damaged, one of 30 minutes,
one that changes its size, one twice) are judged without a disturbance, and again with the driver
and workers killed at random moments. The tables must be the same, row for row.

The pairs: minute-long recordings are judged by one worker of one core, by two, by one of all cores,
and by plain replays one after the other. All of these alternate; the workers have started. A worker
of one core also uses others that are free, so the single one gets a single core of this computer.
"""

import os
import random
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import psutil

from qlumen.realtime.archive.folder import ArchiveFolder
from qlumen.realtime.archive.judge import Job
from qlumen.realtime.archive.recordings import Recording, find_recordings
from qlumen.realtime.archive.tables import HOW, SCHEMAS, read_table
from qlumen.realtime.config.settings import load_settings

from support.common import Row, parser, report
from support.recording import record_scene

CLIPS = Path(__file__).parents[2] / "shared/data/clips"
QLUMEN = (sys.executable, "-c", "from qlumen.realtime.cli import main; main()")
SCENES, SCENE_S, LONG_S, MINUTE_S = 15, 8, 1800, 60
SMALL = 320
"""Width of most recordings, px."""
PAUSE_S = 4.0, 40.0
"""Shortest and longest time from the start of a run to a kill."""


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--kills", type=int, default=20)
    arguments.add_argument("--pairs", type=int, default=5)
    options = arguments.parse_args()
    with TemporaryDirectory() as scratch:
        rows = [try_kills(Path(scratch), options.kills)] if options.kills else []
        ratios = measure_pairs(Path(scratch), options.pairs) if options.pairs else {}
    report(rows, ratios, options.json)


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
    with (folder / "sizes.ts").open("wb") as file:  # parts of MPEG-TS may follow each other
        for path in (made[2], wide):
            command = ["ffmpeg", "-v", "error", "-i", path, "-c", "copy", "-f", "mpegts", "-"]
            file.write(subprocess.run(command, check=True, capture_output=True).stdout)
    wide.unlink()


def tables(output: Path) -> list[list[tuple[object, ...]]]:
    """Return the rows of all tables, without what differs from run to run."""
    (version,) = (path.name for path in (output / "versions").iterdir())
    return [
        [
            tuple(value for key, value in row.items() if key not in HOW)
            for row in read_table(output, table, version)
        ]
        for table in SCHEMAS
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
        with suppress(IndexError, psutil.NoSuchProcess):  # no worker, or one that has just ended
            children = driver.children(recursive=True) if number % 2 else []
            chance.choice([one for one in children if "_judge" in one.name()]).kill()
            time.sleep(chance.uniform(*PAUSE_S) / 2)
        driver.kill()
        driver.wait()
        done = len(list(output.glob("recordings/*/*.parquet")))
        print(f"kill {number + 1}: {done} recordings judged", flush=True)
    subprocess.run([*command, str(output)], capture_output=True, check=False)
    if tables(output) != tables(scratch / "whole"):
        sys.exit("the tables differ")
    return {
        "recordings": len(list(given.iterdir())),
        "rows": sum(map(len, tables(output))),
        "whole_s": round(whole_s),
        "kills": kills,
        "tables": "identical",
    }


def measure_pairs(scratch: Path, pairs: int) -> dict[str, float]:
    from qlumen.realtime.archive.run import cluster, judge_all

    settings = load_settings(None, ())
    given, first = scratch / "minutes", scratch / "first"
    for folder, frames in ((given, 25 * MINUTE_S), (first, 25)):
        folder.mkdir()
        for more in range(2):  # as much work, but not the same file
            record_scene(folder / f"{more}.mp4", frames + more, 2 * SMALL, seed=1)
    recordings, warm_up = find_recordings([str(given)]), find_recordings([str(first)])

    def archive(recordings: list[Recording], workers: int, cpus: int | None) -> float:
        output = scratch / "timed"
        shutil.rmtree(output, ignore_errors=True)
        folder = ArchiveFolder(output, settings)
        job = Job(output, folder.version, settings)
        begin = time.perf_counter()
        with folder.claimed():
            done = list(judge_all(folder, job, recordings, workers, cpus))
        assert not any(entry.error for _, entry in done)
        return time.perf_counter() - begin

    def on_cores(cores: set[int], workers: int, cpus: int | None) -> float:
        """Start the workers on short recordings, and measure, on these cores alone."""
        os.sched_setaffinity(0, cores)
        try:
            with cluster(None):
                archive(warm_up, workers, cpus)
                return archive(recordings, workers, cpus)
        finally:
            os.sched_setaffinity(0, every)

    def replays() -> float:
        begin = time.perf_counter()
        for one in recordings:
            words = ["replay", one.location, "--json", str(scratch / "replay.json")]
            subprocess.run([*QLUMEN, *words], check=True, capture_output=True)
        return time.perf_counter() - begin

    every = os.sched_getaffinity(0)
    ways = {
        "one": partial(on_cores, {min(every)}, 1, 1),
        "two": partial(on_cores, every, 2, 1),
        "all": partial(on_cores, every, 1, None),
        "replays": replays,
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(pairs):
        for name, way in ways.items():
            times[name].append(way())
            print(f"{name}: {times[name][-1]:.1f} s", flush=True)

    def ratio(one: str, two: str) -> float:
        return median(a / b for a, b in zip(times[one], times[two], strict=True))

    return {
        "two workers of one core over twice one": ratio("one", "two") / 2,
        "time of the archive on all cores over plain replays": ratio("all", "replays"),
        "seconds of video a second, one core": MINUTE_S * len(recordings) / median(times["one"]),
    }


if __name__ == "__main__":
    main()
