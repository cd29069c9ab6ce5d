from __future__ import annotations

import contextlib
import http.server
import json
import logging
import math
import os
import random
import shutil
import stat
import subprocess
import sys
import threading
import time
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import airflow_provider_optimove
from airflow_provider_optimove.clients.optimove import rate_limit, state_directory
from airflow_provider_optimove.clients.optimove.rate_limit import (
    DEFAULT_RATE_LIMIT,
    MAIL_PARALLEL_CALLS,
    MAIL_RATE_LIMIT,
    RateLimitGate,
    Window,
    parse_rate_limit,
)
from airflow_provider_optimove.exceptions import OptimoveRateLimitError

SCRIPT = Path(__file__).with_name("process_scenarios.py")
SOURCE = Path(airflow_provider_optimove.__file__).parents[1]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    path = tmp_path / "state"
    path.mkdir(mode=0o700)
    return path


@pytest.fixture(params=["file", "memory"])
def new_gate(
    request: pytest.FixtureRequest, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., RateLimitGate]:
    monkeypatch.setattr(rate_limit, "_ledgers", {})
    monkeypatch.setattr(state_directory, "_warned", False)
    if request.param == "memory":
        monkeypatch.setattr(state_directory, "HAS_FILE_LOCKS", False)

    def new_gate(limit: str, *, key: str = "fake-account", parallel: int | None = None) -> RateLimitGate:
        shared = directory if request.param == "file" else None
        return RateLimitGate(parse_rate_limit(limit), key=key, parallel=parallel, directory=shared)

    return new_gate


class CountingServer(http.server.ThreadingHTTPServer):
    """Notes when calls arrive, each some time after it was sent, and how many are in flight."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, travel: float, work: float) -> None:
        super().__init__(("127.0.0.1", 0), CountingHandler)
        self.travel, self.work = travel, work
        self.guard = threading.Lock()
        self.arrivals: list[float] = []
        self.in_flight = self.most_in_flight = 0
        self.address = f"127.0.0.1:{self.server_port}"

    def over_limit(self, calls: int, seconds: float) -> int:
        """How many calls a server with this limit would have refused."""
        arrivals = sorted(self.arrivals)
        return sum(later - earlier < seconds for earlier, later in zip(arrivals, arrivals[calls:], strict=False))


class CountingHandler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: CountingServer

    def do_GET(self) -> None:
        server = self.server
        time.sleep(random.uniform(0.0, server.travel))
        with server.guard:
            server.arrivals.append(time.monotonic())
            server.in_flight += 1
            server.most_in_flight = max(server.most_in_flight, server.in_flight)
        time.sleep(server.work)
        with server.guard:
            server.in_flight -= 1
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def serve() -> Iterator[Callable[..., CountingServer]]:
    servers = []

    def serve(travel: float = 0.0, work: float = 0.0) -> CountingServer:
        server = CountingServer(travel, work)
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        return server

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


def command(scenario: str, count: int, arguments: dict[str, Any]) -> list[str]:
    return [sys.executable, str(SCRIPT), scenario, str(count), json.dumps(arguments)]


ENVIRONMENT = {**os.environ, "PYTHONPATH": str(SOURCE)}


def run(scenario: str, count: int, **arguments: Any) -> list[dict[str, Any]]:
    finished = subprocess.run(
        command(scenario, count, arguments), stdout=subprocess.PIPE, env=ENVIRONMENT, check=True, timeout=30
    )
    results = [json.loads(line) for line in finished.stdout.splitlines()]
    assert len(results) == count
    assert not [result for result in results if "error" in result]
    return results


@contextlib.contextmanager
def holding_a_slot(**arguments: Any) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(command("hold_slot", 1, arguments), stdout=subprocess.PIPE, text=True, env=ENVIRONMENT)
    try:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline()) == {"held": True}
        yield process
    finally:
        process.kill()
        process.communicate()


def soon() -> float:
    return time.monotonic() + 5


def call(gate: RateLimitGate) -> float:
    """Make a call; how long it waited."""
    began = time.monotonic()
    with gate.slot(soon()):
        return time.monotonic() - began


# ---- what users write


@pytest.mark.parametrize(
    ("text", "windows"),
    [
        ("50/10", (Window(50, 10.0),)),
        (" 50 / 10 , 2000/3600 ", (Window(50, 10.0), Window(2000, 3600.0))),
        ("5/0.5", (Window(5, 0.5),)),
        ("", ()),
        ("  ", ()),
        (DEFAULT_RATE_LIMIT, (Window(50, 10.0),)),
        (MAIL_RATE_LIMIT, (Window(10, 1.0),)),
    ],
)
def test_a_rate_limit_is_read(text: str, windows: tuple[Window, ...]) -> None:
    assert parse_rate_limit(text) == windows


@pytest.mark.parametrize(
    "text",
    [
        "50",
        "50/",
        "/10",
        "50/10,",
        "0/10",
        "50/0",
        "-5/10",
        "5.5/10",
        "a/b",
        "50/1e9",
        "50/10/2",
        "\u0661/\u0662",
        "9" * 99,
    ],
)
def test_another_form_is_refused_with_the_right_one(text: str) -> None:
    with pytest.raises(ValueError, match="calls/seconds, such as 50/10"):
        parse_rate_limit(text)


def test_a_window_reads_as_it_is_written() -> None:
    assert [str(window) for window in parse_rate_limit("50/10,5/0.5")] == ["50/10", "5/0.5"]


# ---- against a server that counts


def test_processes_at_full_speed_keep_the_limit(serve: Callable[..., CountingServer], directory: Path) -> None:
    server = serve(travel=0.05)
    run("calls_through_gate", 4, address=server.address, directory=str(directory), limit="50/1", seconds=2.4)
    assert server.over_limit(50, 1.0) == 0
    assert len(server.arrivals) >= 80, "the gate must not keep calls back either"


def test_all_windows_hold(serve: Callable[..., CountingServer], directory: Path) -> None:
    server = serve(travel=0.02)
    run("calls_through_gate", 3, address=server.address, directory=str(directory), limit="10/0.2,25/1", seconds=1.8)
    assert server.over_limit(10, 0.2) == 0
    assert server.over_limit(25, 1.0) == 0
    assert len(server.arrivals) >= 30


def test_parallel_calls_are_bounded_over_processes(serve: Callable[..., CountingServer], directory: Path) -> None:
    server = serve(work=0.05)
    run("parallel_calls", 4, address=server.address, directory=str(directory), parallel=MAIL_PARALLEL_CALLS, calls=5)
    assert len(server.arrivals) == 80
    assert 5 <= server.most_in_flight <= MAIL_PARALLEL_CALLS


# ---- one window


def test_calls_within_the_limit_do_not_wait(new_gate: Callable[..., RateLimitGate]) -> None:
    for _ in range(3):
        call(new_gate("3/60"))
    with pytest.raises(OptimoveRateLimitError):
        call(new_gate("3/60"))


def test_the_next_call_waits_until_the_oldest_leaves_the_window(new_gate: Callable[..., RateLimitGate]) -> None:
    began = time.monotonic()
    for _ in range(4):
        call(new_gate("3/0.4"))
    assert 0.4 <= time.monotonic() - began < 2.0


class CallInFlight(threading.Thread):
    """A call of some seconds that has begun; ``ended`` is when it is over."""

    def __init__(self, gate: RateLimitGate, seconds: float) -> None:
        super().__init__()
        self.gate, self.seconds = gate, seconds
        self.begun = threading.Event()
        self.ended = math.inf
        self.start()
        assert self.begun.wait(5)

    def run(self) -> None:
        with self.gate.slot(soon()):
            self.begun.set()
            time.sleep(self.seconds)
            self.ended = time.monotonic()


def test_a_call_counts_until_it_is_over(new_gate: Callable[..., RateLimitGate]) -> None:
    """It may arrive late in its time, so its window begins at its end."""
    gate = new_gate("1/0.2")
    in_flight = CallInFlight(gate, 0.3)
    with gate.slot(soon()):
        assert 0.2 <= time.monotonic() - in_flight.ended < 1.5
    in_flight.join()


def test_a_long_call_counts_from_when_it_must_have_arrived(
    new_gate: Callable[..., RateLimitGate], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rate_limit, "ARRIVAL_ALLOWANCE", 0.1)
    gate = new_gate("1/0.6")
    with gate.slot(soon()):
        time.sleep(0.75)
    assert call(gate) < 0.4, "its end does not begin another window"
    with gate.slot(soon()):
        call(gate)


def test_the_end_of_a_long_call_leaves_the_stamp_of_another_alone(
    new_gate: Callable[..., RateLimitGate], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rate_limit, "ARRIVAL_ALLOWANCE", 0.1)
    gate = new_gate("1/0.4")
    in_flight = CallInFlight(gate, 0.7)
    with gate.slot(soon()):
        other_began = time.monotonic()
        in_flight.join()
        call(gate)
        assert time.monotonic() - other_began >= 0.4


def test_a_failed_call_is_over_too(new_gate: Callable[..., RateLimitGate]) -> None:
    gate = new_gate("1/0.3", parallel=1)
    with pytest.raises(ConnectionError), gate.slot(soon()):
        raise ConnectionError
    assert call(gate) < 1.5


def test_threads_share_the_limit(new_gate: Callable[..., RateLimitGate]) -> None:
    times: list[float] = []

    def two_calls() -> None:
        for _ in range(2):
            with new_gate("4/0.2").slot(soon()):
                times.append(time.monotonic())

    threads = [threading.Thread(target=two_calls) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    times.sort()
    assert len(times) == 12
    assert all(later - earlier >= 0.2 for earlier, later in zip(times, times[4:], strict=False))


def test_accounts_and_lanes_do_not_count_each_other(new_gate: Callable[..., RateLimitGate]) -> None:
    for key in ("fake-account general", "fake-account mail", "other-account general"):
        call(new_gate("1/60", key=key))


def test_gates_of_different_limits_count_each_others_calls(new_gate: Callable[..., RateLimitGate]) -> None:
    for _ in range(2):
        call(new_gate("100/60"))
    with pytest.raises(OptimoveRateLimitError):
        call(new_gate("2/60"))
    call(new_gate("100/60"))


def test_off_is_off(directory: Path) -> None:
    gate = RateLimitGate((), key="fake-account", directory=directory)
    with gate.slot(time.monotonic() - 1):
        pass
    assert not list(directory.iterdir())


# ---- waits


def test_no_slot_before_the_deadline_is_an_error_at_once(new_gate: Callable[..., RateLimitGate]) -> None:
    gate = new_gate("1/60")
    call(gate)
    began = time.monotonic()
    with pytest.raises(OptimoveRateLimitError, match=r"^rate limit 1/60: .* in (59|60)\.\d s, .* 30\.0 s") as raised:
        gate.slot(began + 30).__enter__()
    assert time.monotonic() - began < 1.0
    assert raised.value.status is None


def test_waiters_sleep(new_gate: Callable[..., RateLimitGate], monkeypatch: pytest.MonkeyPatch) -> None:
    sleeps = []
    real_sleep = time.sleep

    def sleep(seconds: float) -> None:
        sleeps.append(seconds)
        real_sleep(seconds)

    gate = new_gate("1/0.5")
    call(gate)
    monkeypatch.setattr(time, "sleep", sleep)
    with gate.slot(soon()):
        pass
    assert 1 <= len(sleeps) <= 2


def test_a_long_wait_is_announced_once(
    new_gate: Callable[..., RateLimitGate], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, rate_limit.__name__)
    monkeypatch.setattr(rate_limit, "LONGEST_SILENT_WAIT", 0.1)
    gate = new_gate("1/0.3")
    in_flight = CallInFlight(gate, 0.25)
    call(gate)
    in_flight.join()
    messages = [record.message for record in caplog.records if record.levelno == logging.INFO]
    assert messages == ["rate limit 1/0.3: waiting 0.3 s"]


# ---- crashes, clocks, damage


def test_the_call_of_a_killed_process_leaves_in_its_own_time(directory: Path) -> None:
    with holding_a_slot(directory=str(directory), limit="1/0.3", parallel=1, allowance=0.4) as process:
        process.kill()
    gate = RateLimitGate(parse_rate_limit("1/0.3"), key="fake-account", parallel=1, directory=directory)
    assert call(gate) < 1.8, "the allowance and the window of that call, not this process's"


def test_a_killed_process_gives_its_parallel_slot_back(directory: Path) -> None:
    gate = RateLimitGate((), key="fake-account", parallel=1, directory=directory)
    with holding_a_slot(directory=str(directory), limit="", parallel=1, allowance=0.0) as process:
        began = time.monotonic()
        with pytest.raises(OptimoveRateLimitError, match="1 calls at a time"):
            gate.slot(began + 0.3).__enter__()
        assert 0.3 <= time.monotonic() - began < 1.5
        process.kill()
        call(gate)


def test_parallel_slots_come_back(new_gate: Callable[..., RateLimitGate]) -> None:
    gate = new_gate("", parallel=2)
    for _ in range(3):
        with gate.slot(soon()), new_gate("", parallel=2).slot(soon()), pytest.raises(OptimoveRateLimitError):
            gate.slot(time.monotonic() + 0.05).__enter__()


def test_no_parallel_slot_is_lost_when_no_call_may_leave(new_gate: Callable[..., RateLimitGate]) -> None:
    gate = new_gate("1/60", parallel=1)
    call(gate)
    for _ in range(2):
        with pytest.raises(OptimoveRateLimitError, match="1/60"):
            call(gate)
    call(new_gate("", parallel=1))


def test_a_clock_that_was_set_back_locks_nobody_out(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate_limit, "ARRIVAL_ALLOWANCE", 0.1)
    gate = RateLimitGate(parse_rate_limit("2/0.3"), key="fake-account", directory=directory)
    call(gate)
    [file] = directory.iterdir()
    file.write_bytes(array("d", [time.time() + 3600] * 2).tobytes())
    assert 0.3 < call(gate) < 3.0


@pytest.mark.parametrize(
    "content",
    [b"", b"abc", random.Random(0).randbytes(801), array("d", [math.nan, math.inf, -1.0, math.nan] * 3).tobytes()],
    ids=["empty", "too short", "random", "no numbers"],
)
def test_a_damaged_file_is_mended(content: bytes, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate_limit, "ARRIVAL_ALLOWANCE", 0.1)
    gate = RateLimitGate(parse_rate_limit("2/0.3"), key="fake-account", directory=directory)
    call(gate)
    [file] = directory.iterdir()
    file.write_bytes(content)
    began = time.monotonic()
    for _ in range(3):
        call(gate)
    assert 0.3 <= time.monotonic() - began < 3.0
    assert all(0.0 <= stamp <= time.time() + 0.1 for stamp in array("d", file.read_bytes()[: 2 * 8]))


def test_files_are_private_and_named_without_the_account(directory: Path) -> None:
    call(RateLimitGate((Window(5, 1),), key="fake-account", parallel=2, directory=directory))
    assert {stat.S_IMODE(path.lstat().st_mode) for path in directory.iterdir()} == {0o600}
    assert not [path for path in directory.iterdir() if "fake-account" in path.name]


def test_a_file_that_cannot_be_used_means_memory(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(state_directory, "_warned", False)
    monkeypatch.setattr(rate_limit, "_ledgers", {})
    call(RateLimitGate((Window(2, 60),), key="fake-account", directory=directory))
    target = tmp_path / "target"
    target.write_bytes(b"untouched")
    for path in list(directory.iterdir()):
        path.unlink()
        path.symlink_to(target)
    gate = RateLimitGate((Window(1, 60),), key="fake-account", parallel=1, directory=directory)
    call(gate)
    with pytest.raises(OptimoveRateLimitError):
        call(gate)
    assert target.read_bytes() == b"untouched"
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_a_file_that_vanishes_during_a_call_loses_no_call(directory: Path) -> None:
    gate = RateLimitGate((Window(2, 60),), key="fake-account", parallel=1, directory=directory)
    with gate.slot(soon()):
        shutil.rmtree(directory)
    call(gate)


def test_a_file_that_cannot_be_used_any_more_loses_no_call(directory: Path) -> None:
    gate = RateLimitGate((Window(2, 60),), key="fake-account", directory=directory)
    with gate.slot(soon()):
        [file] = directory.iterdir()
        file.unlink()
        file.mkdir()
    call(gate)


def test_no_file_stays_open(directory: Path) -> None:
    def open_files() -> int:
        return len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0

    before = open_files()
    gate = RateLimitGate((Window(50, 10),), key="fake-account", parallel=2, directory=directory)
    for _ in range(5):
        call(gate)
        with pytest.raises(KeyError), gate.slot(soon()):
            raise KeyError
    assert open_files() == before
