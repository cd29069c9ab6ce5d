"""Sends a plan of batches so that every row arrives, and none twice by accident.

Before a batch leaves, the journal says what is confirmed and what is on its way. Whoever goes on after a crash reads
there where to go on, and which rows are in doubt: they were on their way, and nobody knows whether they arrived.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple, NoReturn, Protocol

import msgspec

from airflow_provider_optimove.clients.calls import Fetched
from airflow_provider_optimove.clients.long_writes import Journal, Log, Pace, Record, UnknownProgressError
from airflow_provider_optimove.clients.optimove.batching import Batch, Plan
from airflow_provider_optimove.clients.optimove.client import UNIQUE_MESSAGE_ID, OptimoveClient
from airflow_provider_optimove.exceptions import (
    MOST_PROBLEMS_SHOWN,
    OptimoveBadRequestError,
    OptimoveError,
    OptimoveRejectedRowsError,
    OptimoveUncertainWriteError,
)

# From so many bad rows in one batch on, they are no longer taken for exceptions: short stretches are tried first.
DENSE = 4
# How often in a batch fewer rows are tried because a refusal may mean that there were too many.
MOST_TRIALS = 4


class Progress(msgspec.Struct, kw_only=True):
    """How far a write has come; what the journal keeps. Neither rows nor secrets are in it.

    :param fingerprint: which plan it is about.
    :param nonce: makes the names of this task's mails unlike those of any other.
    :param batches: batches that are done.
    :param done: rows of the batch after them that are done.
    :param sending: rows after those that were on their way when this was written.
    :param doubtful: rows after those that may have arrived before.
    :param accepted: rows that Optimove took.
    :param rejected: rows that Optimove refused.
    :param failed: rows that Optimove took, and named as failed.
    :param largest_taken: the most rows that a call delivered.
    :param largest_batch: rows a call that the account takes, where these are fewer than documented.
    :param sent_before: whether rows may have arrived before it began, in tries that had other rows or are not known.
    """

    fingerprint: str
    nonce: str
    batches: int = 0
    done: int = 0
    sending: int = 0
    doubtful: int = 0
    accepted: int = 0
    rejected: int = 0
    failed: int = 0
    largest_taken: int = 0
    largest_batch: int | None = None
    sent_before: bool = False


class RejectedRow(NamedTuple):
    """A row that Optimove refused.

    :param number: its number in the input, from 1; None where that cannot be told any more.
    :param explanation: Optimove's own words.
    :param row: what was sent, as JSON, and the arguments it was sent with.
    """

    number: int | None
    explanation: str
    row: msgspec.Raw
    shared: Mapping[str, Any]


class Reports(Protocol):
    """Is told what becomes of rows; what it returned from is not told again, except after a crash."""

    def start(self, rejected: int, failed: int) -> None:
        """A write begins, or goes on after so many rejected and failed rows."""
        ...

    def rejected(self, row: RejectedRow) -> None:
        """Optimove refused a row."""
        ...

    def answered(self, fetched: Fetched) -> int:
        """Optimove took rows, perhaps not for the first time; returns how many of them it names as failed."""
        ...


@dataclass(frozen=True)
class WritePolicy:
    """What to do where a choice is the user's.

    :param resend: whether to send rows again whose outcome is unknown, though a second time may count twice.
    :param isolate: whether to find the bad rows of a refused batch and deliver the others.
    :param max_rejected: bad rows at which to stop.
    :param durable: whether to go on where an earlier try ended.
    :param earlier_tries: whether this task has been tried before.
    """

    resend: bool = False
    isolate: bool = False
    max_rejected: int = 100
    durable: bool = True
    earlier_tries: bool = False


@dataclass(frozen=True)
class Outcome:
    """What became of a write.

    :param accepted: rows that Optimove took, those of earlier tries included.
    :param resumed: how many of them it took in earlier tries.
    :param rejected: rows that it refused.
    :param failed: rows that it took and named as failed.
    """

    accepted: int
    resumed: int
    rejected: int
    failed: int


class BulkWrite:
    """Sends the batches of a plan.

    :param client: what sends.
    :param plan: the batches.
    :param arguments: checked arguments of all calls, by Optimove's names.
    :param fingerprint: what tells this write from any other.
    :param journal: keeps the progress; None where nothing can be kept.
    :param reports: is told what becomes of rows.
    :param policy: what to do where a choice is the user's.
    :param row_numbers: tells the numbers of a batch's rows in the input; None when it cannot.
    :param log: the task's.
    """

    def __init__(
        self,
        client: OptimoveClient,
        plan: Plan,
        arguments: Mapping[str, Any],
        *,
        fingerprint: str,
        journal: Journal | None,
        reports: Reports,
        policy: WritePolicy,
        row_numbers: Callable[[Batch], Sequence[int] | None],
        log: Log,
    ) -> None:
        self._client = client
        self._plan = plan
        self._name = plan.function.name
        self._harmless = plan.function.repeatable
        # Told to send again, a call may also be repeated at once.
        self._function = replace(plan.function, repeatable=True) if policy.resend else plan.function
        assert plan.function.rows_parameter is not None
        self._rows_name = plan.function.rows_parameter.name
        self._names_messages = UNIQUE_MESSAGE_ID in plan.function.parameters
        self._arguments = dict(arguments)
        self._progress = Progress(fingerprint=fingerprint, nonce=uuid.uuid4().hex)
        self._record = Record(
            journal, durable=policy.durable, failed=partial(OptimoveError, function=self._name), so_far=self._so_far
        )
        self._reports = reports
        self._policy = policy
        self._row_numbers = row_numbers
        self._known_numbers: dict[int, Sequence[int] | None] = {}
        self._log = log

    def run(self) -> Outcome:
        """Send what is not confirmed yet.

        :raises OptimoveUncertainWriteError: rows are in doubt, and a second time may count twice.
        :raises OptimoveRejectedRowsError: too many rows were refused.
        :raises OptimoveError: a call failed; what was confirmed before stays confirmed.
        """
        progress = self._progress = self._begin()
        resumed = progress.accepted
        self._pace = Pace(resumed + progress.rejected)
        self._reports.start(progress.rejected, progress.failed)
        while progress.batches < len(self._plan):
            self._deliver(self._plan[progress.batches])
            progress.batches += 1
            progress.done = progress.sending = progress.doubtful = 0
        self._say_how_far()
        # From here on nothing is in doubt, whatever becomes of the task.
        self._save()
        return Outcome(progress.accepted, resumed, progress.rejected, progress.failed)

    def forget(self) -> None:
        """Forget the progress, so that the same task sends everything again."""
        self._record.forget()

    def finish(self) -> None:
        """Note that all is done; the last thing that a task does. Cleared, it sends everything again."""
        self._record.finish()

    def _begin(self) -> Progress:
        fresh = self._progress
        try:
            saved = self._record.load(Progress)
        except UnknownProgressError:
            self._doubt("what the earlier try sent was not recorded, or not in a form that is known")
            fresh.sent_before = True
            return fresh
        if saved is None:
            if not self._record.remembers and self._policy.earlier_tries:
                self._doubt(
                    "this is not the first try, and nothing tells what the earlier ones sent (Airflow keeps that from"
                    " 3.3 on, with durable=True)"
                )
                fresh.sent_before = True
            self._record.mark()
            return fresh
        # Sent again, rows that may have arrived stay in doubt while they go in smaller parts.
        saved.doubtful = max(saved.sending, saved.doubtful)
        if saved.fingerprint != fresh.fingerprint:
            more = f" and {saved.doubtful:,} more are in doubt" if saved.doubtful else ""
            more += ", behind a try that had others" if saved.sent_before else ""
            fresh.sent_before = bool(saved.accepted or saved.doubtful or saved.sent_before)
            self._doubt(
                f"the rows or the arguments are not those of the earlier try, in which {saved.accepted:,} rows were"
                f" sent{more}",
                serious=fresh.sent_before,
            )
            return fresh
        self._progress = saved
        if saved.doubtful:
            rows = self._described(self._plan[saved.batches], saved.done, saved.doubtful)
            self._doubt(f"the earlier try ended while it sent {rows}; nobody knows whether they arrived", rows)
        self._log.info(
            "%s: going on where the earlier try ended: %s of %s rows are done",
            *(self._name, f"{saved.accepted + saved.rejected:,}", f"{self._plan.rows:,}"),
        )
        return saved

    def _doubt(self, what: str, rows: str = "everything", *, serious: bool = True) -> None:
        """Stop where a second time may count twice and the user has not said that it may.

        :param serious: whether there is anything that could arrive twice.
        """
        if self._harmless or self._policy.resend or not serious:
            self._log.warning("%s: %s; sending %s again", self._name, what, rows)
            return
        raise OptimoveUncertainWriteError(
            f"{what}. Nothing was sent now: {self._advice(rows)}",
            function=self._name,
        )

    def _advice(self, rows: str) -> str:
        return (
            f"{self._name} may {'mail' if self._names_messages else 'count'} twice what it gets twice. Look in"
            f" Optimove what has arrived. Then clear the task with on_uncertain='resend' to send {rows} again, or give"
            " a new task the rows that are missing; docs/writing.md tells how to go on after rows that did arrive"
        )

    def _deliver(self, batch: Batch) -> None:
        """Send the rows of a batch that are not done, and narrow down which of them are bad."""
        progress = self._progress
        course = _Course(batch.count, progress.done)
        rows: list[msgspec.Raw] = []
        # What may have arrived is first sent in the same cut, and so under the same name.
        count = progress.sending
        while course.done < batch.count:
            count = count or course.next(progress.largest_batch or batch.count)
            if count < batch.count and not rows:
                rows = batch.rows()
            part = (
                batch.content if count == batch.count else b"[%s]" % b",".join(rows[course.done : course.done + count])
            )
            progress.done, progress.sending = course.done, count
            self._save()
            try:
                fetched = self._send(batch, course.done, count, part)
            except OptimoveUncertainWriteError as error:
                described = self._described(batch, course.done, count)
                error.add(f"in doubt: {described}; {self._so_far()}. {self._advice(described)}")
                raise
            except OptimoveError as error:
                if error.may_have_happened:
                    progress.doubtful = max(progress.doubtful, count)
                if (smaller := course.smaller(error, count, progress.largest_taken)) is not None:
                    self._log.warning("%s: %s: trying %s rows a call", self._name, error.message, f"{smaller:,}")
                elif not self._policy.isolate or not _is_about_rows(error):
                    self._give_up(batch, course.done, count, error, settled=not progress.doubtful)
                else:
                    if course.largest is not None:
                        # It was not their number.
                        progress.largest_batch = None
                    if course.refused(count):
                        self._reject(batch, course.done - 1, rows or batch.rows(), error)
            except BaseException:
                # The end of a task's time, for example, which mostly comes while a call waits for the rate limit.
                if not progress.doubtful and not self._client.may_have_happened:
                    self._settle()
                raise
            else:
                repeated = fetched.repeated or bool(progress.doubtful) or progress.sent_before
                progress.failed += self._reports.answered(fetched._replace(repeated=repeated))
                course.accepted(count)
                progress.accepted += count
                progress.largest_taken = max(progress.largest_taken, count)
                progress.largest_batch = course.largest or progress.largest_batch
                progress.doubtful = max(0, progress.doubtful - count)
                if course.done < batch.count or progress.batches + 1 < len(self._plan):
                    self._say_how_far(now=False)
            count = 0

    def _send(self, batch: Batch, start: int, count: int, rows: bytes) -> Fetched:
        arguments = {**self._arguments, **batch.shared, self._rows_name: msgspec.Raw(rows)}
        if self._names_messages:
            first = batch.before + start + 1
            arguments[UNIQUE_MESSAGE_ID] = f"{self._progress.nonce}-{first}-{first + count - 1}"
        try:
            return self._client.send(self._function, arguments)
        except OptimoveBadRequestError as error:
            may_have_arrived = self._progress.doubtful or error.may_have_happened
            named = self._names_messages and self._client.takes_message_ids
            if error.status != 409 or not named or not may_have_arrived:
                raise
            self._log.info("%s: %s were mailed by an earlier call", self._name, self._described(batch, start, count))
            return Fetched(None, 0, repeated=True)

    def _reject(self, batch: Batch, position: int, rows: Sequence[msgspec.Raw], error: OptimoveError) -> None:
        progress = self._progress
        numbers = self._numbers(batch)
        number = None if numbers is None else numbers[position]
        try:
            self._reports.rejected(RejectedRow(number, error.message, rows[position], batch.shared))
        except Exception:
            self._settle()
            raise
        progress.done, progress.sending, progress.doubtful = position + 1, 0, max(0, progress.doubtful - 1)
        progress.rejected += 1
        if progress.rejected <= MOST_PROBLEMS_SHOWN:
            row = "a row" if number is None else f"row {number:,}"
            self._log.warning("%s: %s was rejected: %s", self._name, row, error.message)
        if progress.rejected >= self._policy.max_rejected:
            if self._harmless:
                self.forget()
            else:
                self._save()
            raise OptimoveRejectedRowsError(
                f"stopped at {progress.rejected:,} rejected rows (max_rejected): then the arguments are wrong rather"
                f" than the rows; {self._so_far()}. The last was told: {error.message}",
                function=self._name,
                status=error.status,
            ) from None

    def _give_up(self, batch: Batch, start: int, count: int, error: OptimoveError, *, settled: bool) -> NoReturn:
        """Raise an error with what the user must know of the rows.

        :param settled: whether the rows surely had no effect.
        """
        error.add(f"on {self._described(batch, start, count)}; {self._so_far()}; nothing after them was sent")
        if settled:
            self._settle()
        raise error

    def _settle(self) -> None:
        """Note that the rows that were on their way surely had no effect."""
        self._progress.sending = 0
        self._record.save_or_warn(self._progress, self._log)

    def _save(self) -> None:
        self._record.save(self._progress)

    def _numbers(self, batch: Batch) -> Sequence[int] | None:
        number = self._progress.batches
        if number not in self._known_numbers:
            self._known_numbers = {number: self._row_numbers(batch)}
        return self._known_numbers[number]

    def _described(self, batch: Batch, start: int, count: int) -> str:
        """Some rows of a batch, in words that find them in the input."""
        if not batch.shared:
            first = batch.before + start + 1
            return f"rows {first:,} to {first + count - 1:,}" if count > 1 else f"row {first:,}"
        alike = ", ".join(f"{name} {value}" for name, value in batch.shared.items())
        numbers = self._numbers(batch)
        if numbers is None:
            return f"{count:,} rows with {alike}"
        first, last = numbers[start], numbers[start + count - 1]
        return f"the {count:,} rows from {first:,} to {last:,} with {alike}" if count > 1 else f"row {first:,}"

    def _so_far(self) -> str:
        progress = self._progress
        rejected = f" and {progress.rejected:,} rejected" if progress.rejected else ""
        return f"{progress.accepted:,} of {self._plan.rows:,} rows were accepted{rejected} before"

    def _say_how_far(self, *, now: bool = True) -> None:
        progress = self._progress
        pace = self._pace.after(progress.accepted + progress.rejected, self._plan.rows, now=now)
        if pace is not None:
            rejected = f", {progress.rejected:,} rejected" if progress.rejected else ""
            self._log.info(
                "%s: %s of %s rows done%s, %s",
                self._name,
                f"{progress.accepted:,}",
                f"{self._plan.rows:,}",
                rejected,
                pace,
            )


class _Course:
    """Which rows of a batch go next. Rows that are refused together are halved until the first bad one is known; then
    all that are left go together again.

    :param count: rows of the batch.
    :param done: how many of them are delivered or known to be bad.
    """

    def __init__(self, count: int, done: int) -> None:
        self.done = done
        self.largest: int | None = None
        """Rows a call, where these had to be fewer."""
        self._count = count
        self._bad_before: int | None = None
        self._bad = 0
        self._stride = 0
        self._trials = 0

    def next(self, largest: int) -> int:
        """How many of the rows that are not done go next; at most ``largest``."""
        largest = min(largest, self.largest or largest)
        if self._bad_before is not None:
            return min(largest, max(1, (self._bad_before - self.done) // 2))
        return min(self._count - self.done, largest, self._stride or largest)

    def accepted(self, count: int) -> None:
        """The next rows were taken."""
        self.done += count
        if self._bad_before is None:
            self._stride *= 2
        elif self._bad_before <= self.done:
            self._bad_before = None

    def smaller(self, error: OptimoveError, count: int, taken: int) -> int | None:
        """How many rows to try instead, where a refusal may mean that there were too many.

        Nobody can be sure of that: it is tried a few times only, and never where a call has taken as many.

        :param taken: the most rows that a call delivered so far.
        """
        fewer = _fewer_rows(error, count)
        if fewer is None or self._bad_before is not None or count <= taken or self._trials == MOST_TRIALS:
            return None
        self._trials += 1
        self.largest = fewer
        return fewer

    def refused(self, count: int) -> bool:
        """The next rows were refused; whether that was a single one, which is then done."""
        if self.largest is not None:
            self.largest, self._trials = None, MOST_TRIALS
        if count > 1:
            self._bad_before = self.done + count
            return False
        self.done += 1
        self._bad_before = None
        self._bad += 1
        if self._bad >= DENSE:
            self._stride = 1
        return True


def _is_about_rows(error: OptimoveError) -> bool:
    """Whether a refusal may be due to some of the rows only."""
    return error.status == 400 or isinstance(error, OptimoveRejectedRowsError)


_LIMITS = re.compile(
    r"too many|too large|at most|\bmax|no more|more than|exceed|limit|up to|only|allowed|between|less than|greater than"
)
_ROWS = re.compile(
    r"\b(rows?|records?|items?|entr(y|ies)|elements?|arrays?|lists?|batch|per call|customers?|customer ?ids|recipients?"
    r"|promotions?|templates?|apps|triggers?|metrics)\b"
)
_NUMBER = re.compile(r"\d{1,3}(?:[.,\s]\d{3})+|\d+(?:\s?k\b)?")


def _fewer_rows(error: OptimoveError, sent: int) -> int | None:
    """How many rows to try where a refusal may mean that there were too many; None where it means another thing.

    :param error: the refusal; Optimove's words for it are not documented.
    :param sent: rows that were refused.
    """
    if sent == 1 or error.status not in (400, 413):
        return None
    said = error.message.lower()
    if error.status == 400 and not (_LIMITS.search(said) and _ROWS.search(said)):
        return None
    numbers = (int(re.sub(r"\D", "", n)) * (1000 if n.endswith("k") else 1) for n in _NUMBER.findall(said))
    # A number that is far from what was sent is the limit of something else.
    return max((number for number in numbers if sent // 16 < number < sent), default=sent // 2)
