"""Judges SOURCE into OUTPUT by WORKERS on two simulated computers, and takes one away at work."""

import os
import sys
import time
from pathlib import Path
from threading import Thread

os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # every port on loopback

from ray.cluster_utils import Cluster

from qlumen.realtime.cli import commands


def main(source: str, output: str, workers: str) -> None:
    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False}
    )
    other = cluster.add_node(num_cpus=1)

    def take_away() -> None:
        while not list(Path(output).glob("recordings/*/*.parquet")):
            time.sleep(0.05)
        cluster.remove_node(other, allow_graceful=False)
        print("removed a node", flush=True)

    Thread(target=take_away, daemon=True).start()
    words = ["archive", source, "--output", output, "--workers", workers]
    commands.main([*words, "--address", cluster.address], standalone_mode=False)


main(*sys.argv[1:])
