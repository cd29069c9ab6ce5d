"""Fetching what comes next while the caller still works on what came last."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class _Upcoming(Generic[T]):
    """The next of several items, made in a thread of its own."""

    def __init__(self, items: Iterator[T]) -> None:
        self._items = items
        self._made: list[T] = []
        self._error: BaseException | None = None
        # A daemon: when the caller gives up, its process need not wait for the call that is under way.
        self._thread = threading.Thread(target=self._make, name="fetch-ahead", daemon=True)
        self._thread.start()

    def _make(self) -> None:
        try:
            self._made.append(next(self._items))
        except StopIteration:
            pass
        except BaseException as error:
            self._error = error

    def wait(self) -> list[T]:
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._made


def fetched_ahead(items: Iterator[T]) -> Iterator[T]:
    """The same items, the next of which is always under way; two are in memory at most.

    :param items: what is iterated over, by one thread after the other. Nothing is asked of it before the first item
        is wanted, and nothing more than the item that is under way once the caller stops.
    :raises BaseException: what making the item raised, when its turn has come.
    """
    upcoming = _Upcoming(items)
    while made := upcoming.wait():
        upcoming = _Upcoming(items)
        yield made.pop()
