"""The connections that the listener hears, and the secrets that it accepts."""

from __future__ import annotations

import asyncio
import hmac
import logging
import math
import time
from collections.abc import Collection

from airflow.configuration import ensure_secrets_loaded
from airflow.models.connection import Connection

from airflow_provider_optimove.webhook.address import SHORTEST_SECRET, secrets_in

log = logging.getLogger(__name__)

KEPT = 60.0
READ_ANEW_AFTER = 10.0
LONGEST_READ = 5.0


class ConnectionUnknown(Exception):
    """What the connections say could not be found out."""


class HeardConnections:
    """Reads the secrets of all connections together, seldom enough that guesses cost no look-ups.

    Neither the work nor the time of an answer depends on whether the connection that was named is one of them.

    :param conn_ids: the Airflow connections.
    """

    def __init__(self, conn_ids: Collection[str]) -> None:
        self._conn_ids = conn_ids
        self._secrets: dict[str, tuple[str, ...]] = {}
        self._asked_at = -math.inf
        self._reading: asyncio.Task[bool] | None = None

    async def accepts(self, conn_id: str, secret: str) -> bool:
        """Whether a secret is one of a connection's.

        What was read before counts while the connections are read, and for as long as they cannot be read.

        :param conn_id: as it came.
        :param secret: as it came.
        :raises ConnectionUnknown: the secret is none that is known, and a connection could not be read.
        """
        under_way = self._reading is not None and not self._reading.done()
        if not under_way and time.monotonic() - self._asked_at > KEPT:
            await self._read()
        if self._is_known(conn_id, secret):
            return True
        # It may be new.
        all_read = await self._read()
        if self._is_known(conn_id, secret):
            return True
        if not all_read:
            raise ConnectionUnknown
        return False

    def _is_known(self, conn_id: str, secret: str) -> bool:
        came = secret.encode()
        accepted = [
            hmac.compare_digest(came, known.encode()) and heard == conn_id
            for heard, secrets in self._secrets.items()
            for known in secrets
        ]
        return any(accepted)

    async def _read(self) -> bool:
        """Wait until the connections are read, if that is due or under way; whether all of them were."""
        now = time.monotonic()
        if self._reading is None or (self._reading.done() and now - self._asked_at > READ_ANEW_AFTER):
            self._asked_at = now
            self._reading = asyncio.create_task(asyncio.to_thread(self._read_all))
        done, _ = await asyncio.wait([self._reading], timeout=LONGEST_READ)
        if not done:
            log.warning("The connections of the event listener were not read within %g s", LONGEST_READ)
        return bool(done) and self._reading.result()

    def _read_all(self) -> bool:
        all_read = True
        for conn_id in self._conn_ids:
            try:
                secrets = _secrets_of(conn_id)
            except Exception as error:
                # Errors of secrets backends and databases can hold what they were asked.
                log.warning("Connection %s could not be read: %s", conn_id, type(error).__name__)
                all_read = False
            else:
                self._secrets = {**self._secrets, conn_id: secrets}
        return all_read


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
