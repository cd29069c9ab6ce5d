"""What every client shares: one kept-alive session, timeouts, retries and the removal of secrets."""

from __future__ import annotations

import html
import ipaddress
import json
import logging
import math
import os
import platform
import random
import re
import ssl
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol, TypeVar
from urllib.parse import quote, quote_plus, unquote, urlsplit

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
# Of an answer without data: enough for any explanation, and not for what somebody sends to do harm.
LONGEST_EXPLANATION_READ = 1 << 20
WITH_DATA = (200, 203)
# Reasons of TLS errors that only come before a request can be sent.
HANDSHAKE_FAILURES = {
    "WRONG_VERSION_NUMBER",
    "UNSUPPORTED_PROTOCOL",
    "TLSV1_ALERT_PROTOCOL_VERSION",
    "SSLV3_ALERT_HANDSHAKE_FAILURE",
}


@dataclass(frozen=True)
class HttpSettings:
    """How to reach a server.

    :param base_url: address every path is appended to.
    :param connect_timeout: seconds until a connection must stand.
    :param read_timeout: seconds the server may be silent.
    :param retry_limit: attempts after the first.
    :param total_timeout: seconds that one call may take with all its retries.
    :param longest_wait: seconds that may pass before an attempt, for the rate limit or because the server asks for it.
    :param verify: whether to check certificates, or the path of a CA bundle.
    :param proxies: proxy addresses by scheme, as ``requests`` takes them.
    """

    base_url: str
    connect_timeout: float = 10
    read_timeout: float = 300
    retry_limit: int = 4
    total_timeout: float = 1800
    longest_wait: float = math.inf
    verify: bool | str = True
    proxies: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class HttpRequest:
    """What is sent: verb, path below the base address, query and a body; in JSON, unless the headers say otherwise.

    :param shown: what the log names instead of a path that holds a key or a customer's id.
    :param status_decides: whether a 2xx is all that matters: its body is read no further than its first piece, and it
        is no failure where that does not come.
    """

    verb: str
    path: str = field(repr=False)
    query: tuple[tuple[str, str], ...] = ()
    body: bytes | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    shown: str | None = None
    status_decides: bool = False


@dataclass(frozen=True)
class HttpAnswer:
    """What came back.

    :param status: HTTP status.
    :param reason: its words.
    :param headers: of the answer.
    :param body: all of it; empty where a :class:`BodyReader` made something of it.
    :param content: what a :class:`BodyReader` made of the body.
    :param checksum: of the whole body; equal bodies have equal ones.
    """

    status: int
    reason: str
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    content: Any = field(default=None, repr=False)
    checksum: int = 0


class BodyReader(Protocol):
    """Reads the body of a 200 as it arrives, so that it is never in memory as a whole."""

    def read(self, piece: bytes, /) -> None:
        """Take the next bytes.

        :raises StopReading: the rest does not matter any more.
        """
        ...

    def end(self) -> tuple[bytes, Any]:
        """The body and None, or nothing and what was made of the body."""
        ...


class StopReading(Exception):
    """Raised by a body reader: the rest of the body is not read."""


class _WholeBody:
    """Makes nothing of a body.

    :param most: so many bytes are enough of it.
    """

    def __init__(self, most: float = math.inf) -> None:
        # Joined once: a body that grows is copied again and again.
        self._pieces: list[bytes] = []
        self._wanted = most

    def read(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self._wanted -= len(piece)
        if self._wanted <= 0:
            raise StopReading

    def end(self) -> tuple[bytes, Any]:
        return b"".join(self._pieces), None


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
    """Replaces secrets in text, also as they stand in a URL, in JSON or in HTML.

    :param secrets: what must not be seen; empty values are ignored.
    """

    def __init__(self, secrets: Iterable[str | None]) -> None:
        self._lasting: set[str] = set()
        self._passing: list[set[str]] = []
        self._longest_first: list[str] = []
        for secret in secrets:
            self.add(secret)

    def add(self, secret: str | None) -> None:
        """Redact ``secret`` from now on."""
        self._lasting |= _forms_of(secret)
        self._sort()

    @contextmanager
    def also(self, secret: str | None) -> Iterator[None]:
        """Redact ``secret`` too while this lasts, for secrets that are many, as those of customers."""
        forms = _forms_of(secret)
        self._passing.append(forms)
        self._sort()
        try:
            yield
        finally:
            self._passing.remove(forms)
            self._sort()

    def _sort(self) -> None:
        # Now and not for each text: there are far more texts than secrets.
        self._longest_first = sorted(self._lasting.union(*self._passing), key=len, reverse=True)

    def __call__(self, text: str) -> str:
        for secret in self._longest_first:
            text = text.replace(secret, "***")
        return text


def _forms_of(secret: str | None) -> set[str]:
    """A secret in all ways in which it is written; nothing of an empty one."""
    # Credentials are sent without the white space around them.
    secret = (secret or "").strip()
    if not secret:
        return set()
    in_json = {json.dumps(secret, ensure_ascii=ascii_only)[1:-1] for ascii_only in (True, False)}
    plain = {secret, unquote(secret)}
    escaped = {secret} | {form(text) for text in plain for form in (quote, quote_plus, partial(quote, safe=""))}
    in_urls = escaped | {re.sub("%..", lambda escape: escape[0].lower(), form) for form in escaped}
    return plain | {html.escape(secret)} | in_json | in_urls


class _Session(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Nowhere: even unfollowed, requests would read a redirect's whole body and fail on a target that is no URL."""
        return None


class HttpClient:
    """Sends requests to one server over kept-alive connections.

    :param settings: how to reach the server.
    :param redact: applied to every text that leaves this class.
    """

    def __init__(self, settings: HttpSettings, redact: Redactor) -> None:
        self.settings = settings
        self.redact = redact
        self.requests_sent = 0
        self.host = host_of(settings.base_url)
        self._connections = self._new_session()
        self._process = os.getpid()

    def close(self) -> None:
        """Close the kept-alive connections."""
        self._session.close()

    @property
    def _session(self) -> requests.Session:
        if self._process != os.getpid():
            # After a fork: on a connection shared with the parent one would read the other's answers. The parent's
            # session is kept, so that nothing is said on its connections by closing them.
            self._of_parent = self._connections
            self._connections = self._new_session()
            self._process = os.getpid()
        return self._connections

    def _new_session(self) -> requests.Session:
        session = _Session()
        session.headers.update(
            {"User-Agent": USER_AGENT, "Accept": "application/json", "Content-Type": "application/json"}
        )
        # A proxy named by the environment would carry to another machine what is meant for this one.
        session.trust_env = not is_loopback(self.host)
        return session

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
        body_reader: Callable[[], BodyReader] | None = None,
    ) -> T:
        """Send a request until the judge is satisfied.

        :param request: what to send.
        :param judge: returns the result of an outcome, raises :class:`TryAgain` or a final error.
        :param name: what the call is named in the log.
        :param auth: adds the credentials to each attempt.
        :param deadline: end of the call on the monotonic clock.
        :param gate: the rate limit each attempt passes.
        :param body_reader: makes what reads the body of each attempt's 200; None: the body is left as it is.
        :returns: what the judge returned.
        """
        attempts = self.settings.retry_limit + 1
        for attempt in range(1, attempts + 1):
            with (
                gate(min(deadline, time.monotonic() + self.settings.longest_wait)),
                _heard_quietly(self.redact, request),
            ):
                outcome = self._send(request, auth, deadline, body_reader or _WholeBody)
            try:
                return judge(outcome)
            except TryAgain as again:
                backoff = min(LONGEST_DELAY, FIRST_DELAY * 2 ** (attempt - 1))
                delay = backoff * random.uniform(0.5, 1) if again.after is None else again.after
                too_long = delay > self.settings.longest_wait or time.monotonic() + delay >= deadline
                if attempt == attempts or too_long:
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

    def _send(
        self,
        request: HttpRequest,
        auth: AuthBase | None,
        deadline: float,
        body_reader: Callable[[], BodyReader],
    ) -> HttpAnswer | ConnectionFailure:
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            return ConnectionFailure("the time that a call may take is over", sent=False, passing=False)
        started = time.monotonic()
        self.requests_sent += 1
        outcome: HttpAnswer | ConnectionFailure
        try:
            response = self._session.request(
                request.verb,
                f"{self.settings.base_url}/{request.path}",
                params=request.query,
                data=request.body,
                headers=dict(request.headers),
                auth=auth or _no_auth,
                timeout=(
                    min(self.settings.connect_timeout, remaining),
                    min(self.settings.read_timeout, remaining),
                ),
                allow_redirects=False,
                verify=self.settings.verify,
                proxies=dict(self.settings.proxies),
                stream=True,
            )
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            outcome = self._failure(error)
        else:
            with response:
                status = response.status_code
                settled = request.status_decides and 200 <= status < 300
                explains = _WholeBody(math.inf if status in WITH_DATA else LONGEST_EXPLANATION_READ)
                reader = _WholeBody(1) if settled else body_reader() if status == 200 else explains
                outcome = self._read(response, deadline, reader, settled=settled)
        if log.isEnabledFor(logging.DEBUG):
            took = time.monotonic() - started
            became = outcome.message if isinstance(outcome, ConnectionFailure) else f"HTTP {outcome.status}"
            path = self.redact(request.path) if request.shown is None else request.shown
            log.debug("%s %s: %s, %.3f s", request.verb, path, became, took)
        return outcome

    def _read(
        self, response: requests.Response, deadline: float, reader: BodyReader, *, settled: bool
    ) -> HttpAnswer | ConnectionFailure:
        checksum = length = 0
        # Not iter_content: it waits for a whole chunk, for hours when the server dribbles.
        try:
            while piece := response.raw.read1(CHUNK, decode_content=True):
                reader.read(piece)
                checksum = zlib.crc32(piece, checksum)
                length += len(piece)
                if time.monotonic() > deadline:
                    return ConnectionFailure("the answer took longer than a call may take", sent=True)
        except StopReading:
            # What is left unread cannot be taken for the next answer.
            response.raw.close()
        except (urllib3.exceptions.HTTPError, OSError) as error:
            if not settled:
                return ConnectionFailure(f"the answer broke off: {self.redact(_root_cause(error))}", sent=True)
        body, content = reader.end()
        status, reason = response.status_code, response.reason or ""
        return HttpAnswer(status, reason, response.headers, body, content, checksum=hash((checksum, length)))

    def _failure(self, error: Exception) -> ConnectionFailure:
        """What it means that no answer began. Where in doubt, the request has arrived."""
        causes = list(_causes(error))
        why = self.redact(_root_cause(error))
        if any(isinstance(cause, ssl.SSLError) and cause.library == "X509" for cause in causes):
            return ConnectionFailure(f"the request could not be sent: CA bundle: {why}", sent=False, passing=False)
        if any(isinstance(cause, ssl.SSLError) and cause.reason in HANDSHAKE_FAILURES for cause in causes):
            return ConnectionFailure(f"no encrypted connection to {self.host}: {why}", sent=False)
        if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes):
            return ConnectionFailure(
                f"the certificate of {self.host} is not accepted: {why}", sent=False, passing=False
            )
        if any(isinstance(cause, urllib3.exceptions.ConnectTimeoutError) for cause in causes) and not any(
            isinstance(cause, urllib3.exceptions.NewConnectionError) for cause in causes
        ):
            return ConnectionFailure(f"no connection to {self.host} in the time allowed", sent=False)
        by_proxy = isinstance(error, requests.exceptions.ProxyError)
        through = f"the proxy to {self.host} failed" if by_proxy else f"the connection to {self.host} failed"
        if (
            any(isinstance(cause, urllib3.exceptions.NewConnectionError) for cause in causes)
            or "Tunnel connection" in why
        ):
            return ConnectionFailure(f"{through}: {why}", sent=False)
        if isinstance(error, requests.exceptions.Timeout):
            return ConnectionFailure(f"no answer from {self.host} in the time allowed", sent=True)
        unusable_address = isinstance(error, urllib3.exceptions.LocationValueError)
        if (
            isinstance(error, (requests.exceptions.ConnectionError, urllib3.exceptions.HTTPError))
            and not unusable_address
        ):
            return ConnectionFailure(f"{through}: {why}", sent=True)
        if any(isinstance(cause, urllib3.exceptions.InvalidHeader) for cause in causes):
            return ConnectionFailure(f"the answer cannot be read: {why}", sent=True)
        # Nothing was connected yet: an address, a header, a CA bundle or a proxy that cannot be used.
        return ConnectionFailure(f"the request could not be sent: {why}", sent=False, passing=False)


class _QuietUrllib3(logging.Filter):
    """Takes queries, secrets and what is not shown out of what urllib3 says of our requests."""

    def filter(self, record: logging.LogRecord) -> bool:
        if ours := _under_way.get():
            if isinstance(record.args, tuple):
                record.args = tuple(_quiet(part, *ours) for part in record.args)
            # The words of an error can quote anything of a request.
            record.exc_info = record.exc_text = None
        return True


def _quiet(part: object, redact: Redactor, request: HttpRequest) -> object:
    """What the log may hold of an argument of urllib3's."""
    if part is None or isinstance(part, (int, float)):
        return part
    if not isinstance(part, str):
        return type(part).__name__
    if request.shown is not None and (part.startswith("/") or "://" in part):
        return request.shown
    return redact(part.partition("?")[0])


_under_way: ContextVar[tuple[Redactor, HttpRequest] | None] = ContextVar("_under_way", default=None)
for _name in ("urllib3.connectionpool", "urllib3.connection"):
    logging.getLogger(_name).addFilter(_QuietUrllib3())


@contextmanager
def _heard_quietly(redact: Redactor, request: HttpRequest) -> Iterator[None]:
    """What urllib3 says meanwhile is about this request."""
    before = _under_way.set((redact, request))
    try:
        yield
    finally:
        _under_way.reset(before)


def host_of(url: str) -> str:
    """The host in an address, in lower case; empty where there is none."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def is_loopback(host: str) -> bool:
    """Whether a host name or address can only be this machine: ``localhost``, 127.0.0.0/8 or ::1."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_unicode(text: str) -> bool:
    """Whether a text can be sent: a lone half of a surrogate pair cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _no_auth(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Keeps ``requests`` from taking credentials of the host out of a netrc file."""
    return request


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error and those that it reports."""
    waiting: list[object] = [error]
    seen: set[int] = set()
    while waiting:
        cause = waiting.pop()
        if isinstance(cause, BaseException) and id(cause) not in seen:
            seen.add(id(cause))
            yield cause
            # Not __context__: that may be what the caller was handling when it called.
            waiting += [getattr(cause, "reason", None), *cause.args]


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
    "BodyReader",
    "ConnectionFailure",
    "HttpAnswer",
    "HttpClient",
    "HttpRequest",
    "HttpSettings",
    "Redactor",
    "StopReading",
    "TryAgain",
    "host_of",
    "is_loopback",
    "is_unicode",
]
