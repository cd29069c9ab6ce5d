from __future__ import annotations

import contextlib
import http.server
import json
import logging
import os
import shutil
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

import airflow_provider_optimove
from airflow_provider_optimove.clients.optimove import auth, state_directory
from airflow_provider_optimove.clients.optimove.auth import (
    LONGEST_LOGIN_WAIT,
    ApiKeyAuth,
    FileTokenStore,
    LoginDelayed,
    LoginState,
    MemoryTokenStore,
    SessionTokenAuth,
    SharedSession,
    TokenStore,
    session_key,
)
from airflow_provider_optimove.exceptions import (
    OptimoveAuthenticationError,
    OptimoveInputError,
    OptimoveRateLimitError,
    OptimoveResponseError,
    OptimoveServerError,
)

SCRIPT = Path(__file__).with_name("process_scenarios.py")
SOURCE = Path(airflow_provider_optimove.__file__).parents[1]
BASE_URL = "https://api.example/current"
PASSWORD = "fake-password"


@pytest.fixture(autouse=True)
def nothing_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auth, "_shelves", {})
    monkeypatch.setattr(state_directory, "_warned", False)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    path = tmp_path / "state"
    path.mkdir(mode=0o700)
    return path


@pytest.fixture(params=["file", "memory"])
def new_store(request: pytest.FixtureRequest, directory: Path) -> Callable[..., TokenStore]:
    def new_store(password: str = PASSWORD, user_name: str = "fake-user", base_url: str = BASE_URL) -> TokenStore:
        if request.param == "file":
            return FileTokenStore(base_url, user_name, password, directory=directory)
        return MemoryTokenStore(base_url, user_name, password)

    return new_store


class FakeTime:
    """Clocks that move when somebody sleeps."""

    def __init__(self) -> None:
        self.now = self.began = time.monotonic()
        self.wall_offset = 1_800_000_000.0 - self.now
        self.while_asleep: Callable[[], None] = lambda: None

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds
        self.while_asleep()

    def session(self, store: TokenStore, login: Callable[[float], str]) -> SharedSession:
        return SharedSession(
            store, login, clock=lambda: self.now, sleep=self.sleep, wall_clock=lambda: self.now + self.wall_offset
        )

    @property
    def elapsed(self) -> float:
        return self.now - self.began


@pytest.fixture
def fake_time() -> FakeTime:
    return FakeTime()


class Logins:
    """A Login that answers as it is told: a token, or an exception; the last answer again and again."""

    def __init__(self, fake_time: FakeTime, *answers: str | Exception) -> None:
        self.fake_time = fake_time
        self.answers = list(answers)
        self.times: list[float] = []

    def __call__(self, deadline: float) -> str:
        self.times.append(self.fake_time.elapsed)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


class Optimove(http.server.ThreadingHTTPServer):
    """Logs in one session at a time and refuses a needless Login."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, expire_after: int | None) -> None:
        super().__init__(("127.0.0.1", 0), OptimoveHandler)
        self.guard = threading.Lock()
        self.expire_after = expire_after
        self.valid: str | None = None
        self.logins = self.needless_logins = self.calls = self.refused_calls = 0
        self.address = f"127.0.0.1:{self.server_port}"

    def log_in(self) -> tuple[int, str]:
        time.sleep(0.1)
        with self.guard:
            if self.valid is not None:
                self.needless_logins += 1
                return 429, "a session is valid"
            self.logins += 1
            self.valid = f"fake-token-{self.logins}"
            return 200, self.valid

    def call(self, token: str) -> tuple[int, str]:
        with self.guard:
            if token != self.valid:
                self.refused_calls += 1
                return 403, "expired"
            self.calls += 1
            if self.calls == self.expire_after:
                self.valid = None
            return 200, ""


class OptimoveHandler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Optimove

    def do_GET(self) -> None:
        if self.path == "/login":
            status, body = self.server.log_in()
        else:
            status, body = self.server.call(self.headers["Authorization-Token"])
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def serve() -> Iterator[Callable[..., Optimove]]:
    servers = []

    def serve(expire_after: int | None = None) -> Optimove:
        server = Optimove(expire_after)
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        return server

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


def run(scenario: str, count: int, **arguments: Any) -> list[dict[str, Any]]:
    finished = subprocess.run(
        [sys.executable, str(SCRIPT), scenario, str(count), json.dumps(arguments)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        check=True,
        timeout=30,
    )
    results = [json.loads(line) for line in finished.stdout.splitlines()]
    assert len(results) == count
    assert not [result for result in results if "error" in result]
    return results


def soon() -> float:
    return time.monotonic() + 5


# ---- headers


def prepared(by: requests.auth.AuthBase) -> requests.PreparedRequest:
    return requests.Request("GET", BASE_URL, auth=by).prepare()


def test_the_api_key_travels_in_its_header_only() -> None:
    by = ApiKeyAuth(" fake-key\n")
    assert prepared(by).headers["X-API-KEY"] == "fake-key"
    assert "fake-key" not in repr(by)


def test_the_token_travels_in_its_header_only() -> None:
    by = SessionTokenAuth("fake token:+/=")
    assert prepared(by).headers["Authorization-Token"] == "fake token:+/="
    assert "fake" not in repr(by)


@pytest.mark.parametrize("value", ["", "fake\r\nkey", "fake\x00key", "fake-κey"])
def test_what_cannot_stand_in_a_header_is_refused_without_showing_it(value: str) -> None:
    with pytest.raises(OptimoveInputError) as key_refused:
        ApiKeyAuth(value)
    with pytest.raises(OptimoveResponseError) as token_refused:
        SessionTokenAuth(value)
    assert "fake" not in f"{key_refused.value!r}{token_refused.value!r}"


# ---- processes and threads


def test_processes_that_start_at_once_make_one_login(serve: Callable[..., Optimove], directory: Path) -> None:
    server = serve()
    results = run("calls_with_shared_session", 20, address=server.address, directory=str(directory), calls=2)
    assert (server.logins, server.needless_logins, server.refused_calls) == (1, 0, 0)
    assert [result["statuses"] for result in results] == [[200, 200]] * 20


def test_a_token_that_expires_under_processes_is_renewed_once(serve: Callable[..., Optimove], directory: Path) -> None:
    server = serve(expire_after=60)
    results = run("calls_with_shared_session", 20, address=server.address, directory=str(directory), calls=6)
    assert server.refused_calls > 1, "several processes must have met the dead token"
    assert (server.logins, server.needless_logins) == (2, 0)
    assert [result["statuses"] for result in results] == [[200] * 6] * 20


def test_threads_make_one_login(new_store: Callable[..., TokenStore]) -> None:
    logins = []

    def login(deadline: float) -> str:
        logins.append(deadline)
        time.sleep(0.1)
        return f"fake-token-{len(logins)}"

    def in_threads(get: Callable[[SharedSession], str]) -> set[str]:
        tokens: list[str] = []
        threads = [
            threading.Thread(target=lambda: tokens.append(get(SharedSession(new_store(), login)))) for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(tokens) == 8
        return set(tokens)

    assert in_threads(lambda session: session.token(soon())) == {"fake-token-1"}
    assert in_threads(lambda session: session.renew("fake-token-1", soon())) == {"fake-token-2"}
    assert len(logins) == 2


def test_a_fork_in_the_middle_of_a_login_and_a_call_does_not_block_the_child() -> None:
    assert run("fork_with_memory_locks_taken", 1, limit="5/1") == [{"child": 0}]


def test_a_login_that_takes_others_too_long_is_reported(new_store: Callable[..., TokenStore]) -> None:
    with new_store().lock(soon()), pytest.raises(OptimoveServerError, match="still logging in"):
        SharedSession(new_store(), lambda deadline: "fake-token").token(time.monotonic() + 0.1)


# ---- which token


def test_renewing_returns_what_another_one_got_meanwhile(
    new_store: Callable[..., TokenStore], fake_time: FakeTime
) -> None:
    logins = Logins(fake_time, "fake-token-1", "fake-token-2", "fake-token-3")
    here, there = fake_time.session(new_store(), logins), fake_time.session(new_store(), logins)
    assert here.token(soon()) == there.token(soon()) == "fake-token-1"
    assert there.renew("fake-token-1", soon()) == "fake-token-2"
    assert here.renew("fake-token-1", soon()) == "fake-token-2"
    assert len(logins.times) == 2


def test_another_password_user_or_address_has_a_session_of_its_own(
    new_store: Callable[..., TokenStore], fake_time: FakeTime
) -> None:
    fake_time.session(new_store(), Logins(fake_time, "fake-token")).token(soon())
    assert new_store().read().token == "fake-token"
    assert new_store(base_url="HTTPS://API.example:443/current/").read().token == "fake-token"
    assert new_store(password="fake-new-password").read().token is None
    assert new_store(user_name="other-user").read().token is None
    assert new_store(base_url="https://other.example/current").read().token is None


def test_a_changed_password_logs_in_again(directory: Path, fake_time: FakeTime) -> None:
    old = FileTokenStore(BASE_URL, "fake-user", PASSWORD, directory=directory)
    new = FileTokenStore(BASE_URL, "fake-user", "fake-new-password", directory=directory)
    assert fake_time.session(old, Logins(fake_time, "fake-token-1")).token(soon()) == "fake-token-1"
    assert fake_time.session(new, Logins(fake_time, "fake-token-2")).token(soon()) == "fake-token-2"
    assert old.read().token is None


def test_a_wrong_password_does_not_end_the_session_of_the_right_one(
    new_store: Callable[..., TokenStore], fake_time: FakeTime
) -> None:
    right, wrong = new_store(), new_store(password="fake-wrong-password")
    fake_time.session(right, Logins(fake_time, "fake-token")).token(soon())
    refused = OptimoveAuthenticationError("refused", function="Login", status=401)
    with pytest.raises(OptimoveAuthenticationError):
        fake_time.session(wrong, Logins(fake_time, refused)).token(soon())
    assert right.read().token == "fake-token"
    assert wrong.read().token is None


def test_a_session_key_does_not_depend_on_how_the_address_is_written() -> None:
    keys = {
        session_key(url, "fake-user")
        for url in ("https://api.example/current", "https://API.EXAMPLE:443/current/", " HTTPS://api.example/current ")
    }
    assert len(keys) == 1
    assert session_key("https://api.example:8443/current", "fake-user") not in keys
    assert session_key("http://api.example/current", "fake-user") not in keys
    assert session_key("https://api.example", "fake-user") not in keys


# ---- the file


def test_the_file_is_private_and_does_not_hold_password_or_names(directory: Path, fake_time: FakeTime) -> None:
    store = FileTokenStore(BASE_URL, "fake-user", PASSWORD, directory=directory)
    fake_time.session(store, Logins(fake_time, "fake-token")).token(soon())
    files = list(directory.iterdir())
    assert {(path.suffix, stat.S_IMODE(path.lstat().st_mode)) for path in files} == {(".json", 0o600), (".lock", 0o600)}
    everything = "".join(f"{path.name}{path.read_text()}" for path in files)
    assert "fake-token" in everything
    assert not [secret for secret in (PASSWORD, "fake-user", "api.example") if secret in everything]


def test_the_password_digest_differs_from_file_to_file(directory: Path) -> None:
    digests = set()
    for _ in range(3):
        FileTokenStore(BASE_URL, "fake-user", PASSWORD, directory=directory).write(LoginState("fake-token"))
        [file] = directory.glob("*.json")
        digests.add(json.loads(file.read_text())["password_digest"])
    assert len(digests) == 3


DAMAGED = {
    "empty": lambda content: b"",
    "cut off": lambda content: content[: len(content) // 2],
    "binary": lambda content: b"\xff\xfe\x00",
    "a list": lambda content: b"[]",
    "too deep": lambda content: b"[" * 50_000,
    "another version": lambda content: content.replace(b'"version": 1', b'"version": 2'),
    "a number as token": lambda content: content.replace(b'"fake-token"', b"7"),
    "no time": lambda content: content.replace(b'"attempted_at"', b'"attempted"'),
    "no digest": lambda content: content.replace(b'"password_digest"', b'"digest"'),
    "salt is no hex": lambda content: content.replace(b'"salt": "', b'"salt": "x'),
    "endless pause": lambda content: content.replace(b'"fake-token"', b"null").replace(b" 1.0,", b" Infinity,"),
    "endless refusals": lambda content: content.replace(b'"refusals": 0', b'"refusals": 1e999'),
}


@pytest.mark.parametrize("damage", DAMAGED.values(), ids=DAMAGED.keys())
def test_a_damaged_file_is_no_token_and_is_mended(
    damage: Callable[[bytes], bytes], directory: Path, fake_time: FakeTime
) -> None:
    store = FileTokenStore(BASE_URL, "fake-user", PASSWORD, directory=directory)
    fake_time.session(store, Logins(fake_time, "fake-token")).token(soon())
    [file] = directory.glob("*.json")
    damaged = damage(file.read_bytes())
    assert damaged != file.read_bytes()
    file.write_bytes(damaged)
    assert store.read().token is None
    fake_time.now += LONGEST_LOGIN_WAIT
    session = fake_time.session(store, Logins(fake_time, "fake-token-2"))
    assert session.token(fake_time.now + 5) == "fake-token-2"
    assert store.read().token == "fake-token-2"


@pytest.mark.parametrize("suffix", [".json", ".json.new", ".lock"])
def test_a_link_in_a_files_place_means_memory(
    suffix: str, directory: Path, tmp_path: Path, fake_time: FakeTime, caplog: pytest.LogCaptureFixture
) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"untouched")
    target.chmod(0o600)
    (directory / f"session-{session_key(BASE_URL, 'fake-user')}{suffix}").symlink_to(target)
    store = FileTokenStore(BASE_URL, "fake-user", PASSWORD, directory=directory)
    logins = Logins(fake_time, "fake-token")
    session = fake_time.session(store, logins)
    assert [session.token(soon()), session.token(soon())] == ["fake-token"] * 2
    assert len(logins.times) == 1
    assert target.read_bytes() == b"untouched"
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_a_file_system_that_fails_after_the_login_does_not_lose_the_token(
    directory: Path, fake_time: FakeTime, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(auth, "replace_private", full)
    logins = Logins(fake_time, "fake-token")
    session = fake_time.session(FileTokenStore(BASE_URL, "fake-user", PASSWORD, directory=directory), logins)
    assert [session.token(soon()), session.token(soon())] == ["fake-token"] * 2
    assert len(logins.times) == 1


def test_a_directory_that_is_cleaned_away_is_made_again(directory: Path, fake_time: FakeTime) -> None:
    session = fake_time.session(
        FileTokenStore(BASE_URL, "fake-user", PASSWORD, directory=directory), Logins(fake_time, "fake-token")
    )
    shutil.rmtree(directory)
    assert session.token(soon()) == "fake-token"
    assert FileTokenStore(BASE_URL, "fake-user", PASSWORD, directory=directory).read().token == "fake-token"


# ---- how often Login is called


def test_logins_are_a_second_apart(new_store: Callable[..., TokenStore], fake_time: FakeTime) -> None:
    logins = Logins(fake_time, "fake-token-1", "fake-token-2")
    fake_time.session(new_store(), logins).token(soon())
    assert fake_time.session(new_store(), logins).renew("fake-token-1", soon()) == "fake-token-2"
    assert 1.0 <= logins.times[1] - logins.times[0] < 1.2


def test_a_failed_login_counts_too_and_its_error_passes(
    new_store: Callable[..., TokenStore], fake_time: FakeTime
) -> None:
    refused = OptimoveAuthenticationError("refused", function="Login", status=401)
    logins = Logins(fake_time, refused, "fake-token")
    with pytest.raises(OptimoveAuthenticationError) as raised:
        fake_time.session(new_store(), logins).token(soon())
    assert raised.value is refused
    assert fake_time.session(new_store(), logins).token(soon()) == "fake-token"
    assert logins.times[1] - logins.times[0] >= 1.0


def test_a_clock_that_was_set_back_delays_nobody(new_store: Callable[..., TokenStore], fake_time: FakeTime) -> None:
    logins = Logins(fake_time, "fake-token-1", "fake-token-2")
    fake_time.session(new_store(), logins).token(soon())
    fake_time.wall_offset -= 3600
    fake_time.session(new_store(), logins).renew("fake-token-1", soon())
    assert logins.times == [0.0, 0.0]


def test_a_refused_token_is_not_handed_out_when_the_new_login_failed(
    new_store: Callable[..., TokenStore], fake_time: FakeTime
) -> None:
    session = fake_time.session(
        new_store(), Logins(fake_time, "fake-token-1", OptimoveServerError("failed"), "fake-token-2")
    )
    session.token(soon())
    with pytest.raises(OptimoveServerError):
        session.renew("fake-token-1", soon())
    assert session.token(soon()) == "fake-token-2"


class ChangesWhileWaiting(MemoryTokenStore):
    """Somebody else writes a state between the look at the store and the lock."""

    change: LoginState | None = None

    @contextlib.contextmanager
    def lock(self, deadline: float) -> Iterator[None]:
        with super().lock(deadline):
            if self.change is not None:
                self.write(self.change)
                self.change = None
            yield


def test_a_token_that_came_while_waiting_for_the_lock_is_used(fake_time: FakeTime) -> None:
    store = ChangesWhileWaiting(BASE_URL, "fake-user", PASSWORD)
    store.change = LoginState("fake-token-of-another")
    logins = Logins(fake_time, "fake-token")
    assert fake_time.session(store, logins).token(soon()) == "fake-token-of-another"
    assert (logins.times, fake_time.elapsed) == ([], 0.0)


def test_a_pause_that_began_while_waiting_for_the_lock_is_kept(fake_time: FakeTime) -> None:
    store = ChangesWhileWaiting(BASE_URL, "fake-user", PASSWORD)
    store.change = LoginState(attempted_at=fake_time.now + fake_time.wall_offset, pause=4.0, refusals=1)
    logins = Logins(fake_time, "fake-token")
    fake_time.session(store, logins).token(fake_time.now + 30)
    assert len(logins.times) == 1
    assert logins.times[0] >= 4.0


# ---- Login answered with 429


def test_a_token_that_another_one_gets_ends_the_wait(new_store: Callable[..., TokenStore], fake_time: FakeTime) -> None:
    logins = Logins(fake_time, LoginDelayed(30.0))

    def another_process_logs_in() -> None:
        if fake_time.elapsed > 3:
            new_store().write(LoginState("fake-token-of-another"))

    fake_time.while_asleep = another_process_logs_in
    session = fake_time.session(new_store(), logins)
    assert session.token(fake_time.now + 1000) == "fake-token-of-another"
    assert len(logins.times) == 1
    assert fake_time.elapsed < 5


def test_the_wait_grows_and_is_bounded(new_store: Callable[..., TokenStore], fake_time: FakeTime) -> None:
    logins = Logins(fake_time, LoginDelayed())
    with pytest.raises(OptimoveRateLimitError) as raised:
        fake_time.session(new_store(), logins).token(fake_time.now + 1000)
    assert 30 < fake_time.elapsed <= LONGEST_LOGIN_WAIT
    gaps = [later - earlier for earlier, later in zip(logins.times, logins.times[1:], strict=False)]
    assert 4 <= len(gaps) <= 9
    assert gaps[0] < 2.5
    assert gaps[2] >= 4.0
    assert max(gaps) < 17.5
    assert (raised.value.function, raised.value.status) == ("Login", 429)
    assert all(part in str(raised.value) for part in ("another host", "20 minutes", "API key"))


def test_the_callers_deadline_bounds_the_wait(new_store: Callable[..., TokenStore], fake_time: FakeTime) -> None:
    with pytest.raises(OptimoveRateLimitError):
        fake_time.session(new_store(), Logins(fake_time, LoginDelayed())).token(fake_time.now + 5)
    assert fake_time.elapsed <= 5


def test_retry_after_is_obeyed(new_store: Callable[..., TokenStore], fake_time: FakeTime) -> None:
    logins = Logins(fake_time, LoginDelayed(7.0), "fake-token")
    assert fake_time.session(new_store(), logins).token(fake_time.now + 1000) == "fake-token"
    assert 7.0 <= logins.times[1] < 8.2


def test_a_retry_after_beyond_the_bound_is_not_waited_for(
    new_store: Callable[..., TokenStore], fake_time: FakeTime
) -> None:
    logins = Logins(fake_time, LoginDelayed(86_400.0), "fake-token")
    with pytest.raises(OptimoveRateLimitError):
        fake_time.session(new_store(), logins).token(fake_time.now + 1000)
    assert fake_time.elapsed == 0.0
    fake_time.now += LONGEST_LOGIN_WAIT
    assert fake_time.session(new_store(), logins).token(fake_time.now + 1000) == "fake-token"


def test_the_back_off_is_shared(new_store: Callable[..., TokenStore], fake_time: FakeTime) -> None:
    logins = Logins(fake_time, LoginDelayed(20.0))
    for _ in range(3):
        with pytest.raises(OptimoveRateLimitError):
            fake_time.session(new_store(), logins).token(fake_time.now + 3)
    assert len(logins.times) == 1


def test_refusals_of_long_ago_do_not_lengthen_the_wait(
    new_store: Callable[..., TokenStore], fake_time: FakeTime
) -> None:
    with pytest.raises(OptimoveRateLimitError):
        fake_time.session(new_store(), Logins(fake_time, LoginDelayed())).token(fake_time.now + 1000)
    fake_time.now += 3600
    logins = Logins(fake_time, LoginDelayed(), "fake-token")
    fake_time.session(new_store(), logins).token(fake_time.now + 1000)
    assert logins.times[1] - logins.times[0] < 2.5


# ---- secrets


def test_no_secret_is_logged_raised_or_shown(
    new_store: Callable[..., TokenStore], fake_time: FakeTime, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    store = new_store()
    session = fake_time.session(store, Logins(fake_time, "fake-token", LoginDelayed()))
    session.token(soon())
    shown = [repr(store), repr(session), repr(store.read())]
    with pytest.raises(OptimoveRateLimitError) as raised:
        session.renew("fake-token", fake_time.now + 100)
    error: BaseException | None = raised.value
    while error is not None:
        shown.append(f"{error!r} {error.__dict__}")
        error = error.__cause__ or error.__context__
    assert "429" in caplog.text
    everything = caplog.text + "".join(shown)
    assert not [secret for secret in ("fake-token", PASSWORD) if secret in everything]
