"""Customer functions: who was targeted, what they got and how they reacted."""

from collections.abc import Iterator, Sequence
from typing import Any, NotRequired, TypedDict, Unpack

from airflow_provider_optimove.clients.optimove.functions.declaration import FunctionGroup, function
from airflow_provider_optimove.clients.optimove.functions.types import (
    NOT_EXECUTED_YET,
    NOT_THE_DATA_DATE,
    ONLY_BEFORE_TODAY,
    ONLY_TWO_DAYS_BACK,
    AttributeOptions,
    Date,
    DateText,
    EventID,
    EventParamIDs,
    Identifier,
    LifecycleStageIDs,
    Name,
    PageOptions,
    ProductAttributes,
    RecipientGroupID,
    RecommendationType,
    TargetGroupID,
    TimeText,
)


class ActionCustomer(TypedDict):
    """A customer of a recipient group."""

    CustomerID: str
    CustomerAttributes: NotRequired[list[str]]


class CustomerAction(TypedDict):
    """An action that a customer got on a channel; ActionID 1 marks the control group."""

    CustomerID: str
    RecipientGroupID: NotRequired[int]
    ActionID: int
    ChannelID: int
    CustomerAttributes: NotRequired[list[str]]


class CustomerOneTimeAction(TypedDict):
    """An action of a one-time campaign; ActionID 1 marks the control group."""

    CustomerID: str
    ActionID: int
    ChannelID: int
    CustomerAttributes: NotRequired[list[str]]


class AttributeChanger(TypedDict):
    """A customer whose attribute changed; the first value is None for a new customer."""

    CustomerID: str
    InitialCustomerAttribute: str | None
    FinalCustomerAttribute: str | None
    CustomerAttributes: NotRequired[list[str]]


class CustomerFutureValue(TypedDict):
    """A customer's predicted value."""

    CustomerID: str
    FutureValue: float


class LastActionExecuted(TypedDict):
    """The action that a customer got last; the duration is in days."""

    ActionID: int
    Date: DateText
    Duration: int
    TargetGroupID: int


class CustomerActionDetails(TypedDict):
    """An action that a customer got on a date."""

    CustomerID: str
    RecipientGroupID: int
    ActionID: int
    ChannelID: int


class CustomerActionEnded(TypedDict):
    """An action whose duration (in days) ended."""

    CustomerID: str
    ActionID: int
    ChannelID: int
    Date: DateText
    Duration: int
    TargetGroupID: int


class CustomerExecutionDetails(TypedDict):
    """What a customer of a campaign gets, and when (UTC)."""

    CustomerID: str
    ActionID: int
    ChannelID: int
    TemplateID: int
    ScheduleTime: TimeText
    PromoCode: str | None
    CustomerAttributes: NotRequired[list[str]]


class CustomerSendDetails(TypedDict):
    """A send to a customer (UTC); channels add fields of their own."""

    CustomerID: str
    ChannelID: int
    ScheduledTime: TimeText
    SendID: str
    TemplateID: NotRequired[int]


class CustomerChannelSend(TypedDict):
    """A send to a customer on a given channel (UTC)."""

    CustomerID: str
    TemplateID: int
    ScheduledTime: TimeText
    CustomerAttributes: NotRequired[list[str]]


class ProcessedCampaignCustomer(TypedDict):
    """A customer of a processed campaign."""

    CustomerID: str
    PromoCode: str | None


class TargetedCustomer(TypedDict):
    """A customer who is in a campaign now."""

    CustomerID: str
    CampaignID: int
    ActionID: int
    StartDate: DateText
    EndDate: DateText


class CanceledCampaignCustomer(TypedDict):
    """A customer of a cancelled campaign."""

    CustomerID: str
    ActionID: int
    PromoCode: str | None


class CustomerProduct(TypedDict):
    """A product recommended to a customer in a campaign."""

    CustomerID: str
    ProductID: str
    ProductAttributes: NotRequired[list[str]]


class ProductRecommendation(CustomerProduct):
    """A product recommended to a customer; type 1 replenishment, 2 recommendation."""

    RecommendationType: int


class InteractionCustomer(TypedDict):
    """A customer who interacted with a campaign."""

    CustomerID: str
    CampaignID: int
    TemplateID: int


class ChannelInteraction(TypedDict):
    """An interaction of a customer."""

    Date: DateText
    CampaignID: int
    RecipientGroupID: int
    ActionID: int
    ChannelID: int
    TemplateID: int
    EventID: int


class RealtimeCampaignCustomer(TypedDict):
    """A customer of a realtime campaign that an external system executes."""

    CustomerID: str
    CampaignID: int
    TriggerID: int
    ActionID: int
    TargetGroupID: int
    RecipientGroupID: int
    PromoCode: str | None
    CustomerAttributes: NotRequired[list[str]]


class CustomerActivityEvents(TypedDict):
    """The SDK events of a customer: one object, or a list of them."""

    CustomerID: str
    Events: list[dict[str, Any]] | dict[str, Any]


class FailedCustomers(TypedDict):
    """The customers whose data could not be erased, mostly because they are not known."""

    FailedCustomerIDs: list[str]


class CustomerFunctions(FunctionGroup):
    """The functions below ``customers/``. All but two page: they take ``page_size`` and return iterators."""

    @function("customers", paged=True, no_data=NOT_THE_DATA_DATE)
    def get_customers_by_action(
        self,
        *,
        recipient_group_id: RecipientGroupID,
        action_id: int,
        date: Date,
        **options: Unpack[PageOptions],
    ) -> Iterator[ActionCustomer]:
        """The customers who got an action as members of a recipient group on a date.

        :param recipient_group_id: 0 for the control group, else 1 and up.
        :param action_id: the action.
        :param date: the campaigns' execution date.
        :returns: one row a customer.
        """
        ...

    @function("customers", paged=True, no_data=NOT_THE_DATA_DATE)
    def get_customer_actions_by_target_group(
        self,
        *,
        target_group_id: TargetGroupID,
        date: Date,
        channel_id: int | None = None,
        include_control_group: bool | None = None,
        include_recipient_group_id: bool | None = None,
        **options: Unpack[PageOptions],
    ) -> Iterator[CustomerAction]:
        """The actions that the customers of a target group got on a date.

        :param target_group_id: the target group; one-time campaigns (-1) have functions of their own.
        :param date: the campaigns' execution date.
        :param channel_id: only this channel.
        :param include_control_group: whether customers of the control group come too, with ActionID 1.
        :param include_recipient_group_id: whether rows name the recipient group.
        :returns: one row a customer, action and channel.
        """
        ...

    @function("customers", paged=True, no_data=NOT_THE_DATA_DATE)
    def get_customer_one_time_actions_by_date(
        self,
        *,
        date: Date,
        channel_id: int | None = None,
        include_control_group: bool | None = None,
        **options: Unpack[PageOptions],
    ) -> Iterator[CustomerOneTimeAction]:
        """The actions that customers got from one-time campaigns on a date.

        :param date: the campaigns' execution date.
        :param channel_id: only this channel.
        :param include_control_group: whether customers of the control group come too, with ActionID 1.
        :returns: one row a customer, action and channel.
        """
        ...

    @function("customers", paged=True)
    def get_customer_one_time_actions_by_campaign(
        self,
        *,
        campaign_id: int,
        channel_id: int | None = None,
        include_control_group: bool | None = None,
        **options: Unpack[PageOptions],
    ) -> Iterator[CustomerAction]:
        """The actions that customers got from a one-time campaign.

        :param campaign_id: the campaign.
        :param channel_id: only this channel.
        :param include_control_group: whether customers of the control group come too, with ActionID 1.
        :returns: one row a customer, action and channel.
        """
        ...

    @function("customers", paged=True, no_data=ONLY_TWO_DAYS_BACK)
    def get_customer_attribute_changers(
        self,
        *,
        start_date: Date,
        end_date: Date,
        changed_customer_attribute: Name,
        **options: Unpack[PageOptions],
    ) -> Iterator[AttributeChanger]:
        """The customers whose attribute changed between two dates. Optimove may take minutes to answer.

        :param start_date: first day of data; both days must lie within the two days before today.
        :param end_date: last day of data.
        :param changed_customer_attribute: the attribute; an account has at most three that can be watched.
        :returns: one row a customer with the value before and after.
        """
        ...

    @function(
        "customers",
        paged=True,
        either=(("lifecycle_stage_id",), ("customer_attribute", "customer_attribute_value")),
    )
    def get_customer_future_values(
        self,
        *,
        lifecycle_stage_id: LifecycleStageIDs | None = None,
        customer_attribute: Name | None = None,
        customer_attribute_value: Name | None = None,
        **options: Unpack[PageOptions],
    ) -> Iterator[CustomerFutureValue]:
        """The customers' predicted values: of all, of lifecycle stages, or of an attribute's value.

        :param lifecycle_stage_id: one stage or several.
        :param customer_attribute: an attribute's name, together with its value; not with stages.
        :param customer_attribute_value: the attribute's value.
        :returns: one row a customer.
        """
        ...

    @function("customers")
    def get_customer_last_action_executed(
        self, *, customer_id: Identifier, **options: Unpack[AttributeOptions]
    ) -> LastActionExecuted | None:
        """The action that a customer got last.

        :param customer_id: the customer.
        :returns: the action, or None when there was none.
        """
        ...

    @function("customers", paged=True, no_data=NOT_THE_DATA_DATE)
    def get_customer_action_details_by_date(
        self, *, date: Date, **options: Unpack[PageOptions]
    ) -> Iterator[CustomerActionDetails]:
        """The actions that customers got on a date.

        :param date: the campaigns' execution date.
        :returns: one row a customer, action and channel.
        """
        ...

    @function("customers", paged=True)
    def get_customers_action_ended_by_date(
        self, *, date: Date, **options: Unpack[PageOptions]
    ) -> Iterator[CustomerActionEnded]:
        """The customers' actions whose duration ended on a date.

        :param date: the day the durations ended.
        :returns: one row a customer and action.
        """
        ...

    @function("customers", paged=True, no_data=NOT_EXECUTED_YET)
    def get_customer_execution_details_by_campaign(
        self, *, campaign_id: int, channel_id: int | None = None, **options: Unpack[PageOptions]
    ) -> Iterator[CustomerExecutionDetails]:
        """The customers of a campaign with what each one gets.

        :param campaign_id: the campaign.
        :param channel_id: only this channel.
        :returns: one row a customer and channel.
        """
        ...

    @function("customers", paged=True, no_data=NOT_EXECUTED_YET)
    def get_customer_send_details_by_campaign(
        self,
        *,
        campaign_id: int,
        include_template_ids: bool | None = None,
        **options: Unpack[PageOptions],
    ) -> Iterator[CustomerSendDetails]:
        """The sends of a campaign; the fields differ by channel.

        :param campaign_id: the campaign.
        :param include_template_ids: whether rows name the template.
        :returns: one row a send.
        """
        ...

    @function("customers", paged=True, no_data=NOT_EXECUTED_YET)
    def get_customer_send_details_by_channel(
        self, *, channel_id: int, campaign_id: int, **options: Unpack[PageOptions]
    ) -> Iterator[CustomerChannelSend]:
        """The sends of a campaign on one channel.

        :param channel_id: the channel.
        :param campaign_id: the campaign.
        :returns: one row a send.
        """
        ...

    @function("customers", paged=True, no_data=NOT_EXECUTED_YET)
    def get_processed_campaign_customers(
        self, *, campaign_id: int, **options: Unpack[PageOptions]
    ) -> Iterator[ProcessedCampaignCustomer]:
        """The customers of a processed campaign with their promo codes.

        :param campaign_id: the campaign.
        :returns: one row a customer.
        """
        ...

    @function("customers", paged=True)
    def get_currently_targeted_customers(self, **options: Unpack[PageOptions]) -> Iterator[TargetedCustomer]:
        """The customers who are in a campaign now.

        :returns: one row a customer and campaign.
        """
        ...

    @function("customers", paged=True)
    def get_canceled_campaign_customers(
        self, *, campaign_id: int, **options: Unpack[PageOptions]
    ) -> Iterator[CanceledCampaignCustomer]:
        """The customers who had been in a campaign that was cancelled.

        :param campaign_id: the campaign.
        :returns: one row a customer.
        """
        ...

    @function("customers", paged=True)
    def get_customer_product_details_by_campaign(
        self,
        *,
        campaign_id: int,
        product_attributes: ProductAttributes | None = None,
        **options: Unpack[PageOptions],
    ) -> Iterator[CustomerProduct]:
        """The products that a campaign recommended to its customers.

        :param campaign_id: the campaign.
        :param product_attributes: names of product attributes each row shall carry.
        :returns: one row a customer and product.
        """
        ...

    @function("customers", paged=True)
    def get_customer_product_details_by_date(
        self, *, date: Date, product_attributes: ProductAttributes | None = None, **options: Unpack[PageOptions]
    ) -> Iterator[CustomerProduct]:
        """The products that the campaigns of a date recommended to customers.

        :param date: the campaigns' execution date.
        :param product_attributes: names of product attributes each row shall carry.
        :returns: one row a customer and product.
        """
        ...

    @function("customers", paged=True)
    def get_customer_product_recommendations(
        self,
        *,
        recommendation_type: RecommendationType | None = None,
        suggested_in_campaign: bool | None = None,
        start_date: Date | None = None,
        end_date: Date | None = None,
        customer_id: Identifier | None = None,
        product_attributes: ProductAttributes | None = None,
        **options: Unpack[PageOptions],
    ) -> Iterator[ProductRecommendation]:
        """The products that Optimove recommends to customers, up to ten a customer.

        :param recommendation_type: 1 replenishment reminders, 2 recommendations.
        :param suggested_in_campaign: True: only products that campaigns of the dates suggested (of the past month
            without dates); otherwise the dates are ignored.
        :param start_date: first day.
        :param end_date: last day.
        :param customer_id: only this customer.
        :param product_attributes: names of product attributes each row shall carry.
        :returns: one row a customer and product.
        """
        ...

    @function("customers", paged=True)
    def get_campaign_interaction_customers(
        self, *, date: Date, channel_id: int, event_id: EventID, **options: Unpack[PageOptions]
    ) -> Iterator[InteractionCustomer]:
        """The customers who interacted in one way with the campaigns of a date and channel.

        :param date: the day the campaigns were delivered.
        :param channel_id: the channel.
        :param event_id: 2 or ``opened``, 3 or ``clicked``, 4 or ``unsubscribed``; accounts have other numbers.
        :returns: one row a customer, campaign and template.
        """
        ...

    @function("customers", paged=True)
    def get_customer_channel_interactions(
        self,
        *,
        customer_id: Identifier,
        start_date: Date,
        end_date: Date,
        channel_id: int | None = None,
        **options: Unpack[PageOptions],
    ) -> Iterator[ChannelInteraction]:
        """One customer's interactions with the campaigns of some days.

        :param customer_id: the customer.
        :param start_date: first day.
        :param end_date: last day.
        :param channel_id: only this channel.
        :returns: one row an interaction.
        """
        ...

    @function("customers", paged=True)
    def get_external_realtime_campaign_customers(
        self, *, execution_date: Date, campaign_id: int, **options: Unpack[PageOptions]
    ) -> Iterator[RealtimeCampaignCustomer]:
        """The customers who are to get a realtime campaign from an external system.

        :param execution_date: the campaign's execution date.
        :param campaign_id: the campaign.
        :returns: one row a customer.
        """
        ...

    @function("customers", paged=True, no_data=ONLY_BEFORE_TODAY)
    def get_customer_activity_event_attributes(
        self,
        *,
        date: Date,
        event_id: int,
        event_param_ids: EventParamIDs | None = None,
        **options: Unpack[PageOptions],
    ) -> Iterator[CustomerActivityEvents]:
        """The customers who caused an SDK event on a date, with the event's parameters.

        :param date: the day of the event, before today.
        :param event_id: the event; see GetActivityEventList.
        :param event_param_ids: numbers of the event's parameters; all when left out.
        :returns: one row a customer.
        """
        ...

    @function("customers", "POST", rows="customer_ids", max_rows=50_000)
    def remove_customer_pii(self, *, customer_ids: Sequence[Identifier]) -> FailedCustomers | None:
        """Erase the personal data of customers for good.

        :param customer_ids: the customers; at most 50,000 a call.
        :returns: the customers it failed for, or None. After a repeated call those erased by the first are among them.
        """
        ...
