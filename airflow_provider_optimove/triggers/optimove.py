"""Waiting for Optimove in a triggerer, where no worker is held."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_optimove.exceptions import OptimoveError, OptimoveInputError
from airflow_provider_optimove.sensors.target_date import as_date
from airflow_provider_optimove.triggers.events import PERMANENT_ERRORS, error_event, success_event

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from datetime import date

    from airflow.providers.common.compat.sdk import Connection

    from airflow_provider_optimove.clients.optimove.client import OptimoveClient

LOOKUPS_OF_A_MISSING_CONNECTION = 3
"""More than one: Airflow reports a secrets backend that fails like a connection that does not exist."""


class OptimoveLastDataUpdateTrigger(BaseTrigger):
    """Waits until Optimove's data has reached a date, and fires one event.

    Calls GetLastDataUpdate. Errors that may pass are logged and ridden out until Airflow's own timeout ends the wait;
    errors that asking again does not change end it with an event that makes the task fail for good.

    :param optimove_conn_id: Airflow connection of type ``optimove``.
    :param target_date: the data date to wait for, ``YYYY-MM-DD``.
    :param poll_interval: seconds between the end of one call and the start of the next.
    """

    def __init__(self, optimove_conn_id: str, target_date: str, poll_interval: float = 60.0) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.optimove_conn_id = optimove_conn_id
        self.target_date = target_date
        self.poll_interval = poll_interval

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Class path and arguments from which a triggerer builds this trigger again: plain JSON, no secrets."""
        return (
            "airflow_provider_optimove.triggers.optimove.OptimoveLastDataUpdateTrigger",
            {
                "optimove_conn_id": self.optimove_conn_id,
                "target_date": self.target_date,
                "poll_interval": self.poll_interval,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Fire ``{"status": "success", "date": …}``, or ``{"status": "error", …}`` with the reason."""
        try:
            event = success_event(await self._wait_for(as_date(self.target_date, "target_date")))
        except PERMANENT_ERRORS as error:
            self.log.error("The wait for data of %s ends: %s", self.target_date, error)
            event = error_event(error)
        yield TriggerEvent(event)  # type: ignore[no-untyped-call]

    async def _wait_for(self, target: date) -> date:
        poller = LastDataUpdatePoller(self.optimove_conn_id)
        failures = 0
        try:
            while True:
                try:
                    found = await poller.poll()
                except PERMANENT_ERRORS:
                    raise
                except OptimoveError as error:
                    failures += 1
                    self.log.warning("Still waiting for data of %s, %d failures in a row: %s", target, failures, error)
                else:
                    failures = 0
                    self.log.info("GetLastDataUpdate: %s, waiting for data of %s", found, target)
                    if found >= target:
                        return found
                await asyncio.sleep(self.poll_interval)
        finally:
            poller.close()


class LastDataUpdatePoller:
    """Asks one connection's Optimove for its data date, without blocking the event loop.

    :param optimove_conn_id: Airflow connection of type ``optimove``; read at the first call and kept.
    """

    def __init__(self, optimove_conn_id: str) -> None:
        self.optimove_conn_id = optimove_conn_id
        self._client: OptimoveClient | None = None
        self._lookups_left = LOOKUPS_OF_A_MISSING_CONNECTION

    async def poll(self) -> date:
        """One call of GetLastDataUpdate.

        :returns: the date up to which Optimove has data.
        :raises OptimoveError: one of :data:`~airflow_provider_optimove.triggers.events.PERMANENT_ERRORS`, or an error
            that may pass.
        """
        if self._client is None:
            self._client = await self._connect()
        return await asyncio.to_thread(self._client.get_last_data_update)

    def close(self) -> None:
        """Let go of the connections to the server. A call under way ends by itself."""
        if self._client is not None:
            self._client.close()

    async def _connect(self) -> OptimoveClient:
        from airflow.providers.common.compat.connection import get_async_connection
        from airflow.providers.common.compat.sdk import AirflowNotFoundException
        from asgiref.sync import sync_to_async

        try:
            connection = await get_async_connection(self.optimove_conn_id)
        except AirflowNotFoundException:
            self._lookups_left -= 1
            problem = f"connection {self.optimove_conn_id!r} is not defined where the triggerer looks"
            if self._lookups_left > 0:
                raise OptimoveError(problem) from None
            raise OptimoveInputError(f"optimove_conn_id: {problem}") from None
        # Not to_thread: reading the extra masks its secrets through the triggerer's supervisor, and before Airflow 3.3
        # that works in a thread only where asgiref knows which loop the thread belongs to.
        return await sync_to_async(_client_from)(connection)


def _client_from(connection: Connection) -> OptimoveClient:
    from airflow_provider_optimove.hooks.optimove import client_from_connection

    return client_from_connection(connection)
