"""Runs `qlumen doctor`: shows what is here, what is used, what is missing and what adds it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from qlumen.realtime.config.settings import Settings, load_settings
from qlumen.realtime.doctor.machine import Check, gpu_checks, library_checks, machine_checks
from qlumen.realtime.doctor.model import cache_checks, model_checks
from qlumen.realtime.doctor.plugins import plugin_checks
from qlumen.realtime.doctor.video import video_checks
from qlumen.system.files import write_json
from qlumen.system.output_paths import PATH, check_paths

Report = Mapping[str, Sequence[Check]]

COLOURS = {"ok": "green", "absent": "yellow", "failed": "red"}


@click.command("doctor")
@click.option("--json", "json_file", type=PATH, help="Also write the report here.")
@click.option("--config", type=PATH, help="YAML file with settings.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="One setting.")
def command(json_file: Path | None, config: Path | None, overrides: tuple[str, ...]) -> int:
    """Show what this machine has, what qlumen will use, and what adds the rest.

    Exit code 1: something is missing that qlumen needs to run.
    """
    settings = load_settings(config, overrides)
    check_paths([config] if config else [], [("--json", json_file)] if json_file else [], [])
    report = examine(settings)
    _print(report, Console())
    if json_file:
        write_json(json_file, {name: [asdict(c) for c in found] for name, found in report.items()})
    return int(any(check.state == "failed" for found in report.values() for check in found))


def examine(settings: Settings) -> Report:
    """Run all checks, by section."""
    bundle, engines = model_checks(settings)
    return {
        "machine": machine_checks(),
        "graphics": gpu_checks(),
        "model": bundle,
        "engines": engines,
        "video": video_checks(),
        "plugins": plugin_checks(),
        "libraries": library_checks(),
        "caches": cache_checks(),
    }


def _print(report: Report, console: Console) -> None:
    table = Table(title="qlumen doctor", title_justify="left")
    for heading in ("", "what", "found", "what adds it"):
        table.add_column(heading, overflow="fold")
    for section, checks in report.items():
        table.add_section()
        for i, check in enumerate(checks):
            colour = COLOURS[check.state]
            table.add_row(
                section if i == 0 else "",
                f"[{colour}]{escape(check.name)}[/{colour}]",
                escape(check.detail),
                escape(check.command),
            )
    console.print(table)
