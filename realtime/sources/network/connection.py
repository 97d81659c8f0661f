"""Runs one connection to a camera or a stream: opens and decodes in one thread, reads in another.

FFmpeg cannot be interrupted while it connects or waits for data. The thread that waits for frames
can be interrupted and goes on immediately. The connection's thread ends after FFmpeg's time-out.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace

import av
from av.codec.codec import Properties
from av.codec.context import Flags
from av.format import Flags as FormatFlags

from qlumen.errors import SourceError
from qlumen.realtime.config.source import Deinterlace
from qlumen.realtime.pixels.base import Pixels
from qlumen.realtime.sources.base import SourceInfo
from qlumen.realtime.sources.ffmpeg.addresses import Address
from qlumen.realtime.sources.ffmpeg.aspect import pixel_aspect
from qlumen.realtime.sources.ffmpeg.completeness import mean_rate
from qlumen.realtime.sources.ffmpeg.decoding import Decoding
from qlumen.realtime.sources.ffmpeg.opening import (
    is_playlist,
    no_answer,
    open_address,
    other_streams_note,
    video_stream,
)
from qlumen.realtime.sources.ffmpeg.timestamps import time_line
from qlumen.realtime.sources.network.pace import Pace
from qlumen.realtime.sources.network.packet_queue import PacketQueue
from qlumen.realtime.sources.network.srt_reader import Relay, needs_relay
from qlumen.system.threads import start

WAITING_FRAMES = 2
"""Decoded frames that nobody has taken yet; further packets wait in a `PacketQueue`."""
KEPT_TIMES = 1024
"""Packets whose time of arrival is known until their frame is decoded."""
WRAPPED = "wrapped_avframe"
"""Codec of FFmpeg's devices that give frames and no stream, as `lavfi`."""
DECODE_ERROR, DECODE_LATE, OUT_OF_ORDER = "decode_error", "decode_late", "out_of_order"
"""Causes of drops: packets that could not be decoded, or not soon enough, and frames that stepped
back in time."""


class _SilenceError(Exception):
    """Says that FFmpeg has waited too long for data."""


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """Holds the options for reading.

    Attributes:
        hardware: FFmpeg device type that decodes; None for the processor.
        threads: number of decoder threads for the slices of each frame; 0 for all cores.
        stream: number of the video stream; see `opening.video_stream`.
        deinterlace: frames to deinterlace; see `Deinterlacer`.
        open_s: longest time from opening to the first frame, in seconds.
        stall_s: longest time without a frame, in seconds.
    """

    hardware: str | None
    threads: int
    stream: int | None
    deinterlace: Deinterlace
    open_s: float
    stall_s: float


@dataclass(frozen=True, slots=True, eq=False)
class ReceivedFrame:
    """Holds a frame that has arrived.

    Attributes:
        pixels: pixels from the decoder, with their BGR converted.
        source_s: the source's own time stamp in seconds; None when it sends none.
        arrived_ns: monotonic time when `pixels` and their BGR were complete.
        damaged: whether some of its data was missing or wrong.
        held_ns: time from the arrival of its last data to `arrived_ns`; 0 where it is unknown.
    """

    pixels: Pixels
    source_s: float | None
    arrived_ns: int
    damaged: bool
    held_ns: int


class Reception:
    """Opens immediately, posts a `ReceivedFrame` for each frame, and at last an exception.

    Attributes:
        info: description, set before the first post; its notes grow.
        drops: packets and frames so far that were not posted, by cause.

    Args:
        post: function that takes this reception and its item, in the reception's thread.
        opened: container of the address that is open already; None to open it.
        after_s: the source's own time of the last frame of the connection before; see `Pace`.
    """

    def __init__(
        self,
        address: Address,
        options: ReadOptions,
        post: Callable[["Reception", ReceivedFrame | BaseException], None],
        opened: av.container.InputContainer | None = None,
        after_s: float | None = None,
    ) -> None:
        self.info = SourceInfo(address.shown, None, None, None, None)
        self.drops: Counter[str] = Counter()
        self._address, self._options, self._post = address, options, post
        self._opened, self._after_s = opened, after_s
        self._read_ns: dict[int, int] = {}
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
        except _SilenceError:
            return  # the thread that waits for frames measures it from the last frame
        except BaseException as error:  # noqa: BLE001 - passed to the reading thread
            if not self._abandoned:
                self._post(self, error)

    def _receive(self, stack: ExitStack) -> None:
        container = stack.enter_context(self._open(stack))
        pace = Pace(self._after_s) if is_playlist(container) else None
        if pace is not None and container.duration is not None:
            raise SourceError(f"{self._address.shown} has ended")
        stream = video_stream(container, self._address.shown, self._options.stream)
        if others := other_streams_note(container, stream):
            self._note(others)
        # Threads that decode whole frames side by side would each hold one back.
        stream.thread_type = "SLICE"
        stream.codec_context.thread_count = self._options.threads
        kinds = stream.codec_context.codec.properties
        if not kinds & Properties.REORDER.value:
            # Where frames are reordered, some decoders would return them in order of decoding.
            stream.codec_context.flags |= Flags.low_delay
        timed = not container.format.flags & FormatFlags.no_timestamps.value
        context = stream.codec_context
        self.info = replace(
            self.info,
            fps=mean_rate(stream) if timed else None,
            pixel_aspect=pixel_aspect(stream, (context.width, context.height)),
        )
        whole = kinds & Properties.INTRA_ONLY.value or context.codec.name == WRAPPED
        queue = PacketQueue(whole=bool(whole))
        # Closed before the container is, also after an error.
        read = self._read(self._packets(container, stream, pace), queue, whole=bool(whole))
        packets = stack.enter_context(closing(read))
        decoding = Decoding(
            stream, self.info.fps, self._note, self._note_failure,
            deinterlace=self._options.deinterlace, refused=self._note_refusal,
        )  # fmt: skip
        for frame, pixels in decoding.frames(packets):
            source_s = float(frame.pts * frame.time_base) if timed else None
            if pace is not None and pace.is_repeated(source_s):
                continue
            now_ns = time.monotonic_ns()
            held_ns = now_ns - self._read_ns.pop(frame.pts, now_ns)
            received = ReceivedFrame(pixels, source_s, now_ns, frame.is_corrupt, held_ns)
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
        if self._opened is not None:
            return self._opened
        if self._abandoned:
            raise SourceError(f"{self._address.shown} is no longer wanted")
        return open_address(self._address, options.hardware, options.open_s, options.stall_s, relay)

    def _packets(
        self,
        container: av.container.InputContainer,
        stream: av.video.stream.VideoStream,
        pace: Pace | None,
    ) -> Iterator[av.Packet | None]:
        """Yield the stream's packets, and None at the end to flush the decoder."""
        error: av.error.FFmpegError | None = None
        line = time_line(container, self.info.fps)
        try:
            for packet in container.demux(stream):
                if self._abandoned:
                    return
                if packet.size:
                    line.place(packet)
                    if pace is not None:
                        pace.wait(packet)
                    self._keep_time(packet)
                    yield packet
        except av.error.FFmpegError as caught:
            error = caught
        yield None
        if isinstance(error, av.error.ExitError):
            raise _SilenceError if self._posted else self._stall_error() from error
        if error is not None:
            raise SourceError(f"{self._address.shown} was cut off: {error.strerror}") from error

    def _read(
        self, packets: Iterator[av.Packet | None], queue: PacketQueue, *, whole: bool
    ) -> Generator[av.Packet | None]:
        """Yield the packets that another thread reads, without those that come too late."""
        ended = threading.Event()
        errors: list[BaseException] = []

        def read() -> None:
            try:
                for packet in packets:
                    dropped = queue.put(packet)
                    # Whole frames that FFmpeg read while it looked give way to the newest.
                    if self._posted or not whole:
                        self.drops[DECODE_LATE] += dropped
                    if ended.is_set():
                        return
            finally:
                queue.close()

        reader = start("read", read, on_error=errors.append)
        try:
            while (packet := queue.get()) is not None:
                yield packet
            yield None
        finally:
            ended.set()
            reader.join()
        if errors:
            raise errors[0]

    def _keep_time(self, packet: av.Packet) -> None:
        """Keep the time at which the packet was read, for the frame of the same time stamp."""
        if packet.pts is not None:
            self._read_ns[packet.pts] = time.monotonic_ns()
            if len(self._read_ns) > 2 * KEPT_TIMES:  # of packets without a frame
                for pts in list(self._read_ns)[:KEPT_TIMES]:
                    self._read_ns.pop(pts, None)

    def _note_failure(self, error: av.error.FFmpegError) -> None:
        self.drops[DECODE_ERROR] += 1

    def _note_refusal(self) -> None:
        self.drops[OUT_OF_ORDER] += 1

    def _note(self, text: str) -> None:
        if text not in self.info.notes:
            self.info = replace(self.info, notes=(*self.info.notes, text))

    def _stall_error(self) -> SourceError:
        shown, seconds = self._address.shown, self._options.stall_s
        return SourceError(f"{shown} has sent no frame for {seconds:g} s")
