"""Gives the recordings of an archive to the workers of a Ray cluster, and takes what they say."""

import logging
import os
import re
import socket
import tempfile
import time
from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # Ray reads it when it is imported

import ray
from ray.exceptions import RayError, RayTaskError

from qlumen.errors import UsageError, WorkerError
from qlumen.realtime.archive.cores import take_cores
from qlumen.realtime.archive.folder import ArchiveFolder, Entry
from qlumen.realtime.archive.judge import LOG_LETTERS, Job, judge
from qlumen.realtime.archive.recordings import Recording
from qlumen.system.machine import usable_cores

TRIES = 3
"""Attempts on one recording."""
SAVE_S = 10.0
"""Time between two writes of the manifest."""
HOST, CONNECT_S = re.compile(r"([^:/]+):(\d+)"), 5.0
"""Ray itself waits for minutes where nothing answers."""


@contextmanager
def cluster(address: str | None) -> Iterator[None]:
    """Join the Ray cluster at `address`, or start one on this computer for the block alone.

    One that is started here takes connections from this computer alone, and asks for Ray's token.

    Raises:
        UsageError: there is no cluster at the address.
    """
    with tempfile.TemporaryDirectory(prefix="qlumen-ray-", ignore_cleanup_errors=True) as scratch:
        start: dict[str, Any] = {"address": address or "local"}
        if address is None:
            start |= {"num_cpus": usable_cores(), "include_dashboard": False}
            start |= {"_node_ip_address": "127.0.0.1", "_temp_dir": scratch}
        try:
            if address and (host := HOST.fullmatch(address)):
                socket.create_connection((host[1], int(host[2])), CONNECT_S).close()
            ray.init(**start, log_to_driver=False, logging_level=logging.ERROR)
        except (OSError, RuntimeError, ValueError) as error:
            raise UsageError(f"no Ray cluster at {start['address']}: {_line(error)}") from error
        try:
            yield
        finally:
            ray.shutdown()


def judge_all(
    folder: ArchiveFolder,
    job: Job,
    recordings: Sequence[Recording],
    workers: int | None = None,
    cpus: int | None = None,
) -> Iterator[tuple[Recording, Entry]]:
    """Judge recordings in their order; yield each with what became of it.

    Only files of the same size can be the same file, so these are judged one after the other.
    A recording that fails is tried again, then set aside. All is in the folder's entries, and now
    and then in its manifest.

    Args:
        workers: recordings at once; None: one a core.
        cpus: cores of each; None: an equal share, of one computer.

    Raises:
        UsageError: the cluster has fewer cores than workers.
        WorkerError: no recording can be judged any more.
    """
    nodes = [one["Resources"] for one in ray.nodes() if one["Alive"]]
    cores, gpus = ([int(one.get(kind, 0)) for one in nodes] for kind in ("CPU", "GPU"))
    count = workers or sum(cores)
    if not 0 < count <= sum(cores):
        raise UsageError(f"{count} workers need as many cores; the cluster has {sum(cores)}")
    task = ray.remote(_judge).options(
        num_cpus=cpus or min(sum(cores) // count, max(cores)),
        num_gpus=min(1.0, sum(gpus) / count),
        max_retries=0,
        scheduling_strategy="SPREAD",
    )
    waiting: dict[int | str, deque[Recording]] = defaultdict(deque)
    for one in recordings:
        waiting[one.bytes or one.name].append(one)
    ready = deque(queue.popleft() for queue in waiting.values())
    running: dict[ray.ObjectRef, Recording] = {}
    tries: Counter[str] = Counter()
    saved_s = time.monotonic()
    try:
        shared = ray.put(job)
        while ready or running:
            while ready and len(running) < count:
                one = ready.popleft()
                running[task.remote(shared, one)] = one
            ref = ray.wait(list(running))[0][0]
            one = running.pop(ref)
            entry = _result(ref, one)
            tries[one.name] += 1
            if entry.error and tries[one.name] < TRIES:
                ready.append(one)
                continue
            folder.entries[one.name] = entry
            if queue := waiting[one.bytes or one.name]:
                ready.append(queue.popleft())
            if time.monotonic() - saved_s > SAVE_S:
                folder.save()
                saved_s = time.monotonic()
            yield one, entry
    except RayError as error:
        raise WorkerError(f"the Ray cluster ended: {_line(error)}; run again to go on") from error


def _judge(job: Job, recording: Recording) -> Entry:
    given = ray.get_runtime_context().get_assigned_resources()
    threads = max(1, int(given.get("CPU", 1)))
    take_cores(threads)
    return judge(job, recording, threads)


def _result(ref: ray.ObjectRef, recording: Recording) -> Entry:
    try:
        entry: Entry = ray.get(ref)
    except RayTaskError as error:
        raise WorkerError(f"{error.cause}; repair this, and run again to go on") from error
    except RayError as error:  # the worker or its computer ended
        text = f"its worker ended: {_line(error)}"
        log = str(error)[-LOG_LETTERS:]
        return Entry(recording.bytes, recording.stamp, "", text, log)
    return entry


def _line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
