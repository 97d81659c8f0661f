"""Checks qlumen on an NVIDIA GPU and measures it there, the most valuable stage first.

    python bench/gpu_check.py [--data DIR] [--budget SECONDS] [--output DIR]
    python bench/gpu_check.py --device cpu --short    # rehearses all of it without a GPU
    python bench/gpu_check.py --report                # writes docs/gpu.md from the last run

Each stage is a process of its own with a time limit. Each figure is a line of DIR/gpu.jsonl as
soon as it is known, so a run that is cut off loses little. A stage that fails says why in its last
line, and the next one begins. DIR/STAGE.log holds what it printed, DIR/gpu.md the page.
`bench/gpu_pack.py` packs what a machine without a network needs.
"""

import json
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
    "machine": 30, "engines": 270, "hqconv": 120, "streams": 60, "replay": 90, "live": 90,
    "tests": 100, "table": 60, "training": 3600,
}  # fmt: skip
"""Limits in seconds, in order of value: a run that is cut off loses the last stages."""
BUDGET_SECONDS = 600.0
GRACE = "--kill-after=5"
"""Seconds to die before a process is killed."""
STOPPED = (124, -9)
"""Exit codes of `timeout` after it ended a process, or had to kill it."""
LAST_WORDS = 300
"""Letters of a failed stage's last line that are kept."""
PAGE, MARK = ROOT / "docs/gpu.md", "<!-- run -->\n"
"""The page, and the line after which it is written."""
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
    add("--output", type=Path, default=ROOT / "out/gpu", help="folder of the results")
    add("--set", action="append", default=[], help="a setting of the training")
    add("--report", type=Path, nargs="?", const=PAGE, help="only write the page")
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
    """Run a process, end it with all that it started, and return why it failed, or nothing."""
    begun, limited = time.monotonic(), ["timeout", GRACE, str(limit_s), *command]
    with log.open("wb") as output:
        code = subprocess.run(
            limited, stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=False
        ).returncode
    if code in STOPPED:
        return f"stopped after {min(limit_s, time.monotonic() - begun):.0f} s"
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
    """Write the page's last part from the lines: for each stage a table, and how it ended."""
    found = read_rows(lines)
    facts: dict[str, Any] = defaultdict(lambda: "unknown", *found["machine"][:1])
    parts = [(CARD if "card" in facts else REHEARSAL).format_map(facts)]
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
    head = PAGE.read_text("utf-8").partition(MARK)[0]
    page.write_text(head + MARK + "\n".join(parts) + "\n", encoding="utf-8")


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
