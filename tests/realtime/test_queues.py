import threading
import time
from collections.abc import Callable

from qlumen.realtime.queues import DroppingQueue, StageQueue


def test_all_items_arrive_in_order_through_a_small_queue() -> None:
    """A producer that is much faster than its consumer waits; no item is lost or reordered."""
    queue: StageQueue[int] = StageQueue(2)

    def produce() -> None:
        for item in range(500):
            assert queue.put(item)
        queue.close()

    producer = threading.Thread(target=produce)
    producer.start()
    assert list(queue) == list(range(500))
    producer.join()


def test_queue_never_holds_more_than_its_capacity() -> None:
    """The third item waits until the first is taken."""
    queue: StageQueue[int] = StageQueue(2)
    progress = []
    producer = threading.Thread(target=lambda: [progress.append(queue.put(i)) for i in range(3)])
    producer.start()
    wait_until(lambda: len(progress) == 2)
    time.sleep(0.02)
    assert len(progress) == 2
    assert next(iter(queue)) == 0
    producer.join()
    assert progress == [True, True, True]


def test_close_delivers_what_is_queued_and_refuses_more() -> None:
    """After `close`, the queue still delivers its items and refuses new ones."""
    queue: StageQueue[int] = StageQueue(5)
    queue.put(1)
    queue.put(2)
    queue.close()
    assert not queue.put(3)
    assert list(queue) == [1, 2]


def test_abort_releases_both_sides_and_returns_the_rest() -> None:
    """A waiting producer and a waiting consumer both continue when the queue is aborted."""
    full: StageQueue[int] = StageQueue(1)
    full.put(1)
    results: list[object] = []
    producer = threading.Thread(target=lambda: results.append(full.put(2)))
    empty: StageQueue[int] = StageQueue(1)
    consumer = threading.Thread(target=lambda: results.append(list(empty)))
    producer.start()
    consumer.start()
    assert full.abort() == [1]
    assert empty.abort() == []
    producer.join(5)
    consumer.join(5)
    assert sorted(map(str, results)) == ["False", "[]"]


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.001)


def test_a_dropping_queue_never_waits_and_keeps_the_newest() -> None:
    """A queue of two keeps the last two of five items, and returns each dropped item."""
    queue: DroppingQueue[int] = DroppingQueue(2)
    assert [queue.put(item) for item in range(5)] == [None, None, 0, 1, 2]
    assert [queue.get(0), queue.get(0), queue.get(0)] == [3, 4, None]


def test_a_closed_dropping_queue_delivers_what_it_holds_and_refuses_more() -> None:
    """A refused item is returned, so that it can be counted."""
    queue: DroppingQueue[int] = DroppingQueue(3)
    queue.put(1)
    queue.close()
    assert queue.put(2) == 2
    assert not queue.ended
    assert (queue.get(), queue.get(), queue.ended) == (1, None, True)


def test_a_waiting_taker_wakes_when_an_item_comes_or_the_queue_closes() -> None:
    """The taker does not wait for its time-out."""
    queue: DroppingQueue[int] = DroppingQueue()
    taken: list[int | None] = []
    taker = threading.Thread(target=lambda: taken.extend([queue.get(60), queue.get(60)]))
    taker.start()
    queue.put(7)
    wait_until(lambda: taken == [] or taken == [7])
    time.sleep(0.02)
    queue.close()
    taker.join(10)
    assert taken == [7, None]
