"""Sends each new lesion of live video to a program of your own, here a text file.

python examples/own_sink.py SOURCE OUTPUT.txt SECONDS
"""

import sys
from pathlib import Path

import qlumen


def main(source: str, output: str, seconds: str) -> None:
    with qlumen.live(source) as video, Path(output).open("w") as file:
        known = set()
        for frame in video:
            for track in frame.tracks:
                if track.alarm and track.number not in known:
                    known.add(track.number)
                    file.write(f"{frame.time_s:.2f} lesion {track.number} {track.finding.box}\n")
                    file.flush()
            if frame.time_s >= float(seconds):
                break
    print(f"{len(known)} lesions, {video.dropped} frames passed unseen")


main(*sys.argv[1:])
