"""The fields of an Airflow connection: what the connections of all systems have in common, read and checked."""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from airflow_provider_optimove.clients.http import HttpSettings, is_loopback
from airflow_provider_optimove.exceptions import OptimoveInputError
from airflow_provider_optimove.hooks.connection_form import extra_fields

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Connection

log = logging.getLogger(__name__)

T = TypeVar("T")


class ConnectionFields:
    """Reads a connection and gathers what is wrong with it; the values of secret fields are not shown.

    :param connection: the Airflow connection.
    :param conn_type: the connection type that it is read as.
    :param example_host: an address such as its host should be.
    :param default_host: what an empty host means; None: it must not be empty.
    :raises OptimoveInputError: the extra is no object.
    """

    def __init__(
        self, connection: Connection, conn_type: str, *, example_host: str, default_host: str | None = None
    ) -> None:
        self.problems: list[str] = []
        self._connection = connection
        self._example_host = example_host
        self._default_host = default_host
        extra: Any = connection.extra_dejson
        if not isinstance(extra, Mapping):
            self.problems.append("extra: expected an object")
            self.check()
        for name in unknown_extras(connection, conn_type):
            log.warning("Connection %s: extra %r has no meaning here and is ignored", connection.conn_id, name)

    def check(self) -> None:
        """Raise what was found.

        :raises OptimoveInputError: a field is missing or wrong.
        """
        if self.problems:
            raise OptimoveInputError(f"connection {self._connection.conn_id} is not valid", problems=self.problems)

    def read(self, name: str, default: T, convert: Callable[[Any], T], *, empty_counts: bool = False) -> T:
        """Read one of the extras.

        :param name: its name.
        :param default: what counts where it is not given, or not valid.
        :param convert: checks and converts a value; raises ValueError.
        :param empty_counts: whether an empty text is a value.
        """
        value = self._connection.extra_dejson.get(name)
        if value is None or (value == "" and not empty_counts):
            return default
        try:
            return convert(value)
        except (ValueError, TypeError) as error:
            self.problems.append(f"extra {name}: {error}")
            return default

    def http_settings(self, *, no_path: str) -> HttpSettings:
        """Where the server is and how to reach it, from host, schema, port and the extras that all systems have.

        :param no_path: why the host must not hold a path.
        """
        allow_http = self.read("allow_http", False, boolean)
        no_proxies: dict[str, str] = {}
        proxies = self.read("proxies", no_proxies, _proxies)
        base_url = self._base_url(allow_http=allow_http, no_path=no_path)
        proxied = {scheme.split("://")[0].lower() for scheme in proxies}
        if base_url.startswith("http://") and proxied & {"http", "all"} and not allow_http:
            self.problems.append("extra proxies: plain http would send the credentials unencrypted to the proxy")
        return HttpSettings(
            base_url=base_url,
            connect_timeout=self.read("connect_timeout", HttpSettings.connect_timeout, _seconds),
            read_timeout=self.read("read_timeout", HttpSettings.read_timeout, _seconds),
            retry_limit=self.read("retry_limit", HttpSettings.retry_limit, _count),
            total_timeout=self.read("total_timeout", HttpSettings.total_timeout, _seconds),
            verify=self.read("verify", HttpSettings.verify, _verify),
            proxies=proxies,
        )

    def _base_url(self, *, allow_http: bool, no_path: str) -> str:
        host = (self._connection.host or "").strip() or self._default_host or ""
        if not host:
            self.problems.append(f"host: missing; it is the account's API server, e.g. {self._example_host}")
            return ""
        schema = (self._connection.schema or "").strip().lower() or "https"
        try:
            parts = urlsplit(host if "://" in host else f"{schema}://{host}")
            port = parts.port or self._connection.port
        except ValueError:
            # Not the error's own words: they hold parts of the host, and a password may have been put there.
            self.problems.append(f"host: not an address; expected one like {self._example_host}")
            return ""
        if parts.scheme not in ("http", "https"):
            self.problems.append("host, schema: expected https, or http")
        if parts.username or parts.password or parts.query or parts.fragment or not parts.hostname:
            self.problems.append("host: expected only a server's name; credentials go into login and password")
            return ""
        if not re.fullmatch(r"[A-Za-z0-9._:-]+", parts.hostname) or not 0 < (port or 1) < 65_536:
            self.problems.append("host, port: not a server's name and a port")
        if parts.path.strip("/"):
            self.problems.append(f"host: expected no path; {no_path}")
        if parts.scheme == "http" and not allow_http and not is_loopback(parts.hostname):
            self.problems.append(
                "host: plain http would send the credentials unencrypted; use https, or set extra allow_http to true"
            )
        name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        return f"{parts.scheme}://{name}:{port}" if port else f"{parts.scheme}://{name}"


def unknown_extras(connection: Connection, conn_type: str) -> list[str]:
    """The extras that say nothing in a connection of this type.

    :param connection: the Airflow connection.
    :param conn_type: the connection type.
    """
    return sorted(connection.extra_dejson.keys() - extra_fields(conn_type))


def boolean(value: Any) -> bool:
    """True or false, in any form that a form or an environment variable gives them.

    :raises ValueError: it is neither.
    """
    words = {"true": True, "1": True, "false": False, "0": False}
    word = str(value).strip().lower()
    if word not in words:
        raise ValueError(f"expected true or false, got {value!r}")
    return words[word]


def fits_a_header(text: str) -> bool:
    """Whether a text can be the value of an HTTP header as it stands."""
    return text.isascii() and text.isprintable() and " " not in text


def _seconds(value: Any) -> float:
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        seconds = 0.0
    if isinstance(value, bool) or not 0 < seconds < float("inf"):
        raise ValueError(f"expected a number of seconds above 0, got {value!r}")
    return seconds


def _count(value: Any) -> int:
    text = str(value).strip()
    if isinstance(value, bool) or not text.isdecimal():
        raise ValueError(f"expected a whole number of 0 or more, got {value!r}")
    return int(text)


def _verify(value: Any) -> bool | str:
    try:
        return boolean(value)
    except ValueError:
        if not os.path.exists(str(value)):
            raise ValueError(f"expected true, false or the path of a CA bundle, got {value!r}") from None
        return str(value)


def _proxies(value: Any) -> dict[str, str]:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            value = {"http": value, "https": value}
    if not isinstance(value, Mapping) or not all(isinstance(part, str) for part in (*value, *value.values())):
        raise ValueError("expected an address, or an object with addresses by scheme")
    try:
        for address in value.values():
            _ = urlsplit(address).port
    except ValueError:
        raise ValueError("an address is not a URL, such as http://proxy.example.com:3128") from None
    return dict(value)
