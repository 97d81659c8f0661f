"""Checks qlumen on an NVIDIA GPU and measures it there, the most valuable stage first.

    python bench/gpu_check.py [--data DIR] [--pack DIR] [--budget SECONDS] [--output DIR]
    python bench/gpu_check.py --device cpu --short    # rehearses all of it without a GPU
    python bench/gpu_check.py --report                # writes docs/gpu.md from the last run

Each stage is a process of its own with a time limit. Each figure is a line of DIR/gpu.jsonl as
soon as it is known, so a run that is cut off loses little. A stage that fails says why in its last
line, and the next one begins. DIR/STAGE.log holds what it printed, DIR/gpu.md the page.
`bench/gpu_pack.py` makes the pack for a machine without a network.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from support.common import parser

ROOT = Path(__file__).resolve().parents[1]
STAGES = {
    "machine": 30, "engines": 120, "compile": 150, "streams": 60, "replay": 90, "live": 90,
    "tests": 100, "table": 60, "training": 3600,
}  # fmt: skip
"""Limits in seconds, in order of value: a run that is cut off loses the last stages."""
BUDGET_SECONDS = 600.0
GRACE_SECONDS = 5
"""Time to die after a kill; a process that hangs in a driver may take longer and is left alone."""
LAST_WORDS = 300
"""Letters of a failed stage's last line that are kept."""
PAGE = """\
# On a GPU

{claim}

`bench/gpu_check.py` runs each stage in a process of its own, in order of value, and writes this
page:

    python bench/gpu_check.py --data $D             # on a card, ten minutes at most
    python bench/gpu_check.py --device cpu --short  # rehearses it without a card
    python bench/gpu_check.py --report              # this page, from the last run

Without a [data folder](training.md#data) all images are of the scene, also those of the training.
A machine without a network needs a pack. `packages.txt` is what `pip freeze` prints there. The
command shows how to send the parts and how to start the check:

    python bench/gpu_pack.py --installed packages.txt --python 3.12 --part-size 40MiB --data $D

`share`: pixels whose mask differs from OpenVINO's FP32 on the CPU, of all images; `worst`: of the
worst image, which `holds` compares with the limit. `p50_ms`: one frame from `submit` to its map.
`submit_ms`: the host's part. `graph_ms`: first to last operation of a frame on the device, without
copies (`HtoD`, `DtoH`). `streams`: threads that ask as fast as they can."""
CARD = "One run on one {card}, driver {driver}, torch {torch}. Other cards differ."
REHEARSAL = """\
**No card has run this.** What follows is a rehearsal on a CPU ({cpu}, {cores} cores, torch
{torch}). It shows that the check works. Its figures say nothing about a GPU."""
Rows = list[dict[str, Any]]


def main() -> None:
    arguments = parser(__doc__)
    add = arguments.add_argument
    add("--device", choices=("cuda", "cpu"), default="cuda", help="cpu: a rehearsal")
    add("--short", action="store_true", help="few frames and seconds")
    add("--only", nargs="*", choices=STAGES, default=STAGES, help="stages; others stay as they are")
    add("--budget", type=float, default=BUDGET_SECONDS, help="seconds of all stages")
    add("--data", type=Path, help="folder with images, masks and splits/")
    add("--pack", type=Path, help="folder with an unpacked pack")
    add("--output", type=Path, default=ROOT / "out/gpu", help="folder of the results")
    add("--set", action="append", default=[], help="a setting of the training")
    add("--report", type=Path, nargs="?", const=ROOT / "docs/gpu.md", help="only write the page")
    add("--stage", help="run this stage in this process")
    add("--seconds", type=float, help="time that the stage has")
    given = arguments.parse_args()
    lines = given.output / "gpu.jsonl"
    if given.stage:
        from support import gpu_stages  # here, so that a missing library stops a stage alone

        for row in getattr(gpu_stages, f"{given.stage}_stage")(given):
            append(lines, {"stage": given.stage, **row})
    elif given.report:
        write_page(lines, given.report)
    else:
        given.output.mkdir(parents=True, exist_ok=True)
        if given.only == STAGES:
            lines.unlink(missing_ok=True)
        run_stages({name: STAGES[name] for name in given.only}, _again, lines, given.budget)
        write_page(lines, given.output / "gpu.md")


def run_stages(
    limits: Mapping[str, float],
    command: Callable[[str, float], list[str]],
    lines: Path,
    budget_s: float,
) -> None:
    """Run the commands of the stages; none takes longer than its limit or what is left of all."""
    end = time.monotonic() + budget_s
    for name, limit_s in limits.items():
        append(lines, {"stage": name, "begin": True})
        begun = time.monotonic()
        seconds = min(limit_s, end - begun)
        log = lines.with_name(f"{name}.log")
        why = run_stage(command(name, seconds), seconds, log) if seconds > 1 else "no time was left"
        why = why or ("" if read_rows(lines)[name] else "it gave no figure")
        append(lines, {"stage": name, "ended_s": time.monotonic() - begun, "why": why})
        for row in read_rows(lines)[name]:
            print(f"{name}: " + "  ".join(f"{k} {_cell(v)}" for k, v in row.items()), flush=True)


def run_stage(command: list[str], limit_s: float, log: Path) -> str:
    """Run a process, end all that it started, and return why it failed, or nothing."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, process_group=0
        )
        try:
            code = process.wait(limit_s)
        except subprocess.TimeoutExpired:
            return f"stopped after {limit_s:.0f} s"
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            with suppress(subprocess.TimeoutExpired):
                process.wait(GRACE_SECONDS)
    printed = log.read_bytes().decode("utf-8", "replace").split("\n")
    last = next((line for line in reversed(printed) if line.strip()), "no output")
    return f"exit code {code}: {last[:LAST_WORDS]}" if code else ""


def append(lines: Path, row: Mapping[str, Any]) -> None:
    """Add a line at once."""
    with lines.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def read_rows(lines: Path) -> dict[str, Rows]:
    """Return the rows of each stage's last run; lines that are not ours are left out."""
    found: dict[str, Rows] = defaultdict(list)
    for line in lines.read_text("utf-8", "replace").splitlines():
        with suppress(ValueError, LookupError, TypeError, AttributeError):
            row = json.loads(line)
            stage = row.pop("stage")
            if row.pop("begin", False):
                found[stage] = []
            else:
                found[stage].append(row)
    return found


def write_page(lines: Path, page: Path) -> None:
    """Write the page from the lines: for each stage a table, and how it ended."""
    found = read_rows(lines)
    facts: dict[str, Any] = defaultdict(lambda: "unknown", *found["machine"][:1])
    parts = [PAGE.format(claim=(CARD if "card" in facts else REHEARSAL).format_map(facts))]
    for stage, rows in found.items():
        figures = [row for row in rows if "ended_s" not in row]
        columns = list(dict.fromkeys(key for row in figures for key in row))
        table = [columns, ["---"] * len(columns)] if columns else []
        table += [[_cell(row.get(column)) for column in columns] for row in figures]
        parts += [f"\n## {stage.capitalize()}\n", *(f"| {' | '.join(row)} |" for row in table)]
        if len(figures) == len(rows):
            parts.append("\nThe run was cut off here.")
        else:
            parts.append(f"\n{rows[-1]['ended_s']:.0f} s. {_cell(rows[-1]['why'])}".rstrip())
    page.write_text("\n".join(parts) + "\n", encoding="utf-8")


def _again(name: str, seconds: float) -> list[str]:
    """Return the command that runs one stage with the arguments of this run."""
    return [sys.executable, __file__, *sys.argv[1:], "--stage", name, "--seconds", f"{seconds:.0f}"]


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
    text = "" if value is None else str(value).replace(f"{ROOT}/", "").replace("|", "/")
    return " ".join(text.split())


if __name__ == "__main__":
    main()
