"""The rate limits: sliding windows, measured when a call arrives."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

MAILS_A_SECOND = 10
MAILS_IN_PARALLEL = 10


class Window:
    """At most so many calls in so many seconds; refused calls do not count."""

    def __init__(self, calls: int, seconds: float) -> None:
        self.calls = calls
        self.seconds = seconds
        self._arrivals: deque[float] = deque()

    def has_room(self, now: float) -> bool:
        while self._arrivals and now - self._arrivals[0] >= self.seconds:
            self._arrivals.popleft()
        return len(self._arrivals) < self.calls

    def add(self, now: float) -> None:
        self._arrivals.append(now)


class RateLimit:
    """The windows of a setting such as ``50/10,2000/3600`` (calls/seconds); empty: no limit.

    With a limit, SendTransactionalMail has its own: ten calls a second, ten in parallel.
    """

    def __init__(self, setting: str, clock: Callable[[], float]) -> None:
        self.setting = setting
        self._clock = clock
        self._lock = threading.Lock()
        windows = [part.split("/") for part in setting.split(",") if part.strip()]
        self._windows = {
            "general": [Window(int(calls), float(seconds)) for calls, seconds in windows],
            "mail": [Window(MAILS_A_SECOND, 1.0)] if windows else [],
        }
        self._mails_under_way = 0

    @contextmanager
    def arrival(self, lane: Literal["general", "mail"]) -> Iterator[bool]:
        """Whether the call may pass; it is under way as long as the context lasts."""
        with self._lock:
            now = self._clock()
            windows = self._windows[lane]
            crowded = lane == "mail" and bool(windows) and self._mails_under_way >= MAILS_IN_PARALLEL
            passes = not crowded and all(window.has_room(now) for window in windows)
            if passes:
                for window in windows:
                    window.add(now)
                self._mails_under_way += lane == "mail"
        try:
            yield passes
        finally:
            if passes and lane == "mail":
                with self._lock:
                    self._mails_under_way -= 1
