"""A file of rows that need somebody's attention."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping
from typing import Any

from airflow_provider_optimove.exceptions import OptimoveInputError
from airflow_provider_optimove.storage.paths import shown_path, storage_path

log = logging.getLogger(__name__)


class RowReport:
    """Rows as JSON Lines, written as they come. A local file can be read by its owner only.

    :param path: a local path, or a URI of an object storage.
    :param conn_id: Airflow connection of the object storage.
    """

    def __init__(self, path: str | os.PathLike[str], conn_id: str | None = None) -> None:
        self._shown = shown_path(str(path))
        self._place = storage_path(str(path), conn_id)
        self._is_local = self._place.protocol in ("", "file")
        self._content = b""
        if self._is_local and not os.path.isdir(os.path.dirname(self._place.path)):
            raise OptimoveInputError(f"{self._shown}: the folder does not exist")

    def start(self, kept: int) -> None:
        """Make the file, before anything is sent, so that it can surely be written.

        :param kept: how many lines of an earlier try stay in it.
        """
        if self._is_local:
            with open(self._descriptor(os.O_CREAT | os.O_RDWR), "r+b") as file:
                found = [line for line, _ in zip(file, range(kept), strict=False)]
                file.seek(sum(map(len, found)))
                file.truncate()
        else:
            found = []
            if kept and self._place.exists():
                found = self._place.read_bytes().splitlines(keepends=True)[:kept]
            self._content = b"".join(found)
            self._place.write_bytes(self._content)
        if len(found) < kept:
            log.warning(
                "%s has %d of the %d lines of the earlier try; was that on another machine?",
                *(self._shown, len(found), kept),
            )

    def add(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Write rows; they are in the file when this returns."""
        import msgspec

        lines = b"".join(msgspec.json.encode(row) + b"\n" for row in rows)
        if self._is_local:
            with open(self._descriptor(os.O_CREAT | os.O_WRONLY | os.O_APPEND), "ab") as file:
                file.write(lines)
                file.flush()
                os.fsync(file.fileno())
        else:
            # An object cannot be extended.
            self._content += lines
            self._place.write_bytes(self._content)

    def _descriptor(self, flags: int) -> int:
        descriptor = os.open(self._place.path, flags, 0o600)
        os.fchmod(descriptor, 0o600)
        return descriptor
