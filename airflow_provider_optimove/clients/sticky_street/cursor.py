"""The id to go on from: what is kept of it, and where a run begins that was there before. Nothing is kept here."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, NamedTuple

BEGINNING = "0"
"""The id that means all customers."""

LONGEST_ID = 30
RUNS_REMEMBERED = 30

_ID = re.compile(rf"[0-9]{{1,{LONGEST_ID}}}")


class Run(NamedTuple):
    """A run that reads.

    :param id: its name.
    :param date: when it was due, in a form whose order is that of time.
    """

    id: str
    date: str


class Forgotten(Exception):
    """A run that is so old that nobody knows any more where it began."""


@dataclass(frozen=True)
class Cursor:
    """The id to go on from, and where the last runs began.

    :param last: the id.
    :param account: whose ids these are; None: whose they are is not known.
    :param runs: where runs began and when they were due, by their names; those that read customers, oldest first.
    :param forgotten: the latest date of those that are not remembered any more.
    """

    last: str = BEGINNING
    account: str | None = None
    runs: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    forgotten: str = ""

    @classmethod
    def of(cls, text: str) -> Cursor:
        """A cursor out of the text that :meth:`text` has made, or out of an id that somebody has written.

        :raises ValueError: it is neither.
        """
        try:
            kept = json.loads(text)
        except (ValueError, RecursionError):
            kept = None
        if not isinstance(kept, dict):
            kept = {"last": text.strip()}
        last = id_of(kept.get("last"))
        if last is None:
            raise ValueError(f"expected an id of 1 to {LONGEST_ID} digits, or an object with it as last")
        runs, forgotten = kept.get("runs", {}), kept.get("forgotten", "")
        if not isinstance(runs, dict) or not all(map(_is_start, runs.values())) or not isinstance(forgotten, str):
            raise ValueError("expected in runs, for each run, start and date")
        return cls(last, kept.get("account"), runs, forgotten)

    def text(self) -> str:
        """What is kept."""
        kept = {"last": self.last, "account": self.account, "runs": self.runs}
        return json.dumps({**kept, "forgotten": self.forgotten} if self.forgotten else kept)

    def start_of(self, run: Run | None) -> str:
        """Where a run begins: where it did, if it was there before; else at the id.

        :raises Forgotten: it may have been there before those that are remembered.
        """
        if run and run.id in self.runs:
            return self.runs[run.id]["start"]
        if run and run.date <= self.forgotten:
            raise Forgotten
        return self.last

    def moved(self, last: str, account: str, run: Run | None, start: str) -> Cursor:
        """The cursor after a run that has read customers.

        :param last: the id that the next run goes on from.
        :param account: whose id it is.
        :param run: the run.
        :param start: where it began.
        """
        runs = {**self.runs, run.id: {"start": start, "date": run.date}} if run else dict(self.runs)
        too_many = list(islice(runs, max(0, len(runs) - RUNS_REMEMBERED)))
        forgotten = max([self.forgotten, *(runs.pop(name)["date"] for name in too_many)])
        return Cursor(last, account, runs, forgotten)


def id_of(value: Any) -> str | None:
    """The id that a value is, as text; None: it is none."""
    if type(value) is int and 0 <= value < 10**LONGEST_ID:
        return str(value)
    return value if isinstance(value, str) and _ID.fullmatch(value) else None


def _is_start(remembered: Any) -> bool:
    return (
        isinstance(remembered, dict)
        and id_of(remembered.get("start")) is not None
        and isinstance(remembered.get("date"), str)
    )
