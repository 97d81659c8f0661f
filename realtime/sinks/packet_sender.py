"""Passes packets on to the network in a separate process.

`python -m qlumen.realtime.sinks.packet_sender SECONDS FORMAT URL [NAME=VALUE ...]` reads H.264 in
NUT from its standard input and sends it, unchanged, as FORMAT to URL. The pairs are FFmpeg's
options. It writes a dot to the standard output for each packet that it sends.

FFmpeg can wait on a network without end and cannot be interrupted, but a process can be ended.
This process ends when nothing can be sent for SECONDS, so it does not outlive a killed parent.
Another error is one line on the standard error, with exit code 1.
"""

import os
import signal
import sys

import av


def relay(seconds: int, format_name: str, url: str, options: dict[str, str]) -> None:
    """Pass on packets until the standard input ends; SIGALRM ends a wait of `seconds`."""
    reading = {"probesize": "32", "analyzeduration": "0"}
    with (
        av.open("pipe:0", format="nut", container_options=reading) as incoming,
        av.open(url, "w", format=format_name, container_options=options) as outgoing,
    ):
        stream = outgoing.add_stream_from_template(incoming.streams.video[0])
        for packet in incoming.demux(video=0):
            if packet.size:
                packet.stream = stream
                signal.alarm(seconds)
                outgoing.mux(packet)
                signal.alarm(0)
                os.write(sys.stdout.fileno(), b".")
        signal.alarm(seconds)


def main() -> int:
    seconds, format_name, url, *options = sys.argv[1:]
    try:
        relay(int(seconds), format_name, url, dict(option.split("=", 1) for option in options))
    except (OSError, av.error.FFmpegError) as error:
        print(error.strerror, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
