"""The URL that Optimove sends events to. No Airflow, no I/O."""

from __future__ import annotations

from urllib.parse import quote, unquote

URL_PREFIX = "/optimove"
"""Where the event listener is mounted in Airflow's API server."""

SECRET_PARAMETER = "token"  # noqa: S105
"""The query parameter of the secret; Airflow's access log hides the values of parameters with such names."""

SHORTEST_SECRET = 16


def secrets_in(listener_secret: object) -> tuple[str, ...]:
    """The secrets in a connection's extra ``listener_secret``, the one that is registered first.

    :param listener_secret: the extra: one secret, or several with blanks between; those too short are none.
    """
    words = listener_secret.split() if isinstance(listener_secret, str) else []
    return tuple(word for word in words if len(word) >= SHORTEST_SECRET)


def listener_address(base_url: str, conn_id: str, event_type: int) -> str:
    """The URL of our listener for an event type, without its secret.

    :param base_url: the address of Airflow's API server, as Optimove reaches it.
    :param conn_id: the Airflow connection.
    :param event_type: Optimove's number of the event.
    """
    return f"{base_url.rstrip('/')}{URL_PREFIX}/events/{quote(conn_id, safe='')}/{event_type}"


def listener_url(base_url: str, conn_id: str, event_type: int, secret: str) -> str:
    """The URL of our listener for an event type, as it is registered.

    :param secret: what the listener shall accept; the others as in :func:`listener_address`.
    """
    return f"{listener_address(base_url, conn_id, event_type)}?{SECRET_PARAMETER}={quote(secret, safe='')}"


def same_listener(url: str, other: str) -> bool:
    """Whether two URLs are the same one; each may be percent-encoded as a whole, as Optimove lists them."""
    return _parts(url) == _parts(other)


def same_address(url: str, other: str) -> bool:
    """Whether two URLs are the same but for their query, e.g. with an older secret."""
    return _parts(url)[:3] == _parts(other)[:3]


def is_like_ours(url: str, conn_id: str, event_type: int) -> bool:
    """Whether a URL is that of an event listener for the connection and event type, at whatever address."""
    _, _, path, _ = _parts(url)
    return f"/{path}".endswith(f"{URL_PREFIX}/events/{conn_id}/{event_type}")


def _parts(url: str) -> tuple[str, str, str, str]:
    """Scheme, host with port, path and query, decoded. Whatever others have registered is taken."""
    plain = url.strip() if "://" in url else unquote(url.strip())
    place, _, query = plain.partition("?")
    scheme, _, rest = place.partition("://")
    host, _, path = rest.partition("/")
    return scheme.lower(), host.lower(), unquote(path), unquote(query)
