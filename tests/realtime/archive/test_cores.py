"""Checks that workers of one computer get cores of their own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

WORKER = """
import os, sys
from qlumen.realtime.archive.cores import take_cores
take_cores(int(sys.argv[1]))
print(*sorted(os.sched_getaffinity(0)), flush=True)
sys.stdin.read()
"""
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux says where it runs")


def _start(count: int, temporary: Path) -> tuple[subprocess.Popen[str], set[int]]:
    worker = subprocess.Popen(
        [sys.executable, "-c", WORKER, str(count)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"TMPDIR": str(temporary)},
    )
    assert worker.stdout
    return worker, set(map(int, worker.stdout.readline().split()))


def test_cores_are_shared_out_and_come_back_after_a_kill(tmp_path: Path) -> None:
    """A worker too many runs where it may, and a killed one gives its core back."""
    usable = os.sched_getaffinity(0)
    workers, taken = [], []
    try:
        for _ in range(len(usable)):
            worker, cores = _start(1, tmp_path)
            workers.append(worker)
            taken.append(cores)
        if len(usable) > 1:
            assert all(len(cores) == 1 for cores in taken)
            assert set.union(*taken) == usable
        late, cores = _start(1, tmp_path)
        workers.append(late)
        assert cores == usable
        workers[0].kill()
        workers[0].wait()
        after, cores = _start(1, tmp_path)
        workers.append(after)
        assert cores == taken[0]
    finally:
        for worker in workers:
            worker.kill()
            worker.communicate()


def test_worker_runs_where_locks_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / f"qlumen-cores-{os.getuid()}").write_text("no folder")
    worker, cores = _start(1, tmp_path)
    worker.kill()
    worker.communicate()
    assert cores == os.sched_getaffinity(0)


def test_worker_of_all_cores_stays_on_them(tmp_path: Path) -> None:
    usable = os.sched_getaffinity(0)
    worker, cores = _start(len(usable), tmp_path)
    worker.kill()
    worker.communicate()
    assert cores == usable
