"""A connection that the listener hears, and the secrets that it accepts."""

from __future__ import annotations

import asyncio
import hmac
import logging
import math
import time
from secrets import token_bytes

from airflow.configuration import ensure_secrets_loaded
from airflow.models.connection import Connection

from airflow_provider_optimove.webhook.address import SHORTEST_SECRET, secrets_in

log = logging.getLogger(__name__)

KEPT = 60.0
READ_ANEW_AFTER = 10.0


class ConnectionUnknown(Exception):
    """Whether there is such a connection, and what it says, could not be found out."""


class HeardConnection:
    """Reads the secrets of a connection seldom enough that guesses cost no look-ups.

    :param conn_id: the Airflow connection.
    :param accepts_none: whether it refuses whatever comes, with the work that the others have.
    """

    def __init__(self, conn_id: str, *, accepts_none: bool = False) -> None:
        self.conn_id = conn_id
        self._accepts_none = accepts_none
        self._nobodys = token_bytes(32)
        self._secrets: tuple[str, ...] | None = ()
        self._read_at = -math.inf
        self._reading = asyncio.Lock()

    async def accepts(self, secret: str) -> bool:
        """Whether a secret is one of the connection's.

        :param secret: as it came.
        :raises ConnectionUnknown: the connection could not be read.
        """
        # A secret that is not right may be new.
        for age in (KEPT, READ_ANEW_AFTER):
            if self._is_one_of(await self._read(age), secret):
                return True
        if self._secrets is None:
            raise ConnectionUnknown
        return False

    def _is_one_of(self, secrets: tuple[str, ...] | None, secret: str) -> bool:
        came = secret.encode()
        found = [hmac.compare_digest(came, known.encode()) for known in secrets or ()]
        found = found or [hmac.compare_digest(came, self._nobodys)]
        return any(found) and not self._accepts_none

    async def _read(self, oldest: float) -> tuple[str, ...] | None:
        """The secrets as they were at most some seconds ago; None where the connection could not be read."""
        async with self._reading:
            if time.monotonic() - self._read_at > oldest:
                try:
                    self._secrets = await asyncio.to_thread(_secrets_of, self.conn_id)
                except Exception as error:
                    # Errors of secrets backends and databases can hold what they were asked.
                    log.warning("Connection %s could not be read: %s", self.conn_id, type(error).__name__)
                    self._secrets = None
                self._read_at = time.monotonic()
            return self._secrets


def _secrets_of(conn_id: str) -> tuple[str, ...]:
    connection = _connection(conn_id)
    if connection is None:
        log.warning("There is no connection %s: the event listener refuses all that comes for it", conn_id)
        return ()
    extra = connection.extra_dejson
    written = extra.get("listener_secret") if isinstance(extra, dict) else None
    secrets = secrets_in(written)
    if len(secrets) < len(str(written or "").split()):
        log.warning(
            "Connection %s: a listener_secret of less than %d characters counts as none", conn_id, SHORTEST_SECRET
        )
    elif not secrets:
        log.warning("Connection %s has no listener_secret: the event listener refuses all that comes for it", conn_id)
    return secrets


def _connection(conn_id: str) -> Connection | None:
    """The connection, from the first secrets backend that has it.

    Airflow's own way says that there is none also where a backend failed.
    """
    failure: Exception | None = None
    for backend in ensure_secrets_loaded():
        try:
            connection: Connection | None = backend.get_connection(conn_id=conn_id)
        except Exception as error:
            failure = error
        else:
            if connection:
                return connection
    if failure:
        raise failure
    return None
