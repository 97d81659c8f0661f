"""Nothing that somebody still reads is handed out again; nothing else is made anew."""

import threading
import tracemalloc
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction

import av
import numpy as np
import openvino as ov
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from qlumen.realtime.frame_pool import FramePool

SHAPE = (4, 6, 3)
STEPS = st.lists(st.one_of(st.none(), st.integers(0, 9)), max_size=40)
"""None takes an array; a number drops one of those held."""


def address(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]


def owner(array: np.ndarray) -> weakref.ref:
    return weakref.ref(array.base)


@contextmanager
def traced_bytes() -> Iterator[Callable[[], int]]:
    """What Python and NumPy have allocated since the beginning, and not given back."""
    tracemalloc.start()
    try:
        yield lambda: tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()


def test_array_is_uint8_contiguous_and_writable() -> None:
    """What comes out is like a fresh array, whatever was done to the last holder's view."""
    pool = FramePool()
    for _ in range(2):
        array = pool.take(SHAPE)
        assert (array.shape, array.dtype) == (SHAPE, np.uint8)
        assert array.flags.c_contiguous
        assert array.flags.writeable
        array.flags.writeable = False
        del array


@given(STEPS, st.integers(0, 4))
def test_held_arrays_are_apart_and_no_more_are_used_than_were_held_at_once(
    steps: list[int | None], prepared: int
) -> None:
    """However takes and drops follow each other, all held arrays keep what was written."""
    pool, held, seen, most = FramePool(prepared), [], set(), 0
    for number, step in enumerate(steps):
        if step is None:
            array = pool.take(SHAPE)
            array[:] = number
            held.append((number, array))
            seen.add(address(array))
            del array
        elif held:
            del held[step % len(held)]
        most = max(most, len(held))
        assert all((array == written).all() for written, array in held)
    assert len(seen) == most


@pytest.mark.parametrize(("idle_pictures", "made"), [(9, 5), (3, 3), (0, 1)])
def test_prepared_arrays_are_made_with_the_first(idle_pictures: int, made: int) -> None:
    """Those after it cost no memory until more are held at once than were prepared."""
    shape, picture = (100, 100, 3), 30_000
    pool = FramePool(prepared=5, idle_bytes=idle_pictures * picture)
    with traced_bytes() as bytes_now:
        held = [pool.take(shape)]
        assert bytes_now() // picture == made
        held += [pool.take(shape) for _ in range(made - 1)]
        assert bytes_now() // picture == made
        held.append(pool.take(shape))
        assert bytes_now() // picture == made + 1


HOLDERS: dict[str, Callable[[np.ndarray], object]] = {
    "slice": lambda array: array[1:, 2],
    "view of views": lambda array: array[1:].transpose(1, 0, 2)[::-1, :, 1],
    "reshaped": lambda array: array.reshape(-1)[5:],
    "read-only view": lambda array: np.broadcast_to(array, (2, *SHAPE)),
    "strided": lambda array: np.lib.stride_tricks.as_strided(array, (2, 2), (1, 1)),
    "iterator": iter,
    "memoryview": lambda array: memoryview(array).cast("B")[3:9],
    "buffer": lambda array: np.frombuffer(memoryview(array), np.uint8)[1:],
    "dlpack": np.from_dlpack,
    "torch": lambda array: torch.from_numpy(array)[1:],
    "video frame": lambda array: av.VideoFrame.from_numpy_buffer(array, format="bgr24"),
    "tensor": lambda array: ov.Tensor(array[None], shared_memory=True),
    "tensor's array": lambda array: ov.Tensor(array, shared_memory=True).data,
}


@pytest.mark.parametrize("hold", HOLDERS.values(), ids=HOLDERS)
def test_anything_that_shares_the_memory_holds_it(hold: Callable[[np.ndarray], object]) -> None:
    """The array comes back after its last holder has gone, and not before."""
    pool = FramePool()
    array = pool.take(SHAPE)
    first = address(array)
    holder = hold(array)
    del array
    assert address(pool.take(SHAPE)) != first
    del holder
    taken = [pool.take(SHAPE) for _ in range(2)]
    assert first in map(address, taken)


def test_pictures_in_an_encoder_are_held() -> None:
    """Those that its threads still wait for are not written over: a lossless codec gives
    each back as it went in."""
    pool, encoder = FramePool(), av.CodecContext.create("ffvhuff", "w")
    encoder.width, encoder.height, encoder.pix_fmt = 16, 16, "yuv420p"
    encoder.time_base = Fraction(1, 25)
    encoder.thread_count, encoder.thread_type = 4, "FRAME"
    packets: list[av.Packet] = []
    for number in range(12):
        planes = pool.take((24, 16))
        planes[:] = 10 * number
        packets += encoder.encode(av.VideoFrame.from_numpy_buffer(planes, format="yuv420p"))
        del planes
    packets += encoder.encode(None)
    decoder = av.CodecContext.create("ffvhuff", "r")
    decoder.extradata = encoder.extradata
    decoder.width, decoder.height, decoder.pix_fmt = 16, 16, "yuv420p"
    decoded = [frame.to_ndarray() for packet in packets for frame in decoder.decode(packet)]
    assert [int(image[0, 0]) for image in decoded] == [10 * number for number in range(12)]
    assert all((image == image[0, 0]).all() for image in decoded)


def test_another_shape_drops_what_is_free_and_leaves_what_is_held() -> None:
    """Frames of a new size cost no memory of the old one."""
    pool = FramePool()
    held, free = pool.take(SHAPE), pool.take(SHAPE)
    held[:] = 7
    owners = owner(held), owner(free)
    del free
    pool.take((2, 2, 3))[:] = 1
    assert owners[0]() is not None
    assert owners[1]() is None
    assert (held == 7).all()


def test_free_arrays_beyond_the_bound_are_dropped() -> None:
    """After a burst of six only the one in use and the two that may be idle stay."""
    pool = FramePool(prepared=1, idle_bytes=2 * 72)
    taken = [pool.take(SHAPE) for _ in range(6)]
    owners = [owner(array) for array in taken]
    taken.clear()
    again = pool.take(SHAPE)
    assert sum(one() is not None for one in owners) == 3
    assert any(again.base is one() for one in owners)


def test_threads_never_share_an_array() -> None:
    """Four threads that take, write, wait and read find what they wrote."""
    pool, spoilt = FramePool(), []

    def work(number: int) -> None:
        for _ in range(300):
            kept = [pool.take((8, 8)) for _ in range(3)]
            for array in kept:
                array[:] = number
            spoilt.extend(array for array in kept if (array != number).any())

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not spoilt
