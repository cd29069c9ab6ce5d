"""How a call proves who makes it: an API key, or the older login whose token all processes of a host share."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import logging
import os
import random
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import requests.auth

from airflow_provider_optimove.clients.optimove.state_directory import (
    LockTimeoutError,
    read_private,
    replace_private,
    state_directory,
    wait_for_lock,
    warn_not_shared,
)
from airflow_provider_optimove.exceptions import (
    OptimoveInputError,
    OptimoveRateLimitError,
    OptimoveResponseError,
    OptimoveServerError,
)

logger = logging.getLogger(__name__)

LONGEST_LOGIN_WAIT = 60.0
"""Seconds that a call waits, at most, while Optimove refuses a Login with 429."""

LOGIN_INTERVAL = 1.0
"""Seconds between two Logins: Optimove takes one a second."""

FIRST_LOGIN_BACKOFF = 2.0
LONGEST_LOGIN_BACKOFF = 16.0
STORE_REREAD_INTERVAL = 1.0

FORMAT_VERSION = 1
MOST_BYTES = 64 * 1024


class ApiKeyAuth(requests.auth.AuthBase):
    """Sends the API key in the header ``X-API-KEY``.

    :param api_key: the account's key; white space around it is dropped.
    :raises OptimoveInputError: the key is empty or cannot stand in a header.
    """

    def __init__(self, api_key: str) -> None:
        self._api_key = api_key.strip()
        if not _fits_a_header(self._api_key):
            # Left to the HTTP library, the refused value would stand in the exception.
            raise OptimoveInputError(
                "the API key is empty or holds a line break, a control character or a letter beyond ASCII"
            )

    def __call__(self, r: requests.PreparedRequest) -> requests.PreparedRequest:
        r.headers["X-API-KEY"] = self._api_key
        return r

    def __repr__(self) -> str:
        return "ApiKeyAuth(***)"


class SessionTokenAuth(requests.auth.AuthBase):
    """Sends the token of a Login in the header ``Authorization-Token``.

    :param token: the token, as Login returned it.
    :raises OptimoveResponseError: it is empty or cannot stand in a header.
    """

    def __init__(self, token: str) -> None:
        if not _fits_a_header(token):
            raise OptimoveResponseError(
                "returned a token that is empty or cannot be sent in a header", function="Login"
            )
        self._token = token

    def __call__(self, r: requests.PreparedRequest) -> requests.PreparedRequest:
        r.headers["Authorization-Token"] = self._token
        return r

    def __repr__(self) -> str:
        return "SessionTokenAuth(***)"


class LoginDelayed(Exception):
    """Login was answered with 429: another session of the user is valid, or the last Login is too close.

    :param retry_after: seconds the server asks to wait, or None when it names none.
    """

    def __init__(self, retry_after: float | None = None) -> None:
        super().__init__("Login was answered with 429")
        self.retry_after = retry_after


@dataclass(frozen=True)
class LoginState:
    """What the processes of a host know of a user's session.

    :param token: the token of the last Login, or None.
    :param attempted_at: wall-clock time of the last Login, successful or not, in seconds.
    :param pause: seconds after it in which nobody tries again.
    :param refusals: how many Logins in a row were answered with 429.
    """

    token: str | None = field(default=None, repr=False)
    attempted_at: float = 0.0
    pause: float = 0.0
    refusals: int = 0

    def wait(self, now: float) -> float:
        """Seconds until Login may be tried again.

        :param now: wall-clock time in seconds. Before ``attempted_at`` it shows that the clock was set back;
            then there is nothing to wait for.
        """
        elapsed = now - self.attempted_at
        return self.pause - elapsed if 0 <= elapsed < self.pause else 0.0


class TokenStore(Protocol):
    """Where a user's session is kept."""

    def read(self) -> LoginState:
        """The state as last written, with no token where it was got with another password. Needs no lock."""
        ...

    def write(self, state: LoginState) -> None:
        """Keep a state. The caller holds the lock."""
        ...

    def lock(self, deadline: float) -> AbstractContextManager[None]:
        """Exclude all others who share the store, threads of this process too.

        :param deadline: when to stop waiting, a ``time.monotonic()`` value in seconds.
        :raises LockTimeoutError: the lock was held until then.
        """
        ...


class _Shelf:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.state = LoginState()


_shelves: dict[tuple[str, bytes], _Shelf] = {}
_process_salt = secrets.token_bytes(16)


def _renew_locks() -> None:
    """In a forked child: the thread that held a lock is not there to release it."""
    for shelf in _shelves.values():
        shelf.lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_locks)


class MemoryTokenStore:
    """Keeps a session in this process; its threads share it.

    :param base_url: the API's base address.
    :param user_name: Optimove's user.
    :param password: the user's password; kept as a digest.
    """

    def __init__(self, base_url: str, user_name: str, password: str) -> None:
        self._key = (session_key(base_url, user_name), _digest(_process_salt, password))

    def __repr__(self) -> str:
        return f"MemoryTokenStore({self._key[0]})"

    @property
    def _shelf(self) -> _Shelf:
        return _shelves.setdefault(self._key, _Shelf())

    def read(self) -> LoginState:
        return self._shelf.state

    def write(self, state: LoginState) -> None:
        self._shelf.state = state

    @contextlib.contextmanager
    def lock(self, deadline: float) -> Iterator[None]:
        lock = self._shelf.lock
        if not lock.acquire(timeout=min(max(deadline - time.monotonic(), 0.0), threading.TIMEOUT_MAX)):
            raise LockTimeoutError("held by another thread")
        try:
            yield
        finally:
            lock.release()


class FileTokenStore:
    """Keeps a session in a file that all processes of this user on this host share.

    The password is in it as a salted digest only, so that a token got with another password is not used.
    Where the file cannot be used, the session is kept in memory.

    :param base_url: the API's base address.
    :param user_name: Optimove's user.
    :param password: the user's password.
    :param directory: a directory that only this user can reach; None: :func:`state_directory`.
    """

    def __init__(self, base_url: str, user_name: str, password: str, directory: Path | None = None) -> None:
        self._name = f"session-{session_key(base_url, user_name)}"
        self._password = password
        self._memory = MemoryTokenStore(base_url, user_name, password)
        self._directory = directory or state_directory()

    def __repr__(self) -> str:
        return f"FileTokenStore({self._name})"

    def read(self) -> LoginState:
        if self._directory is not None:
            try:
                return self._state(self._content(self._directory))
            except OSError as error:
                self._go_on_without(error)
        return self._memory.read()

    def write(self, state: LoginState) -> None:
        if self._directory is not None:
            try:
                content = self._updated(self._content(self._directory), state)
                replace_private(self._directory, f"{self._name}.json", json.dumps(content).encode())
            except OSError as error:
                self._go_on_without(error)
            else:
                return
        self._memory.write(state)

    @contextlib.contextmanager
    def lock(self, deadline: float) -> Iterator[None]:
        if self._directory is not None:
            try:
                lock = wait_for_lock(self._directory, f"{self._name}.lock", deadline)
            except OSError as error:
                self._go_on_without(error)
            else:
                with lock:
                    yield
                return
        with self._memory.lock(deadline):
            yield

    def _go_on_without(self, error: OSError) -> None:
        self._directory = None
        warn_not_shared(error)

    def _content(self, directory: Path) -> dict[str, Any]:
        content = read_private(directory, f"{self._name}.json", most=MOST_BYTES)
        try:
            decoded = json.loads(content or b"{}")
        except (ValueError, RecursionError):
            return {}
        return decoded if isinstance(decoded, dict) and decoded.get("version") == FORMAT_VERSION else {}

    def _state(self, content: dict[str, Any]) -> LoginState:
        try:
            state = LoginState(
                attempted_at=float(content["attempted_at"]),
                pause=min(float(content["pause"]), LONGEST_LOGIN_WAIT),
                refusals=int(content["refusals"]),
            )
            token = content["token"]
            digest = _digest(bytes.fromhex(content["salt"]), self._password)
            ours = hmac.compare_digest(digest, bytes.fromhex(content["password_digest"]))
        except (KeyError, TypeError, ValueError, OverflowError):
            return LoginState()
        return replace(state, token=token) if ours and token and isinstance(token, str) else state

    def _updated(self, content: dict[str, Any], state: LoginState) -> dict[str, Any]:
        updated = {
            "version": FORMAT_VERSION,
            "attempted_at": state.attempted_at,
            "pause": state.pause,
            "refusals": state.refusals,
        }
        if state.token is None and content.get("token") and self._state(content).token is None:
            # A refused password must not cost those their session who have the right one.
            return {**content, **updated}
        salt = secrets.token_bytes(16)
        digest = _digest(salt, self._password)
        return {**updated, "token": state.token, "salt": salt.hex(), "password_digest": digest.hex()}


class SharedSession:
    """The login session of one user: one token, got by one process at a time and used by all.

    :param store: where the token is kept; who shares it shares the session.
    :param login: makes one Login call, which ends at the deadline it is given (a ``time.monotonic()`` value), and
        returns the token. It raises :class:`LoginDelayed` on HTTP 429; its other errors reach the caller.
    :param clock: monotonic time in seconds.
    :param sleep: waits for the seconds given.
    :param wall_clock: the time in seconds that all processes of the host agree on.
    """

    def __init__(
        self,
        store: TokenStore,
        login: Callable[[float], str],
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._login = login
        self._clock = clock
        self._sleep = sleep
        self._wall_clock = wall_clock

    def __repr__(self) -> str:
        return f"SharedSession({self._store!r})"

    def token(self, deadline: float) -> str:
        """The session's token; logs in when there is none.

        :param deadline: when the call that needs it ends, a ``time.monotonic()`` value in seconds.
        :returns: the token.
        :raises OptimoveRateLimitError: Login was answered with 429 for :data:`LONGEST_LOGIN_WAIT` seconds, or
            until the deadline.
        :raises OptimoveServerError: another process was still logging in at the deadline.
        """
        return self._another_token_than(None, deadline)

    def renew(self, rejected: str, deadline: float) -> str:
        """A token in place of one that the server does not take any more.

        :param rejected: the token that was refused.
        :param deadline: when the call that needs it ends, a ``time.monotonic()`` value in seconds.
        :returns: the token that another thread or process has got meanwhile, or that of a new Login.
        :raises OptimoveRateLimitError: as for :meth:`token`.
        :raises OptimoveServerError: as for :meth:`token`.
        """
        return self._another_token_than(rejected, deadline)

    def _another_token_than(self, rejected: str | None, deadline: float) -> str:
        patience_ends: float | None = None
        while True:
            state = self._store.read()
            if state.token is not None and state.token != rejected:
                return state.token
            if state.wait(self._wall_clock()) <= 0:
                token, state = self._log_in(rejected, deadline)
                if token is not None:
                    return token
            wait = state.wait(self._wall_clock())
            ends = deadline
            if state.refusals:
                if patience_ends is None:
                    patience_ends = self._clock() + LONGEST_LOGIN_WAIT
                ends = min(deadline, patience_ends)
            if self._clock() + wait >= ends:
                raise _login_refused(state)
            # Not the whole wait at once: the token may come from elsewhere.
            pause = min(wait, STORE_REREAD_INTERVAL) + random.uniform(0.0, 0.02)
            self._sleep(max(0.001, min(pause, ends - self._clock())))

    def _log_in(self, rejected: str | None, deadline: float) -> tuple[str | None, LoginState]:
        """Log in unless another one did while this one waited for the lock: the token, or when to try again."""
        try:
            with self._store.lock(deadline):
                state = self._store.read()
                if state.token is not None and state.token != rejected:
                    return state.token, state
                if state.wait(self._wall_clock()) > 0:
                    return None, state
                return self._log_in_now(state, deadline)
        except LockTimeoutError:
            pass
        raise OptimoveServerError(
            "another process or thread was still logging in when the time of this call was over", function="Login"
        )

    def _log_in_now(self, state: LoginState, deadline: float) -> tuple[str | None, LoginState]:
        token = None
        refusals, pause = 0, LOGIN_INTERVAL
        try:
            token = self._login(deadline)
        except LoginDelayed as delayed:
            recent = 0 <= self._wall_clock() - state.attempted_at <= LONGEST_LOGIN_WAIT
            refusals = min(state.refusals, 10) + 1 if recent else 1
            backoff = min(FIRST_LOGIN_BACKOFF * 2 ** (refusals - 1), LONGEST_LOGIN_BACKOFF)
            pause = max(backoff * random.uniform(0.5, 1.0), LOGIN_INTERVAL, delayed.retry_after or 0.0)
            logger.info("Login was answered with 429: next attempt in %.1f s at the earliest", pause)
        finally:
            # After an error, too: who comes next must not log in within the same second, or with a dead token.
            state = LoginState(token, attempted_at=self._wall_clock(), pause=pause, refusals=refusals)
            # Whoever comes after the bound may try again, whatever the server asked for.
            self._store.write(replace(state, pause=min(pause, LONGEST_LOGIN_WAIT)))
        return token, state


def session_key(base_url: str, user_name: str) -> str:
    """Names a user's session without saying who it is.

    :param base_url: the API's base address; letter case of the host, a default port and a final slash do not count.
    :param user_name: Optimove's user.
    :returns: 32 hexadecimal digits.
    """
    try:
        parts = urlsplit(base_url.strip())
        scheme = parts.scheme.lower()
        port = "" if parts.port in (None, {"https": 443, "http": 80}.get(scheme)) else f":{parts.port}"
        address = f"{scheme}://{(parts.hostname or '').lower()}{port}{parts.path.rstrip('/')}"
    except ValueError:
        # Sending to it fails with a reason.
        address = base_url
    return hashlib.sha256(f"{address}\n{user_name}".encode()).hexdigest()[:32]


def _digest(salt: bytes, password: str) -> bytes:
    return hmac.digest(salt, password.encode("utf-8", "surrogatepass"), "sha256")


def _fits_a_header(value: str) -> bool:
    return bool(value) and value.isascii() and value.isprintable() and value == value.strip()


def _login_refused(state: LoginState) -> OptimoveRateLimitError:
    if not state.refusals:
        return OptimoveRateLimitError(
            "one Login a second is allowed, and the time of this call is over before the next one", function="Login"
        )
    return OptimoveRateLimitError(
        "Optimove refuses a new login because this user still has a valid session that this host does not know, "
        "begun on another host or by another program. It ends 20 minutes after its last use: try again then. "
        "Where several hosts share a user, use an API key instead of user name and password",
        function="Login",
        status=429,
    )
