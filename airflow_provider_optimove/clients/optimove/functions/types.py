"""The types of Optimove's parameters and row fields, each with what a value must be to be sent."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias, TypedDict

MOST_CUSTOMER_ATTRIBUTES = 10

# Why a valid call may find nothing.
ONLY_TWO_DAYS_BACK = "Optimove has rows only for dates within the two days before today"
ONLY_BEFORE_TODAY = "the date is one of customer data, so it must lie before today"
NOT_EXECUTED_YET = (
    "a campaign has customers from its execution date on; GetExecutedCampaignDetails also names campaigns"
    " whose lead time only points to the date"
)
NOT_THE_DATA_DATE = "the date is that of the campaigns' execution, not of the newest data"


@dataclass(frozen=True)
class Integer:
    """A whole number within bounds; ``names`` are words for numbers, ``refused`` numbers with the
    reason."""

    minimum: int = 0
    maximum: int | None = None
    names: tuple[tuple[str, int], ...] = ()
    refused: tuple[tuple[int, str], ...] = ()


@dataclass(frozen=True)
class Text:
    """A string. ``secret`` text is never shown in an error."""

    minimum_length: int = 1
    maximum_length: int | None = None
    choices: tuple[str, ...] = ()
    secret: bool = False


@dataclass(frozen=True)
class Boolean:
    """``true`` or ``false``."""


@dataclass(frozen=True)
class CalendarDate:
    """``YYYY-MM-DD``."""


@dataclass(frozen=True)
class UtcTime:
    """``YYYY-MM-DD HH:MM:SS`` in UTC."""


@dataclass(frozen=True)
class Joined:
    """Several values in one parameter, separated by a character. ``optional``: no value means not given."""

    separator: str
    item: Integer | Text = Text()
    at_most: int | None = None
    optional: bool = False


@dataclass(frozen=True)
class Rows:
    """An array; ``shape`` is the TypedDict of its objects, or the format of its bare values."""

    shape: Any


Format: TypeAlias = Integer | Text | Boolean | CalendarDate | UtcTime | Joined | Rows

Date: TypeAlias = Annotated[datetime.date | str, CalendarDate()]
DateTime: TypeAlias = Annotated[datetime.datetime | str, UtcTime()]
DateText: TypeAlias = Annotated[str, CalendarDate()]
TimeText: TypeAlias = Annotated[str, UtcTime()]
Identifier: TypeAlias = Annotated[str, Text()]
Name: TypeAlias = Annotated[str, Text()]
AnyText: TypeAlias = Annotated[str, Text(minimum_length=0)]
Secret: TypeAlias = Annotated[str, Text(secret=True)]
RecipientGroupID: TypeAlias = Annotated[int, Integer()]
TargetGroupID: TypeAlias = Annotated[
    int,
    Integer(
        refused=(
            (
                -1,
                "one-time campaigns are read with GetCustomerOneTimeActionsByDate or"
                " GetCustomerOneTimeActionsByCampaign",
            ),
        )
    ),
]
EventID: TypeAlias = Annotated[int | str, Integer(names=(("opened", 2), ("clicked", 3), ("unsubscribed", 4)))]
CommunicationMode: TypeAlias = Annotated[int, Integer(minimum=1, maximum=2)]
RecommendationType: TypeAlias = Annotated[int, Integer(minimum=1, maximum=2)]
LastNumberOfDays: TypeAlias = Annotated[int, Integer(minimum=1, maximum=60)]
CustomerAttributes: TypeAlias = Annotated[
    Sequence[str] | str, Joined(";", at_most=MOST_CUSTOMER_ATTRIBUTES, optional=True)
]
ProductAttributes: TypeAlias = Annotated[Sequence[str] | str, Joined(",", optional=True)]
EventParamIDs: TypeAlias = Annotated[Sequence[int] | int | str, Joined(";", item=Integer())]
LifecycleStageIDs: TypeAlias = Annotated[Sequence[int] | int | str, Joined(",", item=Integer())]
Delimiter: TypeAlias = Annotated[str, Text(choices=(",", ":", ";", "\t"))]


class AttributeOptions(TypedDict, total=False):
    """What every reading function takes besides its own parameters.

    ``customer_attributes``: at most 10 attribute names (see GetCustomerAttributeList) whose current values
    each row shall carry. ``customer_attributes_delimiter``: the character between values.
    """

    customer_attributes: CustomerAttributes
    customer_attributes_delimiter: Delimiter


class PageOptions(AttributeOptions, total=False):
    """What every paged function takes besides its own parameters. ``page_size``: rows a call, at most 200,000."""

    page_size: int
