"""Receives a session's events in a process of its own, with nothing but the standard library.

    python bench/support/receivers.py mqtt|webhook|igtl PORT FILE [KILLS [alone]]

Each event is a line of FILE, which the system has before the sender hears that it came. A line `#`
begins a connection. With KILLS it runs the receiver in another process, kills that by SIGKILL so
often, each time after something came, or, `alone`, after the time that this mostly takes, prints a
line, and ends with its input. `mqtt` is mosquitto, with `m.conf` beside FILE, and needs KILLS.
"""

import os
import random
import socket
import struct
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

HOST = "127.0.0.1"
HEADER = struct.Struct(">H12s20sQQQ")
"""Header of OpenIGTLink: version, type, device, time stamp, length of the body, CRC."""
TEXT_HEAD = struct.Struct(">HH")
LOOK_S = 0.02
ALONE_S = 1.0


def main() -> None:
    name, port, path, *kills = sys.argv[1:]
    if kills:
        kill_often(name, port, path, int(kills[0]), alone=len(kills) > 1)
        return
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    {"webhook": serve_posts, "igtl": follow_strings}[name](int(port), file)


def kill_often(name: str, port: str, path: str, kills: int, *, alone: bool) -> None:
    command = [sys.executable, "-S", __file__, name, port, path]
    if name == "mqtt":
        command = ["mosquitto", "-c", os.path.join(os.path.dirname(path), "m.conf")]  # noqa: PTH118, PTH120
    for left in range(kills, -1, -1):
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        if not left:
            print("done", flush=True)
            sys.stdin.read()
        else:
            before = size_of(path)
            if alone:
                time.sleep(ALONE_S)
            while not alone and size_of(path) == before:
                time.sleep(LOOK_S)
            time.sleep(random.uniform(0.0, 0.5))
        process.kill()
        process.wait()
        time.sleep(random.uniform(0.0, 0.3))


def size_of(path: str) -> int:
    return os.stat(path).st_size if os.path.exists(path) else 0  # noqa: PTH110, PTH116


def serve_posts(port: int, file: int) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            os.write(file, self.rfile.read(int(self.headers["Content-Length"])) + b"\n")
            self.send_response(204)
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            """Say nothing."""

    HTTPServer((HOST, port), Handler).serve_forever()


def follow_strings(port: int, file: int) -> None:
    connection = connect(port)
    os.write(file, b"#\n")
    with connection.makefile("rb") as stream:
        while head := stream.read(HEADER.size):
            _, kind, _, _, length, _ = HEADER.unpack(head)
            body = stream.read(length)
            if kind.rstrip(b"\0") == b"STRING":
                os.write(file, body[TEXT_HEAD.size :] + b"\n")


def connect(port: int) -> socket.socket:
    while True:
        try:
            return socket.create_connection((HOST, port))
        except OSError:
            time.sleep(0.05)


if __name__ == "__main__":
    main()
