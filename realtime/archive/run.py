"""Gives the recordings of an archive to the workers of a Ray cluster, and takes what they say."""

import logging
import os
import re
import socket
import tempfile
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # Ray reads it when it is imported

import ray
from ray.exceptions import RayError

from qlumen.errors import UsageError, WorkerError
from qlumen.realtime.archive.folder import ArchiveFolder
from qlumen.realtime.archive.judge import Job, Outcome, judge
from qlumen.realtime.archive.recordings import Recording
from qlumen.system.machine import usable_cores

MOST_ERRORS, MOST_CRASHES = 2, 5
"""Attempts on one recording that end with an error, or with the end of its worker."""
SAVE_S = 10.0
"""Time between two writes of the manifest."""
POLL_S = 1.0
HOST, CONNECT_S = re.compile(r"([^:/]+):(\d+)"), 5.0
"""Ray itself waits for minutes where nothing answers."""
Tell = Callable[[Recording, Outcome], None]


@dataclass(frozen=True, slots=True)
class Workers:
    """Says how many recordings are judged at once, and what each gets of the cluster."""

    count: int
    cpus: int
    gpus: float


@contextmanager
def cluster(address: str | None, count: int | None) -> Iterator[Workers]:
    """Join the Ray cluster at `address`, or start one on this computer for the block alone.

    One that is started here takes connections from this computer alone, and asks for Ray's token.

    Args:
        count: number of workers; None: one a core.

    Raises:
        UsageError: there is no cluster at the address, or it has fewer cores than workers.
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
            has = ray.cluster_resources()
            cores, gpus = int(has.get("CPU", 0)), has.get("GPU", 0.0)
            number = count or cores
            if not 0 < number <= cores:
                raise UsageError(f"{number} workers need as many cores; the cluster has {cores}")
            yield Workers(number, cores // number, min(1.0, gpus / number))
        finally:
            ray.shutdown()


def judge_all(
    folder: ArchiveFolder, job: Job, recordings: Sequence[Recording], workers: Workers, tell: Tell
) -> None:
    """Judge recordings, the largest first, and keep the manifest of the folder.

    Only files of the same size can be the same file, so these are judged one after the other.
    A recording that fails is tried again, then set aside.

    Args:
        tell: called with each recording and what became of it.

    Raises:
        WorkerError: the cluster ended.
    """
    task = ray.remote(_judge).options(
        num_cpus=workers.cpus, num_gpus=workers.gpus, max_retries=0, scheduling_strategy="SPREAD"
    )
    waiting: dict[int, deque[Recording]] = defaultdict(deque)
    for one in recordings:
        waiting[one.bytes].append(one)
    ready = deque(queue.popleft() for queue in waiting.values())
    running: dict[ray.ObjectRef, Recording] = {}
    errors: Counter[str] = Counter()
    crashes: Counter[str] = Counter()
    saved = time.monotonic()
    shared = ray.put(job)
    try:
        while ready or running:
            while ready and len(running) < workers.count:
                one = ready.popleft()
                running[task.remote(shared, one)] = one
            done, _ = ray.wait(list(running), timeout=POLL_S)
            for ref in done:
                one = running.pop(ref)
                outcome, crashed = _result(ref)
                tally, most = (crashes, MOST_CRASHES) if crashed else (errors, MOST_ERRORS)
                tally[one.name] += bool(outcome.error)
                if outcome.error and tally[one.name] < most:
                    ready.append(one)
                    continue
                folder.note(one, outcome)
                tell(one, outcome)
                if waiting[one.bytes]:
                    ready.append(waiting[one.bytes].popleft())
            if time.monotonic() - saved > SAVE_S:
                folder.save()
                saved = time.monotonic()
    except RayError as error:
        raise WorkerError(f"the Ray cluster ended: {_line(error)}; run again to go on") from error
    finally:
        for ref in running:
            ray.cancel(ref, force=True)
        folder.save()


def _judge(job: Job, recording: Recording) -> Outcome:
    given = ray.get_runtime_context().get_assigned_resources()
    return judge(job, recording, max(1, int(given.get("CPU", 1))))


def _result(ref: ray.ObjectRef) -> tuple[Outcome, bool]:
    """Return what a task says, and whether its worker ended before it said anything."""
    try:
        return ray.get(ref), False
    except RayError as error:
        return Outcome(error=f"its worker ended: {_line(error)}", log=str(error)[-2000:]), True


def _line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
