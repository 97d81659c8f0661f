"""Compares what two bundles find in one recording.

python examples/own_model.py BUNDLE RECORDING
"""

import sys

import numpy as np

import qlumen


def main(bundle: str, recording: str) -> None:
    with qlumen.load(bundle) as own, qlumen.load() as shipped:
        pairs = zip(qlumen.replay(recording, own), qlumen.replay(recording, shipped), strict=True)
        both = [(one.mask.any(), other.mask.any()) for one, other in pairs]
    mine, theirs = np.array(both).T
    print(f"{len(both)} frames; with a finding: {mine.sum()} by {bundle}, {theirs.sum()} shipped")
    print(f"frames in which only one of them has a finding: {(mine != theirs).sum()}")


main(*sys.argv[1:])
