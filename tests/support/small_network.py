"""Makes the shipped network smaller, for tests that do not need its findings."""

import shutil
import tempfile
from functools import cache
from pathlib import Path

from qlumen.networks.bundle import find_bundle, read_bundle

SIDE = 96
OUT = Path(__file__).parents[2] / "out"


@cache
def small_network() -> str:
    """Return the setting that chooses it; the bundle is made once for all later test runs."""
    source = read_bundle(find_bundle())
    folder = OUT / f"test-network-{source.sha256[:12]}-{SIDE}"
    if not folder.exists():
        from qlumen.networks.deploy import resize_bundle

        OUT.mkdir(exist_ok=True)
        made = Path(tempfile.mkdtemp(dir=OUT))
        resize_bundle(source, made, SIDE)
        try:
            made.replace(folder)
        except OSError:  # another process was faster
            shutil.rmtree(made)
    return f"model.bundle={folder}"
