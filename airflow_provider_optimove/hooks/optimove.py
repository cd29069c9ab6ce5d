"""The Optimove hook: an Airflow connection, and the client that it describes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, cast
from zoneinfo import ZoneInfo

from airflow_provider_optimove.clients.http import is_unicode
from airflow_provider_optimove.clients.optimove.client import OptimoveClient, OptimoveSettings
from airflow_provider_optimove.clients.optimove.rate_limit import DEFAULT_RATE_LIMIT, parse_rate_limit
from airflow_provider_optimove.exceptions import (
    OptimoveInputError,
    RemoteSystemError,
)
from airflow_provider_optimove.hooks.connection_fields import (
    ConnectionFields,
    fits_a_header,
)
from airflow_provider_optimove.hooks.system_hook import SystemHook
from airflow_provider_optimove.hooks.task_errors import ending_the_task

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Connection


class OptimoveHook(SystemHook[OptimoveSettings, OptimoveClient]):
    """Calls Optimove's API with an Airflow connection.

    The errors that a retry cannot mend (input, bad request, authentication, permission, unknown function, rejected
    rows, uncertain write) end the task that meets them at once.

    :param optimove_conn_id: the connection; nothing is read or sent before the first call.
    :param longest_wait: seconds that a call may wait for the rate limit; None: as long as a call may take at all.
    :param longest_call: seconds that a call may take, where that is less than the connection's ``total_timeout``.
    """

    conn_name_attr = "optimove_conn_id"
    default_conn_name = "optimove_default"
    conn_type = "optimove"
    hook_name = "Optimove"
    client_class = OptimoveClient

    def __init__(
        self,
        optimove_conn_id: str = default_conn_name,
        *,
        longest_wait: float | None = None,
        longest_call: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(optimove_conn_id, **kwargs)
        self.optimove_conn_id = optimove_conn_id
        self._longest_wait = longest_wait
        self._longest_call = longest_call

    @staticmethod
    def settings_of(connection: Connection) -> OptimoveSettings:
        """See :func:`settings_from_connection`."""
        return settings_from_connection(connection)

    @staticmethod
    def look(client: OptimoveClient) -> str:
        """Ask for the data date (GetLastDataUpdate)."""
        return f"its newest data is of {client.get_last_data_update()}"

    @cached_property
    def client(self) -> OptimoveClient:
        """The client of the connection, with one typed method a function."""
        return client_from_connection(
            self._connection,
            translate_error=ending_the_task,
            longest_wait=self._longest_wait,
            longest_call=self._longest_call,
        )

    @cached_property
    def timezone(self) -> str | None:
        """Time zone of the account's dates, from the connection's extra ``timezone``; None when it has none."""
        extra = self._connection.extra_dejson
        return extra.get("timezone") or None if isinstance(extra, Mapping) else None

    def call(
        self, function: str, parameters: Mapping[str, Any] | None = None, /, *, body: Any = None, **keywords: Any
    ) -> Any:
        """Call any function of Optimove's by name; see :meth:`OptimoveClient.call`."""
        return self.client.call(function, parameters, body=body, **keywords)

    def rows(
        self, function: str, parameters: Mapping[str, Any] | None = None, /, **options: Any
    ) -> Iterator[dict[str, Any]]:
        """Iterate over all rows of a function of Optimove's; see :meth:`OptimoveClient.rows`."""
        return self.client.rows(function, parameters, **options)


def client_from_connection(
    connection: Connection,
    *,
    translate_error: Callable[[RemoteSystemError], RemoteSystemError] = lambda error: error,
    longest_wait: float | None = None,
    longest_call: float | None = None,
    polling: bool = False,
) -> OptimoveClient:
    """The client that a connection describes.

    :param connection: an Airflow connection of type ``optimove``.
    :param translate_error: applied to every error, also to those of the connection itself.
    :param longest_wait: seconds that a call may wait for the rate limit; None: as long as a call may take at all.
    :param longest_call: seconds that a call may take, where that is less than the connection's ``total_timeout``.
    :param polling: for one who asks the same over and over: no retries, and no remarks on answers in the log.
    :raises OptimoveInputError: a field of the connection is missing or wrong.
    """
    try:
        settings = settings_from_connection(connection)
    except OptimoveInputError as error:
        raise translate_error(error) from None
    if longest_wait is not None:
        settings = replace(settings, http=replace(settings.http, longest_wait=longest_wait))
    if longest_call is not None:
        total = min(settings.http.total_timeout, longest_call)
        settings = replace(settings, http=replace(settings.http, total_timeout=total))
    if polling:
        settings = replace(settings, http=replace(settings.http, retry_limit=0))
    return (_PollingClient if polling else OptimoveClient)(settings, translate_error=translate_error)


class _PollingClient(OptimoveClient):
    @staticmethod
    def _remark(*_: object) -> None:
        """Nothing: who polls says what an answer means, once."""


def settings_from_connection(connection: Connection) -> OptimoveSettings:
    """Read the fields of a connection.

    :param connection: an Airflow connection of type ``optimove``.
    :raises OptimoveInputError: a field is missing or wrong; the values of secret fields are not shown.
    """
    fields = ConnectionFields(connection, OptimoveHook.conn_type, example_host="https://api5.optimove.net")
    http = fields.http_settings(no_path="what stands before the functions' groups goes into extra api_path")
    user_name = (connection.login or "").strip() or None
    secret = connection.password or ""
    if not secret:
        fields.problems.append(
            "password: the password of the user is missing" if user_name else "password: the API key is missing"
        )
    elif not is_unicode(secret):
        fields.problems.append("password: holds half of a surrogate pair, which is no character")
    elif not user_name and not fits_a_header(secret):
        fields.problems.append("password: the API key holds blanks, line breaks or other characters no key has")
    fields.read("timezone", None, _timezone)
    settings = OptimoveSettings(
        http=http,
        api_key=None if user_name else secret,
        user_name=user_name,
        password=secret if user_name else None,
        listener_secret=fields.read("listener_secret", None, str),
        api_path=fields.read("api_path", OptimoveSettings.api_path, _api_path, empty_counts=True),
        rate_limit=fields.read("rate_limit", DEFAULT_RATE_LIMIT, _rate_limit, empty_counts=True),
        session_cache=fields.read("session_cache", OptimoveSettings.session_cache, _session_cache),
    )
    fields.check()
    return settings


def _api_path(value: Any) -> str:
    path = str(value).strip().strip("/")
    if not re.fullmatch(r"[A-Za-z0-9._~/-]*", path):
        raise ValueError(f"expected a path such as current, got {value!r}")
    return path


def _rate_limit(value: Any) -> str:
    # A form field left empty is not stored, so a person needs a word for "no limit".
    limit = "" if str(value).strip().lower() == "off" else str(value)
    parse_rate_limit(limit)
    return limit


def _timezone(value: Any) -> str | None:
    try:
        return ZoneInfo(str(value).strip()).key
    except (KeyError, ValueError, OSError) as error:
        raise ValueError(f"{value!r} is not a time zone; expected a name like Europe/London") from error


def _session_cache(value: Any) -> Literal["file", "memory"]:
    if value not in ("file", "memory"):
        raise ValueError(f"expected file or memory, got {value!r}")
    return cast(Literal["file", "memory"], value)


__all__ = ["OptimoveHook", "client_from_connection", "settings_from_connection"]
