"""Checks what `--metrics` reports on a recording that was started from the page."""

from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from qlumen.realtime.live.metrics import MetricsServer
from qlumen.realtime.view.live.messages import Toggle

from support.live_process import wait_until
from support.page import Shown

RECORD = Toggle(do="toggle", what="recording")


def sizes(server: MetricsServer) -> dict[str, float]:
    """Return the bytes by output, as a scrape gives them."""
    _, _, body = server.answer("/metrics", "")
    families = {family.name: family for family in text_string_to_metric_families(body.decode())}
    samples = families["qlumen_recorder_bytes"].samples
    return {sample.labels["output"]: sample.value for sample in samples}


def test_a_recording_from_the_page_is_counted_while_it_runs(site: Shown) -> None:
    """Its size is reported only while it is written, and never exceeds the file's final size."""
    before = set(site.recordings.iterdir())
    session = site.panel.session
    assert session is not None
    with MetricsServer("127.0.0.1", 0) as server:
        server.watch(session.status, session.latency)
        assert sizes(server) == {}
        site.panel.do(RECORD)
        wait_until(lambda: sizes(server).get("recorder_on_request", 0) > 0, "no size was reported")
        size = sizes(server)["recorder_on_request"]
        site.panel.do(RECORD)
        wait_until(lambda: sizes(server) == {}, "the recording is still reported")
    (file,) = set(site.recordings.iterdir()) - before
    assert size <= Path(file).stat().st_size
