"""Runs a live session in another process, and reads its `--metrics` by Prometheus' parser."""

import urllib.error
import urllib.request
from pathlib import Path

from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from support.live_process import start_live
from support.senders import free_port


class Scraped:
    """Runs a session that is killed at the end of the block.

    Its summary is `s.json` in the folder, if it has ended on its own or by a signal.
    """

    def __init__(
        self, folder: Path, source: str, *more: str, settings: tuple[str, ...] = ()
    ) -> None:
        self.folder, self.port = folder, free_port()
        metrics = ("--metrics", str(self.port), "--json", str(folder / "s.json"))
        self.process = start_live(folder, source, *metrics, *more, settings=settings)

    def __enter__(self) -> "Scraped":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def get(self, path: str) -> tuple[int, str]:
        """Return status and body; status 0 while the port is closed."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=20) as got:
                return got.status, got.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def metrics(self) -> dict[str, Metric]:
        status, text = self.get("/metrics")
        assert status == 200
        return parse_metrics(text)

    def dropped(self, cause: str) -> float:
        """Return the number of frames that were dropped so far."""
        return by_label(self.metrics()["qlumen_frames_dropped"])[cause]


def parse_metrics(text: str) -> dict[str, Metric]:
    """Return families by name; names of counters have no `_total`."""
    return {family.name: family for family in text_string_to_metric_families(text)}


def total(family: Metric) -> float:
    """Return the sum of a counter over its labels."""
    return sum(sample.value for sample in family.samples if sample.name.endswith("_total"))


def observation_count(family: Metric) -> float:
    """Return the number of durations in a histogram over its labels."""
    return sum(sample.value for sample in family.samples if sample.name.endswith("_count"))


def by_label(family: Metric, suffix: str = "") -> dict[str, float]:
    """Return the samples of a family by its one label; for a histogram, those with `suffix`."""
    return {
        value: sample.value
        for sample in family.samples
        if sample.name.endswith(suffix)
        for value in sample.labels.values()
    }
