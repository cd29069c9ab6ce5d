"""Netmera: have it send the push notifications of Optimove's campaigns."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Literal

from airflow_provider_optimove.exceptions import OptimoveInputError, RemoteSystemError
from airflow_provider_optimove.hooks.task_arguments import check_choices, got_text
from airflow_provider_optimove.operators.remembered_write import RememberedWriteOperator
from airflow_provider_optimove.operators.rows_argument import RowsField, TextOfValue

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_optimove.hooks.netmera import NetmeraHook
    from airflow_provider_optimove.operators.write_once import WriteOnce

STATE = "netmera_push"
"""What a push is noted under in Airflow's task state; with the event's number from the second one on."""


class FieldsValue(Mapping[str, Any]):
    """An object as the value of an operator's field: Airflow leaves it as it is and shows the count of its fields."""

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self._fields = fields

    def __getitem__(self, name: str) -> Any:
        return self._fields[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __repr__(self) -> str:
        return f"{len(self):,} field{'' if len(self) == 1 else 's'}"

    def serialize(self) -> str:
        """What Airflow shows of the field."""
        return repr(self)


class ObjectField(RowsField):
    """A template field that holds an object. A template in text is rendered, the texts inside of an object are not."""

    def __set__(self, instance: Any, value: Any) -> None:
        super().__set__(instance, FieldsValue(value) if isinstance(value, Mapping) else value)


class NetmeraPushEventOperator(RememberedWriteOperator):
    """Tells Netmera of a campaign, so that it sends its push notifications, or drops those of a cancelled one.

    Without ``event_type``, it passes on the event of Optimove's that started the run: 4, 11 or 13. A run that several
    events started, as those of single customers are collected from Airflow 3.3 on, passes on all of them, one after the
    other; each is checked before the first one leaves.

    Netmera pushes twice what it is told twice. From Airflow 3.3 on, the task remembers what Netmera took: a retry, also
    after its worker was killed, does not tell it again. What was on its way at that moment is in doubt, and is not sent
    again by itself.

    :param event_type: 4 or ``cancelled``, 11 or ``single``, 13 or ``bulk``; None: the event that started the run.
    :param campaign_id: the campaign; without ``event_type``, that of an event that names none: Optimove documents none
        in an 11.
    :param channel_id: the channel: 459 or 481, unless the account has another; without ``event_type``, that of an event
        that names none: Optimove documents none in a 4.
    :param timestamp: when it happened, converted to UTC; None for now. Only with ``event_type``.
    :param additional_fields: for event 11 only: the customer, and whatever else Optimove's event holds, by Optimove's
        names. Templates inside of it are not rendered. Only with ``event_type``.
    :param durable: remember between tries what Netmera took.
    :param on_uncertain: whether the task stops (``fail``) where Netmera may or may not have taken an event, or tells it
        again (``resend``).
    :param netmera_conn_id: the connection.
    :returns: (XCom) ``pushed``: ``event_type``, ``campaign_id``, ``channel_id`` and ``timestamp`` of each event, and
        nothing of a customer.
    :raises OptimoveInputError: arguments or events are not valid; nothing was sent.
    :raises NetmeraError: Netmera refused an event, could not be reached, or nobody knows whether it took one.
    """

    template_fields: Sequence[str] = (
        "netmera_conn_id",
        "event_type",
        "campaign_id",
        "channel_id",
        "timestamp",
        "additional_fields",
    )
    additional_fields = ObjectField()

    def __init__(
        self,
        *,
        event_type: int | str | None = None,
        campaign_id: int | str | None = None,
        channel_id: int | str | None = None,
        timestamp: datetime.datetime | str | None = None,
        additional_fields: Mapping[str, Any] | str | None = None,
        durable: bool = True,
        on_uncertain: Literal["fail", "resend"] = "fail",
        netmera_conn_id: str = "netmera_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_choices("push_event", on_uncertain=(on_uncertain, ("fail", "resend")))
        self.event_type = event_type
        self.campaign_id = campaign_id
        self.channel_id = channel_id
        self.timestamp = timestamp
        self.additional_fields = additional_fields
        self.durable = durable
        self.on_uncertain = on_uncertain
        self.netmera_conn_id = netmera_conn_id

    @cached_property
    def hook(self) -> NetmeraHook:
        """The hook of the connection."""
        from airflow_provider_optimove.hooks.netmera import NetmeraHook

        return NetmeraHook(self.netmera_conn_id)

    def write(self, context: Context) -> tuple[dict[str, Any], Callable[[], None]]:
        """Check the events and tell Netmera of them."""
        from airflow_provider_optimove.clients.netmera import named

        writes = self._writes(context)
        pushed = []
        for number, (write, event, of_now) in enumerate(writes, 1):
            calls_before = self.hook.client.calls_made
            try:
                pushed.append(write.run(partial(self._send, event)))
            except RemoteSystemError as error:
                if error.may_have_happened and self.hook.client.calls_made == calls_before:
                    error.add(
                        f"this try was to push {named(event, with_time=not of_now)}; the log of an earlier one tells"
                        " what that pushed, and of what time"
                    )
                if len(writes) > 1:
                    error.add(
                        f"event {number} of {len(writes)}: those before it were pushed, those after it were not sent by"
                        " this try; docs/netmera.md tells how to have them pushed"
                    )
                raise

        def finish() -> None:
            for write, _, _ in writes:
                write.finish()

        return {"pushed": pushed}, finish

    def _writes(self, context: Context) -> list[tuple[WriteOnce, dict[str, Any], bool]]:
        """The events, all of them checked, what sends each once, and whether its time is that of the try."""
        from airflow_provider_optimove.clients.netmera import checked_event

        arguments = self._arguments(context)
        events = [checked_event(**of_event) for of_event in arguments]
        of_now = [of_event.get("timestamp") is None for of_event in arguments]
        alone = len(events) == 1
        keys = [STATE, *(f"{STATE}_{number}" for number in range(2, len(events) + 1))]
        return [
            (self._write(context, event, key, alone=alone, of_now=now), event, now)
            for event, key, now in zip(events, keys, of_now, strict=True)
        ]

    def _arguments(self, context: Context) -> list[dict[str, Any]]:
        """What to push, an event each."""
        from airflow_provider_optimove.assets.events import OptimoveEvent
        from airflow_provider_optimove.hooks.netmera import arguments_of

        given = {name: getattr(self, name) for name in self.template_fields if name != "netmera_conn_id"}
        if isinstance(given["additional_fields"], (str, TextOfValue)):
            raise self._not_valid(f"additional_fields: expected an object with values by name, {got_text('object')}")
        if given["event_type"] is not None:
            return [given]
        if beside := [name for name in ("timestamp", "additional_fields") if given[name] is not None]:
            raise self._not_valid(
                f"{', '.join(beside)}: only with event_type; without it, the event that started the run has its own"
            )
        # The second one says what has started the run instead.
        events = OptimoveEvent.all_from_context(context) or [OptimoveEvent.from_context(context)]
        return [
            arguments_of(event, campaign_id=given["campaign_id"], channel_id=given["channel_id"]) for event in events
        ]

    def _write(self, context: Context, event: Mapping[str, Any], key: str, *, alone: bool, of_now: bool) -> WriteOnce:
        from airflow_provider_optimove.clients.netmera import PUSH, json_of
        from airflow_provider_optimove.exceptions import NetmeraError
        from airflow_provider_optimove.operators.task_journal import is_retry
        from airflow_provider_optimove.operators.write_once import IF_ARRIVED, WriteOnce, fingerprint_of

        # Now is another time at each try, and the event is the same.
        same = {name: value for name, value in event.items() if not (of_now and name == "timeStamp")}
        return WriteOnce(
            PUSH,
            error=NetmeraError,
            look_at="the campaign in Netmera's panel",
            fingerprint=fingerprint_of(PUSH, {"account": self.hook.client.account, "event": json_of(same)}),
            journal=self.journal_of(context, key),
            durable=self.durable,
            resend=self.on_uncertain == "resend",
            earlier_tries=is_retry(context),
            log=self.log,
            if_arrived=IF_ARRIVED if alone else f"write that into {key} as docs/netmera.md tells, and clear the task",
        )

    def _send(self, event: Mapping[str, Any]) -> dict[str, Any]:
        return dict(self.hook.client.send(event, again=self.on_uncertain == "resend"))

    def _not_valid(self, problem: str) -> OptimoveInputError:
        return OptimoveInputError("the arguments are not valid", function="push_event", problems=[problem])
