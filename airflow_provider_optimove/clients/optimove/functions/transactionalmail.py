"""Transactional mail functions."""

from collections.abc import Sequence
from typing import Annotated, NotRequired, TypedDict, Unpack

from airflow_provider_optimove.clients.optimove.functions.declaration import FunctionGroup, function
from airflow_provider_optimove.clients.optimove.functions.types import (
    AnyText,
    AttributeOptions,
    DateTime,
    Identifier,
    LastNumberOfDays,
    Text,
)


class Personalization(TypedDict):
    """A tag of the template and what stands for it."""

    Tag: Identifier
    Value: AnyText


class MailRecipient(TypedDict):
    """Who gets the mail, and the values of the template's tags."""

    Email: Identifier
    Personalizations: NotRequired[Sequence[Personalization]]


class MailResult(TypedDict):
    """What became of a send; ``SendID`` is None and ``Error`` says why when it failed."""

    IsSuccess: bool
    SendID: int | None
    Error: str | None


class TemplateMetrics(TypedDict):
    """Unique recipients of one template."""

    TemplateID: int
    Sent: int
    Delivered: int
    Opened: int
    Clicked: int


class UserMetrics(TypedDict):
    """One recipient's figures, a row a template."""

    MetricsList: list[TemplateMetrics]


class TransactionalMailFunctions(FunctionGroup):
    """The functions below ``transactionalmail/``."""

    @function("transactionalmail", "POST", repeatable=False, rows="recipients", max_rows=200, lane="mail")
    def send_transactional_mail(
        self,
        *,
        template_id: int,
        recipients: Sequence[MailRecipient],
        schedule_time: DateTime | None = None,
        unique_message_id: Annotated[str, Text(maximum_length=254)] | None = None,
    ) -> MailResult:
        """Mail a transactional template to a list of recipients.

        :param template_id: the template's number in Optimove.
        :param recipients: rows with ``Email`` and, optionally, ``Personalizations`` of ``Tag`` and ``Value``;
            at most 200 a call.
        :param schedule_time: when to send, converted to UTC; None sends at once.
        :param unique_message_id: a name of your own for this send, at most 254 characters; Optimove refuses a
            second send of the same name.
        :returns: whether it was accepted, and its number.
        """
        ...

    @function("transactionalmail")
    def get_transactional_template_metrics(
        self,
        *,
        template_id: int,
        last_number_of_days: LastNumberOfDays | None = None,
        **options: Unpack[AttributeOptions],
    ) -> TemplateMetrics | None:
        """How a transactional template fared.

        :param template_id: the template.
        :param last_number_of_days: 1 to 60 days back; Optimove takes 7 when it is left out.
        :returns: the counts of unique recipients, or None.
        """
        ...

    @function("transactionalmail")
    def get_transactional_user_metrics(
        self,
        *,
        email: Identifier,
        last_number_of_days: LastNumberOfDays | None = None,
        **options: Unpack[AttributeOptions],
    ) -> UserMetrics | None:
        """How one recipient reacted to transactional mail.

        :param email: the recipient's address.
        :param last_number_of_days: 1 to 60 days back; Optimove takes 7 when it is left out.
        :returns: the counts by template, or None.
        """
        ...
