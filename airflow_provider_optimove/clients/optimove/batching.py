"""Cutting the rows of a write into calls.

All rows are checked and cut before the first call is made. What is cut is kept in a temporary file, so that what is
sent is what was checked, whatever becomes of the input meanwhile, and memory does not grow with the input.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

import msgspec

from airflow_provider_optimove.clients.optimove.functions import Function
from airflow_provider_optimove.clients.optimove.rows import (
    BadColumns,
    BadRows,
    Grouping,
    RowChecker,
    Shared,
    Stretch,
)
from airflow_provider_optimove.exceptions import MOST_PROBLEMS_SHOWN, OptimoveInputError

# UpdateCampaignMetrics is the only write without a documented limit; this is our choice for it.
UNLIMITED_BATCH = 100
# Bounds of what waits for its batch to be full.
MOST_WAITING_BYTES = 64 << 20
MOST_WAITING_GROUPS = 10_000
# Plans below this size never touch the disk.
IN_MEMORY = 8 << 20

# Of a subclass of str the text is sent.
_encode = msgspec.json.Encoder(enc_hook=str.__str__).encode


def batch_size_of(function: Function, wanted: int | None) -> int:
    """Rows a call: what was asked for, or the documented maximum.

    :param function: a function that takes rows.
    :param wanted: rows a call, or None.
    :raises OptimoveInputError: ``wanted`` is not between 1 and the documented maximum.
    """
    largest = function.max_rows or UNLIMITED_BATCH
    if wanted is None:
        return largest
    if isinstance(wanted, bool) or not isinstance(wanted, int) or not 1 <= wanted <= (function.max_rows or wanted):
        limits = f"from 1 to {function.max_rows:,}" if function.max_rows else "of 1 or more"
        raise OptimoveInputError(
            "the arguments are not valid",
            function=function.name,
            problems=[f"batch_size: expected a whole number {limits}, got {wanted!r}"],
        )
    return wanted


class Batch(msgspec.Struct, frozen=True):
    """Rows of one call.

    :param shared: the arguments that these rows have in common, by Optimove's names.
    :param before: how many rows with the same ``shared`` come before these in the input.
    :param count: number of rows.
    :param content: the rows as a JSON array.
    """

    shared: dict[str, Any]
    before: int
    count: int
    content: bytes

    def rows(self) -> list[msgspec.Raw]:
        """Each row as JSON."""
        return msgspec.json.decode(self.content, type=list[msgspec.Raw])


class Plan:
    """The batches of a write, in the order in which they are sent: a pure function of input and arguments.

    :param function: the function that takes the rows.
    """

    def __init__(self, function: Function) -> None:
        self.function = function
        self.rows = 0
        self._places: list[tuple[int, int]] = []
        self._file = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY)  # noqa: SIM115 - closed with the plan
        self._content = hashlib.sha256()

    def __enter__(self) -> Plan:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove the temporary file."""
        self._file.close()

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, number: int) -> Batch:
        start, length = self._places[number]
        self._file.seek(start)
        return msgspec.msgpack.decode(self._file.read(length), type=Batch)

    def append(self, batch: Batch) -> None:
        """Add a batch."""
        record = msgspec.msgpack.encode(batch)
        self._content.update(record)
        self._places.append((self._file.seek(0, os.SEEK_END), self._file.write(record)))
        self.rows += batch.count

    def fingerprint(self, arguments: Mapping[str, Any]) -> str:
        """What tells this plan from any other: a digest of every batch and of the arguments of all calls."""
        content = self._content.copy()
        content.update(msgspec.json.encode([self.function.name, arguments], order="sorted"))
        return content.hexdigest()


def plan_batches(
    function: Function, stretches: Iterable[Stretch], check: RowChecker | Grouping, size: int, *, source: str = "rows"
) -> Plan:
    """Check rows and cut them into batches.

    Rows of one call have the same arguments. Rows that differ in them are sorted into as few calls as the memory
    allows: when too many wait for their batches, the fullest leaves.

    :param function: the function that takes the rows.
    :param stretches: the rows.
    :param check: what they must be.
    :param size: rows a batch.
    :param source: what the rows are called in an error.
    :raises OptimoveInputError: naming the bad rows by number, up to 20 of them; the whole input was looked at.
    """
    plan = Plan(function)
    try:
        _Planner(plan, check, size, source).plan_all(stretches)
    except BaseException:
        plan.close()
        raise
    return plan


def row_numbers(batch: Batch, stretches: Iterable[Stretch], check: RowChecker | Grouping) -> Sequence[int] | None:
    """The numbers of a batch's rows in the input, which is read again for that.

    :param batch: a batch that was cut from this input.
    :param stretches: the input.
    :param check: what its rows were checked with.
    :returns: None when the input is not any more what it was.
    """
    if isinstance(check, RowChecker):
        return range(batch.before + 1, batch.before + batch.count + 1)
    shared = tuple(batch.shared.items())
    rows = enumerate((row for stretch in stretches for row in check.each(stretch)), 1)
    alike = ((number, value) for number, (found, value) in rows if found == shared)
    found = list(islice(alike, batch.before, batch.before + batch.count))
    return [number for number, _ in found] if _encode([value for _, value in found]) == batch.content else None


class _Waiting:
    """Rows that wait for their batch to be full."""

    def __init__(self, before: int) -> None:
        self.before = before
        self.count = 0
        self.content = bytearray(b"[")


class _Planner:
    def __init__(self, plan: Plan, check: RowChecker | Grouping, size: int, source: str) -> None:
        self._plan = plan
        self._check = check
        self._size = size
        self._source = source
        self._waiting: dict[Shared, _Waiting] = {}
        self._bytes_waiting = 0
        self._planned: Counter[Shared] = Counter()
        self._rows_read = 0
        self._bad = 0
        self._problems: list[str] = []

    def plan_all(self, stretches: Iterable[Stretch]) -> None:
        for stretch in stretches:
            if len(stretch):
                self._read(stretch)
                self._rows_read += len(stretch)
        if self._bad:
            raise OptimoveInputError(
                f"{self._bad:,} of {self._rows_read:,} rows {'is' if self._bad == 1 else 'are'} not valid",
                function=self._plan.function.name,
                problems=self._problems,
                count=self._bad,
            )
        for shared in list(self._waiting):
            self._leave(shared)

    def _read(self, stretch: Stretch) -> None:
        try:
            self._check.take(stretch)
        except BadRows as bad:
            self._bad += len(bad.problems)
            for position, problem in bad.problems[: MOST_PROBLEMS_SHOWN - len(self._problems)]:
                self._problems.append(f"row {self._rows_read + position + 1:,}: {problem}")
        except BadColumns as bad:
            raise OptimoveInputError(
                f"the columns of {self._source} do not fit",
                function=self._plan.function.name,
                problems=bad.problems,
            ) from None
        for shared, rows in self._check.taken.items():
            # After a bad row nothing will be sent; the rest is read for what else is wrong.
            if rows and not self._bad:
                self._add(shared, rows)
            rows.clear()
        if self._too_many_wait():
            for shared in sorted(self._waiting, key=lambda shared: self._waiting[shared].count, reverse=True):
                self._leave(shared)
                if not self._too_many_wait():
                    break

    def _too_many_wait(self) -> bool:
        return self._bytes_waiting > MOST_WAITING_BYTES or len(self._waiting) > MOST_WAITING_GROUPS

    def _add(self, shared: Shared, rows: list[Any]) -> None:
        while rows:
            waiting = self._waiting.get(shared)
            if waiting is None:
                waiting = self._waiting[shared] = _Waiting(self._planned[shared])
            room = self._size - waiting.count
            fitting, rows = (rows, []) if len(rows) <= room else (rows[:room], rows[room:])
            # At once, as long as the rows are at hand: later they would have to be fetched from all over the memory.
            content = _encode(fitting)[1:-1] + b","
            waiting.content += content
            waiting.count += len(fitting)
            self._bytes_waiting += len(content)
            if waiting.count == self._size:
                self._leave(shared)

    def _leave(self, shared: Shared) -> None:
        waiting = self._waiting.pop(shared)
        self._bytes_waiting -= len(waiting.content) - len(b"[")
        waiting.content[-1:] = b"]"
        self._plan.append(Batch(dict(shared), waiting.before, waiting.count, bytes(waiting.content)))
        self._planned[shared] += waiting.count
