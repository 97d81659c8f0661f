"""Runs `qlumen live`: shows video as it arrives, with the findings on it."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from qlumen.errors import QlumenError, UsageError
from qlumen.realtime.config.rooms import Room, load_rooms
from qlumen.realtime.config.settings import Settings, load_settings
from qlumen.realtime.live.outputs import LiveOutputs
from qlumen.realtime.live.session import LiveSession
from qlumen.realtime.live.summary import print_summary
from qlumen.realtime.sources.choose import input_files
from qlumen.system.exits import INTERRUPTED, leave
from qlumen.system.files import write_json
from qlumen.system.output_paths import PATH, check_paths
from qlumen.system.threads import put_process_first

if TYPE_CHECKING:
    from qlumen.realtime.live.metrics import MetricsServer
    from qlumen.realtime.view.live.panel import LivePanel


@click.command("live")
@click.argument("sources", nargs=-1, metavar="SOURCE...")
@click.option("--monitor", is_flag=True, help="Show a window; the guide lists its keys.")
@click.option("--view", is_flag=True, help="Serve a page for browsers, as qlumen view does.")
@click.option("--record", type=PATH, help="Video with the overlay (.mp4 or .mkv), a new file.")
@click.option("--record-clean", type=PATH, help="The video without overlay, a new file.")
@click.option("--stream", metavar="URL", help="Send the overlay to rtmp, srt, udp or rtsp.")
@click.option("--send", multiple=True, metavar="URL", help="Send lesions and state to mqtt(s):// "
              "or https://, or to a plugin's scheme; may be repeated.")  # fmt: skip
@click.option("--recordings", type=PATH, help="Folder for recordings begun on the page.")
@click.option("--snapshots", type=PATH, help="Folder for snapshots, PNG.")
@click.option("--events", type=PATH, help="Findings and events, JSON lines, each with the hash "
              "of the one before; an existing file is continued.")  # fmt: skip
@click.option("--json", "json_file", type=PATH, help="Summary with latency percentiles.")
@click.option("--metrics", type=click.IntRange(1, 65535), metavar="PORT",
              help="Serve /metrics for Prometheus, /health and /ready.")  # fmt: skip
@click.option("--seconds", type=click.FloatRange(min=0, min_open=True), help="End after this time.")
@click.option("--loop", is_flag=True, help="Play a file again and again.")
@click.option("--config", type=PATH, help="YAML file with settings.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="One setting.")
def command(
    sources: tuple[str, ...],
    monitor: bool,
    view: bool,
    record: Path | None,
    record_clean: Path | None,
    stream: str | None,
    send: tuple[str, ...],
    recordings: Path | None,
    snapshots: Path | None,
    events: Path | None,
    json_file: Path | None,
    metrics: int | None,
    seconds: float | None,
    loop: bool,
    config: Path | None,
    overrides: tuple[str, ...],
) -> int:
    """Draw the findings on live video.

    SOURCE is a camera or capture card, a network stream, a file played at its own rate,
    `scene`, the built-in synthetic colon, or `pattern`, a test image. SIGHUP reads the
    configuration again. Ctrl-C ends the session. Several sources, or the list `rooms` of
    --config, are shown side by side and share the network.
    """
    put_process_first()
    overrides += ("source.loop=true",) if loop else ()
    outputs = LiveOutputs(record, record_clean, stream, events, snapshots, json_file, monitor,
                          recordings, send)  # fmt: skip
    if len(sources) != 1:
        if outputs != LiveOutputs(json=json_file):
            raise UsageError(
                "of the outputs, several sources share --view, --metrics and --json; write the "
                "others into the list rooms of --config"
            )
        read_rooms = partial(load_rooms, config, overrides, sources)
        return _run_rooms(read_rooms, config, json_file, view, metrics, seconds)
    (source,), settings = sources, load_settings(config, overrides)
    inputs = [*input_files(source, settings.model.bundle), *([config] if config else [])]
    check_paths(inputs, list(outputs.files()), list(outputs.folders()))
    steering, console = Steering(), Console(stderr=True)
    read = partial(load_settings, config, overrides)
    try:
        with (
            steering.handle_signals(),
            open_metrics(metrics, settings) as server,
            _open_page(settings, console) if view else nullcontext() as panel,
            LiveSession(
                source,
                outputs,
                settings,
                console,
                runners=(panel.open_runner,) if panel else (),
            ) as session,
        ):
            steering.begin(session.stop, partial(session.reload, read))
            if panel:
                panel.show(session)
            if server:
                server.watch(session.status, session.latency)
            summary = session.run(seconds)
    except _Stopped:
        return leave(0)
    except QlumenError as error:
        click.echo(f"qlumen: {error}", err=True)
        return leave(error.exit_code)
    try:
        print_summary(summary, Console())
    finally:
        if json_file:
            write_json(json_file, summary.as_json())
    if summary.error:
        click.echo(f"qlumen: {summary.error}", err=True)
    return leave(1 if summary.error else 0)


def _run_rooms(read: Callable[[], list[Room]], *options: Any) -> int:
    from qlumen.realtime.commands.rooms import run_rooms

    try:
        return leave(run_rooms(read, *options))
    except _Stopped:
        return leave(0)
    except QlumenError as error:
        click.echo(f"qlumen: {error}", err=True)
        return leave(error.exit_code)


def _open_page(settings: Settings, console: Console) -> AbstractContextManager["LivePanel"]:
    from qlumen.realtime.view.site import open_page

    return open_page(settings, console)


def open_metrics(
    port: int | None, settings: Settings
) -> "AbstractContextManager[MetricsServer | None]":
    if port is None:
        return nullcontext()
    from qlumen.realtime.live.metrics import MetricsServer

    return MetricsServer(settings.metrics.host, port)


class _Stopped(BaseException):
    """Reports Ctrl-C or SIGTERM before the session began."""


class Steering:
    """Ends the session on Ctrl-C or SIGTERM, and reads the settings again on SIGHUP.

    A second Ctrl-C or SIGTERM ends the process immediately.
    """

    def __init__(self) -> None:
        self._stopping = False
        self._end: Callable[[], object] | None = None
        self._read: Callable[[], object] = lambda: None

    @contextmanager
    def handle_signals(self) -> Iterator[None]:
        handlers = {signal.SIGINT: self._stop, signal.SIGTERM: self._stop}
        if hasattr(signal, "SIGHUP"):
            handlers[signal.SIGHUP] = self._reload
        before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def begin(self, end: Callable[[], object], read: Callable[[], object]) -> None:
        """Call these at signals from now on; raise _Stopped if there was one to end before.

        A signal handler's error is lost in a callback of a library, such as Numba's compiler.
        """
        self._end, self._read = end, read
        if self._stopping:
            raise _Stopped

    def _stop(self, number: int, frame: object) -> None:
        if self._stopping:
            os._exit(INTERRUPTED)
        self._stopping = True
        if self._end is None:
            raise _Stopped
        self._end()

    def _reload(self, number: int, frame: object) -> None:
        self._read()
