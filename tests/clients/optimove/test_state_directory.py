from __future__ import annotations

import json
import logging
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import airflow_provider_optimove
from airflow_provider_optimove.clients.optimove import state_directory as module
from airflow_provider_optimove.clients.optimove.auth import FileTokenStore, SharedSession
from airflow_provider_optimove.clients.optimove.rate_limit import RateLimitGate, Window
from airflow_provider_optimove.clients.optimove.state_directory import (
    LockTimeoutError,
    open_private,
    read_private,
    replace_private,
    state_directory,
    try_lock,
    wait_for_lock,
)

SCRIPT = Path(__file__).with_name("process_scenarios.py")
SOURCE = Path(airflow_provider_optimove.__file__).parents[1]


@pytest.fixture(autouse=True)
def temporary_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(module, "_warned", False)
    return tmp_path


@pytest.fixture
def directory() -> Path:
    made = state_directory()
    assert made is not None
    return made


@pytest.fixture
def start() -> Iterator[Callable[..., tuple[subprocess.Popen[str], dict[str, Any]]]]:
    """Starts a process of its own and waits until it holds what it is to hold."""
    processes = []

    def start(scenario: str, **arguments: Any) -> tuple[subprocess.Popen[str], dict[str, Any]]:
        process = subprocess.Popen(
            [sys.executable, str(SCRIPT), scenario, "1", json.dumps(arguments)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(SOURCE)},
        )
        processes.append(process)
        assert process.stdout is not None
        return process, json.loads(process.stdout.readline())

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def test_it_is_made_for_this_user_alone(directory: Path, temporary_directory: Path) -> None:
    assert directory == temporary_directory / f"airflow-provider-optimove-{os.geteuid()}"
    assert mode(directory) == 0o700
    assert state_directory() == directory


def test_files_are_for_this_user_alone(directory: Path) -> None:
    previous = os.umask(0)
    try:
        os.close(open_private(directory, "data"))
        replace_private(directory, "replaced", b"content")
        with wait_for_lock(directory, "lock", time.monotonic()):
            pass
    finally:
        os.umask(previous)
    assert {path.name: mode(path) for path in directory.iterdir()} == {"data": 0o600, "replaced": 0o600, "lock": 0o600}


def reached_by_others(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.mkdir(mode=0o700)
    path.chmod(0o755)


def link(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = path.with_name("elsewhere")
    elsewhere.mkdir(mode=0o700)
    path.symlink_to(elsewhere)


def plain_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_text("")
    path.chmod(0o600)


def other_owner(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The directory of this name is there already, and belongs to somebody else."""
    other = os.geteuid() + 1
    path.with_name(f"airflow-provider-optimove-{other}").mkdir(mode=0o700)
    monkeypatch.setattr(os, "geteuid", lambda: other)


def no_place(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(path / "missing"))


def no_file_locks(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HAS_FILE_LOCKS", False)


@pytest.mark.parametrize("spoil", [reached_by_others, link, plain_file, other_owner, no_place, no_file_locks])
def test_what_cannot_be_trusted_is_not_used_and_work_goes_on(
    spoil: Callable[[Path, pytest.MonkeyPatch], None],
    temporary_directory: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    spoil(temporary_directory / f"airflow-provider-optimove-{os.geteuid()}", monkeypatch)
    assert state_directory() is None
    assert state_directory() is None

    deadline = time.monotonic() + 5
    store = FileTokenStore(f"https://{spoil.__name__}.example", "fake-user", "fake-password")
    assert SharedSession(store, lambda deadline: "fake-token").token(deadline) == "fake-token"
    with RateLimitGate((Window(1, 0.1),), key=spoil.__name__, parallel=1).slot(deadline):
        pass

    assert [(record.levelno, record.message[:21]) for record in caplog.records] == [
        (logging.WARNING, "going on without shar"),
    ]
    assert not [path for path in temporary_directory.rglob("*") if path.name.startswith(("session-", "calls-"))]


def test_a_link_is_not_followed(directory: Path, temporary_directory: Path) -> None:
    target = temporary_directory / "target"
    target.write_bytes(b"untouched")
    target.chmod(0o600)
    for name in ("data", "data.new", "lock"):
        (directory / name).symlink_to(target)
    with pytest.raises(OSError, match="data"):
        open_private(directory, "data")
    with pytest.raises(OSError, match=r"data\.new"):
        replace_private(directory, "data", b"content")
    with pytest.raises(OSError, match="lock"):
        try_lock(directory, "lock")
    assert target.read_bytes() == b"untouched"


def test_a_file_that_others_can_reach_is_not_used(directory: Path) -> None:
    (directory / "data").write_text("content")
    (directory / "data").chmod(0o644)
    with pytest.raises(PermissionError, match="0644"):
        read_private(directory, "data", most=10)


def test_a_file_of_another_owner_is_not_used(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.close(open_private(directory, "data"))
    other = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: other)
    with pytest.raises(PermissionError, match="another user"):
        read_private(directory, "data", most=10)


def test_a_pipe_in_a_files_place_blocks_nobody(directory: Path) -> None:
    os.mkfifo(directory / "data", 0o600)
    with pytest.raises(OSError, match="data"):
        open_private(directory, "data")


def test_a_replaced_file_is_whole_and_leaves_nothing_behind(directory: Path) -> None:
    assert read_private(directory, "data", most=100) is None
    replace_private(directory, "data", b"a long content")
    replace_private(directory, "data", b"short")
    assert read_private(directory, "data", most=100) == b"short"
    assert [path.name for path in directory.iterdir()] == ["data"]


def test_a_directory_that_was_cleaned_away_comes_back(directory: Path) -> None:
    shutil.rmtree(directory)
    with wait_for_lock(directory, "lock", time.monotonic()):
        assert mode(directory) == 0o700


def test_a_lock_excludes_its_own_process_until_the_deadline(directory: Path) -> None:
    with wait_for_lock(directory, "lock", time.monotonic()):
        began = time.monotonic()
        with pytest.raises(LockTimeoutError):
            wait_for_lock(directory, "lock", began + 0.2)
        assert 0.2 <= time.monotonic() - began < 1.0
    wait_for_lock(directory, "lock", time.monotonic()).release()


def test_a_removed_lock_file_locks_nobody_out_and_nothing_in(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file goes away between being opened and being locked: that lock would exclude nobody."""
    real_open = open_private

    def open_and_lose(directory: Path, name: str, *, create: bool = True) -> int:
        descriptor = real_open(directory, name, create=create)
        monkeypatch.setattr(module, "open_private", real_open)
        (directory / name).unlink()
        return descriptor

    monkeypatch.setattr(module, "open_private", open_and_lose)
    lock = wait_for_lock(directory, "lock", time.monotonic() + 1)
    assert try_lock(directory, "lock") is None
    lock.release()


def test_a_killed_holder_blocks_nobody(directory: Path, start: Callable[..., Any]) -> None:
    process, _ = start("hold_lock", directory=str(directory), name="lock")
    assert try_lock(directory, "lock") is None
    process.kill()
    wait_for_lock(directory, "lock", time.monotonic() + 5).release()


def test_a_killed_holders_child_blocks_nobody(directory: Path, start: Callable[..., Any]) -> None:
    process, held = start("hold_lock_and_fork", directory=str(directory), name="lock")
    try:
        assert try_lock(directory, "lock") is None
        process.kill()
        wait_for_lock(directory, "lock", time.monotonic() + 2).release()
    finally:
        os.kill(held["child"], 9)


def test_a_forked_child_does_not_release_its_parents_lock(directory: Path, start: Callable[..., Any]) -> None:
    _, result = start("release_in_child", directory=str(directory), name="lock")
    assert result == {"still_ours": True}


def test_a_released_lock_is_free_though_a_copy_of_the_file_is_open(directory: Path) -> None:
    """As in a child that was forked by other means than Python's."""
    lock = wait_for_lock(directory, "lock", time.monotonic())
    copy = os.dup(lock.descriptor)
    lock.release()
    wait_for_lock(directory, "lock", time.monotonic()).release()
    os.close(copy)


def test_no_file_stays_open(directory: Path) -> None:
    before = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0
    for _ in range(5):
        with wait_for_lock(directory, "lock", time.monotonic()):
            assert try_lock(directory, "lock") is None
        replace_private(directory, "data", b"content")
        read_private(directory, "data", most=10)
        (directory / "open").touch(mode=0o644)
        with pytest.raises(PermissionError):
            read_private(directory, "open", most=10)
    after = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0
    assert after == before
