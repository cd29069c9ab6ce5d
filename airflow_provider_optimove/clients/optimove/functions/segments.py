"""Value segment functions."""

from collections.abc import Iterator
from typing import NotRequired, TypedDict, Unpack

from airflow_provider_optimove.clients.optimove.functions.declaration import FunctionGroup, function
from airflow_provider_optimove.clients.optimove.functions.types import (
    ONLY_TWO_DAYS_BACK,
    AttributeOptions,
    Date,
    Name,
    PageOptions,
)


class ValueSegmentName(TypedDict):
    """The name of a value segment."""

    ValueSegmentName: str


class ValueSegmentID(TypedDict):
    """The number of a value segment."""

    ValueSegmentID: int


class ValueSegment(TypedDict):
    """A value segment."""

    ValueSegmentName: str
    ValueSegmentID: int


class ValueSegmentCustomer(TypedDict):
    """A customer of a value segment."""

    CustomerID: str
    CustomerAttributes: NotRequired[list[str]]


class ValueSegmentChanger(TypedDict):
    """A customer whose value segment changed; -1 stands for "was no customer then"."""

    CustomerID: str
    InitialValueSegmentID: int
    FinalValueSegmentID: int
    CustomerAttributes: NotRequired[list[str]]


class ValueSegmentFunctions(FunctionGroup):
    """The functions below ``segments/``."""

    @function("segments")
    def get_value_segment_name(
        self, *, value_segment_id: int, **options: Unpack[AttributeOptions]
    ) -> ValueSegmentName | None:
        """The name of a value segment.

        :param value_segment_id: the value segment.
        :returns: the name, or None when there is no such segment.
        """
        ...

    @function("segments")
    def get_value_segment_id(
        self, *, value_segment_name: Name, **options: Unpack[AttributeOptions]
    ) -> ValueSegmentID | None:
        """The number of a value segment.

        :param value_segment_name: the value segment's name.
        :returns: the number, or None when there is no such segment.
        """
        ...

    @function("segments")
    def get_value_segments(self, **options: Unpack[AttributeOptions]) -> list[ValueSegment]:
        """All value segments.

        :returns: one row a value segment.
        """
        ...

    @function("segments", paged=True, no_data=ONLY_TWO_DAYS_BACK)
    def get_customers_by_value_segment(
        self, *, value_segment_id: int, date: Date, **options: Unpack[PageOptions]
    ) -> Iterator[ValueSegmentCustomer]:
        """The customers of a value segment on a date.

        :param value_segment_id: the value segment.
        :param date: one of the two days before today; for any other Optimove has no rows.
        :returns: one row a customer.
        """
        ...

    @function("segments", paged=True, no_data=ONLY_TWO_DAYS_BACK)
    def get_value_segment_changers(
        self, *, start_date: Date | None = None, end_date: Date | None = None, **options: Unpack[PageOptions]
    ) -> Iterator[ValueSegmentChanger]:
        """The customers whose value segment changed.

        :param start_date: first day; dates must lie within the two days before today.
        :param end_date: last day.
        :returns: one row a customer; an initial segment of -1 means that the customer was new.
        """
        ...
