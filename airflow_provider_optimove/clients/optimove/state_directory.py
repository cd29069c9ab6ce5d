"""A directory in which the processes of one user on one host share small files and locks.

Sharing saves logins and keeps the rate limit together; no call depends on it. Whatever goes wrong here means
"go on without", and is logged once a process.
"""

from __future__ import annotations

import contextlib
import logging
import os
import random
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:
    HAS_FILE_LOCKS = False
else:
    HAS_FILE_LOCKS = True

logger = logging.getLogger(__name__)

FIRST_POLL = 0.001
LONGEST_POLL = 0.05

_warned = False
_held: set[FileLock] = set()


class LockTimeoutError(Exception):
    """A lock did not become free in time. No OSError: the file works, somebody holds it."""


class FileLock:
    """An exclusive lock on a file of the state directory, held until :meth:`release` or the end of the process.

    :param descriptor: the open file; closed on release.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        _held.add(self)

    def __enter__(self) -> FileLock:
        return self

    def __exit__(self, *exception: object) -> None:
        self.release()

    def release(self) -> None:
        """Give the lock back. In a child forked meanwhile this does nothing: the lock is the parent's."""
        if self not in _held:
            return
        _held.discard(self)
        try:
            # A child forked while the lock was held may still have the file open, so closing is not enough.
            fcntl.flock(self.descriptor, fcntl.LOCK_UN)
        finally:
            os.close(self.descriptor)


def _close_inherited_locks() -> None:
    """In a forked child: a lock must not outlive its holder in a child's copy of the open file."""
    for lock in _held:
        with contextlib.suppress(OSError):
            os.close(lock.descriptor)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_inherited_locks)


def state_directory() -> Path | None:
    """The directory that this user's processes on this host share, created when missing.

    :returns: its path, or None when it cannot be trusted or made; one warning a process says why.
    """
    if not HAS_FILE_LOCKS:
        warn_not_shared("this platform has no file locks")
        return None
    directory = Path(tempfile.gettempdir()) / f"airflow-provider-optimove-{os.geteuid()}"
    try:
        _prepare(directory)
    except OSError as error:
        warn_not_shared(error)
        return None
    return directory


def warn_not_shared(reason: object) -> None:
    """Say, once a process, that nothing is shared with other processes.

    :param reason: what stands in the way.
    """
    global _warned
    if not _warned:
        _warned = True
        logger.warning("going on without sharing login and rate limit with other processes: %s", reason)


def open_private(directory: Path, name: str, *, create: bool = True) -> int:
    """Open a file for reading and writing that nobody but this user can have put there or can read.

    :param directory: the state directory.
    :param name: the file's name in it.
    :param create: whether to make a missing file (mode 0600), and the directory if a cleaner took it.
    :returns: the file descriptor, not inherited by programs that are started.
    :raises OSError: the file cannot be opened, is a link or no plain file, or others own or can reach it.
    """
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | (os.O_CREAT if create else 0)
    path = directory / name
    try:
        descriptor = os.open(path, flags, 0o600)
    except FileNotFoundError:
        if not create:
            raise
        _prepare(directory)
        descriptor = os.open(path, flags, 0o600)
    try:
        _check_private(path, os.fstat(descriptor), stat.S_ISREG, "plain file")
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def try_lock(directory: Path, name: str) -> FileLock | None:
    """Lock a file if nobody holds it. Two locks exclude each other in one process, too.

    :param directory: the state directory.
    :param name: the file's name in it; made when missing.
    :returns: the lock, or None when it is held elsewhere.
    :raises OSError: the file cannot be used.
    """
    descriptor = open_private(directory, name)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Between open and lock a cleaner may have removed the file; the next caller would lock another one.
        if os.fstat(descriptor).st_nlink:
            return FileLock(descriptor)
    except BlockingIOError:
        pass
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


def polls(deadline: float) -> Iterator[None]:
    """Yield at once, then again after short, growing, uneven sleeps, until the deadline has passed.

    :param deadline: a ``time.monotonic()`` value in seconds.
    """
    pause = FIRST_POLL
    while True:
        yield
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            return
        time.sleep(min(pause * random.uniform(0.5, 1.0), remaining))
        pause = min(pause * 1.5, LONGEST_POLL)


def wait_for_lock(directory: Path, name: str, deadline: float) -> FileLock:
    """Lock a file, waiting for whoever holds it.

    :param directory: the state directory.
    :param name: the file's name in it; made when missing.
    :param deadline: when to stop waiting, a ``time.monotonic()`` value in seconds. One attempt is always made.
    :returns: the lock.
    :raises LockTimeoutError: it was held until the deadline.
    :raises OSError: the file cannot be used.
    """
    for _ in polls(deadline):
        lock = try_lock(directory, name)
        if lock is not None:
            return lock
    raise LockTimeoutError("held by another process or thread")


def read_private(directory: Path, name: str, *, most: int) -> bytes | None:
    """What a file holds.

    :param directory: the state directory.
    :param name: the file's name in it.
    :param most: the most bytes to read.
    :returns: the bytes, or None when there is no such file.
    :raises OSError: the file cannot be used.
    """
    try:
        descriptor = open_private(directory, name, create=False)
    except FileNotFoundError:
        return None
    try:
        return os.read(descriptor, most)
    finally:
        os.close(descriptor)


def replace_private(directory: Path, name: str, content: bytes) -> None:
    """Replace a file's content in one step: a reader finds the old or the new one. The caller holds a lock.

    :param directory: the state directory.
    :param name: the file's name in it. Not the locked file: whoever waits for that would lock the old one.
    :param content: the new content.
    :raises OSError: the file cannot be written.
    """
    unfinished = f"{name}.new"
    descriptor = open_private(directory, unfinished)
    try:
        os.ftruncate(descriptor, 0)
        written = os.write(descriptor, content)
        if written != len(content):
            raise OSError(f"only {written} of {len(content)} bytes of {unfinished} were written")
    finally:
        os.close(descriptor)
    os.replace(directory / unfinished, directory / name)


def _prepare(directory: Path) -> None:
    """Make the directory unless it is there, and make sure that it is ours alone."""
    with contextlib.suppress(FileExistsError):
        directory.mkdir(mode=0o700)
    _check_private(directory, directory.lstat(), stat.S_ISDIR, "directory")


def _check_private(path: Path, status: os.stat_result, is_kind: Callable[[int], bool], kind: str) -> None:
    if not is_kind(status.st_mode):
        raise PermissionError(f"{path} is not a {kind}")
    if status.st_uid != os.geteuid():
        raise PermissionError(f"{path} belongs to another user")
    if status.st_mode & 0o077:
        raise PermissionError(f"{path} can be reached by others (mode {stat.S_IMODE(status.st_mode):04o})")
