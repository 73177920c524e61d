"""Tests overlapping stages: their order, their limited queues, and that they always end."""

import functools
import itertools
import threading
import time

import pytest

from portrait.effects.pipeline import Pipeline


def each(function):
    """A stage that applies a function to each item."""
    return functools.partial(map, function)


def test_order():
    with Pipeline(range(50), each(lambda x: x + 1), each(lambda x: x * 2)) as results:
        assert list(results) == [2 * (x + 1) for x in range(50)]


def test_stages_work_at_the_same_time():
    """Each of two stages waits until the other has started on another item."""
    meeting = threading.Barrier(2, timeout=10)

    def first(item):
        if item == 1:
            meeting.wait()
        return item

    def second(item):
        if item == 0:
            meeting.wait()
        return item

    with Pipeline(range(2), each(first), each(second)) as results:
        assert list(results) == [0, 1]


def test_the_source_does_not_run_ahead():
    given = []
    source = (given.append(x) or x for x in itertools.count())
    with Pipeline(source, each(lambda x: x)) as results:
        next(iter(results))
        time.sleep(0.3)
        # Two queues of 4, an item in each of two threads, and the one that was taken.
        assert len(given) <= 11
    count = len(given)
    time.sleep(0.3)
    assert len(given) == count


@pytest.mark.parametrize("where", ["source", "stage"])
def test_errors_come_after_the_results_before_them(where):
    def source():
        yield from range(3)
        if where == "source":
            raise ValueError("broken")
        yield 3

    def stage(item):
        if item == 3:
            raise ValueError("broken")
        return item

    taken = []
    with pytest.raises(ValueError, match="broken"), Pipeline(source(), each(stage)) as results:
        taken.extend(results)
    # `extend` has stored the results before the error.
    assert taken == [0, 1, 2]


def late(items):
    """A stage that gives out each item when the next one has come."""
    yield from (before for before, _ in itertools.pairwise(itertools.chain(items, [None])))


def test_what_a_stage_holds_back_comes_before_an_error():
    def source():
        yield from range(3)
        raise ValueError("broken")

    taken = []
    with pytest.raises(ValueError, match="broken"), Pipeline(source(), late, late) as results:
        taken.extend(results)
    assert taken == [0, 1, 2]


def test_no_thread_is_left():
    before = threading.active_count()
    with Pipeline(itertools.count(), each(lambda x: x)) as results:
        next(iter(results))
    assert threading.active_count() == before
