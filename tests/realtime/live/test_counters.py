"""Tests that counters agree with the session's events, its summary and the tests' own counts."""

import json
import signal
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import pytest
from rich.console import Console

from qlumen.realtime.config.settings import load_settings
from qlumen.realtime.frames import Frame
from qlumen.realtime.live.annotator import Annotation, Annotator
from qlumen.realtime.live.metrics import MetricsServer
from qlumen.realtime.live.outputs import TITLE, LiveOutputs
from qlumen.realtime.live.session import LiveSession
from qlumen.realtime.live.summary import LiveSummary

from support.live_process import SMALL_SCENE, events, wait_for_event, wait_for_frames, wait_until
from support.media import make_images, write_video
from support.scraping import Scraped, by_label, observation_count, parse_metrics, total
from support.screen import missing_programs, screen
from support.senders import LOOPBACK, ffmpeg_sender, free_port, needs_ffmpeg, pattern_clip

FRAMES = 40
QUICK = ("live.no_signal_s=0.3", "reconnect.stall_s=3", "reconnect.first_s=0.1",
         "reconnect.max_s=0.4")  # fmt: skip

Counters = dict[tuple[str, ...], float]


def counters(server: MetricsServer) -> Counters:
    """Return every series that counts, by its name and labels."""
    _, _, body = server.answer("/metrics", "")
    families = [
        family for family in parse_metrics(body.decode()).values() if family.type == "counter"
    ]
    samples = [sample for family in families for sample in family.samples]
    named = [sample for sample in samples if sample.name.startswith("qlumen_")]
    return {(sample.name, *sample.labels.values()): sample.value for sample in named}


def select(values: Counters, name: str) -> dict[str, float]:
    """Return the counters of one name, by label."""
    return {key[1]: value for key, value in values.items() if key[0] == name}


def run_session(
    location: str, outputs: LiveOutputs, *more: str, model: type[Annotator] = Annotator
) -> tuple[Counters, Counters, LiveSummary]:
    """Return a session's counters before its first frame and after its last one."""
    settings = load_settings(None, [*SMALL_SCENE, f"scene.frames={FRAMES}", *more])
    with (
        MetricsServer("127.0.0.1", 0) as server,
        LiveSession(location, outputs, settings, Console(quiet=True), model) as session,
    ):
        server.watch(session.status, session.latency)
        before = counters(server)
        summary = session.run()
        return before, counters(server), summary


def test_every_counter_is_there_at_0_before_the_first_frame(tmp_path: Path) -> None:
    """All counters are 0 before the first frame, no counter is added later, and an output that the
    session does not have has no counter. So no rate misses a first count."""
    outputs = LiveOutputs(record=tmp_path / "o.mp4", events=tmp_path / "e.jsonl")
    before, after, summary = run_session("scene", outputs)
    assert set(before.values()) == {0}
    assert before.keys() == after.keys()
    assert select(before, "qlumen_frames_shown_total").keys() == {"on", "late", "off"}
    assert select(before, "qlumen_frames_dropped_total").keys() == {
        "display_late", "privacy_slow", "privacy_detached", "recorder_slow", "recorder_detached",
        "events_slow", "events_detached",
    }  # fmt: skip
    assert sum(select(after, "qlumen_frames_shown_total").values()) == summary.shown > 0


def test_frames_that_the_ai_did_not_see_are_not_called_lost(tmp_path: Path) -> None:
    """Seen and skipped frames are all that came, except one that may wait at the end. The summary
    has the lost frames and the skipped ones."""
    seen: list[int] = []

    class Slow(Annotator):
        def __call__(self, frame: Frame) -> Annotation:
            seen.append(frame.index)
            time.sleep(0.1)
            return super().__call__(frame)

    outputs = LiveOutputs(record=tmp_path / "o.mp4")
    _, after, summary = run_session("scene", outputs, model=Slow)
    skipped = after[("qlumen_engine_frames_skipped_total",)]
    assert FRAMES - 1 <= len(seen) + skipped <= FRAMES
    assert skipped > FRAMES / 4
    lost = {cause: n for cause, n in select(after, "qlumen_frames_dropped_total").items() if n}
    assert lost | {"model_busy": skipped} == summary.drops


def folder_with_a_bad_image(folder: Path) -> str:
    folder.mkdir()
    for index, image in enumerate(make_images(10)):
        cv2.imwrite(str(folder / f"{index}.png"), image)
    (folder / "5.png").write_bytes(b"no image")
    return str(folder)


def stack_of_pages(path: Path) -> str:
    stack = path.with_suffix(".tif")
    cv2.imwritemulti(str(stack), make_images(10))
    return str(stack)


def whole_clip(path: Path) -> str:
    return str(write_video(path.with_suffix(".mp4"), make_images(10)))


@pytest.mark.parametrize(
    ("make", "cause", "lost"),
    [
        (folder_with_a_bad_image, "unreadable_image", 1),
        (stack_of_pages, "unreadable_image", 0),
        (whole_clip, "decode_error", 0),
    ],
)
def test_a_source_has_the_cause_that_it_can_have(
    tmp_path: Path, make: Callable[[Path], str], cause: str, lost: int
) -> None:
    """Folders and stacks lose images that cannot be read; files packets that cannot be decoded."""
    before, after, _ = run_session(make(tmp_path / "source"), LiveOutputs(), "source.sequence=true")
    assert select(before, "qlumen_frames_dropped_total") == {cause: 0, "display_late": 0}
    assert select(after, "qlumen_frames_dropped_total")[cause] == lost


def count_events(folder: Path) -> tuple[int, int, int]:
    """Count events of a lost signal: silences, losses of the connection, failed attempts."""
    attempts = [event.get("attempt") for event in events(folder, "signal_lost")]
    silences, losses = attempts.count(None), attempts.count(0)
    return silences, losses, len(attempts) - silences - losses


def read_metrics(session: Scraped) -> tuple[float, ...]:
    """Return the same counts from the metrics."""
    metrics = session.metrics()
    names = ("silences", "losses", "reopen_failures")
    return tuple(total(metrics[f"qlumen_source_{name}"]) for name in names)


def reconnects(session: Scraped) -> float:
    return total(session.metrics()["qlumen_source_reconnects"])


@needs_ffmpeg
def test_each_loss_of_the_signal_is_counted_as_what_it_was(tmp_path: Path) -> None:
    """A sender that stops for a moment counts as a silence, one that dies as a loss, and one that
    comes back as a reconnect. The events say the same."""
    url = f"udp://{LOOPBACK}:{free_port()}"
    clip = pattern_clip(tmp_path / "a.mp4", 100)
    mpegts = (url + "?pkt_size=1316", "-f", "mpegts")
    with ffmpeg_sender(clip, *mpegts) as sender, Scraped(tmp_path, url, settings=QUICK) as session:
        wait_for_frames(tmp_path, 20)
        sender.pause()
        wait_for_event(tmp_path, "signal_lost")
        sender.resume()
        wait_for_event(tmp_path, "signal_back")
        wait_until(
            lambda: read_metrics(session) == count_events(tmp_path), "events and metrics differ"
        )
        silences, *others = read_metrics(session)
        assert silences >= 1
        assert others == [0, 0]
        sender.kill()
        wait_until(lambda: count_events(tmp_path)[1] == 1, "the source never gave the sender up")
        assert reconnects(session) == 0
        sender.start()
        wait_until(lambda: reconnects(session) == 1, "it did not come back")
        wait_until(
            lambda: read_metrics(session) == count_events(tmp_path), "events and metrics differ"
        )
        assert read_metrics(session)[1] == 1


def test_a_window_reports_its_delay_and_the_frames_that_it_did_not_get(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The delay of each shown frame is counted, apart from the stages. After the window is closed,
    frames that it does not show and frames that it showed are all that were handed out."""
    if reason := missing_programs("Xvfb", "xdotool", "ffmpeg"):
        pytest.skip(reason)
    with screen() as desk:
        monkeypatch.setenv("DISPLAY", desk.name)
        with Scraped(tmp_path, "scene", "--monitor") as session:
            wait_for_frames(tmp_path, 20)
            metrics = session.metrics()
            desk.close(desk.window(TITLE))
            wait_for_event(tmp_path, "sink_detached")
            lost = session.dropped("monitor_detached")
            wait_until(lambda: session.dropped("monitor_detached") > lost + 10, "it loses no more")
            session.process.send_signal(signal.SIGTERM)
            assert session.process.wait(60) == 0
    delays = observation_count(metrics["qlumen_monitor_delay_seconds"])
    summary = json.loads((tmp_path / "s.json").read_text())
    written, drops = summary["written"]["monitor"], summary["drops"]
    assert by_label(metrics["qlumen_frames_written"])["monitor"] - 1 <= delays <= written
    assert "monitor" not in by_label(metrics["qlumen_stage_seconds"], "_count")
    not_shown = drops["monitor_detached"] + drops.get("monitor_slow", 0)
    assert written + not_shown == summary["shown"] + summary["no_signal"]
