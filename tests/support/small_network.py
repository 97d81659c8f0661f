"""The shipped network for squares of 96 px: where a test needs a real one, but not its findings."""

import shutil
import tempfile
from functools import cache
from pathlib import Path

from qlumen.networks.bundle import find_bundle, read_bundle

SIDE = 96
OUT = Path(__file__).parents[2] / "out"


@cache
def small_network() -> str:
    """The setting that chooses it. Made once, in a few seconds, for all later runs of the tests."""
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
