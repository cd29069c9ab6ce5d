"""What the clients of all systems share: calls whose errors hold no secrets and say what may have happened."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from typing import Any, Generic, NamedTuple, Self, TypeVar

from requests.auth import AuthBase

from airflow_provider_optimove.clients.http import (
    BodyReader,
    ConnectionFailure,
    HttpAnswer,
    HttpClient,
    HttpRequest,
    HttpSettings,
    Redactor,
    TryAgain,
)
from airflow_provider_optimove.exceptions import RemoteSystemError

T = TypeVar("T")

Judge = Callable[[HttpAnswer | ConnectionFailure], Any]
"""Returns what an outcome means; raises TryAgain, :class:`CredentialsRefused` or a final error."""


Translate = Callable[[RemoteSystemError], RemoteSystemError]
"""What is done to an error before it is raised."""


class CredentialsRefused(Exception):
    """Raised by a judge: with other credentials the call may succeed.

    :param error: what to raise when it does not.
    """

    repeated = False
    """Whether an attempt before this one may have taken effect."""

    def __init__(self, error: RemoteSystemError) -> None:
        # Not its text: what is redacted later must not stay readable here.
        super().__init__(error)
        self.error = error


class Fetched(NamedTuple):
    """A successful call.

    :param answer: what its judge made of it.
    :param checksum: of the body.
    :param repeated: whether an earlier attempt may have taken effect.
    """

    answer: Any
    checksum: int
    repeated: bool


@dataclass(frozen=True)
class SystemSettings:
    """Base of the settings: an account of a system, and how to reach it.

    :param http: address, timeouts, retries, certificates and proxies.
    """

    http: HttpSettings

    @property
    def secrets(self) -> Iterable[str | None]:
        """What must not be seen in an error or a log; empty values are ignored."""
        raise NotImplementedError


SettingsT = TypeVar("SettingsT", bound=SystemSettings)


class SystemClient(Generic[SettingsT]):
    """Base of the clients.

    :param settings: the account and how to reach it.
    :param translate_error: applied to every error before it is raised.
    """

    def __init__(self, settings: SettingsT, *, translate_error: Translate = lambda error: error) -> None:
        self.settings = settings
        proxy_passwords = [_password_in(proxy) for proxy in settings.http.proxies.values()]
        self._redact = Redactor([*settings.secrets, *proxy_passwords])
        self._http = HttpClient(settings.http, self._redact)
        self._translate_error = translate_error
        self._on_its_way = False

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._http.settings.base_url!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the kept-alive connections; the client can still be used afterwards."""
        self._http.close()

    @property
    def calls_made(self) -> int:
        """How many requests this client has sent so far, repeated ones and those for credentials included."""
        return self._http.requests_sent

    @property
    def redact(self) -> Redactor:
        """What takes this account's secrets out of text."""
        return self._redact

    @property
    def may_have_happened(self) -> bool:
        """Whether the call that is under way, or the last one, may have taken effect without an answer that says so."""
        return self._on_its_way

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except RemoteSystemError as error:
            translated = self._translate_error(error)
            if translated is error:
                raise
            raise translated.with_traceback(error.__traceback__) from error.__cause__

    def _translated_items(self, items: Iterator[T]) -> Iterator[T]:
        with self._translated():
            yield from items

    def _exchange(
        self,
        name: str,
        request: HttpRequest,
        judge: Judge,
        *,
        auth: AuthBase | None = None,
        deadline: float | None = None,
        gate: Callable[[float], AbstractContextManager[None]] = lambda deadline: nullcontext(),
        body_reader: Callable[[], BodyReader] | None = None,
        repeated: bool = False,
        reads: bool = False,
        for_credentials: bool = False,
    ) -> Fetched:
        """Send a request until it is settled what became of it.

        :param name: what errors and the log call it.
        :param request: what is sent.
        :param judge: what an outcome means; asked a second time, without secrets, before anything is raised.
        :param auth: adds the credentials to each attempt.
        :param deadline: end of the call on the monotonic clock; None: as the settings say.
        :param gate: what each attempt has to pass.
        :param body_reader: makes what reads the body of each attempt's 200.
        :param repeated: whether an attempt before these may have taken effect.
        :param reads: whether it only reads, so that no attempt can have taken effect.
        :param for_credentials: whether it only gets what the call that is wanted needs.
        """
        times_sent = 0
        lost = repeated
        changes = not (reads or for_credentials)

        def read(outcome: HttpAnswer | ConnectionFailure) -> Fetched:
            nonlocal times_sent, lost
            times_sent += 1
            refused: Exception | None = None
            try:
                answer = judge(outcome)
            except TryAgain as error:
                sent = outcome.sent if isinstance(outcome, ConnectionFailure) else outcome.status != 429
                lost = lost or (sent and not reads)
                refused = error
            except (CredentialsRefused, RemoteSystemError) as error:
                taken = isinstance(outcome, HttpAnswer) and 200 <= outcome.status < 300
                lost = lost or (taken and not reads and not getattr(error, "refused", False))
                refused = error
            if refused is not None and changes:
                self._on_its_way = lost or getattr(refused, "may_have_happened", False)
            if refused is not None:
                # Judged again without secrets, for what is raised: taken out later, a part of one could be left where
                # a long text was cut off. And out of the except block, or the first error would hang on the second.
                judge(self._without_secrets(outcome) if isinstance(outcome, HttpAnswer) else outcome)
                raise refused
            assert isinstance(outcome, HttpAnswer)
            return Fetched(answer, outcome.checksum, lost)

        @contextmanager
        def slot(deadline: float) -> Iterator[None]:
            with gate(deadline):
                self._on_its_way = self._on_its_way or changes
                yield

        if not for_credentials and not repeated:
            self._on_its_way = False
        try:
            return self._http.exchange(
                request,
                read,
                name=name,
                auth=auth,
                deadline=self._http.deadline() if deadline is None else deadline,
                gate=slot,
                body_reader=body_reader,
            )
        except CredentialsRefused as refused:
            refused.error.redact(self._redact)
            refused.repeated = lost
            raise
        except RemoteSystemError as error:
            error.function = error.function or name
            error.may_have_happened = error.may_have_happened or lost
            error.redact(self._redact)
            if times_sent > 1:
                error.add(f"tried {times_sent} times")
            raise

    def _without_secrets(self, answer: HttpAnswer) -> HttpAnswer:
        text = answer.body.decode("utf-8", errors="replace").removeprefix("\ufeff")
        with suppress(ValueError, RecursionError):
            # Whatever was escaped, in the one form that is known to be redacted.
            text = json.dumps(json.loads(text), ensure_ascii=False)
        text = self._without_any_secret(text)
        return replace(answer, body=text.encode(errors="replace"), reason=self._redact(answer.reason))

    def _without_any_secret(self, text: str) -> str:
        """A text without secrets, also where some of their characters stand as in HTML."""
        unescaped = html.unescape(text)
        redacted = self._redact(unescaped)
        return self._redact(text) if redacted == unescaped else redacted


def _password_in(proxy: str) -> str | None:
    """The password in a proxy's address, also in one that cannot be used."""
    found = re.match(r"(?s)(?:[^:/]*://)?[^:]*:(.*)@", proxy)
    return found[1] if found else None
