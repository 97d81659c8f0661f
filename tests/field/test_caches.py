"""A cache that cannot be written costs time at the start, and nothing else."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

RUN_A_KERNEL = """
import sys, resource
import numpy as np
if sys.argv[1] == "full":
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))  # each write fails, as on a full disk
from qlumen.kernels.jit import CACHED, kernel
double = kernel(lambda a: a + a)
assert double(np.ones(3, np.float32)).sum() == 6
print(CACHED)
"""


@pytest.mark.parametrize(("place", "kept"), [("full", "True"), ("missing", "False")])
def test_kernels_run_without_a_cache(place: str, kept: str, tmp_path: Path) -> None:
    """On a full disk, and in a container whose home and packages are read-only, kernels are
    compiled at each start (birdnet-team/BirdNET-V1 #23).
    """
    script = tmp_path / "run.py"
    script.write_text(RUN_A_KERNEL)
    cache = tmp_path / "cache" if place == "full" else Path("/dev/null/cache")
    done = subprocess.run(
        [sys.executable, str(script), place],
        env={**os.environ, "QLUMEN_CACHE": str(cache), "NUMBA_CACHE_DIR": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout.split()) == (0, [kept]), done.stderr
    assert not [file for file in tmp_path.rglob("*") if file.suffix.startswith(".nb")]
