"""Makes a pandas table of the lesions of a recording.

python examples/events.py RECORDING OUTPUT.csv
"""

import sys

import pandas as pd

import qlumen


def main(recording: str, output: str) -> None:
    rows = [
        {
            "lesion": track.number,
            "time_s": frame.time_s,
            "score": track.finding.score,
            "area_share": track.finding.area_px / (frame.size[0] * frame.size[1]),
        }
        for frame in qlumen.replay(recording)
        for track in frame.tracks
        if track.alarm and track.seen
    ]
    table = pd.DataFrame(rows, columns=["lesion", "time_s", "score", "area_share"])
    lesions = table.groupby("lesion").agg(
        first_s=("time_s", "min"), last_s=("time_s", "max"), frames=("time_s", "size"),
        best_score=("score", "max"), largest_share=("area_share", "max"),
    )  # fmt: skip
    lesions.to_csv(output)
    print(lesions.to_string() if len(lesions) else "no lesions")


main(*sys.argv[1:])
