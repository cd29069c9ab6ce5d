"""What the sandbox answers: one small function a function of the API."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias
from urllib.parse import quote, unquote, urlsplit

from airflow_provider_optimove.sandbox.account import Account, Listener
from airflow_provider_optimove.sandbox.rows import CustomerRows, Span
from airflow_provider_optimove.sandbox.serving import Refused
from airflow_provider_optimove.sandbox.wire import Request
from airflow_provider_optimove.sandbox.world import (
    ACTIVITY_EVENTS,
    CHANNELS,
    CHANNELS_WITH_CUSTOMER_METRICS,
    CONTROL_ACTION,
    FIRST_CAMPAIGN_DAY,
    LIFECYCLE_STAGES,
    LONGEST_DURATION,
    MAIL_TEMPLATES,
    PRODUCT_ATTRIBUTES,
    PUSH_CHANNELS,
    REGIONS,
    SEGMENT_OF_RESIDUE,
    STAGE_OF_RESIDUE,
    TEMPERS,
    VALUE_SEGMENTS,
    WATCHED_ATTRIBUTES,
    Attribute,
    Campaign,
    customer_id,
)

DAY = datetime.timedelta(days=1)
LISTENER_EVENT_TYPES = range(1, 14)
OPENED, CLICKED, UNSUBSCRIBED = 2, 3, 4
INTERACTS_ONE_IN: Mapping[int, int] = {OPENED: 3, CLICKED: 9, UNSUBSCRIBED: 90}
REPLENISHMENT, RECOMMENDATION = 1, 2
RECOMMENDATIONS_A_CUSTOMER = 3
DEFAULT_MAIL_DAYS = 7
FIRST_SEND_ID = 235_311

Values: TypeAlias = Mapping[str, Any]
Answer: TypeAlias = Callable[[Account, Values], Any]

NOTHING = object()
ANSWERS: dict[str, Answer] = {}


def answers(name: str) -> Callable[[Answer], Answer]:
    """Register what answers the function of a name. ``NOTHING`` stands for an empty body, None for "no data"."""

    def register(answer: Answer) -> Answer:
        ANSWERS[name] = answer
        return answer

    return register


def answer(account: Account, name: str, request: Request) -> Any:
    """The answer to a call: JSON values, :class:`CustomerRows` or ``NOTHING``.

    :raises Refused: for parameters that the account does not know, and for rows that it is to refuse.
    """
    values = request.values
    explanation = _said_of(request.rows, account.refused_rows.get(name, {}))
    if explanation is not None:
        raise Refused(explanation)
    attributes = [_attribute(account, name) for name in values.get("CustomerAttributes", ())]
    content = ANSWERS[name](account, values)
    if isinstance(content, CustomerRows):
        if attributes:
            delimiter = values.get("CustomerAttributesDelimiter", ",")
            content = content.with_fields({"CustomerAttributes": _attribute_values(account, attributes, delimiter)})
        if "ChangedCustomerAttributes" in request.renamed:
            content = CustomerRows(tuple(Span(s.customers, _with_earlier_keys(s.fields)) for s in content.spans))
    return content


def _said_of(rows: Sequence[Any], words: Mapping[str, str]) -> str | None:
    """The words for the first row that is, or has in a field, a value that there are words for."""
    for row in rows if words else ():
        for value in row.values() if isinstance(row, dict) else (row,):
            if (said := words.get(str(value))) is not None:
                return said
    return None


def _with_earlier_keys(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{key}s" if key.endswith("alCustomerAttribute") else key: value for key, value in fields.items()}


def _attribute(account: Account, name: str) -> Attribute:
    attribute = account.world.attributes.get(name.lower())
    if attribute is None:
        raise Refused(f"{name!r} is not a customer attribute; see GetCustomerAttributeList")
    return attribute


def _attribute_values(account: Account, attributes: list[Attribute], delimiter: str) -> Callable[[int], Any]:
    erased = account.erased_customers
    columns = [(attribute.value, attribute.personal) for attribute in attributes]

    def values(customer: int) -> Any:
        gone = bool(erased) and customer_id(customer) in erased
        listed = ["" if gone and personal else value(customer) for value, personal in columns]
        return delimiter.join(listed) if account.attributes_as_text else listed

    return values


def _name_of(names: Mapping[int, str], key: str, number: int) -> dict[str, str] | None:
    return {key: names[number]} if number in names else None


def _number_of(names: Mapping[int, str], key: str, name: str) -> dict[str, int] | None:
    return next(({key: number} for number, known in names.items() if known.lower() == name.lower()), None)


def _table(names: Mapping[Any, str], number_key: str, name_key: str) -> list[dict[str, Any]]:
    return [{number_key: number, name_key: name} for number, name in names.items()]


def _dates(values: Values) -> tuple[datetime.date, datetime.date]:
    first, last = values["StartDate"], values["EndDate"]
    if last < first:
        raise Refused("EndDate must not be before StartDate")
    return first, last


# General


@answers("GetLastDataUpdate")
def _last_data_update(account: Account, values: Values) -> Any:
    return {"Date": account.last_data_update.isoformat()}


@answers("RegisterEventListener")
def _register_event_listener(account: Account, values: Values) -> Any:
    if values["EventTypeID"] not in LISTENER_EVENT_TYPES:
        raise Refused(f"EventTypeID {values['EventTypeID']} is not known")
    listener = Listener(values["EventTypeID"], values.get("ChannelID"), _decoded_url(values["ListenerURL"]))
    if listener not in account.listeners:
        account.listeners.append(listener)
    return NOTHING


@answers("UnregisterEventListener")
def _unregister_event_listener(account: Account, values: Values) -> Any:
    url = _decoded_url(values["ListenerURL"]) if "ListenerURL" in values else None
    account.listeners[:] = [
        listener
        for listener in account.listeners
        if listener.event_type_id != values["EventTypeID"]
        or values.get("ChannelID", listener.channel_id) != listener.channel_id
        or url not in (None, listener.url)
    ]
    return NOTHING


@answers("GetRegisteredEventListeners")
def _registered_event_listeners(account: Account, values: Values) -> Any:
    return [
        {"EventTypeID": event_type_id, "ChannelID": channel_id, "ListenerURL": quote(url, safe="")}
        for event_type_id, channel_id, url in account.listeners
        if values.get("ChannelID", channel_id) == channel_id
    ]


def _decoded_url(text: str) -> str:
    url = text if "://" in text else unquote(text)
    if urlsplit(url).scheme.lower() not in ("http", "https") or not urlsplit(url).netloc:
        raise Refused("ListenerURL must be an http or https address")
    return url


# Model


@answers("GetCustomerAttributeList")
def _customer_attribute_list(account: Account, values: Values) -> Any:
    return [{"RealFieldName": a.name, "Description": a.description} for a in account.world.attributes.values()]


@answers("GetLifecycleStageList")
def _lifecycle_stage_list(account: Account, values: Values) -> Any:
    return _table(LIFECYCLE_STAGES, "StageID", "StageName")


@answers("GetMicrosegmentList")
def _microsegment_list(account: Account, values: Values) -> Any:
    kinds = [f"{region}-{temper}" for region in REGIONS for temper in TEMPERS]
    names = [(stage, f"{stage_name}-{kind}") for stage, stage_name in LIFECYCLE_STAGES.items() for kind in kinds]
    return [
        {
            "MicrosegmentID": number,
            "MicrosegmentName": name,
            "LifecycleStageID": stage,
            "FutureValue": account.world.chance(2, number) % 150_000 / 100,
            "ChurnRate": account.world.chance(3, number) % 100 / 100,
            "ReactivationRate": account.world.chance(4, number) % 1000 / 10_000,
            "ConversionProbability": account.world.chance(5, number) % 101 / 100,
        }
        for number, (stage, name) in enumerate(names, 1)
    ]


@answers("GetMicrosegmentChangers")
def _microsegment_changers(account: Account, values: Values) -> Any:
    world = account.world
    return _rows(
        world.some(50, 6, account.last_data_update.toordinal()),
        InitialMicrosegmentID=world.previous_microsegment,
        FinalMicrosegmentID=world.microsegment,
    )


def _rows(customers: Iterable[int], **fields: Any) -> CustomerRows:
    listed = customers if isinstance(customers, range) else list(customers)
    return CustomerRows.of([Span(listed, {"CustomerID": customer_id, **fields})])


# Actions


@answers("GetActionName")
def _action_name(account: Account, values: Values) -> Any:
    return _name_of(account.world.actions, "ActionName", values["ActionID"])


@answers("GetActionID")
def _action_id(account: Account, values: Values) -> Any:
    return _number_of(account.world.actions, "ActionID", values["ActionName"])


@answers("GetAllActions")
def _all_actions(account: Account, values: Values) -> Any:
    return _table(account.world.actions, "ActionID", "ActionName")


@answers("GetActionsByTargetGroup")
def _actions_by_target_group(account: Account, values: Values) -> Any:
    return [
        {"RecipientGroupID": group, "ActionID": campaign.action(group)}
        for campaign in _campaigns_of_target_group(account, values)
        for group in campaign.recipient_groups
    ]


@answers("GetPromoCodes")
def _promo_codes(account: Account, values: Values) -> Any:
    return [
        {"TargetGroupID": campaign.target_group, **row}
        for campaign in account.recurring_campaigns(values["Date"])
        for row in _promo_code_rows(campaign)
    ]


@answers("GetPromoCodesByCampaign")
def _promo_codes_by_campaign(account: Account, values: Values) -> Any:
    campaign = account.campaign(values["CampaignID"])
    return _promo_code_rows(campaign) if campaign else []


@answers("GetPromoCodesByTargetGroup")
def _promo_codes_by_target_group(account: Account, values: Values) -> Any:
    return [row for campaign in _campaigns_of_target_group(account, values) for row in _promo_code_rows(campaign)]


@answers("GetActionDetailsByTargetGroup")
def _action_details_by_target_group(account: Account, values: Values) -> Any:
    return [
        {
            "RecipientGroupID": group,
            "ActionID": campaign.action(group),
            "Duration": campaign.duration,
            "LeadTime": campaign.lead_time,
            "ChannelID": channel,
        }
        for campaign in _campaigns_of_target_group(account, values)
        for group in campaign.recipient_groups
        for channel in campaign.kind.channels
    ]


@answers("GetExecutedCampaignDetails")
def _executed_campaign_details(account: Account, values: Values) -> Any:
    date = values["Date"]
    if date > account.today:
        return []
    ahead = (
        campaign
        for days in range(1, 4)
        for campaign in account.world.campaigns(date + days * DAY)
        if campaign.lead_time == days and campaign.executed
    )
    return [
        {"CampaignID": campaign.number, **_campaign_details(account, campaign)}
        for campaign in (*account.executed_campaigns(date), *ahead)
    ]


@answers("GetCampaignDetails")
def _details_of_campaign(account: Account, values: Values) -> Any:
    campaign = account.campaign(values["CampaignID"])
    return _campaign_details(account, campaign) if campaign else None


def _campaign_details(account: Account, campaign: Campaign) -> dict[str, Any]:
    planned = account.planned(campaign)
    return {
        "TargetGroupID": campaign.target_group,
        "CampaignType": campaign.kind.type,
        "Duration": campaign.duration,
        "LeadTime": campaign.lead_time,
        "Notes": "",
        "IsMultiChannel": len(campaign.kind.channels) > 1,
        "IsRecurrence": not campaign.kind.one_time,
        "Status": "Not Run" if planned else campaign.status,
        "Error": None if planned else campaign.error,
    }


def _promo_code_rows(campaign: Campaign) -> list[dict[str, Any]]:
    if not campaign.kind.promotion:
        return []
    return [
        {"RecipientGroupID": group, "ActionID": campaign.action(group), "PromoCode": campaign.promo_code(group)}
        for group in campaign.recipient_groups
    ]


def _campaigns_of_target_group(account: Account, values: Values) -> Iterator[Campaign]:
    campaigns = account.recurring_campaigns(values["Date"])
    return (campaign for campaign in campaigns if campaign.target_group == values["TargetGroupID"])


@answers("GetExecutionChannels")
def _execution_channels(account: Account, values: Values) -> Any:
    return _table(CHANNELS, "ChannelID", "ChannelName")


@answers("GetExecutedCampaignChannelDetails")
def _executed_campaign_channel_details(account: Account, values: Values) -> Any:
    campaign, channel = account.executed_campaign(values["CampaignID"]), values["ChannelID"]
    if campaign is None or channel not in campaign.kind.channels:
        return []
    return [
        {
            "SendID": campaign.send_id(channel, group),
            "TemplateID": campaign.template(channel, group),
            "ScheduledTime": campaign.scheduled_time(channel),
        }
        for group in campaign.recipient_groups
    ]


@answers("GetExecutedCampaignsByChannel")
def _executed_campaigns_by_channel(account: Account, values: Values) -> Any:
    return [
        {"CampaignID": campaign.number}
        for campaign in account.executed_campaigns(values["Date"])
        if values["ChannelID"] in campaign.kind.channels
    ]


# Target groups


@answers("GetTargetGroupName")
def _target_group_name(account: Account, values: Values) -> Any:
    return _name_of(account.world.target_groups, "TargetGroupName", values["TargetGroupID"])


@answers("GetTargetGroupID")
def _target_group_id(account: Account, values: Values) -> Any:
    return _number_of(account.world.target_groups, "TargetGroupID", values["TargetGroupName"])


@answers("GetTargetGroupsByDate")
def _target_groups_by_date(account: Account, values: Values) -> Any:
    groups = {campaign.target_group for campaign in account.recurring_campaigns(values["Date"])}
    return [{"TargetGroupID": group} for group in sorted(groups)]


@answers("GetTargetGroupDetails")
def _target_group_details(account: Account, values: Values) -> Any:
    rows = _table(account.world.target_groups, "TargetGroupID", "TargetGroupName")
    return [{**row, "TargetGroupPriority": priority} for priority, row in enumerate(rows, 1)]


# Customers


def _sends(
    account: Account,
    campaigns: Iterable[Campaign],
    fields: Callable[[Campaign, int, int], Mapping[str, Any]],
    *,
    control_group: bool = False,
    channel: int | None = None,
) -> CustomerRows:
    """One row a customer and channel; ``fields`` gets campaign, recipient group and channel."""
    return CustomerRows.of(
        Span(customers, {"CustomerID": customer_id, **fields(campaign, group, on)})
        for campaign in campaigns
        for on in campaign.kind.channels
        if channel in (None, on)
        for group, customers in account.world.recipients(campaign)
        if group != 0 or control_group
    )


def _receivers(
    account: Account, campaigns: Iterable[Campaign], fields: Callable[[Campaign, int], Mapping[str, Any]]
) -> CustomerRows:
    """One row a customer of a campaign, whatever the channels; ``fields`` gets campaign and recipient group."""
    return CustomerRows.of(
        Span(customers, {"CustomerID": customer_id, **fields(campaign, group)})
        for campaign in campaigns
        for group, customers in account.world.recipients(campaign)
        if group != 0
    )


def _campaign_of(account: Account, values: Values, *, one_time: bool = False) -> list[Campaign]:
    """The executed campaign that is asked for, if there is one."""
    campaign = account.executed_campaign(values["CampaignID"])
    return [campaign] if campaign is not None and (campaign.kind.one_time or not one_time) else []


def _action_on_channel(campaign: Campaign, group: int, channel: int) -> dict[str, Any]:
    return {"ActionID": campaign.action(group), "ChannelID": channel}


def _action_of_group_on_channel(campaign: Campaign, group: int, channel: int) -> dict[str, Any]:
    return {"RecipientGroupID": group, **_action_on_channel(campaign, group, channel)}


@answers("GetCustomersByAction")
def _customers_by_action(account: Account, values: Values) -> Any:
    wanted, action = values["RecipientGroupID"], values["ActionID"]
    return CustomerRows.of(
        Span(customers, {"CustomerID": customer_id})
        for campaign in account.executed_campaigns(values["Date"])
        for group, customers in account.world.recipients(campaign)
        if group == wanted and campaign.action(group) == action
    )


@answers("GetCustomerActionsByTargetGroup")
def _customer_actions_by_target_group(account: Account, values: Values) -> Any:
    return _sends(
        account,
        _campaigns_of_target_group(account, values),
        _action_of_group_on_channel if values.get("IncludeRecipientGroupID") else _action_on_channel,
        control_group=values.get("IncludeControlGroup", False),
        channel=values.get("ChannelID"),
    )


@answers("GetCustomerOneTimeActionsByDate")
def _customer_one_time_actions_by_date(account: Account, values: Values) -> Any:
    return _sends(
        account,
        (campaign for campaign in account.executed_campaigns(values["Date"]) if campaign.kind.one_time),
        _action_on_channel,
        control_group=values.get("IncludeControlGroup", False),
        channel=values.get("ChannelID"),
    )


@answers("GetCustomerOneTimeActionsByCampaign")
def _customer_one_time_actions_by_campaign(account: Account, values: Values) -> Any:
    return _sends(
        account,
        _campaign_of(account, values, one_time=True),
        _action_of_group_on_channel,
        control_group=values.get("IncludeControlGroup", False),
        channel=values.get("ChannelID"),
    )


@answers("GetCustomerAttributeChangers")
def _customer_attribute_changers(account: Account, values: Values) -> Any:
    first, last = _dates(values)
    attribute = _attribute(account, values["ChangedCustomerAttribute"])
    if attribute.name not in WATCHED_ATTRIBUTES:
        raise Refused(f"changes of {attribute.name} are not watched, only those of {', '.join(WATCHED_ATTRIBUTES)}")
    if not account.has_recent_data(first, last):
        return CustomerRows(())
    world = account.world

    def before(customer: int) -> str | None:
        neighbor = (customer + 1) % world.customers
        return None if world.chance(31, customer) % 8 == 0 else attribute.value(neighbor)

    return _rows(
        world.some(40, 7, last.toordinal(), len(attribute.name)),
        InitialCustomerAttribute=before,
        FinalCustomerAttribute=attribute.value,
    )


@answers("GetCustomerFutureValues")
def _customer_future_values(account: Account, values: Values) -> Any:
    world = account.world
    customers: list[Any] = [world.everyone]
    if "LifecycleStageID" in values:
        stages = sorted(set(values["LifecycleStageID"]))
        unknown = [stage for stage in stages if stage not in LIFECYCLE_STAGES]
        if unknown:
            raise Refused(f"LifecycleStageID {unknown[0]} is not known; see GetLifecycleStageList")
        customers = [part for stage in stages for part in world.with_residues(STAGE_OF_RESIDUE, stage)]
    elif "CustomerAttribute" in values:
        attribute = _attribute(account, values["CustomerAttribute"])
        wanted = values["CustomerAttributeValue"].lower()
        customers = [[c for c in world.everyone if attribute.value(c).lower() == wanted]]
    return CustomerRows.of(
        Span(part, {"CustomerID": customer_id, "FutureValue": world.future_value}) for part in customers
    )


@answers("GetCustomerLastActionExecuted")
def _customer_last_action_executed(account: Account, values: Values) -> Any:
    customer = account.world.customer(values["CustomerID"])
    if customer is None:
        return None
    for days in range(60):
        for campaign in account.executed_campaigns(account.today - days * DAY):
            group = _group_of(account, campaign, customer)
            if group:
                return {
                    "ActionID": campaign.action(group),
                    "Date": campaign.date.isoformat(),
                    "Duration": campaign.duration,
                    "TargetGroupID": campaign.target_group,
                }
    return None


def _group_of(account: Account, campaign: Campaign, customer: int) -> int | None:
    place = account.world.place(campaign, customer)
    return None if place is None else campaign.group_of_place(place)


@answers("GetCustomerActionDetailsByDate")
def _customer_action_details_by_date(account: Account, values: Values) -> Any:
    return _sends(account, account.executed_campaigns(values["Date"]), _action_of_group_on_channel)


@answers("GetCustomersActionEndedByDate")
def _customers_action_ended_by_date(account: Account, values: Values) -> Any:
    def ended(campaign: Campaign, group: int, channel: int) -> dict[str, Any]:
        return {
            **_action_on_channel(campaign, group, channel),
            "Date": campaign.date.isoformat(),
            "Duration": campaign.duration,
            "TargetGroupID": campaign.target_group,
        }

    campaigns = _campaigns_until(account, values["Date"], LONGEST_DURATION)
    return _sends(account, (campaign for campaign in campaigns if campaign.ends == values["Date"]), ended)


def _campaigns_until(account: Account, last: datetime.date, days: int) -> Iterator[Campaign]:
    """The campaigns that reached customers on a day or in the days before."""
    if last >= FIRST_CAMPAIGN_DAY:
        yield from _campaigns_between(account, last - days * DAY, last)


def _campaigns_between(account: Account, first: datetime.date, last: datetime.date) -> Iterator[Campaign]:
    first, last = max(first, FIRST_CAMPAIGN_DAY), min(last, account.today)
    for days in range((last - first).days + 1):
        yield from account.executed_campaigns(first + days * DAY)


@answers("GetCustomerExecutionDetailsByCampaign")
def _customer_execution_details_by_campaign(account: Account, values: Values) -> Any:
    def execution(campaign: Campaign, group: int, channel: int) -> dict[str, Any]:
        return {
            **_action_on_channel(campaign, group, channel),
            "TemplateID": campaign.template(channel, group),
            "ScheduleTime": campaign.scheduled_time(channel),
            "PromoCode": campaign.promo_code(group),
        }

    return _sends(account, _campaign_of(account, values), execution, channel=values.get("ChannelID"))


@answers("GetCustomerSendDetailsByCampaign")
def _customer_send_details_by_campaign(account: Account, values: Values) -> Any:
    def send(campaign: Campaign, group: int, channel: int) -> dict[str, Any]:
        fields: dict[str, Any] = {
            "ChannelID": channel,
            "ScheduledTime": campaign.scheduled_time(channel),
            "SendID": campaign.send_id(channel, group),
        }
        if values.get("IncludeTemplateIDs"):
            fields["TemplateID"] = campaign.template(channel, group)
        if channel in PUSH_CHANNELS:
            fields["AppID"] = "app-1"
        return fields

    return _sends(account, _campaign_of(account, values), send)


@answers("GetCustomerSendDetailsByChannel")
def _customer_send_details_by_channel(account: Account, values: Values) -> Any:
    def send(campaign: Campaign, group: int, channel: int) -> dict[str, Any]:
        return {"TemplateID": campaign.template(channel, group), "ScheduledTime": campaign.scheduled_time(channel)}

    return _sends(account, _campaign_of(account, values), send, channel=values["ChannelID"])


@answers("GetProcessedCampaignCustomers")
def _processed_campaign_customers(account: Account, values: Values) -> Any:
    return _receivers(
        account, _campaign_of(account, values), lambda campaign, group: {"PromoCode": campaign.promo_code(group)}
    )


@answers("GetCurrentlyTargetedCustomers")
def _currently_targeted_customers(account: Account, values: Values) -> Any:
    def target(campaign: Campaign, group: int) -> dict[str, Any]:
        return {
            "CampaignID": campaign.number,
            "ActionID": campaign.action(group),
            "StartDate": campaign.date.isoformat(),
            "EndDate": campaign.ends.isoformat(),
        }

    campaigns = _campaigns_until(account, account.today, LONGEST_DURATION)
    return _receivers(account, (campaign for campaign in campaigns if campaign.ends > account.today), target)


@answers("GetCanceledCampaignCustomers")
def _canceled_campaign_customers(account: Account, values: Values) -> Any:
    campaign = account.campaign(values["CampaignID"])
    canceled = [campaign] if campaign is not None and campaign.kind.canceled else []
    return _receivers(
        account,
        canceled,
        lambda campaign, group: {"ActionID": campaign.action(group), "PromoCode": campaign.promo_code(group)},
    )


def _product_fields(account: Account, values: Values, rank: int) -> dict[str, Any]:
    """ProductID and, when asked for, ProductAttributes of the customer's product of a rank."""
    world = account.world
    names = [name.lower() for name in values.get("ProductAttributes", ())]
    for name in names:
        if name not in PRODUCT_ATTRIBUTES:
            raise Refused(f"{name!r} is not a product attribute; known are {', '.join(PRODUCT_ATTRIBUTES)}")
    fields: dict[str, Any] = {"ProductID": lambda customer: world.product(customer, rank)}
    if names:
        fields["ProductAttributes"] = lambda customer: [
            world.product_attribute(name, world.product(customer, rank)) for name in names
        ]
    return fields


def _products_of_campaigns(account: Account, values: Values, campaigns: Iterable[Campaign]) -> CustomerRows:
    fields = _product_fields(account, values, 0)
    return _receivers(account, (c for c in campaigns if c.kind.products), lambda campaign, group: fields)


@answers("GetCustomerProductDetailsByCampaign")
def _customer_product_details_by_campaign(account: Account, values: Values) -> Any:
    return _products_of_campaigns(account, values, _campaign_of(account, values))


@answers("GetCustomerProductDetailsByDate")
def _customer_product_details_by_date(account: Account, values: Values) -> Any:
    return _products_of_campaigns(account, values, account.executed_campaigns(values["Date"]))


@answers("GetCustomerProductRecommendations")
def _customer_product_recommendations(account: Account, values: Values) -> Any:
    world = account.world
    type_of_rank = [REPLENISHMENT, *[RECOMMENDATION] * (RECOMMENDATIONS_A_CUSTOMER - 1)]
    customers: Any = world.everyone
    if "CustomerID" in values:
        customer = world.customer(values["CustomerID"])
        customers = [] if customer is None else [customer]
    spans = []
    for rank, kind in enumerate(type_of_rank):
        if values.get("RecommendationType", kind) != kind:
            continue
        fields = {"RecommendationType": kind, **_product_fields(account, values, rank)}
        if not values.get("SuggestedInCampaign"):
            spans.append(Span(customers, {"CustomerID": customer_id, **fields}))
        elif rank == 0:
            for span in _suggested(account, values).spans:
                members = (
                    span.customers if "CustomerID" not in values else [c for c in customers if c in span.customers]
                )
                spans.append(Span(members, {"CustomerID": customer_id, **fields}))
    return CustomerRows.of(spans)


def _suggested(account: Account, values: Values) -> CustomerRows:
    dated = "StartDate" in values and "EndDate" in values
    first, last = _dates(values) if dated else (account.today - 30 * DAY, account.today)
    campaigns = (c for c in _campaigns_between(account, first, last) if c.kind.products)
    return _receivers(account, campaigns, lambda campaign, group: {})


@answers("GetCampaignInteractionCustomers")
def _campaign_interaction_customers(account: Account, values: Values) -> Any:
    date, channel, event = values["Date"], values["ChannelID"], values["EventID"]
    spans = []
    if channel in CHANNELS_WITH_CUSTOMER_METRICS and event in INTERACTS_ONE_IN:
        one_in = INTERACTS_ONE_IN[event]
        spans = [
            Span(
                customers[campaign.variation % one_in :: one_in],
                {
                    "CustomerID": customer_id,
                    "CampaignID": campaign.number,
                    "TemplateID": campaign.template(channel, group),
                },
            )
            for campaign in account.executed_campaigns(date)
            if channel in campaign.kind.channels
            for group, customers in account.world.recipients(campaign)
            if group != 0
        ]
    for told in account.interactions:
        campaign = account.campaign(told["CampaignID"])
        delivered = campaign.date if campaign else told["InteractionDate"]
        if (delivered, told["ChannelID"], told["EventID"]) == (date, channel, event):
            ids = told["CustomerIDs"]
            fields = {"CustomerID": ids.__getitem__, "CampaignID": told["CampaignID"], "TemplateID": told["TemplateID"]}
            spans.append(Span(range(len(ids)), fields))
    return CustomerRows.of(spans)


@answers("GetCustomerChannelInteractions")
def _customer_channel_interactions(account: Account, values: Values) -> Any:
    first, last = _dates(values)
    customer, channel = account.world.customer(values["CustomerID"]), values.get("ChannelID")
    rows = []
    for campaign in _campaigns_between(account, first, last) if customer is not None else ():
        place = account.world.place(campaign, customer or 0)
        group = 0 if place is None else campaign.group_of_place(place)
        if place is None or group == 0:
            continue
        rows += [
            _interaction(campaign, campaign.date, group, on, campaign.template(on, group), event)
            for on in campaign.kind.channels
            if on in CHANNELS_WITH_CUSTOMER_METRICS and channel in (None, on)
            for event, one_in in INTERACTS_ONE_IN.items()
            if (place // 10 - campaign.variation) % one_in == 0
        ]
    rows += [
        _interaction(
            account.campaign(told["CampaignID"]) or told["CampaignID"],
            told["InteractionDate"],
            told["RecipientGroupID"],
            told["ChannelID"],
            told["TemplateID"],
            told["EventID"],
        )
        for told in account.interactions
        if first <= told["InteractionDate"] <= last
        and channel in (None, told["ChannelID"])
        and values["CustomerID"] in told["CustomerIDs"]
    ]
    return CustomerRows.of(Span((0,), row) for row in rows)


def _interaction(
    campaign: Campaign | int, date: datetime.date, group: int, channel: int, template: int, event: int
) -> dict[str, Any]:
    return {
        "Date": date.isoformat(),
        "CampaignID": campaign if isinstance(campaign, int) else campaign.number,
        "RecipientGroupID": group,
        "ActionID": CONTROL_ACTION if isinstance(campaign, int) else campaign.action(group),
        "ChannelID": channel,
        "TemplateID": template,
        "EventID": event,
    }


@answers("GetExternalRealtimeCampaignCustomers")
def _external_realtime_campaign_customers(account: Account, values: Values) -> Any:
    def realtime(campaign: Campaign, group: int) -> dict[str, Any]:
        return {
            "CampaignID": campaign.number,
            "TriggerID": campaign.variation % 4 + 1,
            "ActionID": campaign.action(group),
            "TargetGroupID": campaign.target_group,
            "RecipientGroupID": group,
            "PromoCode": campaign.promo_code(group),
        }

    date = values["ExecutionDate"]
    campaigns = (c for c in _campaign_of(account, values) if c.kind.realtime and c.date == date)
    return _receivers(account, campaigns, realtime)


@answers("GetCustomerActivityEventAttributes")
def _customer_activity_event_attributes(account: Account, values: Values) -> Any:
    date, event, world = values["Date"], values["EventID"], account.world
    if event not in ACTIVITY_EVENTS or date >= account.today:
        return CustomerRows(())
    name, parameters = ACTIVITY_EVENTS[event]
    for wanted in values.get("EventParamIDs", ()):
        if wanted not in parameters:
            raise Refused(f"EventParamIDs {wanted} is no parameter of the event {event}; see GetActivityEventList")
    chosen = [parameters[number] for number in values.get("EventParamIDs", parameters)]

    def events(customer: int) -> list[dict[str, Any]]:
        chance = world.chance(8, customer, date.toordinal(), event)
        made = {"Number": chance % 500, "Boolean": chance % 2 == 0, "String": f"{name}-{chance % 9}"}
        return [{"id": event, "name": name, **{parameter: made[kind] for parameter, kind in chosen}}]

    return _rows(world.some(25, 9, date.toordinal(), event), Events=events)


@answers("RemoveCustomerPII")
def _remove_customer_pii(account: Account, values: Values) -> Any:
    failed = []
    for given in values["CustomerIDs"]:
        customer = account.world.customer(given)
        if customer is None or customer_id(customer) in account.erased_customers:
            failed.append(given)
        else:
            account.erased_customers.add(customer_id(customer))
    return {"FailedCustomerIDs": failed}


# Value segments


@answers("GetValueSegmentName")
def _value_segment_name(account: Account, values: Values) -> Any:
    return _name_of(VALUE_SEGMENTS, "ValueSegmentName", values["ValueSegmentID"])


@answers("GetValueSegmentID")
def _value_segment_id(account: Account, values: Values) -> Any:
    return _number_of(VALUE_SEGMENTS, "ValueSegmentID", values["ValueSegmentName"])


@answers("GetValueSegments")
def _value_segments(account: Account, values: Values) -> Any:
    return _table(VALUE_SEGMENTS, "ValueSegmentID", "ValueSegmentName")


@answers("GetCustomersByValueSegment")
def _customers_by_value_segment(account: Account, values: Values) -> Any:
    if not account.has_recent_data(values["Date"]):
        return CustomerRows(())
    parts = account.world.with_residues(SEGMENT_OF_RESIDUE, values["ValueSegmentID"])
    return CustomerRows.of(Span(part, {"CustomerID": customer_id}) for part in parts)


@answers("GetValueSegmentChangers")
def _value_segment_changers(account: Account, values: Values) -> Any:
    given = [values[name] for name in ("StartDate", "EndDate") if name in values]
    if len(given) == 2:
        _dates(values)
    if not account.has_recent_data(*given):
        return CustomerRows(())
    world = account.world
    return _rows(
        world.some(50, 10, account.last_data_update.toordinal()),
        InitialValueSegmentID=world.previous_segment,
        FinalValueSegmentID=world.segment,
    )


# Integrations


@answers("AddPromotions")
def _add_promotions(account: Account, values: Values) -> Any:
    account.promotions |= {row["PromoCode"]: row["PromotionName"] for row in values["Promotions"]}
    return NOTHING


@answers("GetPromotions")
def _promotions(account: Account, values: Values) -> Any:
    return _table(account.promotions, "PromoCode", "PromotionName")


@answers("DeletePromotions")
def _delete_promotions(account: Account, values: Values) -> Any:
    for row in values["Promotions"]:
        account.promotions.pop(row["PromoCode"], None)
    return NOTHING


@answers("UpdateCustomerPromotionStatus")
def _update_customer_promotion_status(account: Account, values: Values) -> Any:
    statuses = account.promotion_statuses.setdefault(values["CampaignID"], {})
    statuses |= {row["CustomerID"]: row["Status"] for row in values["PromosUpdated"]}
    return NOTHING


@answers("AddChannelTemplates")
def _add_channel_templates(account: Account, values: Values) -> Any:
    templates = account.channel_templates.setdefault(values["ChannelID"], {})
    templates |= {row["TemplateID"]: row["TemplateName"] for row in values["Templates"]}
    return NOTHING


@answers("GetChannelTemplates")
def _channel_templates(account: Account, values: Values) -> Any:
    return _table(account.channel_templates.get(values["ChannelID"], {}), "TemplateID", "TemplateName")


@answers("GetChannelTemplateDetails")
def _channel_template_details(account: Account, values: Values) -> Any:
    name = account.channel_templates.get(values["ChannelID"], {}).get(values["TemplateID"])
    if name is None:
        return []
    attributes = ["From:Sandbox", "Reply-to:sandbox@example.com", f"Subject:{name}"]
    return [{"TemplateContent": f"Hi [%FIRST_NAME%], {name}!", "TemplateAttributes": attributes}]


@answers("DeleteChannelTemplates")
def _delete_channel_templates(account: Account, values: Values) -> Any:
    for row in values["Templates"]:
        account.channel_templates.get(row["ChannelID"], {}).pop(row["TemplateID"], None)
    return NOTHING


@answers("AddChannelApps")
def _add_channel_apps(account: Account, values: Values) -> Any:
    apps = account.apps.setdefault(values["ChannelID"], {})
    apps |= {row["AppID"]: row["AppName"] for row in values["Apps"]}
    return NOTHING


@answers("DeleteChannelApps")
def _delete_channel_apps(account: Account, values: Values) -> Any:
    for row in values["Apps"]:
        account.apps.get(row["ChannelID"], {}).pop(row["AppID"], None)
    return NOTHING


@answers("AddExternalRealtimeTriggers")
def _add_external_realtime_triggers(account: Account, values: Values) -> Any:
    account.realtime_triggers |= {row["TriggerID"]: row["TriggerName"] for row in values["RealtimeTriggers"]}
    return NOTHING


@answers("GetExternalRealtimeTriggers")
def _external_realtime_triggers(account: Account, values: Values) -> Any:
    return _table(account.realtime_triggers, "TriggerID", "TriggerName")


@answers("GetActivityEventList")
def _activity_event_list(account: Account, values: Values) -> Any:
    return [
        {
            "ID": event,
            "Name": name,
            "Event_Parameters": [
                {"id": number, "name": parameter, "type": kind} for number, (parameter, kind) in parameters.items()
            ],
        }
        for event, (name, parameters) in ACTIVITY_EVENTS.items()
    ]


@answers("UpdateCampaignMetrics")
def _update_campaign_metrics(account: Account, values: Values) -> Any:
    account.metrics += [{**row, "RecipientGroupID": row.get("RecipientGroupID", 1)} for row in values["Metrics"]]
    return NOTHING


@answers("UpdateCampaignInteractions")
def _update_campaign_interactions(account: Account, values: Values) -> Any:
    account.interactions.append({"RecipientGroupID": 1, **values})
    return NOTHING


@answers("SetCustomerChannelPreference")
def _set_customer_channel_preference(account: Account, values: Values) -> Any:
    preferences = account.preferences.setdefault((values["ChannelID"], values.get("AppID")), {})
    preferences |= dict.fromkeys(values["CustomerIDs"], values["CommunicationMode"])
    return NOTHING


# Transactional mail


@answers("SendTransactionalMail")
def _send_transactional_mail(account: Account, values: Values) -> Any:
    message = values.get("UniqueMessageID")
    if message is not None and account.refuse_unique_message_id:
        raise Refused("SendTransactionalMail does not recognize the parameter 'UniqueMessageID'")
    if message is not None and any(mail.get("UniqueMessageID") == message for mail in account.mails):
        raise Refused("a mail with this UniqueMessageID was sent before", 409)
    if values["TemplateID"] not in MAIL_TEMPLATES:
        return _mail_failure("Invalid template")
    error = _said_of(values["Recipients"], account.failing_mails)
    if error is not None:
        return _mail_failure(error)
    send_id = FIRST_SEND_ID + len(account.mails)
    account.mails.append({"SendID": send_id, **values})
    return {"IsSuccess": True, "SendID": send_id, "Error": None}


def _mail_failure(error: str) -> dict[str, Any]:
    return {"IsSuccess": False, "SendID": None, "Error": error}


@answers("GetTransactionalTemplateMetrics")
def _transactional_template_metrics(account: Account, values: Values) -> Any:
    template = values["TemplateID"]
    if template not in MAIL_TEMPLATES:
        return None
    days = values.get("LastNumberOfDays", DEFAULT_MAIL_DAYS)
    mailed = {row["Email"].lower() for mail in _mails_of(account, template) for row in mail["Recipients"]}
    return _mail_metrics(template, (100 + account.world.chance(32, template) % 200) * days + len(mailed))


@answers("GetTransactionalUserMetrics")
def _transactional_user_metrics(account: Account, values: Values) -> Any:
    email = values["Email"].lower()
    customer = account.world.customer_of_mail_address(email)
    rows = []
    for template in MAIL_TEMPLATES:
        mailed = sum(
            row["Email"].lower() == email for mail in _mails_of(account, template) for row in mail["Recipients"]
        )
        received = account.world.chance(33, customer, template) % 20 if customer is not None else 0
        if mailed + received:
            rows.append(_mail_metrics(template, mailed + received))
    return {"MetricsList": rows} if rows else None


def _mails_of(account: Account, template: int) -> Iterator[dict[str, Any]]:
    return (mail for mail in account.mails if mail["TemplateID"] == template)


def _mail_metrics(template: int, sent: int) -> dict[str, int]:
    delivered = sent - sent // 50
    return {
        "TemplateID": template,
        "Sent": sent,
        "Delivered": delivered,
        "Opened": delivered // 3,
        "Clicked": delivered // 9,
    }
