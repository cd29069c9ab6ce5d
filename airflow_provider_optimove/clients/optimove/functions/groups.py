"""Target group functions."""

from typing import TypedDict, Unpack

from airflow_provider_optimove.clients.optimove.functions.declaration import FunctionGroup, function
from airflow_provider_optimove.clients.optimove.functions.types import (
    NOT_THE_DATA_DATE,
    AttributeOptions,
    Date,
    Name,
)
from airflow_provider_optimove.clients.optimove.functions.types import TargetGroupID as TargetGroup


class TargetGroupName(TypedDict):
    """The name of a target group."""

    TargetGroupName: str


class TargetGroupID(TypedDict):
    """The number of a target group."""

    TargetGroupID: int


class TargetGroupDetails(TypedDict):
    """A target group with its priority."""

    TargetGroupID: int
    TargetGroupName: str
    TargetGroupPriority: int


class TargetGroupFunctions(FunctionGroup):
    """The functions below ``groups/``."""

    @function("groups")
    def get_target_group_name(
        self, *, target_group_id: TargetGroup, **options: Unpack[AttributeOptions]
    ) -> TargetGroupName | None:
        """The name of a target group.

        :param target_group_id: the target group.
        :returns: the name, or None when there is no such group.
        """
        ...

    @function("groups")
    def get_target_group_id(
        self, *, target_group_name: Name, **options: Unpack[AttributeOptions]
    ) -> TargetGroupID | None:
        """The number of a target group.

        :param target_group_name: the target group's name.
        :returns: the number, or None when there is no such group.
        """
        ...

    @function("groups", no_data=NOT_THE_DATA_DATE)
    def get_target_groups_by_date(self, *, date: Date, **options: Unpack[AttributeOptions]) -> list[TargetGroupID]:
        """The target groups that had an action executed on a date.

        :param date: the campaigns' execution date.
        :returns: one row a target group.
        """
        ...

    @function("groups")
    def get_target_group_details(self, **options: Unpack[AttributeOptions]) -> list[TargetGroupDetails]:
        """All target groups.

        :returns: one row a target group.
        """
        ...
