"""Action functions: actions, promo codes, executed campaigns, execution channels."""

from typing import TypedDict, Unpack

from airflow_provider_optimove.clients.optimove.functions.declaration import FunctionGroup, function
from airflow_provider_optimove.clients.optimove.functions.types import (
    NOT_THE_DATA_DATE,
    AttributeOptions,
    Date,
    Name,
    TargetGroupID,
    TimeText,
)


class ActionName(TypedDict):
    """The name of an action."""

    ActionName: str


class ActionID(TypedDict):
    """The number of an action."""

    ActionID: int


class Action(TypedDict):
    """An action."""

    ActionID: int
    ActionName: str


class RecipientGroupAction(TypedDict):
    """The action that a recipient group gets."""

    RecipientGroupID: int
    ActionID: int


class TargetGroupPromoCode(TypedDict):
    """A promo code of a recipient group's action, with its target group."""

    TargetGroupID: int
    RecipientGroupID: int
    ActionID: int
    PromoCode: str


class PromoCode(TypedDict):
    """A promo code of a recipient group's action."""

    RecipientGroupID: int
    ActionID: int
    PromoCode: str


class ActionDetails(TypedDict):
    """A recipient group's action on one channel; duration and lead time in days."""

    RecipientGroupID: int
    ActionID: int
    Duration: int
    LeadTime: int
    ChannelID: int


class CampaignDetails(TypedDict):
    """A campaign; duration and lead time in days."""

    TargetGroupID: int
    CampaignType: str
    Duration: int
    LeadTime: int
    Notes: str
    IsMultiChannel: bool
    IsRecurrence: bool
    Status: str
    Error: str | None


class ExecutedCampaign(CampaignDetails):
    """A campaign with its number."""

    CampaignID: int


class ExecutionChannel(TypedDict):
    """A channel that campaigns are executed on."""

    ChannelID: int
    ChannelName: str


class CampaignChannelSend(TypedDict):
    """A send of a campaign on a channel; the time is UTC."""

    SendID: str
    TemplateID: int
    ScheduledTime: TimeText


class CampaignID(TypedDict):
    """The number of a campaign."""

    CampaignID: int


class ActionFunctions(FunctionGroup):
    """The functions below ``actions/``."""

    @function("actions")
    def get_action_name(self, *, action_id: int, **options: Unpack[AttributeOptions]) -> ActionName | None:
        """The name of an action.

        :param action_id: the action.
        :returns: the name, or None when there is no such action.
        """
        ...

    @function("actions")
    def get_action_id(self, *, action_name: Name, **options: Unpack[AttributeOptions]) -> ActionID | None:
        """The number of an action.

        :param action_name: the action's name.
        :returns: the number, or None when there is no such action.
        """
        ...

    @function("actions")
    def get_all_actions(self, **options: Unpack[AttributeOptions]) -> list[Action]:
        """All actions.

        :returns: one row an action.
        """
        ...

    @function("actions", no_data=NOT_THE_DATA_DATE)
    def get_actions_by_target_group(
        self, *, target_group_id: TargetGroupID, date: Date, **options: Unpack[AttributeOptions]
    ) -> list[RecipientGroupAction]:
        """The actions a target group got on a date.

        :param target_group_id: the target group.
        :param date: the campaigns' execution date.
        :returns: one row a recipient group and action.
        """
        ...

    @function("actions", no_data=NOT_THE_DATA_DATE)
    def get_promo_codes(self, *, date: Date, **options: Unpack[AttributeOptions]) -> list[TargetGroupPromoCode]:
        """The promo codes of a date.

        :param date: the campaigns' execution date.
        :returns: one row a target group, recipient group, action and code.
        """
        ...

    @function("actions")
    def get_promo_codes_by_campaign(self, *, campaign_id: int, **options: Unpack[AttributeOptions]) -> list[PromoCode]:
        """The promo codes of a campaign.

        :param campaign_id: the campaign.
        :returns: one row a recipient group, action and code.
        """
        ...

    @function("actions", no_data=NOT_THE_DATA_DATE)
    def get_promo_codes_by_target_group(
        self, *, target_group_id: TargetGroupID, date: Date, **options: Unpack[AttributeOptions]
    ) -> list[PromoCode]:
        """The promo codes of a target group on a date.

        :param target_group_id: the target group.
        :param date: the campaigns' execution date.
        :returns: one row a recipient group, action and code.
        """
        ...

    @function("actions", no_data=NOT_THE_DATA_DATE)
    def get_action_details_by_target_group(
        self, *, target_group_id: TargetGroupID, date: Date, **options: Unpack[AttributeOptions]
    ) -> list[ActionDetails]:
        """The actions of a target group on a date, with duration, lead time and channel.

        :param target_group_id: the target group.
        :param date: the campaigns' execution date.
        :returns: one row a recipient group, action and channel; durations and lead times in days.
        """
        ...

    @function("actions", no_data=NOT_THE_DATA_DATE)
    def get_executed_campaign_details(
        self, *, date: Date, **options: Unpack[AttributeOptions]
    ) -> list[ExecutedCampaign]:
        """The campaigns executed on a date, and those whose lead time points to it.

        :param date: the campaigns' execution date, not the date of the newest data.
        :returns: one row a campaign that did not fail.
        """
        ...

    @function("actions")
    def get_campaign_details(self, *, campaign_id: int, **options: Unpack[AttributeOptions]) -> CampaignDetails | None:
        """Details of one campaign.

        :param campaign_id: the campaign.
        :returns: the details, or None when Optimove has none; failed campaigns are not returned.
        """
        ...

    @function("actions")
    def get_execution_channels(self, **options: Unpack[AttributeOptions]) -> list[ExecutionChannel]:
        """The channels that campaigns can be executed on.

        :returns: one row a channel.
        """
        ...

    @function("actions")
    def get_executed_campaign_channel_details(
        self, *, campaign_id: int, channel_id: int, **options: Unpack[AttributeOptions]
    ) -> list[CampaignChannelSend]:
        """When and with which templates a campaign was, or will be, sent on a channel.

        :param campaign_id: the campaign.
        :param channel_id: the channel.
        :returns: one row a send; the time is UTC and may lie in the future.
        """
        ...

    @function("actions", no_data=NOT_THE_DATA_DATE)
    def get_executed_campaigns_by_channel(
        self, *, channel_id: int, date: Date, **options: Unpack[AttributeOptions]
    ) -> list[CampaignID]:
        """The campaigns executed on a channel on a date.

        :param channel_id: the channel.
        :param date: the campaigns' execution date.
        :returns: one row a campaign.
        """
        ...
