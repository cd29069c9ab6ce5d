"""Two items at most in memory, one always under way, errors where they belong."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator
from itertools import count, islice

import pytest

from airflow_provider_optimove.clients.fetch_ahead import fetched_ahead

PATIENCE = 10


class Item:
    """Something that can be seen to be gone."""


def test_items_come_in_order() -> None:
    assert list(fetched_ahead(iter(range(100)))) == list(range(100))
    assert list(fetched_ahead(iter(()))) == []
    assert list(fetched_ahead(iter((None, 0, "", None)))) == [None, 0, "", None]


def test_the_next_is_made_while_the_caller_works() -> None:
    made = [threading.Event() for _ in range(3)]

    def items() -> Iterator[int]:
        for number, event in enumerate(made):
            event.set()
            yield number

    ahead = fetched_ahead(items())
    assert not made[0].is_set()
    assert next(ahead) == 0
    assert made[1].wait(PATIENCE)
    assert not made[2].is_set()
    assert list(ahead) == [1, 2]


def test_no_item_is_kept() -> None:
    alive: weakref.WeakSet[Item] = weakref.WeakSet()
    most = 0

    def items() -> Iterator[Item]:
        nonlocal most
        for _ in range(20):
            item = Item()
            alive.add(item)
            gc.collect()
            # This one, and the one that is worked on.
            most = max(most, len(alive))
            yield item
            del item

    for item in fetched_ahead(items()):
        assert item in alive
    assert most == 2


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_error_is_raised_in_its_turn(kind: type[BaseException]) -> None:
    def items() -> Iterator[int]:
        yield 1
        yield 2
        raise kind("fake")

    ahead = fetched_ahead(items())
    assert list(islice(ahead, 2)) == [1, 2]
    with pytest.raises(kind, match="fake"):
        next(ahead)


def test_nothing_is_asked_for_after_the_caller_stopped() -> None:
    asked: list[int] = []
    numbers = (asked.append(number) or number for number in count())  # type: ignore[func-returns-value]
    ahead = fetched_ahead(numbers)
    assert next(ahead) == 0
    under_way = [thread for thread in threading.enumerate() if thread.name == "fetch-ahead"]
    ahead.close()  # type: ignore[attr-defined]
    for thread in under_way:
        thread.join(PATIENCE)
    assert asked == [0, 1]


def test_a_process_ends_before_what_is_under_way() -> None:
    script = """
import time
from airflow_provider_optimove.clients.fetch_ahead import fetched_ahead
def items():
    yield 1
    time.sleep(600)
    yield 2
ahead = fetched_ahead(items())
print(next(ahead), flush=True)
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert run.stdout == "1\n"
