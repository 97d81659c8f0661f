"""The pool gives out no array that somebody still reads, and allocates no other array again."""

import ctypes
import gc
import threading
import weakref
from collections.abc import Callable, Iterable
from fractions import Fraction

import av
import numpy as np
import psutil
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from qlumen.networks.openvino import ov
from qlumen.realtime.pixels.pool import SPARE, FramePool

SHAPE = (4, 6, 3)
LARGE_SHAPE, LARGE_BYTES = (2000, 1000, 3), 6_000_000
STEPS = st.lists(st.one_of(st.none(), st.integers(0, 9)), max_size=40)
"""None takes an array; a number drops one of those held."""


def address(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]


def owner(array: np.ndarray) -> weakref.ref:
    return weakref.ref(array.base)


def count_alive(owners: Iterable[weakref.ref]) -> int:
    return sum(one() is not None for one in owners)


def resident_bytes() -> int:
    return psutil.Process().memory_info().rss


def test_array_is_uint8_contiguous_and_writable() -> None:
    """An array is like a new one, whatever the last holder did to its view."""
    pool = FramePool()
    for _ in range(2):
        array = pool.take(SHAPE)
        assert (array.shape, array.dtype) == (SHAPE, np.uint8)
        assert array.flags.c_contiguous
        assert array.flags.writeable
        array.flags.writeable = False
        del array


@given(STEPS, st.integers(0, 4))
def test_held_arrays_are_separate_and_few_more_are_kept(
    steps: list[int | None], prepared: int
) -> None:
    """All held arrays keep their content in any order of takes and drops.

    Besides them there are never more arrays than were prepared, or two.
    """
    pool, held, owners = FramePool(prepared), [], {}
    for number, step in enumerate(steps):
        if step is None:
            array = pool.take(SHAPE)
            array[:] = number
            held.append((number, array))
            owners[id(array.base)] = owner(array)
            assert count_alive(owners.values()) <= max(1, prepared, len(held) + SPARE)
            del array
        elif held:
            del held[step % len(held)]
        assert all((array == written).all() for written, array in held)


@given(STEPS)
def test_no_more_are_made_than_are_held_together(steps: list[int | None]) -> None:
    """The pool makes no more arrays than are held together, while the prepared ones suffice."""
    pool, held, seen = FramePool(prepared=sum(step is None for step in steps)), [], set()
    most = 0
    for step in steps:
        if step is None:
            held.append(pool.take(SHAPE))
            seen.add(address(held[-1]))
        elif held:
            del held[step % len(held)]
        most = max(most, len(held))
    assert len(seen) == most


@pytest.mark.parametrize(("most_arrays", "made"), [(9, 5), (3, 3), (0, 1)])
def test_prepared_arrays_are_made_with_the_first(most_arrays: int, made: int) -> None:
    """Later arrays cost no memory until more are held together than were prepared."""
    pool = FramePool(prepared=5, prepared_bytes=most_arrays * LARGE_BYTES)
    before = resident_bytes()

    def grown_arrays() -> int:
        return round((resident_bytes() - before) / LARGE_BYTES)

    held = [pool.take(LARGE_SHAPE)]
    assert grown_arrays() == made
    held += [pool.take(LARGE_SHAPE) for _ in range(made - 1)]
    assert grown_arrays() == made
    held.append(pool.take(LARGE_SHAPE))
    held[-1][:] = 1
    assert grown_arrays() == made + 1


def test_memory_of_a_busy_moment_goes_back_to_the_system() -> None:
    """Memory goes back although other arrays are made in between and stay.

    `malloc` would keep the memory below them.
    """
    pool, lasting = FramePool(prepared=2), []
    pool.take(LARGE_SHAPE)[:] = 1
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # memory of earlier tests must not go back meanwhile
    before = resident_bytes()
    for _ in range(3):
        held = []
        for _ in range(30):
            held.append(pool.take(LARGE_SHAPE))
            held[-1][:] = 1
            lasting.append(np.ones(20_000, np.uint8))
        assert resident_bytes() - before > 25 * LARGE_BYTES
        held.clear()
        pool.take(LARGE_SHAPE)
        assert resident_bytes() - before < (SPARE + 2) * LARGE_BYTES


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


def test_images_in_an_encoder_are_held() -> None:
    """Images that the encoder's threads still wait for are not overwritten.

    A lossless codec gives each one back unchanged.
    """
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


def test_another_shape_drops_free_arrays_and_leaves_held_ones() -> None:
    """Images of a new size cost no memory of the old size."""
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
    """After a burst of six only the array in use and two more stay."""
    pool = FramePool(prepared=1)
    taken = [pool.take(SHAPE) for _ in range(6)]
    owners = [owner(array) for array in taken]
    taken.clear()
    again = pool.take(SHAPE)
    assert count_alive(owners) == 3
    assert any(again.base is one() for one in owners)


def test_threads_never_share_an_array() -> None:
    """Four threads that take, write, wait and read find what they wrote."""
    pool, overwritten = FramePool(), []

    def work(number: int) -> None:
        for _ in range(300):
            kept = [pool.take((8, 8)) for _ in range(3)]
            for array in kept:
                array[:] = number
            overwritten.extend(array for array in kept if (array != number).any())

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not overwritten
