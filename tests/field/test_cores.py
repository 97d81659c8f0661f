"""A process takes no more threads than it may run: containers have less than the machine."""

import math
import os
import sys
from fractions import Fraction
from pathlib import Path

import pytest

from qlumen.realtime.engines.openvino import CpuOptions
from qlumen.realtime.sinks.h264 import Encoding, H264Writer, Muxing
from qlumen.system.machine import cpu_quota, limited_cores, usable_cores

VERSION_2 = "0::/kubepods/pod7/main\n"
VERSION_1 = "9:name=systemd:/docker/a\n6:cpuset:/docker/a\n3:cpu,cpuacct:/docker/a\n0::/\n"


def write_group(folder: Path, **values: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in values.items():
        (folder / name.replace("_", ".", 1)).write_text(f"{value}\n")


def test_the_least_quota_of_version_2_counts(tmp_path: Path) -> None:
    """The quota of a container and of all groups around it holds (ollama/ollama #17916,
    springfall2008/batpred #4771).
    """
    write_group(tmp_path, cpuset_cpus="0-11")
    write_group(tmp_path / "kubepods", cpu_max="800000 100000")
    write_group(tmp_path / "kubepods/pod7", cpu_max="250000 100000")
    write_group(tmp_path / "kubepods/pod7/main", cpu_max="max 100000")
    assert cpu_quota(VERSION_2, tmp_path) == 2.5
    assert cpu_quota("0::/kubepods\n", tmp_path) == 8
    assert cpu_quota("0::/\n", tmp_path) == math.inf


def test_version_1_and_a_container_that_sees_its_own_group_only(tmp_path: Path) -> None:
    """In a container the file names a group of the host, and the quota lies at the root
    (springfall2008/batpred #4771).
    """
    write_group(tmp_path / "cpu,cpuacct", cpu_cfs_quota_us="50000", cpu_cfs_period_us="100000")
    assert cpu_quota(VERSION_1, tmp_path) == 0.5
    write_group(tmp_path / "cpu,cpuacct", cpu_cfs_quota_us="-1")
    assert cpu_quota(VERSION_1, tmp_path) == math.inf
    assert cpu_quota("", tmp_path) == math.inf


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has an affinity")
def test_the_encoder_runs_on_the_cores_it_may_use(tmp_path: Path) -> None:
    """With `taskset` or `--cpuset-cpus` the encoder has one thread for each core that it may
    use (ollama/ollama #17916).
    """
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert usable_cores() == limited_cores() == 1
        assert CpuOptions().properties()["INFERENCE_NUM_THREADS"] == 1
        with (tmp_path / "a.mp4").open("wb") as file:
            base = Fraction(1, 25)
            writer = H264Writer(
                file, Muxing.mp4(base), Encoding(20, "ultrafast"), (64, 64), base, Fraction(25)
            )
            threads = writer._stream.codec_context.thread_count
            writer.abandon()
    finally:
        os.sched_setaffinity(0, before)
    assert threads == 1
    assert 1 <= usable_cores() <= len(before)
