"""The catalogue: every function of Optimove's API, one declaration each."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

from airflow_provider_optimove.clients.optimove.functions.actions import ActionFunctions
from airflow_provider_optimove.clients.optimove.functions.customers import CustomerFunctions
from airflow_provider_optimove.clients.optimove.functions.declaration import (
    FieldKind,
    Function,
    Lane,
    Parameter,
    answer_fields,
    api_name,
    declared_functions,
    row_fields,
)
from airflow_provider_optimove.clients.optimove.functions.general import GeneralFunctions
from airflow_provider_optimove.clients.optimove.functions.groups import TargetGroupFunctions
from airflow_provider_optimove.clients.optimove.functions.integrations import IntegrationFunctions
from airflow_provider_optimove.clients.optimove.functions.model import ModelFunctions
from airflow_provider_optimove.clients.optimove.functions.segments import ValueSegmentFunctions
from airflow_provider_optimove.clients.optimove.functions.transactionalmail import TransactionalMailFunctions

GROUP_TITLES: Mapping[str, str] = MappingProxyType(
    {
        "general": "General",
        "model": "Model",
        "actions": "Actions",
        "groups": "Target groups",
        "customers": "Customers",
        "segments": "Value segments",
        "integrations": "Integrations",
        "transactionalmail": "Transactional mail",
    }
)


class AllFunctions(
    GeneralFunctions,
    ModelFunctions,
    ActionFunctions,
    TargetGroupFunctions,
    CustomerFunctions,
    ValueSegmentFunctions,
    IntegrationFunctions,
    TransactionalMailFunctions,
):
    """Every declared function as a typed method."""


@cache
def catalogue() -> Mapping[str, Function]:
    """Every function by Optimove's name, in the order of the guide's groups."""
    order = list(GROUP_TITLES)
    functions = sorted(declared_functions(), key=lambda declared: order.index(declared.group))
    return MappingProxyType({declared.name: declared for declared in functions})


@cache
def names_without_case() -> Mapping[str, str]:
    """Optimove's names by their lower-case form."""
    return MappingProxyType({name.lower(): name for name in catalogue()})


__all__ = [
    "GROUP_TITLES",
    "AllFunctions",
    "FieldKind",
    "Function",
    "Lane",
    "Parameter",
    "answer_fields",
    "api_name",
    "catalogue",
    "names_without_case",
    "row_fields",
]
