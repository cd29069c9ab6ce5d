"""The Netmera hook: an Airflow connection, and the client that it describes."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from airflow_provider_optimove.clients.netmera import (
    EVENT_TYPES,
    FIELDS,
    SINGLE,
    NetmeraClient,
    NetmeraOperations,
    NetmeraSettings,
    PushedEvent,
)
from airflow_provider_optimove.exceptions import OptimoveInputError, OptimoveResponseError
from airflow_provider_optimove.hooks.connection_fields import ConnectionFields, fits_a_header
from airflow_provider_optimove.hooks.system_hook import SystemHook
from airflow_provider_optimove.hooks.task_errors import permanent_errors_end_the_task

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Connection

HOST = "https://restapi.netmera.com"
# What ends a segment of a URL, or stands for another character in one.
NOT_IN_A_SEGMENT = frozenset("/\\?#%")


class EventOfOptimove(Protocol):
    """What :class:`airflow_provider_optimove.assets.optimove.OptimoveEvent` has, as far as Netmera is concerned."""

    @property
    def event_type(self) -> int | None: ...
    @property
    def campaign_id(self) -> int | None: ...
    @property
    def channel_id(self) -> int | None: ...
    @property
    def timestamp(self) -> datetime.datetime | None: ...
    @property
    def payload(self) -> Mapping[str, Any]: ...


class NetmeraHook(SystemHook[NetmeraSettings, NetmeraClient], NetmeraOperations):
    """Tells Netmera of Optimove's campaigns, so that it sends their push notifications.

    The errors that a retry cannot mend end the task that meets them at once; so does a push of which nobody knows
    whether Netmera took it.

    :param netmera_conn_id: the connection; nothing is read or sent before the first call.
    """

    conn_name_attr = "netmera_conn_id"
    default_conn_name = "netmera_default"
    conn_type = "netmera"
    hook_name = "Netmera"
    client_class = NetmeraClient

    def __init__(self, netmera_conn_id: str = default_conn_name, **kwargs: Any) -> None:
        super().__init__(netmera_conn_id, **kwargs)
        self.netmera_conn_id = netmera_conn_id

    @staticmethod
    def settings_of(connection: Connection) -> NetmeraSettings:
        """The app and how to reach Netmera.

        :param connection: an Airflow connection of type ``netmera``.
        :raises OptimoveInputError: a field is missing or wrong; the keys are not shown.
        """
        fields = ConnectionFields(connection, NetmeraHook.conn_type, example_host=HOST, default_host=HOST)
        http = fields.http_settings(no_path="the path with the app key is put behind it here")
        app_key, api_key = (connection.login or "").strip(), (connection.password or "").strip()
        if not app_key:
            fields.problems.append("login: the app key is missing")
        elif not _fits_a_segment(app_key):
            fields.problems.append("login: the app key holds blanks, slashes or other characters no key has")
        if not api_key:
            fields.problems.append("password: the REST API key is missing")
        elif not fits_a_header(api_key):
            fields.problems.append(
                "password: the REST API key holds blanks, line breaks or other characters no key has"
            )
        fields.check()
        return NetmeraSettings(http=http, app_key=app_key, api_key=api_key)

    @staticmethod
    def look(client: NetmeraClient) -> str:
        """See whether any server answers; Netmera has no call that would try the keys and push nothing."""
        return (
            f"HTTP {client.reach()} to a call without keys. Whether that is Netmera, and whether the keys are right,"
            " the first event will show: Netmera has no call that pushes nothing"
        )

    @property
    def _speaker(self) -> NetmeraClient:
        return self.client

    def push_optimove_event(
        self,
        event: EventOfOptimove,
        *,
        campaign_id: int | str | None = None,
        channel_id: int | str | None = None,
    ) -> PushedEvent:
        """Pass an event of Optimove's on to Netmera: 4, 11 or 13. Of an 11, every field goes along.

        :param event: an ``OptimoveEvent``.
        :param campaign_id: the campaign of an event that names none; Optimove documents none in an 11.
        :param channel_id: the channel of an event that names none; Optimove documents none in a 4.
        :returns: what Netmera was told, without the additional fields.
        :raises OptimoveInputError: the event is no 4, 11 or 13, names another campaign or channel, or none and none is
            given; nothing was sent.
        :raises NetmeraError: as of :meth:`push_event`.
        """
        with permanent_errors_end_the_task():
            arguments = arguments_of(event, campaign_id=campaign_id, channel_id=channel_id)
        return self.push_event(**arguments)


def arguments_of(
    event: EventOfOptimove, *, campaign_id: int | str | None = None, channel_id: int | str | None = None
) -> dict[str, Any]:
    """What :meth:`NetmeraHook.push_event` is called with to pass an event of Optimove's on.

    :param event: an ``OptimoveEvent``.
    :param campaign_id: the campaign of an event that names none.
    :param channel_id: the channel of an event that names none.
    :raises OptimoveInputError: the event cannot be passed on; none of its values is shown.
    """
    problems: list[str] = []

    def read(name: str, given: int | str | None = None) -> Any:
        try:
            told = getattr(event, name)
        except OptimoveResponseError as error:
            problems.append(error.message)
            return None
        if told is not None and given is not None and str(given).strip() != str(told):
            problems.append(f"{name}: the event names {told}, not {given}")
        return given if told is None else told

    event_type, timestamp = read("event_type"), read("timestamp")
    arguments: dict[str, Any] = {
        "event_type": event_type,
        "campaign_id": read("campaign_id", campaign_id),
        "channel_id": read("channel_id", channel_id),
        "timestamp": timestamp,
    }
    if not problems:
        if event_type not in EVENT_TYPES.values():
            pushed = ", ".join(f"{number} ({word})" for word, number in EVENT_TYPES.items())
            problems.append(
                f"event_type: Netmera is told of {pushed}; this event is {event_type or 'of no known type'}"
            )
        problems.extend(
            f"{name}: the event names none; give the one that it is about"
            for name in ("campaign_id", "channel_id")
            if arguments[name] is None
        )
    if problems:
        raise OptimoveInputError("the event cannot be pushed", function="push_optimove_event", problems=problems)
    if event_type == SINGLE:
        of_every_event = {name.lower() for name in FIELDS}
        arguments["additional_fields"] = {
            name: value for name, value in event.payload.items() if name.lower() not in of_every_event
        }
    return arguments


def _fits_a_segment(key: str) -> bool:
    """Whether a key can be a segment of a URL."""
    return fits_a_header(key) and not NOT_IN_A_SEGMENT & set(key) and key not in (".", "..")


__all__ = ["NetmeraHook", "arguments_of"]
