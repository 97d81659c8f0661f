"""A live session in a process of its own, and what its `--metrics` says, as Prometheus' own
parser reads it."""

import urllib.error
import urllib.request
from pathlib import Path

from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from support.live_process import started
from support.senders import free_port


class Scraped:
    """Killed at the end of the block. Its summary is `s.json` in the folder, once it has ended
    by itself or by a signal."""

    def __init__(
        self, folder: Path, source: str, *more: str, settings: tuple[str, ...] = ()
    ) -> None:
        self.folder, self.port = folder, free_port()
        metrics = ("--metrics", str(self.port), "--json", str(folder / "s.json"))
        self.process = started(folder, source, *metrics, *more, settings=settings)

    def __enter__(self) -> "Scraped":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def get(self, path: str) -> tuple[int, str]:
        """Status and body; status 0 while nobody listens."""
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
        return parsed(text)

    def dropped(self, cause: str) -> float:
        """Frames, so far."""
        return by_label(self.metrics()["qlumen_frames_dropped"])[cause]


def parsed(text: str) -> dict[str, Metric]:
    """Families by name, of counters without `_total`."""
    return {family.name: family for family in text_string_to_metric_families(text)}


def total(family: Metric) -> float:
    """Of a counter, over its labels."""
    return sum(sample.value for sample in family.samples if sample.name.endswith("_total"))


def observed(family: Metric) -> float:
    """Durations in a histogram, over its labels."""
    return sum(sample.value for sample in family.samples if sample.name.endswith("_count"))


def by_label(family: Metric, suffix: str = "") -> dict[str, float]:
    """Samples of a family with one label, by its value; of a histogram those with the suffix."""
    return {
        value: sample.value
        for sample in family.samples
        if sample.name.endswith(suffix)
        for value in sample.labels.values()
    }
