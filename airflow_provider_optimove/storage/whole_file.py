"""A file that appears under its name only when it is complete."""

from __future__ import annotations

import fcntl
import glob
import io
import logging
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from airflow_provider_optimove.exceptions import OptimoveInputError
from airflow_provider_optimove.storage.paths import shown_path, storage_path

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

log = logging.getLogger(__name__)

RANDOM_BYTES = 8

# Files that cannot be seen, and leave what was there before, until they are closed (adlfs: since 2024.12). Others that
# buffer in the same way do not: FTP, WebHDFS, DBFS and the zonal buckets of Google.
PUBLISHED_AT_CLOSE = frozenset({"s3fs.core.S3File", "gcsfs.core.GCSFile", "adlfs.spec.AzureBlobFile"})


@contextmanager
def whole_file(path: str, conn_id: str | None = None, *, overwrite: bool = True) -> Iterator[BinaryIO]:
    """A file to write, which is there, or replaces what was there, when the block has ended.

    When the block raises, nothing is there that was not there before. The file can only be written, from its start to
    its end; ``tell()`` gives the bytes written so far, also after the block. What wraps the file (TextIOWrapper,
    GzipFile, ParquetWriter) must be flushed or closed inside of the block; closing the file itself publishes nothing.

    :param path: a local path, whose missing folders are made, or a URI that Airflow's ObjectStoragePath knows.
    :param conn_id: the Airflow connection of the storage.
    :param overwrite: whether an existing file may be replaced. If not, a local file that appears while the block runs
        is kept, too; in other storages only one that is there when the block begins.
    :raises OptimoveInputError: the path cannot be that of a file, or the file exists and must not be replaced.
    :raises OSError: the file cannot be written.
    """
    from fsspec.implementations.local import LocalFileSystem

    shown = shown_path(path)
    place = storage_path(path, conn_id)
    files: Any = place.fs
    is_local = isinstance(files, LocalFileSystem)
    if path.endswith("/") or (is_local and os.path.exists(place.path) and not os.path.isfile(place.path)):
        raise OptimoveInputError(f"{shown}: this is a folder or a device, not a file")
    if not overwrite and files.exists(place.path):
        raise _exists_already(shown)
    target = _LocalFile(place.path, shown, overwrite) if is_local else _StoredFile(files, place.path, shown)
    sink = _Sink(target.file)
    try:
        yield cast(BinaryIO, sink)
        sink.close()
        target.publish()
    except BaseException:
        sink.close()
        try:
            target.discard()
        except Exception as error:
            log.warning("%s: what was written of it could not be removed: %s", shown, shown_path(str(error)))
        raise


class _Sink(io.BufferedIOBase):
    """What a block writes to. Wrappers close it even when an error passes them, so its end is not the file's."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._written = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._written

    def write(self, data: ReadableBuffer, /) -> int:
        if self.closed:
            raise ValueError("write to closed file")
        # Not every storage takes a memoryview, or tells its length in bytes.
        piece = data if isinstance(data, bytes) else bytes(memoryview(data))
        self._file.write(piece)
        self._written += len(piece)
        return len(piece)


class _LocalFile:
    """Written aside in the same folder, and locked as long as its writer lives."""

    def __init__(self, path: str, shown: str, overwrite: bool) -> None:
        self._path = path
        self._shown = shown
        self._overwrite = overwrite
        folder, name = os.path.split(path)
        try:
            os.makedirs(folder, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            raise OptimoveInputError(f"{shown}: a part of the path is a file, not a folder") from None
        _remove_leftovers(folder, name)
        while True:
            self._aside = f"{folder}/{_name_aside(name)}"
            try:
                self.file = os.fdopen(os.open(self._aside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666), "wb")
            except OSError as error:
                # Of the file that somebody asked for, not of this one.
                raise OSError(error.errno, error.strerror, shown) from None
            with suppress(OSError):
                fcntl.flock(self.file, fcntl.LOCK_EX)
            # Before it was locked, another writer may have taken it for a leftover.
            if os.path.exists(self._aside):
                break
            self.file.close()
        with suppress(OSError):
            # Who may read what was there may read what replaces it, and nobody else.
            os.fchmod(self.file.fileno(), stat.S_IMODE(os.stat(path).st_mode))

    def publish(self) -> None:
        self.file.flush()
        os.fsync(self.file.fileno())
        if self._overwrite:
            os.replace(self._aside, self._path)
        else:
            try:
                os.link(self._aside, self._path)
            except OSError:
                if os.path.lexists(self._path):
                    raise _exists_already(self._shown) from None
                # There are no links here, as in object storages that are mounted.
                os.replace(self._aside, self._path)
        self.discard()

    def discard(self) -> None:
        with suppress(FileNotFoundError):
            os.unlink(self._aside)
        # Closing writes what is left in the buffer, and the disk may be full.
        with suppress(OSError):
            self.file.close()


def _remove_leftovers(folder: str, name: str) -> None:
    """Remove what writers of the same file left when they were killed."""
    digits = "[0-9a-f]" * (2 * RANDOM_BYTES)
    for leftover in glob.glob(f"{glob.escape(folder)}/.{glob.escape(name)}.{digits}.partial"):
        # Locked by a living writer, or not ours to remove, or no locks here.
        with suppress(OSError), open(leftover, "r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.unlink(leftover)


def _name_aside(name: str) -> str:
    return f".{name}.{secrets.token_hex(RANDOM_BYTES)}.partial"


def _exists_already(shown: str) -> OptimoveInputError:
    return OptimoveInputError(f"{shown}: exists already, and overwrite is false")


class _StoredFile:
    """Written under its name where it appears when it is closed, or can get there in no other way; elsewhere aside, and
    moved."""

    def __init__(self, files: Any, path: str, shown: str) -> None:
        from fsspec.spec import AbstractBufferedFile

        self._files = files
        self._path = path
        self._shown = shown
        folder, _, name = path.rpartition("/")
        self._written_to = f"{folder}/{_name_aside(name)}"
        try:
            self.file = files.open(self._written_to, "wb")
        except FileNotFoundError:
            files.makedirs(folder, exist_ok=True)
            self.file = files.open(self._written_to, "wb")
        kind = f"{type(self.file).__module__}.{type(self.file).__qualname__}"
        if kind in PUBLISHED_AT_CLOSE or (isinstance(self.file, AbstractBufferedFile) and not self._can_move()):
            # Nothing was sent yet, and nothing shall be.
            self.file.closed = True
            self._written_to = path
            self.file = files.open(path, "wb")

    def _can_move(self) -> bool:
        from fsspec import AbstractFileSystem

        copies = getattr(self._files.cp_file, "__func__", None) is not AbstractFileSystem.cp_file
        return copies or type(self._files).mv is not AbstractFileSystem.mv

    def publish(self) -> None:
        from fsspec import AbstractFileSystem

        self.file.close()
        if self._written_to == self._path:
            return
        if type(self._files).mv is AbstractFileSystem.mv:
            # It does the same, only that it takes "[1]" in a name for a pattern.
            self._files.cp_file(self._written_to, self._path)
            self._files.rm_file(self._written_to)
        else:
            self._files.mv(self._written_to, self._path)
            if self._files.exists(self._written_to):
                raise OSError(f"{self._shown}: the storage did not move the file there")

    def discard(self) -> None:
        from fsspec.spec import AbstractBufferedFile

        try:
            if isinstance(self.file, AbstractBufferedFile):
                # Closing would publish it, and so would the garbage collector as long as it is open.
                self.file.closed = True
                self.file.discard()
            else:
                self.file.close()
        finally:
            if self._written_to != self._path:
                with suppress(FileNotFoundError):
                    self._files.rm_file(self._written_to)
