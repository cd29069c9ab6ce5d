"""Operators of Optimove's functions.

:class:`OptimoveFunctionOperator` calls any function that only reads, for small answers. Each function that takes rows
has an operator of its own; these take the arguments of :class:`OptimoveBatchedWriteOperator`, which says what they have
in common. Rows are a list, an XCom that holds one, or a path or URI that ends in ``.jsonl``, ``.ndjson``, ``.json``,
``.csv`` (each also with ``.gz``) or ``.parquet``. Every operator of rows returns (XCom) the numbers ``{"rows",
"batches", "calls", "rejected", "resumed_rows"}`` beside the ``"function"``, and can raise

* :class:`OptimoveInputError`: rows or arguments are not valid; rows are named by number, and nothing was sent,
* :class:`OptimoveRejectedRowsError`: with ``on_rejected="isolate"``, Optimove refused rows,
* :class:`OptimoveUncertainWriteError`: rows may or may not have arrived, and a second time may count twice,
* the other errors of :class:`OptimoveHook`; each says which rows it is about.

:class:`OptimoveRegisterEventListenerOperator` and :class:`OptimoveUnregisterEventListenerOperator` say which URLs
Optimove posts its events to; they take the arguments of :class:`OptimoveEventListenerOperator`.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_provider_optimove.operators.any_function import OptimoveFunctionOperator as OptimoveFunctionOperator
from airflow_provider_optimove.operators.batched_write import OptimoveBatchedWriteOperator
from airflow_provider_optimove.operators.event_listener import (
    OptimoveRegisterEventListenerOperator as OptimoveRegisterEventListenerOperator,
)
from airflow_provider_optimove.operators.event_listener import (
    OptimoveUnregisterEventListenerOperator as OptimoveUnregisterEventListenerOperator,
)
from airflow_provider_optimove.operators.rows_argument import RowsField
from airflow_provider_optimove.storage.row_report import RowReport

if TYPE_CHECKING:
    from airflow_provider_optimove.clients.calls import Fetched
    from airflow_provider_optimove.clients.optimove.bulk_write import Outcome
    from airflow_provider_optimove.clients.optimove.functions import Parameter

_COMMON = OptimoveBatchedWriteOperator.template_fields


class OptimoveAddPromotionsOperator(OptimoveBatchedWriteOperator):
    """Add promotions that campaigns can then use (AddPromotions); the name of a known code is replaced.

    :param promotions: rows with ``PromoCode`` and ``PromotionName``; 100 a call.
    """

    function = "AddPromotions"
    template_fields = (*_COMMON, "promotions")
    promotions = RowsField()

    def __init__(self, *, promotions: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.promotions = promotions


class OptimoveDeletePromotionsOperator(OptimoveBatchedWriteOperator):
    """Remove promotions (DeletePromotions).

    :param promo_codes: codes, or rows with ``PromoCode``; 100 a call.
    """

    function = "DeletePromotions"
    template_fields = (*_COMMON, "promo_codes")
    promo_codes = RowsField()

    def __init__(self, *, promo_codes: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.promo_codes = promo_codes

    def rows_field(self) -> str:
        """The argument that holds the rows."""
        return "promo_codes"


class OptimoveUpdateCustomerPromotionStatusOperator(OptimoveBatchedWriteOperator):
    """Say which customers of a campaign on hold have their promotion (UpdateCustomerPromotionStatus).

    Only they will get the campaign, if it is said before the campaign's clearance time.

    :param campaign_id: the campaign on hold.
    :param promos_updated: rows with ``CustomerID`` and ``Status`` (true: granted); 50,000 a call.
    :param timestamp: when the promotions were granted, converted to UTC; None for now.
    """

    function = "UpdateCustomerPromotionStatus"
    template_fields = (*_COMMON, "campaign_id", "promos_updated", "timestamp")
    promos_updated = RowsField()

    def __init__(
        self,
        *,
        campaign_id: int | str,
        promos_updated: Any,
        timestamp: datetime.datetime | str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.campaign_id = campaign_id
        self.promos_updated = promos_updated
        self.timestamp = timestamp

    def defaults(self) -> Mapping[str, Any]:
        """The moment of the try."""
        return {"timestamp": datetime.datetime.now(datetime.UTC)}


class OptimoveUpdateCampaignMetricsOperator(OptimoveBatchedWriteOperator):
    """Report the figures of campaigns that another system executed (UpdateCampaignMetrics).

    Not harmless to repeat: a second call may count twice.

    :param metrics: rows with ``ChannelID``, ``CampaignID``, ``TemplateID``, ``MetricID`` (0 sent, 1 delivered,
        2 opened, 3 clicked, 4 unsubscribed; accounts have others), ``MetricValue`` and, optionally,
        ``RecipientGroupID``; 100 a call.
    """

    function = "UpdateCampaignMetrics"
    template_fields = (*_COMMON, "metrics")
    metrics = RowsField()

    def __init__(self, *, metrics: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.metrics = metrics


class OptimoveUpdateCampaignInteractionsOperator(OptimoveBatchedWriteOperator):
    """Report which customers interacted with campaigns that another system executed (UpdateCampaignInteractions).

    Not harmless to repeat: a second call may count twice. Either ``customer_ids`` of one campaign, template and event,
    or ``interactions`` of any, which are sorted into as few calls as possible; arguments given beside ``interactions``
    stand for fields that the rows do not have.

    :param campaign_id: the campaign.
    :param channel_id: the channel it was executed on.
    :param interaction_date: the day of the interactions.
    :param template_id: the template the customers got.
    :param event_id: 2 or ``opened``, 3 or ``clicked``, 4 or ``unsubscribed``; accounts have other numbers.
    :param customer_ids: the customers: ids, or rows with ``CustomerID``; 50,000 a call.
    :param recipient_group_id: the recipient group; 1 when left out.
    :param app_id: the app of the channel.
    :param interactions: one row an interaction, in any order: ``CustomerID``, ``CampaignID``, ``ChannelID``,
        ``InteractionDate``, ``TemplateID``, ``EventID`` and, optionally, ``RecipientGroupID`` and ``AppID``.
    """

    function = "UpdateCampaignInteractions"
    template_fields = (
        *_COMMON,
        "campaign_id",
        "channel_id",
        "interaction_date",
        "template_id",
        "event_id",
        "customer_ids",
        "recipient_group_id",
        "app_id",
        "interactions",
    )
    customer_ids = RowsField()
    interactions = RowsField()

    def __init__(
        self,
        *,
        campaign_id: int | str | None = None,
        channel_id: int | str | None = None,
        interaction_date: datetime.date | str | None = None,
        template_id: int | str | None = None,
        event_id: int | str | None = None,
        customer_ids: Any = None,
        recipient_group_id: int | str | None = None,
        app_id: str | None = None,
        interactions: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.campaign_id = campaign_id
        self.channel_id = channel_id
        self.interaction_date = interaction_date
        self.template_id = template_id
        self.event_id = event_id
        self.customer_ids = customer_ids
        self.recipient_group_id = recipient_group_id
        self.app_id = app_id
        self.interactions = interactions

    def rows_field(self) -> str:
        """The argument that holds the rows."""
        if self.interactions is not None and self.customer_ids is not None:
            raise self.not_valid("interactions: not together with customer_ids; give one or the other")
        if self.interactions is None and self.customer_ids is None:
            raise self.not_valid("customer_ids, interactions: one of them is needed, and both are None")
        return "customer_ids" if self.interactions is None else "interactions"

    def fields_of_rows(self) -> Mapping[str, Parameter]:
        """Whatever is not an argument of the task."""
        if self.rows_field() == "customer_ids":
            return {}
        return {p.name: p for p in self.declared.parameters_beside_rows if getattr(self, p.python_name) is None}


class OptimoveAddChannelTemplatesOperator(OptimoveBatchedWriteOperator):
    """Add templates to a channel (AddChannelTemplates); the name of a known template is replaced.

    :param channel_id: the channel.
    :param templates: rows with ``TemplateID``, ``TemplateName`` and, optionally, ``AppID``; 100 a call.
    """

    function = "AddChannelTemplates"
    template_fields = (*_COMMON, "channel_id", "templates")
    templates = RowsField()

    def __init__(self, *, channel_id: int | str, templates: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.channel_id = channel_id
        self.templates = templates


class OptimoveDeleteChannelTemplatesOperator(OptimoveBatchedWriteOperator):
    """Remove templates from channels (DeleteChannelTemplates).

    :param templates: rows with ``ChannelID`` and ``TemplateID``; 100 a call.
    """

    function = "DeleteChannelTemplates"
    template_fields = (*_COMMON, "templates")
    templates = RowsField()

    def __init__(self, *, templates: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.templates = templates


class OptimoveAddChannelAppsOperator(OptimoveBatchedWriteOperator):
    """Add apps to a channel (AddChannelApps); the name of a known app is replaced.

    :param channel_id: the channel.
    :param apps: rows with ``AppID`` and ``AppName``; 100 a call.
    """

    function = "AddChannelApps"
    template_fields = (*_COMMON, "channel_id", "apps")
    apps = RowsField()

    def __init__(self, *, channel_id: int | str, apps: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.channel_id = channel_id
        self.apps = apps


class OptimoveDeleteChannelAppsOperator(OptimoveBatchedWriteOperator):
    """Remove apps from channels (DeleteChannelApps).

    :param apps: rows with ``ChannelID`` and ``AppID``; 100 a call.
    """

    function = "DeleteChannelApps"
    template_fields = (*_COMMON, "apps")
    apps = RowsField()

    def __init__(self, *, apps: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.apps = apps


class OptimoveSetCustomerChannelPreferenceOperator(OptimoveBatchedWriteOperator):
    """Allow or stop a channel for customers (SetCustomerChannelPreference).

    :param channel_id: the channel.
    :param customer_ids: the customers: ids, or rows with ``CustomerID``; 50,000 a call.
    :param communication_mode: 1 allowed, 2 not allowed (unsubscribed).
    :param app_id: the app of the channel.
    """

    function = "SetCustomerChannelPreference"
    template_fields = (*_COMMON, "channel_id", "customer_ids", "communication_mode", "app_id")
    customer_ids = RowsField()

    def __init__(
        self,
        *,
        channel_id: int | str,
        customer_ids: Any,
        communication_mode: int | str,
        app_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.channel_id = channel_id
        self.customer_ids = customer_ids
        self.communication_mode = communication_mode
        self.app_id = app_id


class OptimoveRemoveCustomerPIIOperator(OptimoveBatchedWriteOperator):
    """Erase the personal data of customers for good (RemoveCustomerPII).

    :param customer_ids: the customers: ids, or rows with ``CustomerID``; 50,000 a call.
    :param failed_path: file for the customers that Optimove names as failed, as JSON Lines with ``CustomerID`` and
        ``possibly_erased_before``: true where an earlier call may have erased the customer, so that this one could not.
    :returns: (XCom) also ``failed``, the number of these customers, and ``failed_path``.
    """

    function = "RemoveCustomerPII"
    template_fields = (*_COMMON, "customer_ids", "failed_path")
    customer_ids = RowsField()

    def __init__(self, *, customer_ids: Any, failed_path: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.customer_ids = customer_ids
        self.failed_path = failed_path

    def start_reports(self, failed: int) -> None:
        """Make the file of failed customers."""
        self._report = RowReport(self.failed_path, self.object_storage_conn_id) if self.failed_path else None
        if self._report is not None:
            self._report.start(failed)

    def answered(self, fetched: Fetched) -> int:
        """Write down which customers failed."""
        fields = {name.lower(): value for name, value in (fetched.answer or {}).items()}
        failed = fields.get("failedcustomerids") or []
        failed = failed if isinstance(failed, list) else [failed]
        if self._report is not None and failed:
            self._report.add({"CustomerID": i, "possibly_erased_before": fetched.repeated} for i in failed)
        return len(failed)

    def summary_of_answers(self, outcome: Outcome) -> Mapping[str, Any]:
        """How many customers failed, and where they are written down."""
        return {"failed": outcome.failed, **({"failed_path": self.failed_path} if self.failed_path else {})}


class OptimoveAddExternalRealtimeTriggersOperator(OptimoveBatchedWriteOperator):
    """Add realtime triggers that an external system handles (AddExternalRealtimeTriggers).

    :param realtime_triggers: rows with ``TriggerID`` and ``TriggerName``; 100 a call.
    """

    function = "AddExternalRealtimeTriggers"
    template_fields = (*_COMMON, "realtime_triggers")
    realtime_triggers = RowsField()

    def __init__(self, *, realtime_triggers: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.realtime_triggers = realtime_triggers


class OptimoveSendTransactionalMailOperator(OptimoveBatchedWriteOperator):
    """Mail a transactional template to recipients (SendTransactionalMail).

    Every call carries a name of its own (``UniqueMessageID``), so that Optimove refuses a second mail of the same task
    to the same recipients; a cleared task mails again.

    :param template_id: the template.
    :param recipients: rows with ``Email`` and, optionally, ``Personalizations``, rows of ``Tag`` and ``Value`` (in a
        CSV file as JSON); 200 a call.
    :param schedule_time: when to send, converted to UTC; None sends at once.
    :returns: (XCom) also ``send_ids``, Optimove's numbers of the sends of this try.
    """

    function = "SendTransactionalMail"
    template_fields = (*_COMMON, "template_id", "recipients", "schedule_time")
    recipients = RowsField()

    def __init__(
        self,
        *,
        template_id: int | str,
        recipients: Any,
        schedule_time: datetime.datetime | str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.template_id = template_id
        self.recipients = recipients
        self.schedule_time = schedule_time

    def start_reports(self, failed: int) -> None:
        """Forget the sends of an earlier run."""
        self._send_ids: list[Any] = []

    def answered(self, fetched: Fetched) -> int:
        """Keep the number of the send."""
        fields = {name.lower(): value for name, value in (fetched.answer or {}).items()}
        if fields.get("sendid") is not None:
            self._send_ids.append(fields["sendid"])
        return 0

    def summary_of_answers(self, outcome: Outcome) -> Mapping[str, Any]:
        """The sends of this try."""
        return {"send_ids": self._send_ids}
