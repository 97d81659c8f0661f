"""The card of a bundle: what it is, what it was trained on, how well it does, its limits."""

from typing import Any

from qlumen.networks.bundle import Manifest

COLUMNS = ("dice", "iou", "precision", "recall", "mae", "hd95_px")


def render_card(manifest: Manifest) -> str:
    """Markdown for people, from the manifest alone."""
    return (
        "\n\n".join(
            [
                f"# {manifest.name}, version {manifest.version}",
                "Segments polyps in colonoscopy pictures. **A research tool, not a medical "
                "device.**",
                _network(manifest),
                _training(manifest.provenance),
                _scores(manifest),
                LIMITS,
                TERMS,
            ]
        )
        + "\n"
    )


def _network(manifest: Manifest) -> str:
    spec, thresholds = manifest.input, manifest.thresholds
    lines = [
        "## Network",
        f"U-Net on EfficientNet-Lite0, input {spec.width}x{spec.height} ({spec.fit}), output at "
        f"half that size. Thresholds: high {thresholds.high}, low {thresholds.low}, least area "
        f"{thresholds.min_area_fraction:.2%} of the frame.",
    ]
    if record := manifest.quantum:
        tables = " and ".join(f"{rows}x{columns}" for rows, columns in record.table_shapes)
        lines.append(
            f"Bottleneck: the circuit `{record.circuit}` behind a gated residual, stored as its "
            f"exact table of {tables} coefficients, sampled in {record.circuit_runs} runs "
            f"on `{record.device}`; largest difference from live execution on "
            f"{record.checked_inputs} random inputs: {record.max_abs_error:.1e}."
        )
    return "\n\n".join(lines)


def _training(provenance: dict[str, Any]) -> str:
    """One paragraph a run, the first run first."""
    runs: list[str] = []
    run: dict[str, Any] | None = provenance
    while run:
        runs.insert(0, _run(run))
        run = run.get("started_from")
    return "\n\n".join(["## Training", *runs])


def _run(provenance: dict[str, Any]) -> str:
    settings = provenance["settings"]
    start = "the run above" if provenance.get("started_from") else "ImageNet weights in the encoder"
    return (
        f"{provenance['train_images']} images of Kvasir-SEG and CVC-ClinicDB (the PraNet split "
        f"less {provenance['val_images']} for validation), {provenance['epochs_done']} of "
        f"{settings['epochs']} epochs at "
        f"{settings['input_size']}x{settings['input_size']}, batch {settings['batch_size']}, "
        f"BCE + Dice, AdamW with a one-cycle rate up to {settings['rate']:g}, starting from "
        f"{start}, seed {settings['seed']}. Kept: the averaged weights of epoch "
        f"{provenance['best_epoch']}, validation Dice {provenance['best_validation_dice']} "
        "at 0.5, at the training size."
    )


def _scores(manifest: Manifest) -> str:
    head = "| split | images | " + " | ".join(COLUMNS) + " |"
    rule = "|---" * (len(COLUMNS) + 2) + "|"
    rows = [
        f"| {split} | {row['images']} | " + " | ".join(str(row[c]) for c in COLUMNS) + " |"
        for split, row in manifest.metrics.items()
    ]
    note = (
        "Thresholds and epoch were chosen on `val`. The frames of `test_clinicdb` share sequences "
        "with training frames, so that row is optimistic."
    )
    return "\n".join(["## Scores", "", head, rule, *rows, "", note])


LIMITS = """## Limits

Trained on pictures that all show a polyp: it has not learned what a colon without one looks
like, and marks something on many such frames. Flat and small pale polyps are missed more
often than others. Not tried on other endoscopes than those of the two data sets, on children,
or on capsule endoscopy."""

TERMS = """## Terms of the data

Kvasir-SEG: free for research and education (Jha et al. 2020). CVC-ClinicDB: research and
education only (Bernal et al. 2015). The weights derive from both: research and education."""
