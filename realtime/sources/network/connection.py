"""Runs one connection to a camera or a stream: opens, reads and decodes in its own thread.

FFmpeg cannot be interrupted while it connects or waits for data. The thread that waits for frames
can be interrupted and goes on immediately. The connection's thread ends after FFmpeg's time-out.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace

import av
from av.codec.context import Flags

from qlumen.errors import SourceError
from qlumen.realtime.pixels.base import Pixels
from qlumen.realtime.sources.base import SourceInfo
from qlumen.realtime.sources.ffmpeg.addresses import Address
from qlumen.realtime.sources.ffmpeg.completeness import mean_rate
from qlumen.realtime.sources.ffmpeg.decoding import Decoding
from qlumen.realtime.sources.ffmpeg.opening import no_answer, open_address, video_stream
from qlumen.realtime.sources.network.srt_reader import Relay, needs_relay
from qlumen.system.threads import start

WAITING_FRAMES = 2
"""Decoded frames that nobody has taken yet; further ones wait in the network's buffers."""


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """Holds the options for reading.

    Attributes:
        hardware: FFmpeg device type that decodes; None for the processor.
        threads: number of decoder threads for the slices of each frame; 0 for all cores.
        open_s: longest time from opening to the first frame, in seconds.
        stall_s: longest time without a frame, in seconds.
    """

    hardware: str | None
    threads: int
    open_s: float
    stall_s: float


@dataclass(frozen=True, slots=True, eq=False)
class ReceivedFrame:
    """Holds a frame that has arrived.

    Attributes:
        pixels: pixels from the decoder, with their BGR converted.
        source_s: the source's own time stamp in seconds.
        arrived_ns: monotonic time when `pixels` and their BGR were complete.
        damaged: whether some of its data was missing or wrong.
    """

    pixels: Pixels
    source_s: float
    arrived_ns: int
    damaged: bool


class Reception:
    """Opens immediately, posts a `ReceivedFrame` for each frame, and at last an exception.

    Attributes:
        info: description, set before the first post; its notes grow.
        decode_errors: number of packets so far that could not be decoded.

    Args:
        post: function that takes this reception and its item, in the reception's thread.
    """

    def __init__(
        self,
        address: Address,
        options: ReadOptions,
        post: Callable[["Reception", ReceivedFrame | BaseException], None],
    ) -> None:
        self.info = SourceInfo(address.shown, None, None, None, None)
        self.decode_errors = 0
        self._address, self._options, self._post = address, options, post
        self._room = threading.Semaphore(WAITING_FRAMES)
        self._abandoned = self._posted = False
        self._relay: Relay | None = None
        self._thread = start("receive", self._run)

    def acknowledge(self) -> None:
        """Ask for one more frame; call this for each frame that was posted."""
        self._room.release()

    def silence_error(self) -> SourceError:
        """Return the error for a reception that has posted nothing for too long."""
        if self._posted:
            return self._stall_error()
        return no_answer(self._address.shown, self._options.open_s)

    def abandon(self, wait_s: float) -> None:
        """Post nothing more; wait up to `wait_s` seconds until the connection is closed."""
        self._abandoned = True
        self._room.release()
        if self._relay is not None:
            self._relay.end()
        self._thread.join(wait_s)

    def _run(self) -> None:
        try:
            with ExitStack() as stack:
                self._receive(stack)
            raise SourceError(f"{self._address.shown} has ended")
        except BaseException as error:  # noqa: BLE001 - passed to the reading thread
            if not self._abandoned:
                self._post(self, error)

    def _receive(self, stack: ExitStack) -> None:
        container = stack.enter_context(self._open(stack))
        stream = video_stream(container, self._address.shown)
        # Threads that decode whole frames side by side would each hold one back.
        stream.thread_type = "SLICE"
        stream.codec_context.thread_count = self._options.threads
        stream.codec_context.flags |= Flags.low_delay
        self.info = replace(self.info, fps=mean_rate(stream))
        decoding = Decoding(stream, self.info.fps, self._note, self._note_failure)
        for frame, pixels in decoding.frames(self._packets(container, stream)):
            pixels.bgr()  # convert here, so that the display never waits
            source_s, now_ns = float(frame.pts * frame.time_base), time.monotonic_ns()
            received = ReceivedFrame(pixels, source_s, now_ns, frame.is_corrupt)
            self._room.acquire()
            if self._abandoned:
                return
            self._posted = True
            self._post(self, received)

    def _open(self, stack: ExitStack) -> av.container.InputContainer:
        options = self._options
        relay = None
        if needs_relay(self._address):
            self._relay = relay = stack.enter_context(Relay(self._address, options.open_s))
        if self._abandoned:
            raise SourceError(f"{self._address.shown} is no longer wanted")
        return open_address(self._address, options.hardware, options.open_s, options.stall_s, relay)

    def _packets(
        self, container: av.container.InputContainer, stream: av.video.stream.VideoStream
    ) -> Iterator[av.Packet | None]:
        """Yield the stream's packets, and None at the end to flush the decoder."""
        error: av.error.FFmpegError | None = None
        try:
            for packet in container.demux(stream):
                if self._abandoned:
                    return
                if packet.size:
                    yield packet
        except av.error.FFmpegError as caught:
            error = caught
        yield None
        if isinstance(error, av.error.ExitError):
            raise self._stall_error() from error
        if error is not None:
            raise SourceError(f"{self._address.shown} was cut off: {error.strerror}") from error

    def _note_failure(self, error: av.error.FFmpegError) -> None:
        self.decode_errors += 1

    def _note(self, text: str) -> None:
        if text not in self.info.notes:
            self.info = replace(self.info, notes=(*self.info.notes, text))

    def _stall_error(self) -> SourceError:
        shown, seconds = self._address.shown, self._options.stall_s
        return SourceError(f"{shown} has sent no frame for {seconds:g} s")
