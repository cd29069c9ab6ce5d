"""Integration functions: what other systems tell Optimove, and what was told before."""

from collections.abc import Sequence
from typing import Any, NotRequired, TypedDict, Unpack

from airflow_provider_optimove.clients.optimove.functions.declaration import FunctionGroup, function
from airflow_provider_optimove.clients.optimove.functions.types import (
    AttributeOptions,
    CommunicationMode,
    Date,
    DateTime,
    EventID,
    Identifier,
    Name,
    RecipientGroupID,
)


class Promotion(TypedDict):
    """A promotion."""

    PromoCode: Identifier
    PromotionName: Name


class PromotionCode(TypedDict):
    """The code of a promotion."""

    PromoCode: Identifier


class CustomerPromotionStatus(TypedDict):
    """Whether a customer's promotion is active."""

    CustomerID: Identifier
    Status: bool


class NewChannelTemplate(TypedDict):
    """A template to be added to a channel."""

    TemplateID: int
    TemplateName: Name
    AppID: NotRequired[Identifier | None]


class ChannelTemplate(TypedDict):
    """A template of a channel."""

    TemplateID: int
    TemplateName: str


class ChannelTemplateDetails(TypedDict):
    """What a template contains."""

    TemplateContent: str
    TemplateAttributes: list[Any]


class ChannelTemplateID(TypedDict):
    """Which template of which channel."""

    ChannelID: int
    TemplateID: int


class ChannelApp(TypedDict):
    """An app of a channel."""

    AppID: Identifier
    AppName: Name


class ChannelAppID(TypedDict):
    """Which app of which channel."""

    ChannelID: int
    AppID: Identifier


class RealtimeTrigger(TypedDict):
    """A realtime trigger of an external system."""

    TriggerID: Identifier
    TriggerName: Name


class ActivityEvent(TypedDict):
    """An event of Optimove's SDK with its parameters; the keys also come as ``id`` and ``name``."""

    ID: int
    Name: str
    Event_Parameters: list[dict[str, Any]]


class CampaignMetric(TypedDict):
    """One figure of a campaign on a channel."""

    ChannelID: int
    CampaignID: int
    TemplateID: int
    MetricID: int
    MetricValue: int
    RecipientGroupID: NotRequired[RecipientGroupID | None]


class IntegrationFunctions(FunctionGroup):
    """The functions below ``integrations/``."""

    @function("integrations", "POST", body="promotions", max_rows=100)
    def add_promotions(self, *, promotions: Sequence[Promotion]) -> None:
        """Add promotions that campaigns can then use; the name of a known code is replaced.

        :param promotions: rows with ``PromoCode`` and ``PromotionName``; at most 100 a call.
        """
        ...

    @function("integrations")
    def get_promotions(self, **options: Unpack[AttributeOptions]) -> list[Promotion]:
        """All promotions.

        :returns: one row a promotion.
        """
        ...

    @function("integrations", "POST", body="promotions", max_rows=100)
    def delete_promotions(self, *, promotions: Sequence[PromotionCode]) -> None:
        """Remove promotions.

        :param promotions: rows with ``PromoCode``; at most 100 a call.
        """
        ...

    @function("integrations", "POST", rows="promos_updated", max_rows=50_000)
    def update_customer_promotion_status(
        self, *, campaign_id: int, promos_updated: Sequence[CustomerPromotionStatus], timestamp: DateTime
    ) -> None:
        """Say which customers of a campaign on hold have their promotion; only they will get the campaign.

        :param campaign_id: the campaign on hold.
        :param promos_updated: rows with ``CustomerID`` and ``Status``; at most 50,000 a call (10,000 on some accounts).
        :param timestamp: when the promotions were granted, converted to UTC.
        """
        ...

    @function("integrations", "POST", body="templates", max_rows=100)
    def add_channel_templates(self, *, channel_id: int, templates: Sequence[NewChannelTemplate]) -> None:
        """Add templates to a channel; the name of a known template is replaced.

        :param channel_id: the channel.
        :param templates: rows with ``TemplateID``, ``TemplateName`` and, optionally, ``AppID``; at most 100 a call.
        """
        ...

    @function("integrations")
    def get_channel_templates(self, *, channel_id: int, **options: Unpack[AttributeOptions]) -> list[ChannelTemplate]:
        """The templates of a channel.

        :param channel_id: the channel.
        :returns: one row a template.
        """
        ...

    @function("integrations")
    def get_channel_template_details(
        self, *, template_id: int, channel_id: int, **options: Unpack[AttributeOptions]
    ) -> list[ChannelTemplateDetails]:
        """The content and attributes of a template.

        :param template_id: the template.
        :param channel_id: its channel.
        :returns: one row.
        """
        ...

    @function("integrations", "POST", body="templates", max_rows=100)
    def delete_channel_templates(self, *, templates: Sequence[ChannelTemplateID]) -> None:
        """Remove templates from channels.

        :param templates: rows with ``ChannelID`` and ``TemplateID``; at most 100 a call.
        """
        ...

    @function("integrations", "POST", body="apps", max_rows=100)
    def add_channel_apps(self, *, channel_id: int, apps: Sequence[ChannelApp]) -> None:
        """Add apps to a channel; the name of a known app is replaced.

        :param channel_id: the channel.
        :param apps: rows with ``AppID`` and ``AppName``; at most 100 a call.
        """
        ...

    @function("integrations", "POST", body="apps", max_rows=100)
    def delete_channel_apps(self, *, apps: Sequence[ChannelAppID]) -> None:
        """Remove apps from channels.

        :param apps: rows with ``ChannelID`` and ``AppID``; at most 100 a call.
        """
        ...

    @function("integrations", "POST", body="realtime_triggers", max_rows=100)
    def add_external_realtime_triggers(self, *, realtime_triggers: Sequence[RealtimeTrigger]) -> None:
        """Add realtime triggers that an external system handles.

        :param realtime_triggers: rows with ``TriggerID`` and ``TriggerName``; at most 100 a call.
        """
        ...

    @function("integrations")
    def get_external_realtime_triggers(self, **options: Unpack[AttributeOptions]) -> list[RealtimeTrigger]:
        """All realtime triggers of external systems.

        :returns: one row a trigger.
        """
        ...

    @function("integrations")
    def get_activity_event_list(self, **options: Unpack[AttributeOptions]) -> list[ActivityEvent]:
        """The events that Optimove's SDK reports, with their parameters.

        :returns: one row an event.
        """
        ...

    @function("integrations", "POST", repeatable=False, body="metrics")
    def update_campaign_metrics(self, *, metrics: Sequence[CampaignMetric]) -> None:
        """Report the figures of campaigns that another system executed.

        :param metrics: rows with ``ChannelID``, ``CampaignID``, ``TemplateID``, ``MetricID`` (0 sent, 1 delivered,
            2 opened, 3 clicked, 4 unsubscribed; accounts have others), ``MetricValue`` and, optionally,
            ``RecipientGroupID`` (1 when left out).
        """
        ...

    @function("integrations", "POST", repeatable=False, rows="customer_ids", max_rows=50_000)
    def update_campaign_interactions(
        self,
        *,
        campaign_id: int,
        channel_id: int,
        interaction_date: Date,
        template_id: int,
        event_id: EventID,
        customer_ids: Sequence[Identifier],
        recipient_group_id: RecipientGroupID | None = None,
        app_id: Identifier | None = None,
    ) -> None:
        """Report which customers interacted with a campaign that another system executed.

        :param campaign_id: the campaign.
        :param channel_id: the channel it was executed on.
        :param interaction_date: the day of the interactions.
        :param template_id: the template the customers got.
        :param event_id: 2 or ``opened``, 3 or ``clicked``, 4 or ``unsubscribed``; accounts have other numbers.
        :param customer_ids: the customers; at most 50,000 a call (10,000 on some accounts).
        :param recipient_group_id: the recipient group; 1 when left out.
        :param app_id: the app of the channel.
        """
        ...

    @function("integrations", "POST", rows="customer_ids", max_rows=50_000)
    def set_customer_channel_preference(
        self,
        *,
        channel_id: int,
        customer_ids: Sequence[Identifier],
        communication_mode: CommunicationMode,
        app_id: Identifier | None = None,
    ) -> None:
        """Allow or stop a channel for customers.

        :param channel_id: the channel.
        :param customer_ids: the customers; at most 50,000 a call.
        :param communication_mode: 1 allowed, 2 not allowed (unsubscribed).
        :param app_id: the app of the channel.
        """
        ...
