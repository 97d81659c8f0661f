"""Checks traces against the "Trace Event Format": keys by phase, nesting, pairs."""

from collections import Counter, defaultdict
from itertools import pairwise
from typing import Any

KEYS = {
    "X": {"name", "cat", "ph", "ts", "dur", "pid", "tid"},
    "b": {"name", "cat", "ph", "ts", "id", "pid", "tid"},
    "e": {"name", "cat", "ph", "ts", "id", "pid", "tid"},
    "i": {"name", "ph", "ts", "pid", "tid", "s"},
    "M": {"name", "ph", "pid", "tid", "args"},
}
"""Keys that the Trace Event Format needs, by phase."""


def check_trace(content: dict[str, Any]) -> Counter[str]:
    """Check the form, and return the number of events of each phase."""
    events = content["traceEvents"]
    open_pairs: Counter[tuple[str, str, int]] = Counter()
    work = defaultdict(list)
    for event in events:
        assert KEYS[event["ph"]] <= event.keys()
        if event["ph"] != "M":
            assert event["ts"] >= 0
        if event["ph"] in "be":
            step = 1 if event["ph"] == "b" else -1
            open_pairs[event["cat"], event["name"], event["id"]] += step
        if event["ph"] == "X":
            assert event["dur"] >= 0
            work[event["tid"]].append((event["ts"], event["ts"] + event["dur"]))
    assert not any(open_pairs.values())
    for spans in work.values():
        spans.sort()
        for (_, end), (begin, _) in pairwise(spans):
            assert begin >= end - 0.001  # work of one thread never overlaps
    return Counter(event["ph"] for event in events)
