"""Arguments of a task: choices that are checked when the DAG is read, and what a template made text of."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from airflow_provider_optimove.exceptions import OptimoveInputError

if TYPE_CHECKING:
    from airflow_provider_optimove.clients.optimove.functions import Function

# Text of a list or an object, and not of a template.
OF_A_VALUE = re.compile(r"\s*(\[|\(|\{(?![{%#]))")


def check_choices(function: str, /, **choices: tuple[Any, Collection[Any]]) -> None:
    """Check the arguments that take one of a few values.

    :param function: what the task calls.
    :param choices: by the argument's name, its value and the values that it may have; a range stands for any whole
        number of 1 or more.
    :raises OptimoveInputError: all that are not valid, in one error.
    """
    problems = []
    for name, (value, allowed) in choices.items():
        if isinstance(value, bool) or value not in allowed:
            among = "a whole number of 1 or more" if isinstance(allowed, range) else " or ".join(map(repr, allowed))
            problems.append(f"{name}: expected {among}, got {value!r}")
    if problems:
        raise OptimoveInputError("the arguments are not valid", function=function, problems=problems)


def is_text_of_value(argument: Any) -> bool:
    """Whether an argument is the text of a list or an object, as a template makes it of one."""
    return isinstance(argument, str) and OF_A_VALUE.match(argument) is not None


def got_text(expected: str) -> str:
    """What to say to somebody who meant ``expected``, such as ``list``, and gave its text."""
    return (
        "got text. Pass the upstream task's output, or set render_template_as_native_obj=True on the DAG, so that a"
        f" template gives the {expected} itself"
    )


def text_problems(function: Function, parameters: Any) -> Iterator[str]:
    """Arguments that are the text of an object or of a list.

    :param function: what is to be called.
    :param parameters: the arguments of the call, rendered.
    """
    from airflow_provider_optimove.clients.optimove.functions.types import Joined

    if isinstance(parameters, str):
        yield f"parameters: expected an object with values by name, {got_text('object')}"
    if isinstance(parameters, Mapping):
        lists = {p.name.lower(): p.name for p in function.parameters.values() if isinstance(p.format, Joined)}
        for written, value in parameters.items():
            name = lists.get(str(written).replace("_", "").lower())
            if name and is_text_of_value(value):
                yield f"{name}: expected a list, {got_text('list')}"
