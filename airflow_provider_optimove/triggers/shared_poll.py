"""One poll for all who wait for the same answer in an event loop.

Whoever waits joins the poll of its question on its connection; the first one starts it. When the last one has left it
asks no more, but keeps its answer and the connection's client for an interval: others may come for the same. Of a
connection few calls are under way at a time, in threads of their own: neither a server that hangs nor the rate limit
keeps others in the triggerer from theirs.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowNotFoundException

from airflow_provider_optimove.exceptions import OptimoveAuthenticationError, OptimoveError
from airflow_provider_optimove.sensors.waits import LONGEST_CALL, Done
from airflow_provider_optimove.triggers.events import PERMANENT_ERRORS

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Connection

    from airflow_provider_optimove.clients.optimove.client import OptimoveClient
    from airflow_provider_optimove.sensors.waits import Question, Wait

log = logging.getLogger(__name__)

LONGEST_PAUSE = 900.0
"""Seconds between two calls at most, while the answer surely cannot come yet; or the interval, if that is longer."""

AT_A_TIME = 20
"""Who wait and hear of an answer before the event loop may turn to others: each may write a line into its log."""

CONNECTION_IS_GOOD_FOR = 900.0
"""Seconds after which a connection is read once more: somebody may have changed it, and a watcher never ends."""

FIRST_PAUSE = 1.0
"""Seconds until the next call after one that failed; each further failure doubles it, up to the interval."""

CALLS_AT_A_TIME = 4
"""Of a connection: one that is slow, or fails slowly, shall not keep the others waiting."""

LOOKUPS_OF_A_MISSING_CONNECTION = 8
"""In two minutes, or eight intervals: Airflow reports a secrets backend that fails like a missing connection."""


async def end_of(wait: Wait, *, optimove_conn_id: str, interval: float, of_task: bool = True) -> Done:
    """Wait, together with all who ask the same in this event loop.

    Errors that may pass are logged and ridden out; there is no timeout.

    :param wait: what is waited for.
    :param optimove_conn_id: Airflow connection of type ``optimove``.
    :param interval: the most seconds from the end of a call to the start of the next.
    :param of_task: whether a task waits, in whose log others may read what went wrong.
    :returns: how the wait ended.
    :raises OptimoveError: one of :data:`~airflow_provider_optimove.triggers.events.PERMANENT_ERRORS`.
    :raises AirflowNotFoundException: the connection cannot be found; Airflow retries a task whose trigger raises this.
    """
    key = (asyncio.get_running_loop(), optimove_conn_id)
    line = _lines.get(key)
    if line is None:
        line = _lines[key] = _Line(optimove_conn_id)
    poll = line.polls.get(wait.question)
    if poll is None:
        poll = line.polls[wait.question] = _Poll(line, wait.question)
    waiter = _Waiter(wait, interval, of_task)
    try:
        poll.join(waiter)
        return await waiter.end
    finally:
        poll.leave(waiter)


class _Line:
    """One connection's client in one event loop."""

    def __init__(self, optimove_conn_id: str) -> None:
        self.optimove_conn_id = optimove_conn_id
        self.polls: dict[Question, _Poll] = {}
        self._client: OptimoveClient | None = None
        self._threads = ThreadPoolExecutor(CALLS_AT_A_TIME, thread_name_prefix=f"optimove {optimove_conn_id}")
        self._one_lookup = asyncio.Lock()
        self._read_at = -float("inf")

    async def ask(self, question: Question) -> Any:
        """One call, as soon as one of the threads is free; the event loop goes on meanwhile."""
        client = await self._current_client()
        try:
            return await self._in_a_thread(question, client)
        except OptimoveAuthenticationError:
            async with self._one_lookup:
                renewed = await self._renewed(client)
            if renewed is client:
                raise
            return await self._in_a_thread(question, renewed)

    def forget(self, poll: _Poll) -> None:
        """Nobody may join a poll any more; without any, let go of the connections to the server.

        A call under way ends by itself.
        """
        if self.polls.get(poll.question) is not poll:
            return
        del self.polls[poll.question]
        if not self.polls:
            del _lines[asyncio.get_running_loop(), self.optimove_conn_id]
            self._threads.shutdown(wait=False)
            if self._client is not None:
                self._client.close()

    def _in_a_thread(self, question: Question, client: OptimoveClient) -> asyncio.Future[Any]:
        return asyncio.get_running_loop().run_in_executor(self._threads, question.ask, client)

    async def _current_client(self) -> OptimoveClient:
        async with self._one_lookup:
            client = self._client
            if client is None:
                client = self._client = await self._connect()
            elif asyncio.get_running_loop().time() - self._read_at >= CONNECTION_IS_GOOD_FOR:
                try:
                    return await self._renewed(client)
                except (OptimoveError, AirflowNotFoundException) as error:
                    log.warning("Going on with the connection as it was: %s", error)
            return client

    async def _renewed(self, client: OptimoveClient) -> OptimoveClient:
        """The same client, or another one if the connection has changed."""
        if self._client is not None and self._client is not client:
            return self._client
        renewed = await self._connect()
        if renewed.settings == client.settings:
            return client
        log.info("Connection %s has changed", self.optimove_conn_id)
        client.close()
        self._client = renewed
        return renewed

    async def _connect(self) -> OptimoveClient:
        from airflow.providers.common.compat.connection import get_async_connection
        from asgiref.sync import sync_to_async

        self._read_at = asyncio.get_running_loop().time()
        try:
            connection = await get_async_connection(self.optimove_conn_id)
        except AirflowNotFoundException:
            raise AirflowNotFoundException(
                f"connection {self.optimove_conn_id!r} is not defined where the triggerer looks: define it, or see why"
                " the secrets backend that has it does not answer"
            ) from None
        # Not to_thread: reading the extra masks its secrets through the triggerer's supervisor, and before Airflow 3.3
        # that works in a thread only where asgiref knows which loop the thread belongs to.
        return await sync_to_async(_client_from)(connection)


class _Poll:
    """Asks one question on one line as long as somebody waits."""

    def __init__(self, line: _Line, question: Question) -> None:
        self.question = question
        self._line = line
        self._loop = asyncio.get_running_loop()
        self._waiters: dict[_Waiter, None] = {}
        self._answer: Any = None
        self._answered_at = self._asked_at = -float("inf")
        self._kept_until = float("inf")
        self._failures = 0
        self._wakes_at = float("inf")
        self._wake = asyncio.Event()
        # Not in the context of the first waiter: Airflow would take all that is logged here for its own.
        self._task = self._loop.create_task(self._run(), name=f"poll: {question}", context=contextvars.Context())

    def join(self, waiter: _Waiter) -> None:
        """Let one more wait; the last answer is for it, too, if it is younger than its interval."""
        self._waiters[waiter] = None
        if self._loop.time() - self._answered_at < waiter.interval:
            waiter.take(self._answer)
        if self._asked_at + waiter.pause < self._wakes_at:
            self._wake.set()

    def leave(self, waiter: _Waiter) -> None:
        """Wait for one less; without any, keep the answer for those who come within an interval."""
        del self._waiters[waiter]
        if self._waiters:
            return
        if self._answered_at > -float("inf"):
            self._kept_until = self._loop.time() + waiter.interval
            self._wake.set()
        else:
            self._task.cancel()
            self._line.forget(self)

    async def _run(self) -> None:
        try:
            while await self._is_due():
                await self._ask()
            self._line.forget(self)
        except BaseException as error:
            # Before those who wait hear of it: who comes from now on must not join a poll that is over.
            self._line.forget(self)
            # Airflow takes one that is cancelled for one that it has cancelled itself.
            told = OptimoveError("the poll was cancelled") if isinstance(error, asyncio.CancelledError) else error
            for waiter in self._waiters:
                waiter.fail(told)
            if not isinstance(error, Exception):
                raise

    async def _ask(self) -> None:
        try:
            answer = await self._line.ask(self.question)
        except PERMANENT_ERRORS:
            raise
        except (OptimoveError, AirflowNotFoundException) as error:
            self._failures += 1
            if isinstance(error, AirflowNotFoundException) and self._failures >= LOOKUPS_OF_A_MISSING_CONNECTION:
                raise
            # The 1st, 2nd, 4th, 8th ...
            if self._failures.bit_count() == 1:
                self._say(
                    logging.WARNING,
                    "No answer for %d who wait, %d failures in a row: %s",
                    *(len(self._waiters), self._failures, error),
                )
            self._asked_at = self._loop.time()
        else:
            if self._failures:
                self._say(logging.INFO, "An answer again, after %d failures in a row", self._failures)
            self._failures = 0
            self._answer = answer
            self._answered_at = self._asked_at = self._loop.time()
            for number, waiter in enumerate(list(self._waiters), 1):
                waiter.context.run(waiter.take, answer)
                if number % AT_A_TIME == 0:
                    await asyncio.sleep(0)

    def _say(self, level: int, text: str, *values: object) -> None:
        """In the log of the task that has waited longest, and only there. Watchers have none."""
        of_tasks = (waiter for waiter in self._waiters if waiter.of_task)
        if (waiter := next(of_tasks, next(iter(self._waiters), None))) is not None:
            waiter.context.run(log.log, level, text, *values)

    async def _is_due(self) -> bool:
        """Whether the time for a call has come, or else the time to stop."""
        while True:
            # Anew each time: who asked for the shortest pause may have left.
            pauses = [waiter.pause for waiter in self._waiters]
            if pauses and self._failures:
                pauses.append(FIRST_PAUSE * 2.0 ** min(self._failures - 1, 20))
            self._wakes_at = self._asked_at + min(pauses) if pauses else self._kept_until
            left = self._wakes_at - self._loop.time()
            if left <= 0:
                return bool(pauses)
            self._wake.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._wake.wait()


class _Waiter:
    """One who waits.

    :param wait: what for.
    :param interval: the most seconds between two calls.
    :param of_task: whether a task waits.
    """

    def __init__(self, wait: Wait, interval: float, of_task: bool) -> None:
        self.wait = wait
        self.of_task = of_task
        self.interval = self.pause = interval
        self.end: asyncio.Future[Done] = asyncio.get_running_loop().create_future()
        # By it Airflow knows which task's log a line belongs to.
        self.context = contextvars.copy_context()
        self._said: str | None = None

    def take(self, answer: Any) -> None:
        """See whether an answer ends the wait."""
        if self.end.done():
            return
        now = datetime.now(UTC)
        try:
            outcome = self.wait.judge(answer, now)
        except PERMANENT_ERRORS as error:
            self.fail(error)
            return
        except OptimoveError as error:
            log.warning("Still waiting for %s: %s", self.wait, error)
            self.pause = self.interval
            return
        if isinstance(outcome, Done):
            self.end.set_result(outcome)
            return
        if outcome.reason != self._said or outcome.level > logging.INFO:
            log.log(outcome.level, "%s, waiting for %s", outcome.reason, self.wait)
        self._said = outcome.reason
        ahead = (outcome.not_before - now).total_seconds() if outcome.not_before is not None else 0.0
        self.pause = max(self.interval, min(ahead, LONGEST_PAUSE))

    def fail(self, error: BaseException) -> None:
        """End the wait with an error."""
        if not self.end.done():
            self.end.set_exception(error)


_lines: dict[tuple[asyncio.AbstractEventLoop, str], _Line] = {}


def _client_from(connection: Connection) -> OptimoveClient:
    from airflow_provider_optimove.hooks.optimove import client_from_connection

    return client_from_connection(connection, longest_call=LONGEST_CALL, polling=True)
