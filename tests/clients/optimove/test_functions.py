"""The catalogue against a copy of Optimove's usage guide that was written without looking at the declarations."""

from __future__ import annotations

import inspect
import re
import typing
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from airflow_provider_optimove.clients.optimove.client import OptimoveClient
from airflow_provider_optimove.clients.optimove.functions import api_name, catalogue, names_without_case, row_fields
from airflow_provider_optimove.clients.optimove.functions.types import (
    Boolean,
    CalendarDate,
    Format,
    Integer,
    Joined,
    Rows,
    Secret,
    Text,
    UtcTime,
)

# group: verb Name(parameters) -> what comes back
# "?" marks what may be left out; "[...]" is an array; "string;" and "string," are lists joined with that character;
# "nothing", "text" and "date" are answers without fields; "body" is a parameter that is the body itself.
GUIDE = """
general: POST Login(UserName string, Password string) -> text
general: GET GetLastDataUpdate() -> date
general: POST RegisterEventListener(EventTypeID integer, ListenerURL string, ChannelID integer?) -> nothing
general: POST UnregisterEventListener(EventTypeID integer, ChannelID integer?, ListenerURL string?) -> nothing
general: GET GetRegisteredEventListeners(ChannelID integer?) -> [EventTypeID, ChannelID, ListenerURL]

model: GET GetCustomerAttributeList() -> [RealFieldName, Description]
model: GET GetLifecycleStageList() -> [StageID, StageName]
model: GET GetMicrosegmentList() -> [MicrosegmentID, MicrosegmentName, LifecycleStageID, FutureValue, ChurnRate,
    ReactivationRate, ConversionProbability]
model: GET GetMicrosegmentChangers() -> [CustomerID, InitialMicrosegmentID, FinalMicrosegmentID, CustomerAttributes]

actions: GET GetActionName(ActionID integer) -> {ActionName}
actions: GET GetActionID(ActionName string) -> {ActionID}
actions: GET GetAllActions() -> [ActionID, ActionName]
actions: GET GetActionsByTargetGroup(TargetGroupID integer, Date date) -> [RecipientGroupID, ActionID]
actions: GET GetPromoCodes(Date date) -> [TargetGroupID, RecipientGroupID, ActionID, PromoCode]
actions: GET GetPromoCodesByCampaign(CampaignID integer) -> [RecipientGroupID, ActionID, PromoCode]
actions: GET GetPromoCodesByTargetGroup(TargetGroupID integer, Date date) -> [RecipientGroupID, ActionID, PromoCode]
actions: GET GetActionDetailsByTargetGroup(TargetGroupID integer, Date date) -> [RecipientGroupID, ActionID, Duration,
    LeadTime, ChannelID]
actions: GET GetExecutedCampaignDetails(Date date) -> [CampaignID, TargetGroupID, CampaignType, Duration, LeadTime,
    Notes, IsMultiChannel, IsRecurrence, Status, Error]
actions: GET GetCampaignDetails(CampaignID integer) -> {TargetGroupID, CampaignType, Duration, LeadTime, Notes,
    IsMultiChannel, IsRecurrence, Status, Error}
actions: GET GetExecutionChannels() -> [ChannelID, ChannelName]
actions: GET GetExecutedCampaignChannelDetails(CampaignID integer, ChannelID integer) -> [SendID, TemplateID,
    ScheduledTime]
actions: GET GetExecutedCampaignsByChannel(ChannelID integer, Date date) -> [CampaignID]

groups: GET GetTargetGroupName(TargetGroupID integer) -> {TargetGroupName}
groups: GET GetTargetGroupID(TargetGroupName string) -> {TargetGroupID}
groups: GET GetTargetGroupsByDate(Date date) -> [TargetGroupID]
groups: GET GetTargetGroupDetails() -> [TargetGroupID, TargetGroupName, TargetGroupPriority]

customers: GET GetCustomersByAction(RecipientGroupID integer, ActionID integer, Date date) -> [CustomerID,
    CustomerAttributes]
customers: GET GetCustomerActionsByTargetGroup(TargetGroupID integer, Date date, ChannelID integer?,
    IncludeControlGroup boolean?, IncludeRecipientGroupID boolean?) -> [CustomerID, RecipientGroupID, ActionID,
    ChannelID, CustomerAttributes]
customers: GET GetCustomerOneTimeActionsByDate(Date date, ChannelID integer?, IncludeControlGroup boolean?)
    -> [CustomerID, ActionID, ChannelID, CustomerAttributes]
customers: GET GetCustomerOneTimeActionsByCampaign(CampaignID integer, ChannelID integer?,
    IncludeControlGroup boolean?) -> [CustomerID, RecipientGroupID, ActionID, ChannelID, CustomerAttributes]
customers: GET GetCustomerAttributeChangers(StartDate date, EndDate date, ChangedCustomerAttribute string)
    -> [CustomerID, InitialCustomerAttribute, FinalCustomerAttribute, CustomerAttributes]
customers: GET GetCustomerFutureValues(LifecycleStageID string,?, CustomerAttribute string?,
    CustomerAttributeValue string?) -> [CustomerID, FutureValue]
customers: GET GetCustomerLastActionExecuted(CustomerID string) -> {ActionID, Date, Duration, TargetGroupID}
customers: GET GetCustomerActionDetailsByDate(Date date) -> [CustomerID, RecipientGroupID, ActionID, ChannelID]
customers: GET GetCustomersActionEndedByDate(Date date) -> [CustomerID, ActionID, ChannelID, Date, Duration,
    TargetGroupID]
customers: GET GetCustomerExecutionDetailsByCampaign(CampaignID integer, ChannelID integer?) -> [CustomerID, ActionID,
    ChannelID, TemplateID, ScheduleTime, PromoCode, CustomerAttributes]
customers: GET GetCustomerSendDetailsByCampaign(CampaignID integer, IncludeTemplateIDs boolean?) -> [CustomerID,
    ChannelID, ScheduledTime, SendID, TemplateID]
customers: GET GetCustomerSendDetailsByChannel(ChannelID integer, CampaignID integer) -> [CustomerID, TemplateID,
    ScheduledTime, CustomerAttributes]
customers: GET GetProcessedCampaignCustomers(CampaignID integer) -> [CustomerID, PromoCode]
customers: GET GetCurrentlyTargetedCustomers() -> [CustomerID, CampaignID, ActionID, StartDate, EndDate]
customers: GET GetCanceledCampaignCustomers(CampaignID integer) -> [CustomerID, ActionID, PromoCode]
customers: GET GetCustomerProductDetailsByCampaign(CampaignID integer, ProductAttributes string,?) -> [CustomerID,
    ProductID, ProductAttributes]
customers: GET GetCustomerProductDetailsByDate(Date date, ProductAttributes string,?) -> [CustomerID, ProductID,
    ProductAttributes]
customers: GET GetCustomerProductRecommendations(RecommendationType integer?, SuggestedInCampaign boolean?,
    StartDate date?, EndDate date?, CustomerID string?, ProductAttributes string,?) -> [CustomerID, ProductID,
    RecommendationType, ProductAttributes]
customers: GET GetCampaignInteractionCustomers(Date date, ChannelID integer, EventID integer) -> [CustomerID,
    CampaignID, TemplateID]
customers: GET GetCustomerChannelInteractions(CustomerID string, StartDate date, EndDate date, ChannelID integer?)
    -> [Date, CampaignID, RecipientGroupID, ActionID, ChannelID, TemplateID, EventID]
customers: GET GetExternalRealtimeCampaignCustomers(ExecutionDate date, CampaignID integer) -> [CustomerID, CampaignID,
    TriggerID, ActionID, TargetGroupID, RecipientGroupID, PromoCode, CustomerAttributes]
customers: GET GetCustomerActivityEventAttributes(Date date, EventID integer, EventParamIDs string;?) -> [CustomerID,
    Events]
customers: POST RemoveCustomerPII(CustomerIDs [string]) -> {FailedCustomerIDs}

segments: GET GetValueSegmentName(ValueSegmentID integer) -> {ValueSegmentName}
segments: GET GetValueSegmentID(ValueSegmentName string) -> {ValueSegmentID}
segments: GET GetValueSegments() -> [ValueSegmentName, ValueSegmentID]
segments: GET GetCustomersByValueSegment(ValueSegmentID integer, Date date) -> [CustomerID, CustomerAttributes]
segments: GET GetValueSegmentChangers(StartDate date?, EndDate date?) -> [CustomerID, InitialValueSegmentID,
    FinalValueSegmentID, CustomerAttributes]

integrations: POST AddPromotions(body [PromoCode string, PromotionName string]) -> nothing
integrations: GET GetPromotions() -> [PromoCode, PromotionName]
integrations: POST DeletePromotions(body [PromoCode string]) -> nothing
integrations: POST UpdateCustomerPromotionStatus(TimeStamp DateTime, CampaignID integer,
    PromosUpdated [CustomerID string, Status boolean]) -> nothing
integrations: POST AddChannelTemplates(ChannelID integer, body [TemplateID integer, TemplateName string,
    AppID string?]) -> nothing
integrations: GET GetChannelTemplates(ChannelID integer) -> [TemplateID, TemplateName]
integrations: GET GetChannelTemplateDetails(TemplateID integer, ChannelID integer) -> [TemplateContent,
    TemplateAttributes]
integrations: POST DeleteChannelTemplates(body [ChannelID integer, TemplateID integer]) -> nothing
integrations: POST AddChannelApps(ChannelID integer, body [AppID string, AppName string]) -> nothing
integrations: POST DeleteChannelApps(body [ChannelID integer, AppID string]) -> nothing
integrations: POST AddExternalRealtimeTriggers(body [TriggerID string, TriggerName string]) -> nothing
integrations: GET GetExternalRealtimeTriggers() -> [TriggerID, TriggerName]
integrations: GET GetActivityEventList() -> [ID, Name, Event_Parameters]
integrations: POST UpdateCampaignMetrics(body [ChannelID integer, CampaignID integer, TemplateID integer,
    MetricID integer, MetricValue integer, RecipientGroupID integer?]) -> nothing
integrations: POST UpdateCampaignInteractions(CampaignID integer, ChannelID integer, InteractionDate date,
    TemplateID integer, EventID integer, CustomerIDs [string], RecipientGroupID integer?, AppID string?) -> nothing
integrations: POST SetCustomerChannelPreference(ChannelID integer, CustomerIDs [string], CommunicationMode integer,
    AppID string?) -> nothing

transactionalmail: POST SendTransactionalMail(TemplateID integer, ScheduleTime DateTime?,
    Recipients [Email string, Personalizations [Tag string, Value string]?], UniqueMessageID string?)
    -> {IsSuccess, SendID, Error}
transactionalmail: GET GetTransactionalTemplateMetrics(TemplateID integer, LastNumberOfDays integer?) -> {TemplateID,
    Sent, Delivered, Opened, Clicked}
transactionalmail: GET GetTransactionalUserMetrics(Email string, LastNumberOfDays integer?) -> {MetricsList}
"""

COUNTS = {
    "general": 5,
    "model": 4,
    "actions": 13,
    "groups": 4,
    "customers": 23,
    "segments": 5,
    "integrations": 16,
    "transactionalmail": 3,
}
PAGED_OUTSIDE_CUSTOMERS = {"GetMicrosegmentChangers", "GetCustomersByValueSegment", "GetValueSegmentChangers"}
UNPAGED_CUSTOMERS = {"GetCustomerLastActionExecuted", "RemoveCustomerPII"}
NOT_REPEATABLE = {"UpdateCampaignMetrics", "UpdateCampaignInteractions", "SendTransactionalMail"}
MOST_ROWS = {
    "AddPromotions": 100,
    "DeletePromotions": 100,
    "AddChannelTemplates": 100,
    "DeleteChannelTemplates": 100,
    "AddChannelApps": 100,
    "DeleteChannelApps": 100,
    "AddExternalRealtimeTriggers": 100,
    "UpdateCustomerPromotionStatus": 50_000,
    "UpdateCampaignInteractions": 50_000,
    "SetCustomerChannelPreference": 50_000,
    "RemoveCustomerPII": 50_000,
    "SendTransactionalMail": 200,
}
ATTRIBUTE_OPTIONS = {"CustomerAttributes", "CustomerAttributesDelimiter"}


@dataclass(frozen=True)
class GuideEntry:
    """A line of the guide's copy."""

    group: str
    verb: str
    name: str
    parameters: frozenset[str]
    answer: str
    fields: frozenset[str]


def _guide() -> Iterator[GuideEntry]:
    entry = re.compile(r"(\w+): (GET|POST) (\w+)\((.*?)\)\s+-> (\[.*?\]|\{.*?\}|\w+)(?=\n(?:\w+:|\n|\Z)|\Z)", re.DOTALL)
    for group, verb, name, parameters, answer in entry.findall(GUIDE.strip()):
        kind = {"[": "rows", "{": "object"}.get(answer[0], answer)
        fields = frozenset(re.findall(r"\w+", answer)) if answer[0] in "[{" else frozenset()
        normal = frozenset(" ".join(part.split()) for part in _parameters(parameters))
        yield GuideEntry(group, verb, name, normal, kind, fields)


def _parameters(text: str) -> Iterator[str]:
    depth, part = 0, ""
    for position, character in enumerate(text):
        depth += {"[": 1, "]": -1}.get(character, 0)
        if character == "," and not depth and text[position + 1 : position + 2].isspace():
            yield part
            part = ""
        else:
            part += character
    if part.strip():
        yield part


ENTRIES = {entry.name: entry for entry in _guide()}
NAMES = list(ENTRIES)


def _in_words(expected: Format) -> str:
    if isinstance(expected, Joined):
        return f"string{expected.separator}"
    if isinstance(expected, Rows):
        if not isinstance(expected.shape, type):
            return f"[{_in_words(expected.shape)}]"
        return f"[{', '.join(_field(f.name, f.format, f.required) for f in row_fields(expected.shape).values())}]"
    return {
        Integer: "integer",
        Text: "string",
        Boolean: "boolean",
        CalendarDate: "date",
        UtcTime: "DateTime",
    }[type(expected)]


def _field(name: str, expected: Format, required: bool) -> str:
    return f"{name} {_in_words(expected)}{'' if required else '?'}"


def test_the_copy_of_the_guide_is_read_whole() -> None:
    assert len(ENTRIES) == GUIDE.count("->") == 73


def test_exactly_the_functions_of_the_guide() -> None:
    assert set(catalogue()) == set(NAMES)
    assert Counter(declared.group for declared in catalogue().values()) == COUNTS
    assert Counter(declared.verb for declared in catalogue().values()) == {"GET": 57, "POST": 16}
    assert list(dict.fromkeys(declared.group for declared in catalogue().values())) == list(COUNTS)


@pytest.mark.parametrize("name", NAMES)
def test_group_verb_and_parameters(name: str) -> None:
    declared, entry = catalogue()[name], ENTRIES[name]
    assert (declared.group, declared.verb) == (entry.group, entry.verb)
    assert declared.path == f"{entry.group}/{name}"
    parameters = {
        _field(
            "body" if parameter.python_name == declared.body else parameter.name, parameter.format, parameter.required
        )
        for parameter in declared.own_parameters
    }
    assert parameters == entry.parameters


@pytest.mark.parametrize("name", NAMES)
def test_answer(name: str) -> None:
    declared, entry = catalogue()[name], ENTRIES[name]
    assert declared.answer == entry.answer
    shape = declared.answer_shape
    assert (set(typing.get_type_hints(shape)) if shape else set()) == entry.fields


def test_paged_functions() -> None:
    customers = {name for name in NAMES if ENTRIES[name].group == "customers"}
    paged = {declared.name for declared in catalogue().values() if declared.paged}
    assert paged == (customers - UNPAGED_CUSTOMERS) | PAGED_OUTSIDE_CUSTOMERS
    assert len(paged) == 24


def test_only_three_writes_must_not_be_sent_twice() -> None:
    assert {declared.name for declared in catalogue().values() if not declared.repeatable} == NOT_REPEATABLE


def test_most_rows_of_a_call() -> None:
    assert {d.name: d.max_rows for d in catalogue().values() if d.max_rows is not None} == MOST_ROWS
    assert {d.name for d in catalogue().values() if d.rows is not None} == {*MOST_ROWS, "UpdateCampaignMetrics"}


def test_only_the_mail_is_outside_the_general_rate_limit() -> None:
    assert {d.name: d.lane for d in catalogue().values() if d.lane != "general"} == {"SendTransactionalMail": "mail"}


def test_whose_answers_hold_secrets() -> None:
    assert {d.name for d in catalogue().values() if d.tells_secrets} == {"Login", "GetRegisteredEventListeners"}


class PerhapsAToken(typing.TypedDict):
    Token: typing.NotRequired[Secret | None]


@pytest.mark.parametrize("returned", [Secret | None, PerhapsAToken, list[PerhapsAToken], Iterator[PerhapsAToken]])
def test_an_answer_that_may_hold_a_secret_counts(returned: Any) -> None:
    def method() -> None: ...

    method.__annotations__["return"] = returned
    assert replace(catalogue()["GetLastDataUpdate"], method=method).tells_secrets


def test_either_or() -> None:
    assert {d.name: d.either for d in catalogue().values() if d.either} == {
        "GetCustomerFutureValues": (("lifecycle_stage_id",), ("customer_attribute", "customer_attribute_value"))
    }


@pytest.mark.parametrize("name", NAMES)
def test_every_function_takes_customer_attributes(name: str) -> None:
    parameters = catalogue()[name].parameters
    assert set(parameters) >= ATTRIBUTE_OPTIONS
    attributes, delimiter = parameters["CustomerAttributes"], parameters["CustomerAttributesDelimiter"]
    assert not attributes.required
    assert not delimiter.required
    assert isinstance(attributes.format, Joined)
    assert (attributes.format.separator, attributes.format.item, attributes.format.at_most) == (";", Text(), 10)
    assert delimiter.format == Text(choices=(",", ":", ";", "\t"))


def _limits() -> Iterator[tuple[str, str, Format]]:
    for declared in catalogue().values():
        for parameter in declared.own_parameters:
            yield declared.name, parameter.name, parameter.format
        if declared.row_shape is not None and isinstance(declared.row_shape, type):
            for field in row_fields(declared.row_shape).values():
                yield declared.name, field.name, field.format


LIMITS = {
    "TargetGroupID": {"minimum": 0, "maximum": None, "refused": [-1]},
    "LastNumberOfDays": {"minimum": 1, "maximum": 60, "refused": []},
    "CommunicationMode": {"minimum": 1, "maximum": 2, "refused": []},
    "RecommendationType": {"minimum": 1, "maximum": 2, "refused": []},
}


@pytest.mark.parametrize(
    ("function", "name", "expected"), [pytest.param(*limit, id=f"{limit[0]}-{limit[1]}") for limit in _limits()]
)
def test_limits_of_numbers(function: str, name: str, expected: Format) -> None:
    """Only what the guide limits is limited: accounts have channels, events and metrics of their own."""
    if isinstance(expected, Joined):
        expected = expected.item
    if isinstance(expected, Integer):
        found = {
            "minimum": expected.minimum,
            "maximum": expected.maximum,
            "refused": [number for number, _ in expected.refused],
        }
        assert found == LIMITS.get(name, {"minimum": 0, "maximum": None, "refused": []})
    elif isinstance(expected, Text):
        assert not expected.choices
        assert expected.maximum_length == (254 if name == "UniqueMessageID" else None)
        # The URL of a listener may carry what proves that an event is Optimove's.
        assert expected.secret == (name in ("Password", "ListenerURL")) or name == "ListenerURL"


def test_python_and_api_names_belong_together() -> None:
    for declared in catalogue().values():
        assert api_name(declared.python_name) == declared.name
        assert declared.python_name.islower()
        for parameter in declared.parameters.values():
            assert api_name(parameter.python_name) == parameter.name
            assert parameter.python_name.islower()
    assert len({declared.python_name for declared in catalogue().values()}) == 73


@pytest.mark.parametrize(
    ("python_name", "name"),
    [
        ("remove_customer_pii", "RemoveCustomerPII"),
        ("get_value_segment_id", "GetValueSegmentID"),
        ("customer_ids", "CustomerIDs"),
        ("listener_url", "ListenerURL"),
        ("timestamp", "TimeStamp"),
        ("include_template_ids", "IncludeTemplateIDs"),
        ("event_param_ids", "EventParamIDs"),
        ("get_customer_one_time_actions_by_date", "GetCustomerOneTimeActionsByDate"),
    ],
)
def test_acronyms(python_name: str, name: str) -> None:
    assert api_name(python_name) == name


def test_names_without_case() -> None:
    assert names_without_case() == {name.lower(): name for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_typed_method(name: str) -> None:
    declared = catalogue()[name]
    method = inspect.getattr_static(OptimoveClient, declared.python_name)
    kinds = {parameter.kind for _, parameter in list(inspect.signature(method).parameters.items())[1:]}
    assert kinds <= {inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD}
    if declared.reads:
        assert inspect.Parameter.VAR_KEYWORD in kinds, "reading functions take the customer attributes too"
    returned = typing.get_type_hints(method)["return"]
    assert (typing.get_origin(returned) is Iterator) == declared.paged


@pytest.mark.parametrize("name", NAMES)
def test_typed_method_takes_keywords_only(name: str) -> None:
    class Unreached(OptimoveClient):
        def __init__(self) -> None:
            pass

        def _call(self, function: object, given: object) -> None:
            raise AssertionError("called with a positional argument")

    with pytest.raises(TypeError, match="keyword arguments only"):
        getattr(Unreached(), catalogue()[name].python_name)(221)


@pytest.mark.parametrize("name", NAMES)
def test_docstring(name: str) -> None:
    declared = catalogue()[name]
    text = inspect.getdoc(declared.method) or ""
    described = re.findall(r"^:param (\w+): \S", text, re.MULTILINE)
    assert described == [parameter.python_name for parameter in declared.own_parameters]
    assert bool(re.search(r"^:returns: \S", text, re.MULTILINE)) == (declared.answer != "nothing")
    assert declared.description.endswith(".")
    assert ":param" not in declared.description
