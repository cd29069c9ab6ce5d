"""Keeps the calls of one user's processes on one host within Optimove's rate limit, before they leave.

Why these processes alone cause no 429: the stamp kept for a call is never earlier than its arrival (allowance past
the reservation while in flight, then the completion if that is earlier). Of any ``calls + 1`` calls, the one reserved
last was let go when the oldest of the others had a stamp a full window ago, so it arrives a full window after it.
What remains: a call that takes longer than the allowance to arrive, a clock set forward, and calls of other hosts.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import math
import os
import random
import re
import threading
import time
from array import array
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from airflow_provider_optimove.clients.optimove.state_directory import (
    LockTimeoutError,
    polls,
    state_directory,
    try_lock,
    wait_for_lock,
    warn_not_shared,
)
from airflow_provider_optimove.exceptions import OptimoveRateLimitError

logger = logging.getLogger(__name__)

DEFAULT_RATE_LIMIT = "50/10"
"""Optimove's limit on all functions together: 50 calls in 10 seconds."""

MAIL_RATE_LIMIT = "10/1"
"""Optimove's limit on SendTransactionalMail: 10 calls a second."""

MAIL_PARALLEL_CALLS = 10
"""The most SendTransactionalMail calls that Optimove takes at a time."""

ARRIVAL_ALLOWANCE = 2.0
"""Seconds after its reservation by which a call has surely reached the server."""

CLOCK_DRIFT = 0.001
"""The part by which a window is stretched: the server's clock is another one."""

LONGEST_SILENT_WAIT = 5.0

MOST_CALLS = 100_000
LONGEST_WINDOW = 86_400.0

_FORM = re.compile(r"([0-9]{1,6}) */ *([0-9]{1,6}(?:\.[0-9]{1,6})?)")
_STAMP_BYTES = 8


@dataclass(frozen=True)
class Window:
    """A limit: at most so many calls in any stretch of so many seconds.

    :param calls: number of calls, 1 to 100,000.
    :param seconds: length of the stretch, up to a day.
    :raises ValueError: a value is out of these bounds.
    """

    calls: int
    seconds: float

    def __post_init__(self) -> None:
        if not 1 <= self.calls <= MOST_CALLS or not 0 < self.seconds <= LONGEST_WINDOW:
            raise ValueError(f"a rate limit takes 1 to {MOST_CALLS:,} calls in up to {LONGEST_WINDOW:,.0f} seconds")

    def __str__(self) -> str:
        return f"{self.calls}/{self.seconds:g}"


def parse_rate_limit(text: str) -> tuple[Window, ...]:
    """Read a rate limit as users write it.

    :param text: ``calls/seconds``, e.g. ``50/10``; several with commas, all of which hold; empty: no limit.
    :returns: the windows, in the order given.
    :raises ValueError: the text has another form.
    """
    if not text.strip():
        return ()
    windows = []
    for part in text.split(","):
        form = _FORM.fullmatch(part.strip())
        try:
            if form is None:
                raise ValueError("not two numbers with a slash between them")
            windows.append(Window(int(form[1]), float(form[2])))
        except ValueError as error:
            raise ValueError(
                f"{text!r}: expected calls/seconds, such as 50/10, several with commas "
                f"(50/10,2000/3600), or off for no limit: {error}"
            ) from None
    return tuple(windows)


class _Releasable(Protocol):
    def release(self) -> None: ...


class _Ledger:
    """A lane's stamps and parallel calls where no file can be shared."""

    def __init__(self) -> None:
        self.stamps: array[float] = array("d")
        self.renew_locks()

    def renew_locks(self) -> None:
        self.lock = threading.Lock()
        self.seats: dict[int, threading.BoundedSemaphore] = {}


_ledgers: dict[str, _Ledger] = {}


def _renew_locks() -> None:
    """In a forked child: the threads that held a lock are not there to release it."""
    for ledger in _ledgers.values():
        ledger.renew_locks()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_locks)


class RateLimitGate:
    """Lets a call leave when the rate limit has room for it, counting the calls of all who share the key.

    All threads and processes of this user on this host share it; without a usable directory, those of this process.

    :param windows: the limits, all of which hold; none: calls are not counted.
    :param key: whose limit it is, and which: base address, account and lane, without a secret.
    :param parallel: the most calls in flight at a time; None: any number.
    :param directory: a directory that only this user can reach; None: :func:`state_directory`.
    """

    def __init__(
        self,
        windows: Iterable[Window],
        *,
        key: str,
        parallel: int | None = None,
        directory: Path | None = None,
    ) -> None:
        self._windows = tuple(windows)
        self._parallel = parallel
        self._calls_kept = max((window.calls for window in self._windows), default=0)
        self._name = f"calls-{hashlib.sha256(key.encode()).hexdigest()[:32]}"
        self._directory: Path | None = None
        if self._windows or parallel is not None:
            self._directory = directory or state_directory()

    def __repr__(self) -> str:
        return f"RateLimitGate({', '.join(map(str, self._windows)) or 'off'}, parallel={self._parallel})"

    @contextlib.contextmanager
    def slot(self, deadline: float) -> Iterator[None]:
        """Wait until a call may leave, and note when it is over: the block is the call.

        :param deadline: when the call ends, a ``time.monotonic()`` value in seconds.
        :raises OptimoveRateLimitError: no call may leave before the deadline; raised as soon as that is clear.
        """
        with self._seat(deadline):
            if not self._windows:
                yield
                return
            place, stamp = self._reserve(deadline)
            try:
                yield
            finally:
                self._complete(place, stamp)

    def _reserve(self, deadline: float) -> tuple[int, float]:
        announced = False
        while True:
            try:
                with self._stamps(deadline) as stamps:
                    now = time.time()
                    ordered = _mended(stamps, now)
                    opens, window = self._opening(ordered, now)
                    if opens <= now:
                        place = stamps.index(ordered[0])
                        stamps[place] = now + ARRIVAL_ALLOWANCE
                        return place, stamps[place]
            except LockTimeoutError:
                raise OptimoveRateLimitError(
                    "rate limit: the file that counts the calls was locked until the time of this call was over"
                ) from None
            except OSError as error:
                self._go_on_without(error)
                continue
            wait = opens - now + random.uniform(0.001, 0.005)
            remaining = max(deadline - time.monotonic(), 0.0)
            if wait > remaining:
                raise OptimoveRateLimitError(
                    f"rate limit {window}: the next call may leave in {wait:.1f} s, "
                    f"but only {remaining:.1f} s are left for this one"
                )
            if wait > LONGEST_SILENT_WAIT and not announced:
                announced = True
                logger.info("rate limit %s: waiting %.1f s", window, wait)
            time.sleep(wait)

    def _opening(self, ordered: list[float], now: float) -> tuple[float, Window]:
        """When the next call may leave at the earliest, and the window that decides it.

        A stamp in the future is that of a call in flight. It becomes the completion, so now at the earliest.
        """
        return max(
            (
                (min(ordered[-window.calls], now) + window.seconds * (1 + CLOCK_DRIFT), window)
                for window in self._windows
            ),
            key=lambda opening: opening[0],
        )

    def _complete(self, place: int, stamp: float) -> None:
        # Left as it is, the stamp is late but safe: no reason to lose a call that is made.
        with contextlib.suppress(OSError, LockTimeoutError), self._stamps(time.monotonic() + 1.0) as stamps:
            if stamps[place] == stamp:
                stamps[place] = min(stamp, time.time())

    @contextlib.contextmanager
    def _stamps(self, deadline: float) -> Iterator[array[float]]:
        """The stamps of the latest calls, in no order, to be read and changed under the lock.

        As many are kept as the largest window takes calls: of older ones no window asks.
        """
        if self._directory is None:
            with self._ledger_lock(deadline) as ledger:
                _extend(ledger.stamps, self._calls_kept)
                yield ledger.stamps
            return
        with wait_for_lock(self._directory, self._name, deadline) as lock:
            content = os.pread(lock.descriptor, MOST_CALLS * _STAMP_BYTES, 0)
            stamps = array("d", content[: len(content) // _STAMP_BYTES * _STAMP_BYTES])
            _extend(stamps, self._calls_kept)
            yield stamps
            changed = stamps.tobytes()
            if changed != content:
                os.pwrite(lock.descriptor, changed, 0)

    @contextlib.contextmanager
    def _ledger_lock(self, deadline: float) -> Iterator[_Ledger]:
        ledger = self._ledger
        lock = ledger.lock
        if not lock.acquire(timeout=_seconds_left(deadline)):
            raise LockTimeoutError("held by another thread")
        try:
            yield ledger
        finally:
            lock.release()

    @property
    def _ledger(self) -> _Ledger:
        return _ledgers.setdefault(self._name, _Ledger())

    def _seat(self, deadline: float) -> AbstractContextManager[object]:
        if self._parallel is None:
            return contextlib.nullcontext()
        return _released_at_the_end(self._take_seat(self._parallel, deadline))

    def _take_seat(self, parallel: int, deadline: float) -> _Releasable:
        started = time.monotonic()
        announced = False
        for _ in polls(deadline):
            seat = self._free_seat(parallel)
            if seat is not None:
                return seat
            if not announced and time.monotonic() - started > LONGEST_SILENT_WAIT:
                announced = True
                logger.info("rate limit: waiting for one of %d parallel calls to end", parallel)
        raise OptimoveRateLimitError(
            f"rate limit: {parallel} calls at a time are allowed, and none of them ended in the "
            f"{time.monotonic() - started:.1f} s that were left for this one"
        )

    def _free_seat(self, parallel: int) -> _Releasable | None:
        if self._directory is not None:
            first = random.randrange(parallel)
            try:
                for number in range(parallel):
                    seat = try_lock(self._directory, f"{self._name}-{(first + number) % parallel}")
                    if seat is not None:
                        return seat
                return None
            except OSError as error:
                self._go_on_without(error)
        seats = self._ledger.seats.setdefault(parallel, threading.BoundedSemaphore(parallel))
        return seats if seats.acquire(blocking=False) else None

    def _go_on_without(self, error: OSError) -> None:
        self._directory = None
        warn_not_shared(error)


@contextlib.contextmanager
def _released_at_the_end(seat: _Releasable) -> Iterator[None]:
    try:
        yield
    finally:
        seat.release()


def _seconds_left(deadline: float) -> float:
    return min(max(deadline - time.monotonic(), 0.0), threading.TIMEOUT_MAX)


def _extend(stamps: array[float], count: int) -> None:
    if len(stamps) < count:
        stamps.extend([0.0] * (count - len(stamps)))


def _mended(stamps: array[float], now: float) -> list[float]:
    """The stamps in order, those that cannot be brought to the present: the clock was set back, or the file is damaged.

    From there they leave every window in its own time, so nobody is locked out for longer than that.
    """
    latest = now + ARRIVAL_ALLOWANCE
    ordered = sorted(stamps)
    if ordered[0] >= 0.0 and ordered[-1] <= latest and math.isfinite(sum(ordered)):
        return ordered
    for place, stamp in enumerate(stamps):
        if not 0.0 <= stamp <= latest:
            stamps[place] = latest if stamp > latest else 0.0
    return sorted(stamps)
