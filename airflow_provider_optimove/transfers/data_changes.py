"""Whether Optimove's data changes while it is read."""

from __future__ import annotations

import datetime
import logging
from typing import TYPE_CHECKING

from airflow_provider_optimove.exceptions import OptimoveAuthenticationError, OptimoveError, OptimoveResponseError

if TYPE_CHECKING:
    from airflow_provider_optimove.clients.optimove.client import OptimoveClient

log = logging.getLogger(__name__)


class DataChanges:
    """Compares GetLastDataUpdate before and after: between two pages of different days' data, rows may shift.

    :param client: where to ask; the first time at once.
    :param function: what is read.
    :param fail: whether a change, or an answer that cannot be had, is an error; otherwise it is a warning in the log.
    """

    def __init__(self, client: OptimoveClient, function: str, *, fail: bool) -> None:
        self._client = client
        self._function = function
        self._fail = fail
        self._before = self._data_date(first=True)

    def check(self, file: str, written: int) -> None:
        """Ask again.

        :param file: the path that the rows are to be written to, as it may be shown.
        :param written: how many files of the same task are there already.
        :raises OptimoveResponseError: the data changed, and that is an error.
        """
        if self._before is None or (now := self._data_date()) in (None, self._before):
            return
        message = (
            f"the data changed during the read (GetLastDataUpdate was {self._before} and is {now}):"
            " rows may be missing or doubled"
        )
        if self._fail:
            files = "file before it was" if written == 1 else "files before it were"
            there = f", the {written:,} {files}" if written else ""
            raise OptimoveResponseError(
                f"{message}; {file} was not written{there}; a retry reads all again", function=self._function
            )
        log.warning("%s: %s: %s", self._function, file, message)
        self._before = now

    def _data_date(self, *, first: bool = False) -> datetime.date | None:
        try:
            return self._client.get_last_data_update()
        except OptimoveError as error:
            if self._fail or (first and isinstance(error, OptimoveAuthenticationError)):
                # With this one, the read itself would fail, too.
                raise
            log.warning("It cannot be told whether the data changes during the read: %s", error)
            return None
