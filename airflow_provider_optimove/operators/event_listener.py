"""Which URLs Optimove posts its events to: our own event listener in Airflow's API server, or any other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple
from urllib.parse import quote, unquote, urlsplit

from airflow.providers.common.compat.sdk import BaseOperator, conf
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS

from airflow_provider_optimove.assets.events import EVENT_NAMES, event_type_of
from airflow_provider_optimove.exceptions import OptimoveInputError
from airflow_provider_optimove.operators.batched_write import LONGEST_RATE_LIMIT_WAIT
from airflow_provider_optimove.webhook.address import (
    SHORTEST_SECRET,
    is_like_ours,
    listener_address,
    listener_url,
    same_address,
    same_listener,
    secrets_in,
)

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_optimove.hooks.optimove import OptimoveHook

OWN = "own"
"""As ``listener_url``: the event listener of this Airflow."""

EVERY_CHANNEL = 0


class Listener(NamedTuple):
    """A listener as Optimove lists it; the URL as it is called, not percent-encoded."""

    event_type: int
    channel_id: int
    url: str


class OptimoveEventListenerOperator(BaseOperator):
    """Base of the operators that say which URLs Optimove posts its events to.

    They look first at what is registered (GetRegisteredEventListeners), and change only what has to be: they can be
    repeated, and used as setup and teardown. ``own`` stands for the event listener of this Airflow for this connection,
    on Airflow 3: the address is that of ``[api] base_url``, the secret the first one in the connection's
    ``listener_secret``. That URL is in no log, XCom or rendered field. One that is given here is in the rendered field.

    :param event_type: the event's number, or its name, such as ``campaign_executed``.
    :param listener_url: the URL, percent-encoded or not, or ``own``.
    :param channel_id: only events of this channel; None for those of every channel.
    :param percent_encode: whether the URL is sent percent-encoded, as Optimove's guide says; newer clients send it as
        it is.
    :param optimove_conn_id: the connection.
    :returns: (XCom) ``event_type``, ``channel_id`` and ``changed``: whether anything had to be done.
    :raises OptimoveInputError: an argument is not valid, or our own listener has no URL that Optimove may be told.
    """

    function: ClassVar[str]
    template_fields: Sequence[str] = ("optimove_conn_id", "event_type", "listener_url", "channel_id")
    ui_color = "#e3f2fd"

    def __init__(
        self,
        *,
        event_type: int | str,
        listener_url: str | None = None,
        channel_id: int | str | None = None,
        percent_encode: bool = True,
        optimove_conn_id: str = "optimove_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.event_type = event_type
        self.listener_url = listener_url
        self.channel_id = channel_id
        self.percent_encode = percent_encode
        self.optimove_conn_id = optimove_conn_id

    @cached_property
    def hook(self) -> OptimoveHook:
        """The hook of the connection."""
        from airflow_provider_optimove.hooks.optimove import OptimoveHook

        return OptimoveHook(self.optimove_conn_id, longest_wait=LONGEST_RATE_LIMIT_WAIT)

    def execute(self, context: Context) -> dict[str, Any]:
        """Check the arguments, look at what is registered and change it."""
        from airflow_provider_optimove.hooks.task_errors import permanent_errors_end_the_task

        with permanent_errors_end_the_task():
            wanted = Listener(event_type_of(self.event_type), self._channel(), "")
            wanted = wanted._replace(url=self._url(wanted.event_type))
            registered = [found for found in self._registered() if found.event_type == wanted.event_type]
            changed = self.change(wanted, registered)
        return {"event_type": wanted.event_type, "channel_id": wanted.channel_id or None, "changed": changed}

    def change(self, wanted: Listener, registered: list[Listener]) -> bool:
        """Make it so.

        :param wanted: the listener that the arguments name; without URL, every one.
        :param registered: what is registered for the event type.
        :returns: whether anything had to be done.
        """
        raise NotImplementedError

    @property
    def is_own(self) -> bool:
        """Whether it is about the event listener of this Airflow."""
        return str(self.listener_url).strip().lower() == OWN

    def register(self, listener: Listener) -> None:
        """Have Optimove post events to a listener."""
        self.hook.client.register_event_listener(
            event_type_id=listener.event_type,
            listener_url=self._sent(listener.url),
            channel_id=listener.channel_id or None,
        )

    def unregister(self, listener: Listener, registered: list[Listener]) -> None:
        """Have Optimove forget a listener, and only that one."""
        self.hook.client.unregister_event_listener(
            event_type_id=listener.event_type,
            listener_url=self._sent(listener.url),
            channel_id=listener.channel_id or None,
        )
        # Optimove does not say whether those of single channels go with the one of every channel.
        beside = [other for other in registered if other.channel_id > 0 and same_listener(other.url, listener.url)]
        if beside and not listener.channel_id:
            left = set(self._registered())
            for other in beside:
                if other not in left:
                    self.register(other)
                    self.say(other, "registered again")

    def own_url(self, event_type: int) -> str:
        """The URL of this Airflow's event listener; here without secret, which is enough to find it.

        :raises OptimoveInputError: it has none that Optimove could be told.
        """
        return listener_address(self.base_url(), self.optimove_conn_id, event_type)

    def base_url(self) -> str:
        """The address of this Airflow's API server.

        :raises OptimoveInputError: it is not configured, or this is Airflow 2.
        """
        if not AIRFLOW_V_3_0_PLUS:
            raise OptimoveInputError("listener_url: the event listener of this provider needs Airflow 3; give another")
        base = str(conf.get("api", "base_url", fallback="")).strip()
        if not _is_address(base) or set(base) & set("?#@"):
            raise OptimoveInputError(
                "[api] base_url: expected the address at which Optimove reaches Airflow's API server, such as"
                " https://airflow.example.com; it is part of our listener's URL"
            )
        return base

    def warn_of_other_addresses(self, wanted: Listener, registered: list[Listener]) -> None:
        """Say which listeners look like ours and are elsewhere, as a base URL of before leaves them."""
        from airflow_provider_optimove.clients.http import host_of

        like_ours = [
            found
            for found in registered
            if is_like_ours(found.url, self.optimove_conn_id, found.event_type)
            and not same_address(found.url, wanted.url)
        ]
        for found in like_ours:
            self.log.warning(
                "A listener like ours is registered at %s, too (%s). If this Airflow had that address before, drop it:"
                " OptimoveUnregisterEventListenerOperator with its address, without the token, as"
                " listener_url='https://...%s'; GetRegisteredEventListeners has the whole address",
                host_of(found.url),
                _of_channel(found),
                listener_address("", self.optimove_conn_id, found.event_type),
            )

    def say(self, listener: Listener, what: str) -> None:
        """A line in the log; the address only of our own listener, for others have secrets in their paths."""
        named = EVENT_NAMES.get(listener.event_type, "no known name")
        address = f": {listener.url.partition('?')[0]}" if self.is_own else ""
        self.log.info("Event %d (%s), %s: %s%s", listener.event_type, named, _of_channel(listener), what, address)

    def _sent(self, url: str) -> str:
        return quote(url, safe="") if self.percent_encode else url

    def _channel(self) -> int:
        from airflow_provider_optimove.clients.optimove.arguments import bind, find_function

        # A template without a value is text.
        given = None if str(self.channel_id).strip() in ("", "None") else self.channel_id
        function = find_function("GetRegisteredEventListeners")
        return int(bind(function, keywords={"channel_id": given}).get("ChannelID", EVERY_CHANNEL))

    def _url(self, event_type: int) -> str:
        if self.is_own:
            return self.own_url(event_type)
        if self.listener_url is None:
            return ""
        url = _plain(str(self.listener_url))
        if not _is_address(url):
            raise OptimoveInputError(f"listener_url: expected {OWN!r} or an address such as https://example.com/events")
        return url

    def _registered(self) -> Iterator[Listener]:
        for row in self.hook.client.get_registered_event_listeners():
            fields = {name.lower(): value for name, value in row.items()}
            url = fields.get("listenerurl")
            if isinstance(url, str):
                yield Listener(_number(fields.get("eventtypeid")), _number(fields.get("channelid")), _plain(url))


class OptimoveRegisterEventListenerOperator(OptimoveEventListenerOperator):
    """Have Optimove post events of a type to a URL (RegisterEventListener), unless it does already.

    Without ``listener_url``, to the event listener of this Airflow. When its secret has changed, the URL with the new
    one is registered first, and then those with older ones are unregistered.
    """

    function = "RegisterEventListener"

    def change(self, wanted: Listener, registered: list[Listener]) -> bool:
        """Register what is wanted, if it is not, and unregister what it replaces."""
        alike = [found for found in registered if found.channel_id == wanted.channel_id]
        is_new = not any(same_listener(found.url, wanted.url) for found in alike)
        if is_new:
            self.register(wanted)
        self.say(wanted, "registered" if is_new else "was registered already")
        older = [
            found
            for found in alike
            if self.is_own and same_address(found.url, wanted.url) and not same_listener(found.url, wanted.url)
        ]
        for found in older:
            self.unregister(found, registered)
            self.say(found, "unregistered, with an older secret")
        if self.is_own:
            self.warn_of_other_addresses(wanted, registered)
        return is_new or bool(older)

    @property
    def is_own(self) -> bool:
        """Whether it is about the event listener of this Airflow."""
        return self.listener_url is None or super().is_own

    def own_url(self, event_type: int) -> str:
        """The URL of this Airflow's event listener, with its secret."""
        from airflow_provider_optimove.clients.http import host_of, is_loopback

        base = self.base_url()
        secrets = secrets_in(self.hook.client.settings.listener_secret)
        if not secrets:
            raise OptimoveInputError(
                f"connection {self.optimove_conn_id}: extra listener_secret is missing or has fewer than"
                f" {SHORTEST_SECRET} characters; it proves to our listener that an event is Optimove's"
            )
        if is_loopback(host_of(base)):
            self.log.warning("[api] base_url is an address of this machine: Optimove itself cannot reach it")
        elif base.lower().startswith("http:") and not self._plain_http_is_allowed():
            raise OptimoveInputError(
                "[api] base_url: with plain http, the listener's secret and customers' data would travel unencrypted;"
                " use https, or set extra allow_http of the connection to true"
            )
        heard = str(conf.get("optimove", "listener_connections", fallback="")).split(",")
        if self.optimove_conn_id not in map(str.strip, heard):
            self.log.warning(
                "[optimove] listener_connections does not name %s here: unless it does where the API server runs,"
                " our listener refuses its events",
                self.optimove_conn_id,
            )
        return listener_url(base, self.optimove_conn_id, event_type, secrets[0])

    def _plain_http_is_allowed(self) -> bool:
        extra = self.hook.get_connection(self.optimove_conn_id).extra_dejson
        return str(extra.get("allow_http")).strip().lower() in ("true", "1")


class OptimoveUnregisterEventListenerOperator(OptimoveEventListenerOperator):
    """Have Optimove post events of a type to a URL no more (UnregisterEventListener), if it does.

    Without ``listener_url``, every listener of the event type is dropped, whoever registered it and whatever its
    channel; with a channel, every one that is registered for it. ``own`` drops ours, whatever secret it has; the
    connection needs none. So does the address of a listener like ours, elsewhere, that is given without its token.
    """

    function = "UnregisterEventListener"

    def change(self, wanted: Listener, registered: list[Listener]) -> bool:
        """Unregister what is named, as far as it is there."""
        if not wanted.url:
            return self._drop_all(wanted, registered)
        by_address = "?" not in wanted.url and is_like_ours(wanted.url, self.optimove_conn_id, wanted.event_type)
        is_named = same_address if by_address else same_listener
        named = [
            found for found in registered if found.channel_id == wanted.channel_id and is_named(found.url, wanted.url)
        ]
        for found in named:
            self.unregister(found, registered)
        self.say(wanted, "unregistered" if named else "was not registered")
        if self.is_own:
            self.warn_of_other_addresses(wanted, registered)
        return bool(named)

    def _drop_all(self, wanted: Listener, registered: list[Listener]) -> bool:
        dropped = [found for found in registered if wanted.channel_id in (EVERY_CHANNEL, found.channel_id)]
        if dropped:
            self.log.warning(
                "Without listener_url, all %d listeners are dropped, whoever registered them; listener_url='own' drops"
                " only ours",
                len(dropped),
            )
            self.hook.client.unregister_event_listener(
                event_type_id=wanted.event_type, channel_id=wanted.channel_id or None
            )
        self.say(wanted, f"{len(dropped)} unregistered")
        return bool(dropped)


def _of_channel(listener: Listener) -> str:
    return f"channel {listener.channel_id}" if listener.channel_id else "every channel"


def _plain(url: str) -> str:
    """A URL as it is called; it may come percent-encoded as a whole, even twice."""
    url = url.strip()
    while "://" not in url and (decoded := unquote(url)) != url:
        url = decoded
    return url


def _is_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _number(value: Any) -> int:
    """A number that may have come as text; 0 where there is none, -1 for what is no number."""
    text = "" if value is None else str(value).strip()
    return int(text or 0) if text.isdecimal() or not text else -1
