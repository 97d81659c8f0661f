"""A page with a running scene, for tests in a browser."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from qlumen.realtime.config import load_settings
from qlumen.realtime.live.outputs import LiveOutputs
from qlumen.realtime.view.access import Access
from qlumen.realtime.view.desk import Desk
from qlumen.realtime.view.passwords import Password
from qlumen.realtime.view.site import Site
from qlumen.realtime.view.studio import Studio

from live_process import wait_until

SMALL = (
    "scene.width=320", "scene.height=240", "pattern.width=256", "pattern.height=144",
    "source.loop=true", "view.port=0", "view.viewers=20", "view.upload_mib=1",
    "live.max_age_ms=2000", "temporal.hold_s=0.04", "postprocess.high=0.6",
    "watchdog.hang_s=60", "watchdog.late_frames=0",
)  # fmt: skip
SOURCES = ("scene", "pattern")


@dataclass(frozen=True)
class Shown:
    """A page at `url`, and the folders that its controls write to."""

    url: str
    desk: Desk
    recordings: Path
    snapshots: Path


@contextmanager
def shown_page(
    folder: Path, more: Sequence[str] = (), password: Password | None = None
) -> Iterator[Shown]:
    """Serve the page while the block runs; the scene is on it.

    Args:
        more: settings.
    """
    interval = sys.getswitchinterval()
    settings = load_settings(None, [*SMALL, *more])
    recordings, snapshots = folder / "recordings", folder / "snapshots"
    recordings.mkdir()
    desk = Desk(settings)
    outputs = LiveOutputs(recordings=recordings, snapshots=snapshots, view=desk.view)
    with (
        Studio(desk, SOURCES, outputs, settings, Console(quiet=True)) as studio,
        Site(Access("127.0.0.1", 0, password), desk, studio, settings) as site,
    ):
        studio.choose(0)
        wait_until(lambda: desk.state()["running"], "no session began")
        yield Shown(site.url, desk, recordings, snapshots)
    sys.setswitchinterval(interval)
