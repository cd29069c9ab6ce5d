"""One poll for all who wait for the same answer in an event loop.

Whoever waits joins the poll of its question on its connection; the first one starts it. When the last one has left it
asks no more, but keeps its answer and the connection's client for an interval: others may come for the same. Of a connection one call is under way at a time, so its rate limit keeps at most
one thread of the triggerer waiting.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow_provider_optimove.exceptions import OptimoveAuthenticationError, OptimoveError, OptimoveInputError
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

LOOKUPS_OF_A_MISSING_CONNECTION = 3
"""More than one: Airflow reports a secrets backend that fails like a connection that does not exist."""


async def end_of(wait: Wait, *, optimove_conn_id: str, interval: float, of_task: bool = True) -> Done:
    """Wait, together with all who ask the same in this event loop.

    Errors that may pass are logged and ridden out; there is no timeout.

    :param wait: what is waited for.
    :param optimove_conn_id: Airflow connection of type ``optimove``.
    :param interval: the most seconds from the end of a call to the start of the next.
    :param of_task: whether a task waits, in whose log others may read what went wrong.
    :returns: how the wait ended.
    :raises OptimoveError: one of :data:`~airflow_provider_optimove.triggers.events.PERMANENT_ERRORS`.
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
        self._one_call = asyncio.Lock()
        self._read_at = -float("inf")
        self._lookups_left = LOOKUPS_OF_A_MISSING_CONNECTION

    async def ask(self, question: Question) -> Any:
        """One call, after those that were asked for before; the event loop goes on meanwhile."""
        async with self._one_call:
            client = await self._current_client()
            try:
                return await asyncio.to_thread(question.ask, client)
            except OptimoveAuthenticationError:
                renewed = await self._renewed(client)
                if renewed is client:
                    raise
                return await asyncio.to_thread(question.ask, renewed)

    def forget(self, poll: _Poll) -> None:
        """Nobody may join a poll any more; without any, let go of the connections to the server.

        A call under way ends by itself.
        """
        if self.polls.get(poll.question) is not poll:
            return
        del self.polls[poll.question]
        if not self.polls:
            del _lines[asyncio.get_running_loop(), self.optimove_conn_id]
            if self._client is not None:
                self._client.close()

    async def _current_client(self) -> OptimoveClient:
        client = self._client
        if client is None:
            client = self._client = await self._connect()
        elif asyncio.get_running_loop().time() - self._read_at >= CONNECTION_IS_GOOD_FOR:
            try:
                return await self._renewed(client)
            except OptimoveError as error:
                log.warning("Going on with the connection as it was: %s", error)
        return client

    async def _renewed(self, client: OptimoveClient) -> OptimoveClient:
        """The same client, or another one if the connection has changed."""
        renewed = await self._connect()
        if renewed.settings == client.settings:
            return client
        log.info("Connection %s has changed", self.optimove_conn_id)
        client.close()
        self._client = renewed
        return renewed

    async def _connect(self) -> OptimoveClient:
        from airflow.providers.common.compat.connection import get_async_connection
        from airflow.providers.common.compat.sdk import AirflowNotFoundException
        from asgiref.sync import sync_to_async

        self._read_at = asyncio.get_running_loop().time()
        try:
            connection = await get_async_connection(self.optimove_conn_id)
        except AirflowNotFoundException:
            self._lookups_left -= 1
            problem = f"connection {self.optimove_conn_id!r} is not defined where the triggerer looks"
            if self._lookups_left > 0:
                raise OptimoveError(problem) from None
            raise OptimoveInputError(f"optimove_conn_id: {problem}") from None
        self._lookups_left = LOOKUPS_OF_A_MISSING_CONNECTION
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
        except OptimoveError as error:
            self._failures += 1
            # In the log of the task that has waited longest, and only there. Watchers have none.
            of_tasks = (waiter for waiter in self._waiters if waiter.of_task)
            next(of_tasks, next(iter(self._waiters))).context.run(
                log.warning,
                "No answer for %d who wait, %d failures in a row: %s",
                len(self._waiters),
                self._failures,
                error,
            )
            self._asked_at = self._loop.time()
        else:
            self._failures = 0
            self._answer = answer
            self._answered_at = self._asked_at = self._loop.time()
            for number, waiter in enumerate(list(self._waiters), 1):
                waiter.context.run(waiter.take, answer)
                if number % AT_A_TIME == 0:
                    await asyncio.sleep(0)

    async def _is_due(self) -> bool:
        """Whether the time for a call has come, or else the time to stop."""
        while True:
            # Anew each time: who asked for the shortest pause may have left.
            pauses = [waiter.pause for waiter in self._waiters]
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

    return client_from_connection(connection, longest_call=LONGEST_CALL)
