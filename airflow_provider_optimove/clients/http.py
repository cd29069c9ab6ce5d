"""What every client shares: one kept-alive session, timeouts, retries and the removal of secrets."""

from __future__ import annotations

import html
import json
import logging
import platform
import random
import re
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TypeVar
from urllib.parse import quote, quote_plus, unquote

import requests
import urllib3
from requests.auth import AuthBase

from airflow_provider_optimove import __version__

log = logging.getLogger(__name__)

T = TypeVar("T")

USER_AGENT = f"airflow-provider-optimove/{__version__} (Python {platform.python_version()})"
FIRST_DELAY = 1.0
LONGEST_DELAY = 60.0
CHUNK = 1 << 20


@dataclass(frozen=True)
class HttpSettings:
    """How to reach a server.

    :param base_url: address every path is appended to.
    :param connect_timeout: seconds until a connection must stand.
    :param read_timeout: seconds the server may be silent.
    :param retry_limit: attempts after the first.
    :param total_timeout: seconds that one call may take with all its retries.
    :param verify: whether to check certificates, or the path of a CA bundle.
    :param proxies: proxy addresses by scheme, as ``requests`` takes them.
    """

    base_url: str
    connect_timeout: float = 10
    read_timeout: float = 300
    retry_limit: int = 4
    total_timeout: float = 1800
    verify: bool | str = True
    proxies: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class HttpRequest:
    """What is sent: verb, path below the base address, query and a JSON body."""

    verb: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    body: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True)
class HttpAnswer:
    """What came back."""

    status: int
    reason: str
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


@dataclass(frozen=True)
class ConnectionFailure:
    """Nothing usable came back.

    :param message: why, without secrets.
    :param sent: whether the server may have received the request.
    :param passing: whether trying again may help.
    """

    message: str
    sent: bool
    passing: bool = True


class TryAgain(Exception):
    """Raised by a judge: the same request may be sent again.

    :param error: what to raise when no attempt is left.
    :param after: seconds the server asked to wait, if it did.
    """

    def __init__(self, error: Exception, after: float | None = None) -> None:
        # Not its text: what is redacted later must not stay readable here.
        super().__init__(error)
        self.error = error
        self.after = after


class Redactor:
    """Replaces secrets in text.

    :param secrets: what must not be seen; empty values are ignored.
    """

    def __init__(self, secrets: Iterable[str | None]) -> None:
        self._secrets: set[str] = set()
        for secret in secrets:
            self.add(secret)

    def add(self, secret: str | None) -> None:
        """Redact ``secret`` from now on, also as it stands in a URL, in JSON or in HTML."""
        # Credentials are sent without the white space around them.
        secret = (secret or "").strip()
        if secret:
            in_json = {json.dumps(secret, ensure_ascii=ascii_only)[1:-1] for ascii_only in (True, False)}
            in_urls = {quote(secret), quote(secret, safe=""), quote_plus(secret), unquote(secret)}
            self._secrets |= {secret, html.escape(secret)} | in_json | in_urls

    def __call__(self, text: str) -> str:
        for secret in sorted(self._secrets, key=len, reverse=True):
            text = text.replace(secret, "***")
        return text


class HttpClient:
    """Sends requests to one server over kept-alive connections.

    :param settings: how to reach the server.
    :param redact: applied to every text that leaves this class.
    """

    def __init__(self, settings: HttpSettings, redact: Redactor) -> None:
        self.settings = settings
        self.redact = redact
        self.requests_sent = 0
        self._session = requests.Session()
        self._session.headers.update(
            {"User-Agent": USER_AGENT, "Accept": "application/json", "Content-Type": "application/json"}
        )

    def close(self) -> None:
        """Close the kept-alive connections."""
        self._session.close()

    def deadline(self) -> float:
        """When a call that starts now must end, on the monotonic clock."""
        return time.monotonic() + self.settings.total_timeout

    def exchange(
        self,
        request: HttpRequest,
        judge: Callable[[HttpAnswer | ConnectionFailure], T],
        *,
        name: str,
        auth: AuthBase | None,
        deadline: float,
        gate: Callable[[float], AbstractContextManager[None]] = lambda deadline: nullcontext(),
    ) -> T:
        """Send a request until the judge is satisfied.

        :param request: what to send.
        :param judge: returns the result of an outcome, raises :class:`TryAgain` or a final error.
        :param name: what the call is named in the log.
        :param auth: adds the credentials to each attempt.
        :param deadline: end of the call on the monotonic clock.
        :param gate: the rate limit each attempt passes.
        :returns: what the judge returned.
        """
        attempts = self.settings.retry_limit + 1
        for attempt in range(1, attempts + 1):
            with gate(deadline):
                outcome = self._send(request, auth, deadline)
            try:
                return judge(outcome)
            except TryAgain as again:
                backoff = min(LONGEST_DELAY, FIRST_DELAY * 2 ** (attempt - 1))
                delay = backoff * random.uniform(0.5, 1) if again.after is None else again.after
                if attempt == attempts or time.monotonic() + delay >= deadline:
                    raise again.error from None
                log.warning(
                    "%s; trying %s again in %.1f s (attempt %d of %d)",
                    self.redact(str(again.error)),
                    name,
                    delay,
                    attempt + 1,
                    attempts,
                )
                time.sleep(delay)
        raise AssertionError("the last attempt returns or raises")

    def _send(self, request: HttpRequest, auth: AuthBase | None, deadline: float) -> HttpAnswer | ConnectionFailure:
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            return ConnectionFailure("the time that a call may take is over", sent=False, passing=False)
        started = time.monotonic()
        self.requests_sent += 1
        try:
            with self._session.request(
                request.verb,
                f"{self.settings.base_url}/{request.path}",
                params=request.query,
                data=request.body,
                auth=auth or _no_auth,
                timeout=(
                    min(self.settings.connect_timeout, remaining),
                    min(self.settings.read_timeout, remaining),
                ),
                allow_redirects=False,
                verify=self.settings.verify,
                proxies=dict(self.settings.proxies),
                stream=True,
            ) as response:
                body = bytearray()
                # Not iter_content: it waits for a whole chunk, for hours when the server dribbles.
                read = getattr(response.raw, "read1", response.raw.read)
                while piece := read(CHUNK, decode_content=True):
                    body += piece
                    if time.monotonic() > deadline:
                        return ConnectionFailure("the answer took longer than a call may take", sent=True)
                answer = HttpAnswer(response.status_code, response.reason or "", response.headers, bytes(body))
        except requests.RequestException as error:
            failure = _connection_failure(error, self.redact)
            log.debug("%s %s: %s", request.verb, self.redact(request.path), failure.message)
            return failure
        except urllib3.exceptions.HTTPError as error:
            failure = ConnectionFailure(f"the answer broke off: {self.redact(_root_cause(error))}", sent=True)
            log.debug("%s %s: %s", request.verb, self.redact(request.path), failure.message)
            return failure
        log.debug(
            "%s %s: HTTP %d, %d bytes, %.3f s",
            request.verb,
            self.redact(request.path),
            answer.status,
            len(answer.body),
            time.monotonic() - started,
        )
        return answer


def _no_auth(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Keeps ``requests`` from taking credentials of the host out of a netrc file."""
    return request


def _connection_failure(error: requests.RequestException, redact: Redactor) -> ConnectionFailure:
    message = redact(_root_cause(error))
    if isinstance(error, requests.exceptions.SSLError):
        if "CERTIFICATE" in message.upper():
            return ConnectionFailure(f"the server's certificate is not accepted: {message}", sent=False, passing=False)
        return ConnectionFailure(f"the encrypted connection failed: {message}", sent=True)
    if isinstance(error, requests.exceptions.ProxyError):
        return ConnectionFailure(f"the proxy failed: {message}", sent=False)
    if isinstance(error, requests.exceptions.ConnectTimeout):
        return ConnectionFailure("no connection in the time allowed", sent=False)
    if isinstance(error, requests.exceptions.Timeout):
        return ConnectionFailure("no answer in the time allowed", sent=True)
    if isinstance(error, requests.exceptions.ConnectionError):
        return ConnectionFailure(f"the connection failed: {message}", sent=not _never_connected(error))
    return ConnectionFailure(f"the request could not be sent: {message}", sent=False, passing=False)


def _never_connected(error: BaseException) -> bool:
    reason = getattr(error.args[0] if error.args else None, "reason", None)
    return type(reason).__name__ in ("NewConnectionError", "NameResolutionError")


def _root_cause(error: BaseException) -> str:
    """The innermost reason in words; the outer ones repeat the address with its whole query."""
    while True:
        reason = getattr(error, "reason", None)
        inner = reason if isinstance(reason, BaseException) else None
        if inner is None and error.args and isinstance(error.args[-1], BaseException):
            inner = error.args[-1]
        elif inner is None and error.args and isinstance(error.args[0], BaseException):
            inner = error.args[0]
        if inner is None:
            # urllib3 puts the connection in front: as ``<... object at 0x...>: `` or ``HTTPConnection(...): ``.
            return re.sub(r"^(<.*?>|\w+\(.*?\)): ", "", str(error)) or type(error).__name__
        error = inner


__all__ = [
    "ConnectionFailure",
    "HttpAnswer",
    "HttpClient",
    "HttpRequest",
    "HttpSettings",
    "Redactor",
    "TryAgain",
]
