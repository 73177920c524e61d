"""Which pictures a batch has: every picture each epoch, and equal parts for devices and hosts."""

import numpy as np
import pytest

from portrait.data.order import Order


def test_without_devices_every_picture_comes_once_in_batches_of_nearly_one_size():
    order = Order(23, 5)
    batches = [order.of(0, index) for index in range(order.batches)]
    assert [len(numbers) for numbers, _ in batches] == [5, 5, 5, 4, 4]
    assert np.concatenate([numbers for numbers, _ in batches]).tolist() == list(range(23))
    assert all(first.all() for _, first in batches) and order.extra == 0


@pytest.mark.parametrize("count", [1, 2, 7, 20, 21, 23, 24])
@pytest.mark.parametrize("shuffle", [False, True])
def test_devices_get_equal_parts_and_no_picture_is_dropped(count, shuffle):
    order = Order(count, 8, shuffle, multiple=4)
    assert order.batches == Order(count, 8).batches  # the schedule counts them
    batches = [order.of(3, index) for index in range(order.batches)]
    assert all(len(numbers) % 4 == 0 and len(numbers) <= 8 for numbers, _ in batches)
    numbers, first = (np.concatenate(each) for each in zip(*batches, strict=True))
    assert sorted(numbers[first]) == list(range(count))
    assert len(numbers) == count + order.extra and order.extra == (~first).sum() < 4


def test_other_pictures_come_twice_in_each_shuffled_epoch():
    order = Order(101, 8, shuffle=True, multiple=4)
    twice = set()
    for epoch in range(5):
        batches = [order.of(epoch, index) for index in range(order.batches)]
        twice.add(tuple(number for numbers, first in batches for number in numbers[~first]))
    assert len(twice) == 5


def test_the_hosts_parts_are_the_batch():
    whole = Order(29, 6, True, seed=4, multiple=6)
    parts = [Order(29, 6, True, 4, 6, share=(host, 3)) for host in range(3)]
    for epoch in range(2):
        for index in range(whole.batches):
            numbers, _ = whole.of(epoch, index)
            shared = [part.of(epoch, index)[0] for part in parts]
            assert len({len(each) for each in shared}) == 1
            assert sorted(np.concatenate(shared)) == sorted(numbers)


def test_a_batch_of_one_size_is_the_same_for_any_number_of_devices():
    for index in range(5):
        one, two = (Order(40, 8, True, multiple=number).of(2, index)[0] for number in (1, 2))
        assert one.tolist() == two.tolist()


def test_batches_that_do_not_divide_are_refused():
    with pytest.raises(ValueError, match="8"):
        Order(40, 8, multiple=3)
    with pytest.raises(ValueError, match="4"):
        Order(40, 8, multiple=4, share=(0, 3))
