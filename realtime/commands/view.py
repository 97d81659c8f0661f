"""Runs `qlumen view`: shows live video and recordings in a browser."""

import json
import signal
import sys
import threading
from pathlib import Path

import click
from rich.console import Console

from qlumen.realtime.config.settings import Settings, load_settings
from qlumen.realtime.live.outputs import LiveOutputs
from qlumen.realtime.sources.choose import input_files
from qlumen.realtime.view.security.access import Access, read_access
from qlumen.realtime.view.security.passwords import write_password
from qlumen.system.exits import leave
from qlumen.system.output_paths import PATH, check_paths
from qlumen.system.threads import put_process_first

LOOK_SECONDS = 1.0


@click.command("view")
@click.option("--source", help="Source to show immediately, as for qlumen live.")
@click.option("--host", help="Address to listen on, 127.0.0.1 by default; others than the "
              "loopback's need --password-file.")  # fmt: skip
@click.option("--port", type=int, help="Port, 7860 by default; 0 for any free one.")
@click.option("--password-file", type=PATH, help="File that --set-password wrote.")
@click.option("--set-password", type=PATH, metavar="FILE", help="Ask for a password, write its "
              "hash to a new file, and end.")  # fmt: skip
@click.option("--send", multiple=True, metavar="URL", help="Send lesions and state of live video "
              "to mqtt(s):// or https://; may be repeated.")  # fmt: skip
@click.option("--recordings", type=PATH, help="Folder for recordings begun on the page.")
@click.option("--snapshots", type=PATH, help="Folder for snapshots, PNG.")
@click.option("--loop", is_flag=True, help="Play files again and again.")
@click.option("--config", type=PATH, help="YAML file with settings.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="One setting.")
def command(
    source: str | None,
    host: str | None,
    port: int | None,
    password_file: Path | None,
    set_password: Path | None,
    send: tuple[str, ...],
    recordings: Path | None,
    snapshots: Path | None,
    loop: bool,
    config: Path | None,
    overrides: tuple[str, ...],
) -> int:
    """Show live video and recordings in a browser.

    Without a password the page answers on this computer only. Ctrl-C ends it.
    """
    if set_password:
        write_password(set_password, _ask_password())
        return 0
    given = {"host": host, "port": port, "password_file": password_file}
    named = {f"view.{key}": value for key, value in given.items() if value is not None}
    overrides += tuple(f"{key}={json.dumps(str(value))}" for key, value in named.items())
    overrides += ("source.loop=true",) if loop else ()
    settings = load_settings(config, overrides)
    access = read_access(settings.view)
    outputs = LiveOutputs(recordings=recordings, snapshots=snapshots, send=send)
    sources = [*([source] if source else []), *settings.view.sources]
    inputs = [path for name in sources for path in input_files(name, settings.model.bundle)]
    check_paths(inputs, [], list(outputs.folders()))
    return _serve(access, sources, source is not None, outputs, settings)


def _ask_password() -> str:
    if sys.stdin.isatty():
        password: str = click.prompt("Password", hide_input=True, confirmation_prompt=True)
        return password
    return sys.stdin.readline().rstrip("\n")


def _serve(
    access: Access, sources: list[str], show_first: bool, outputs: LiveOutputs, settings: Settings
) -> int:
    from qlumen.realtime.view.live.panel import LivePanel
    from qlumen.realtime.view.live.runner import SessionRunner
    from qlumen.realtime.view.site import Site, print_address

    put_process_first()
    console = Console(stderr=True)
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: stopped.set())
    panel = LivePanel(settings)
    with (
        SessionRunner(panel, sources, outputs, settings, console) as runner,
        Site(access, panel, runner, settings) as site,
    ):
        print_address(site.url, access, console)
        if show_first:
            runner.choose(0)
        while not stopped.wait(LOOK_SECONDS):
            pass
    return leave(0)
