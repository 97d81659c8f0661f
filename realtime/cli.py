"""Runs the command line: it lists the commands and sets the exit code, without heavy imports.

A command is imported when it is called, so `qlumen --help` needs only click. The table names
modules as text because `realtime` must not import what is built upon it.
"""

import errno
import importlib
import io
import os
import sys
from dataclasses import dataclass
from typing import Any

import click

from qlumen.errors import MissingExtraError, QlumenError, UsageError
from qlumen.system.exits import INTERRUPTED
from qlumen.system.locations import printable


@dataclass(frozen=True, slots=True)
class Entry:
    module: str
    summary: str


COMMANDS = {
    "ablate": Entry("qlumen.ablation.command", "Compare bottlenecks by training each."),
    "adapt": Entry("qlumen.training.adaptation.adapt", "Fit a network to a hospital."),
    "annotate": Entry("qlumen.realtime.commands.annotate", "Outline a clip from a few frames."),
    "archive": Entry("qlumen.realtime.commands.archive", "Judge thousands of recordings."),
    "audit": Entry("qlumen.evaluation.atlas.command", "Show what the network does wrong."),
    "calibrate": Entry("qlumen.calibration.command", "Fit a network to how it is run."),
    "dataset": Entry("qlumen.datasets.command", "Import, export and check images with masks."),
    "doctor": Entry("qlumen.realtime.commands.doctor", "Show what is here and what is missing."),
    "evaluate": Entry("qlumen.evaluation.command", "Score the network on images with masks."),
    "export": Entry("qlumen.calibration.export", "Write a bundle's network in another format."),
    "import": Entry("qlumen.calibration.import_command", "Make a bundle of another's network."),
    "label": Entry("qlumen.training.adaptation.label", "Make masks of frames from a few."),
    "live": Entry("qlumen.realtime.commands.live", "Draw the findings on live video."),
    "profile": Entry("qlumen.realtime.commands.profile", "Measure where a frame's time goes."),
    "quantum": Entry("qlumen.quantum.command", "Draw the circuits."),
    "replay": Entry("qlumen.realtime.commands.replay", "Draw the findings on a recording."),
    "report": Entry("qlumen.realtime.commands.report", "Report what a recording shows."),
    "train": Entry("qlumen.training.command", "Train a network and write its bundle."),
    "verify": Entry("qlumen.realtime.commands.verify", "Check that an events file is whole."),
    "view": Entry("qlumen.realtime.commands.view", "Show live video and recordings in a browser."),
}
SHOWN_LETTERS = 40
"""Length to which a name that is too long is cut in a message."""
POSIX_MODULES = ("fcntl", "grp", "pwd", "resource", "termios")
"""Modules of the standard library that exist on POSIX systems only."""


class Commands(click.Group):
    """Finds commands in `COMMANDS`: the attribute `command` of the named module."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        command: click.Command = importlib.import_module(entry.module).command
        return command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ModuleNotFoundError as error:
            raise _explain(error) from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name].summary) for name in sorted(COMMANDS)])


def _explain(error: ModuleNotFoundError) -> Exception:
    """Return an error that says how to install a module; `error` itself if it is our fault."""
    from qlumen.system.requirements import extra_of

    module = (error.name or "qlumen").partition(".")[0]
    if module in POSIX_MODULES:
        return UsageError(
            f"this command needs a POSIX system (Linux, macOS): Python here has no {module}"
        )
    if extra := extra_of(module):
        return MissingExtraError(f"this command needs {module}: pip install 'qlumen[{extra}]'")
    if module == "qlumen":
        return error
    return MissingExtraError(
        f"qlumen needs {module}, which is not installed: pip install qlumen; "
        "qlumen doctor shows what else is missing"
    )


def _explain_system(error: OSError) -> str:
    name = printable(os.fsdecode(error.filename or "input or output"))
    if error.errno == errno.ENAMETOOLONG:
        return f"the name {name[:SHOWN_LETTERS]}... is too long ({len(name)} letters); shorten it"
    return f"{name}: {error.strerror}"


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="qlumen", prog_name="qlumen")
def commands() -> None:
    """Draw polyps on colonoscopy video. A research tool, not a medical device."""


def main() -> None:
    """Run a command; a QlumenError becomes one line and an exit code (1, or 2 for usage)."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files may be of any bytes
    try:
        sys.exit(commands.main(standalone_mode=False) or 0)
    except QlumenError as error:
        click.echo(f"qlumen: {error}", err=True)
        sys.exit(error.exit_code)
    except click.ClickException as error:
        click.echo(f"qlumen: {error.format_message()} (see qlumen --help)", err=True)
        sys.exit(error.exit_code)
    except OSError as error:
        click.echo(f"qlumen: {_explain_system(error)}", err=True)
        sys.exit(1)
    except (click.Abort, KeyboardInterrupt):
        click.echo("qlumen: interrupted", err=True)
        sys.exit(INTERRUPTED)
