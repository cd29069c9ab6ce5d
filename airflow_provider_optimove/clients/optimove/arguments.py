"""The arguments of a call: checked against the declarations and brought into the form that is sent. No I/O."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from airflow_provider_optimove.clients.optimove.functions import Function, catalogue, names_without_case
from airflow_provider_optimove.clients.optimove.functions.types import Format, Integer, Joined
from airflow_provider_optimove.clients.optimove.paging import LARGEST_PAGE
from airflow_provider_optimove.clients.optimove.values import (
    Unfit,
    expectation,
    integer_value,
    rows_value,
    shown,
    value_check,
)
from airflow_provider_optimove.exceptions import OptimoveInputError, OptimoveUnknownFunctionError

PAGE_PARAMETERS = ("$top", "$skip")


def find_function(name: str) -> Function:
    """A function by Optimove's name, in any letter case.

    :raises OptimoveUnknownFunctionError: there is none of that name.
    """
    known = names_without_case()
    if isinstance(name, str) and (found := known.get(name.replace("_", "").lower())):
        return catalogue()[found]
    near = difflib.get_close_matches(str(name).lower(), known, n=1)
    hint = f"; did you mean {known[near[0]]}?" if near else ""
    raise OptimoveUnknownFunctionError(f"Optimove has no function {shown(name)}{hint}")


def bind(
    function: Function,
    parameters: Mapping[str, Any] | None = None,
    *,
    keywords: Mapping[str, Any] | None = None,
    body: Any = None,
    later: Collection[str] = (),
) -> dict[str, Any]:
    """Check the arguments of a call and bring them into the form that is sent.

    :param function: what is to be called.
    :param parameters: values by name, in any letter case; None counts as not given.
    :param keywords: the same, given as Python keywords.
    :param body: of a POST function, the body as the guide shows it.
    :param later: names of parameters that may be missing here, because each call gets its own.
    :returns: checked values by Optimove's names.
    :raises OptimoveInputError: everything that is wrong, in one error.
    """
    problems: list[str] = []
    unlisted = 0
    given: dict[str, Any] = {}
    pairs = [*_items(parameters, "parameters", problems), *(keywords or {}).items()]
    if body is not None:
        if function.reads:
            problems.append("body: a GET function has none; give its parameters by name")
        elif function.body is not None:
            pairs.append((function.body, body))
        else:
            pairs.extend(_items(body, "body", problems))
    known = {name.lower(): name for name in function.parameters}
    if function.paged:
        known |= {name: name for name in PAGE_PARAMETERS}
    for written, value in pairs:
        name = known.get(str(written).replace("_", "").lower())
        if name is None:
            problems.append(_unknown_name(written, function))
        elif value is None:
            continue
        elif name in given:
            problems.append(f"{name}: given twice")
        else:
            given[name] = value

    bound: dict[str, Any] = {}
    for name, parameter in function.parameters.items():
        if name in given:
            try:
                if parameter == function.rows_parameter:
                    value = _one_call_of_rows(parameter.format, given[name], function.max_rows)
                else:
                    value = value_check(parameter.format)(given[name])
            except Unfit as unfit:
                problems.extend(unfit.under(name))
                unlisted += unfit.unlisted
            else:
                if value != "" or not isinstance(parameter.format, Joined):
                    bound[name] = value
        elif parameter.required and name not in later:
            problems.append(f"{name}: required, {expectation(parameter.format)}")
    for name in PAGE_PARAMETERS:
        if name in given:
            try:
                limits = Integer(minimum=1, maximum=LARGEST_PAGE) if name == "$top" else Integer()
                bound[name] = integer_value(limits, given[name])
            except Unfit as unfit:
                problems.extend(unfit.under(name))
    problems.extend(_rule_problems(function, bound))
    if problems:
        raise OptimoveInputError(
            "the arguments are not valid",
            function=function.name,
            problems=problems,
            count=len(problems) + unlisted,
        )
    return bound


def checked_value(function: Function, name: str, value: Any, expected: Format) -> Any:
    """Check one value that is not a parameter of Optimove's.

    :raises OptimoveInputError: naming it.
    """
    try:
        return value_check(expected)(value)
    except Unfit as unfit:
        raise OptimoveInputError(
            "the arguments are not valid", function=function.name, problems=list(unfit.under(name))
        ) from None


def _items(mapping: Any, what: str, problems: list[str]) -> list[tuple[str, Any]]:
    if mapping is None:
        return []
    if not isinstance(mapping, Mapping):
        problems.append(f"{what}: expected an object with values by name, got {type(mapping).__name__}")
        return []
    return list(mapping.items())


def _unknown_name(written: Any, function: Function) -> str:
    own = [parameter.name for parameter in function.own_parameters]
    takes = f"takes {', '.join(own)}" if own else "takes none of its own"
    known = {name.lower(): name for name in function.parameters}
    near = difflib.get_close_matches(str(written).replace("_", "").lower(), known, n=1)
    hint = f"; did you mean {known[near[0]]}?" if near else ""
    return f"{shown(written)}: no such parameter{hint} ({function.name} {takes})"


def _rule_problems(function: Function, bound: Mapping[str, Any]) -> Iterator[str]:
    groups = [[p.name for p in function.own_parameters if p.python_name in group] for group in function.either]
    begun = [group for group in groups if any(name in bound for name in group)]
    if len(begun) > 1:
        yield f"{' and '.join(groups[0])}: not together with {' and '.join(groups[1])}; give one or the other"
    for group in begun:
        for name in group:
            if name not in bound:
                yield f"{name}: needed together with {', '.join(other for other in group if other != name)}"
    start, end = bound.get("StartDate"), bound.get("EndDate")
    # Optimove ignores the dates of recommendations that need not stand in a campaign.
    ignored = "SuggestedInCampaign" in function.parameters and not bound.get("SuggestedInCampaign")
    if start and end and start > end and not ignored:
        yield f"StartDate: {start} is after EndDate {end}"


def _one_call_of_rows(expected: Format, value: Any, limit: int | None) -> list[Any]:
    rows = rows_value(expected, value)
    if not rows:
        raise Unfit("at least one row is needed")
    if limit is not None and len(rows) > limit:
        raise Unfit(f"{len(rows):,} rows, and one call takes at most {limit:,}; send them in several")
    return rows
