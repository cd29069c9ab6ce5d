"""General functions: session, data date, event listeners."""

import datetime
from typing import NotRequired, TypedDict, Unpack

from airflow_provider_optimove.clients.optimove.functions.declaration import FunctionGroup, function
from airflow_provider_optimove.clients.optimove.functions.types import AttributeOptions, Name, Secret


class EventListener(TypedDict):
    """A registered listener."""

    EventTypeID: int
    ChannelID: NotRequired[int | None]
    ListenerURL: Secret


class GeneralFunctions(FunctionGroup):
    """The functions below ``general/``."""

    @function("general", "POST")
    def login(self, *, user_name: Name, password: Secret) -> Secret:
        """Start a session. Not needed with an API key, and done by the client itself with a login.

        :param user_name: the API user.
        :param password: that user's password.
        :returns: the token of the session, valid until 20 minutes after its last use.
        """
        ...

    @function("general")
    def get_last_data_update(self, **options: Unpack[AttributeOptions]) -> datetime.date:
        """The date of the newest customer data; moves on when a day's processing is complete.

        :returns: the date; at least one day before today.
        """
        ...

    @function("general", "POST")
    def register_event_listener(
        self, *, event_type_id: int, listener_url: Secret, channel_id: int | None = None
    ) -> None:
        """Have Optimove post events of one type to a URL.

        :param event_type_id: 1 campaign processed, 2 all of today's campaigns processed, 3 daily process complete,
            4 campaign cancelled, 5 campaign on hold for clearance, 11 triggered campaign, 13 campaign executed
            on one channel.
        :param listener_url: the URL, sent as given (the guide percent-encodes it); it may hold a secret,
            so no error shows it.
        :param channel_id: only events of this channel.
        """
        ...

    @function("general", "POST")
    def unregister_event_listener(
        self, *, event_type_id: int, channel_id: int | None = None, listener_url: Secret | None = None
    ) -> None:
        """Stop events of one type.

        :param event_type_id: the type that was registered.
        :param channel_id: the channel that was registered; without it and without a URL probably every listener
            of the type is dropped.
        :param listener_url: the URL that was registered.
        """
        ...

    @function("general")
    def get_registered_event_listeners(
        self, *, channel_id: int | None = None, **options: Unpack[AttributeOptions]
    ) -> list[EventListener]:
        """All listeners that are registered now.

        :param channel_id: only those of this channel.
        :returns: one row a listener; the URL comes percent-encoded.
        """
        ...
