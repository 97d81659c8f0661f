"""Runs `qlumen verify`: checks whether an events file is as it was written."""

from pathlib import Path

import click

from qlumen.errors import UsageError
from qlumen.realtime.sinks.hash_chain import Account, check_chain


@click.command("verify")
@click.argument("file", type=click.Path(exists=True, path_type=Path))
@click.option("--last", metavar="SHA256", help="Hash that the last line must have.")
def command(file: Path, last: str | None) -> int:
    """Check the chain of hashes in an events file.

    Exit code 0: every line is as it was written, and in its place. Exit code 1: the first bad
    line is named. Lines missing at the end are found only with --last, the hash of the last
    line, noted when the file was written.
    """
    if not file.is_file():
        raise UsageError(f"{file} is not a regular file; give the events file itself")
    account = check_chain(file)
    problem = str(account.fault) if account.fault else _missing_end(account, last)
    click.echo(f"{file}: {problem or 'whole: ' + summary(account)}")
    return 1 if problem else 0


def summary(account: Account) -> str:
    """Return what a whole file holds, on one line."""
    frames, notes = f"{account.frames} frames", f"{account.notes} notes"
    if account.times_s:
        frames += " from {} s to {} s".format(*account.times_s)
    if account.dates:
        notes += " from {} to {}".format(*account.dates)
    return f"{account.lines} lines, {frames}, {notes}; last line's hash {account.last}"


def _missing_end(account: Account, last: str | None) -> str:
    if last is None or last.lower() == account.last:
        return ""
    return (
        f"line {account.lines}: the last line's hash is {account.last}, not {last}: "
        "lines at the end were removed or added"
    )
