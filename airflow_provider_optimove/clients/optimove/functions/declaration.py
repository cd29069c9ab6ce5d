"""How a function of Optimove's is declared: a typed Python signature, a docstring and a decorator.

Declaring costs a DAG file next to nothing: signatures are read when a function is first used.
"""

from __future__ import annotations

import datetime
import functools
import inspect
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, ParamSpec, TypeVar

from airflow_provider_optimove.clients.optimove.functions.types import (
    AttributeOptions,
    Boolean,
    CalendarDate,
    Format,
    Integer,
    Rows,
    Text,
    UtcTime,
)

P = ParamSpec("P")
R = TypeVar("R")

Verb = Literal["GET", "POST"]
Lane = Literal["general", "mail"]
Answer = Literal["nothing", "text", "date", "object", "rows"]
FieldKind = Literal["text", "integer", "number", "boolean", "date", "time", "json"]

# The words of Optimove's names whose capitals snake case cannot tell.
ACRONYMS: Mapping[str, str] = {"id": "ID", "ids": "IDs", "url": "URL", "pii": "PII", "timestamp": "TimeStamp"}


def api_name(python_name: str) -> str:
    """Optimove's name of a function or parameter: ``customer_ids`` → ``CustomerIDs``."""
    return "".join(ACRONYMS.get(word, word.capitalize()) for word in python_name.split("_"))


@dataclass(frozen=True)
class Parameter:
    """One parameter of a function.

    :param name: Optimove's name, e.g. ``CampaignID``.
    :param python_name: the keyword of the typed method, e.g. ``campaign_id``.
    :param format: what a value must be.
    :param required: whether a call without it is refused.
    """

    name: str
    python_name: str
    format: Format
    required: bool


@dataclass(frozen=True)
class Function:
    """One function of Optimove's API; what it is, said once.

    :param python_name: the typed client method's name.
    :param group: path segment of the function's group, e.g. ``customers``.
    :param verb: ``GET`` or ``POST``.
    :param paged: whether it takes ``$top`` and ``$skip``.
    :param repeatable: whether sending it twice does no harm.
    :param body: the parameter that is the request body itself; the others travel in the query.
        None: a POST sends all its parameters as one object.
    :param rows: the parameter that holds the rows of a write, if it takes rows.
    :param max_rows: the most rows one call takes, where documented.
    :param lane: the rate limit it counts against.
    :param no_data: why a valid call may find nothing, beyond there being nothing.
    :param either: parameters of which only one group may be given, each group complete.
    :param method: the declared signature.
    """

    python_name: str
    group: str
    verb: Verb
    paged: bool
    repeatable: bool
    body: str | None
    rows: str | None
    max_rows: int | None
    lane: Lane
    no_data: str
    either: tuple[tuple[str, ...], ...]
    method: Callable[..., Any]

    @cached_property
    def name(self) -> str:
        """Optimove's name, e.g. ``GetCampaignDetails``."""
        return api_name(self.python_name)

    @property
    def path(self) -> str:
        """Group and name, as they follow the API's base address."""
        return f"{self.group}/{self.name}"

    @property
    def reads(self) -> bool:
        """Whether it only reads."""
        return self.verb == "GET"

    @property
    def description(self) -> str:
        """First paragraph of the docstring, on one line."""
        text = inspect.getdoc(self.method) or ""
        return " ".join(text.split("\n\n")[0].split())

    @cached_property
    def parameters(self) -> Mapping[str, Parameter]:
        """The parameters by Optimove's name; the customer attribute options last."""
        hints = typing.get_type_hints(self.method, include_extras=True)
        own = {}
        for parameter in inspect.signature(self.method).parameters.values():
            if parameter.kind is not inspect.Parameter.KEYWORD_ONLY:
                continue
            name = api_name(parameter.name)
            required = parameter.default is inspect.Parameter.empty
            own[name] = Parameter(name, parameter.name, _format(hints[parameter.name]), required)
        for name, hint in typing.get_type_hints(AttributeOptions, include_extras=True).items():
            own.setdefault(api_name(name), Parameter(api_name(name), name, _format(hint), required=False))
        return types.MappingProxyType(own)

    @property
    def own_parameters(self) -> tuple[Parameter, ...]:
        """The parameters without the customer attribute options that every function takes."""
        common = typing.get_type_hints(AttributeOptions)
        return tuple(p for p in self.parameters.values() if p.python_name not in common or p.required)

    @property
    def rows_parameter(self) -> Parameter | None:
        """The parameter that holds the rows of a write; None where it takes no rows."""
        return None if self.rows is None else self.parameters[api_name(self.rows)]

    @property
    def parameters_beside_rows(self) -> tuple[Parameter, ...]:
        """Its own parameters but the one that holds the rows."""
        return tuple(parameter for parameter in self.own_parameters if parameter != self.rows_parameter)

    @cached_property
    def answer(self) -> Answer:
        """What a successful answer holds."""
        returned = _without_none(typing.get_type_hints(self.method)["return"])
        if returned is type(None):
            return "nothing"
        if returned is str:
            return "text"
        if returned is datetime.date:
            return "date"
        if typing.get_origin(returned) in (list, Iterator):
            return "rows"
        return "object"

    @cached_property
    def answer_shape(self) -> Any:
        """The TypedDict of the object or of one row that comes back; None where there is none."""
        if self.answer not in ("object", "rows"):
            return None
        returned = _without_none(typing.get_type_hints(self.method, include_extras=True)["return"])
        return typing.get_args(returned)[0] if self.answer == "rows" else returned

    @cached_property
    def tells_secrets(self) -> bool:
        """Whether a successful answer holds secrets."""
        shape = self.answer_shape
        hints = typing.get_type_hints(self.method if shape is None else shape, include_extras=True)
        answered = [hints["return"]] if shape is None else hints.values()
        facts = (fact for hint in answered for fact in getattr(_bare(hint), "__metadata__", ()))
        return any(isinstance(fact, Text) and fact.secret for fact in facts)

    @cached_property
    def row_shape(self) -> Any:
        """The TypedDict of one row that it takes, or the format of a bare value; None where it takes no rows."""
        if self.rows_parameter is None:
            return None
        assert isinstance(self.rows_parameter.format, Rows)
        return self.rows_parameter.format.shape


def row_fields(shape: Any) -> Mapping[str, Parameter]:
    """The fields of a row's TypedDict as parameters, by Optimove's name."""
    hints = typing.get_type_hints(shape, include_extras=True)
    return types.MappingProxyType(
        {name: Parameter(name, name, _format(hint), name in shape.__required_keys__) for name, hint in hints.items()}
    )


def answer_fields(shape: Any) -> Mapping[str, FieldKind]:
    """What the fields of an answer's TypedDict hold, by Optimove's name; lists and objects are ``json``."""
    hints = typing.get_type_hints(shape, include_extras=True)
    return types.MappingProxyType({name: _kind(hint) for name, hint in hints.items()})


def _kind(hint: Any) -> FieldKind:
    hint = _bare(hint)
    kinds: dict[Any, FieldKind] = {str: "text", int: "integer", float: "number", bool: "boolean"}
    if typing.get_origin(hint) is typing.Annotated:
        for fact in hint.__metadata__:
            if isinstance(fact, CalendarDate):
                return "date"
            if isinstance(fact, UtcTime):
                return "time"
        hint = _without_none(hint.__origin__)
    return kinds.get(hint, "json")


def _bare(hint: Any) -> Any:
    """A hint without what it says of a value that is not there."""
    if typing.get_origin(hint) in (typing.Required, typing.NotRequired):
        hint = typing.get_args(hint)[0]
    return _without_none(hint)


def _without_none(hint: Any) -> Any:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        members = [member for member in typing.get_args(hint) if member is not type(None)]
        if len(members) == 1:
            return members[0]
    return hint


def _format(hint: Any) -> Format:
    hint = _bare(hint)
    for fact in getattr(hint, "__metadata__", ()):
        if isinstance(fact, Format):
            return fact
    if hint is bool:
        return Boolean()
    if hint is int:
        return Integer()
    if hint is str:
        return Text()
    (row,) = typing.get_args(hint)
    return Rows(row if typing.is_typeddict(row) else _format(row))


class FunctionGroup:
    """A group of declared functions; the client gives them a way to be called."""

    def _call(self, function: Function, given: Mapping[str, Any]) -> Any:
        raise NotImplementedError


_declared: list[Function] = []


def declared_functions() -> tuple[Function, ...]:
    """Every function declared so far, in the order of the guide."""
    return tuple(_declared)


def function(
    group: str,
    verb: Verb = "GET",
    *,
    paged: bool = False,
    repeatable: bool = True,
    body: str | None = None,
    rows: str | None = None,
    max_rows: int | None = None,
    lane: Lane = "general",
    no_data: str = "",
    either: tuple[tuple[str, ...], ...] = (),
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Declare a function of Optimove's; the arguments are those of :class:`Function`."""

    def declare(signature: Callable[P, R]) -> Callable[P, R]:
        declared = Function(
            signature.__name__,
            group,
            verb,
            paged,
            repeatable,
            body,
            rows or body,
            max_rows,
            lane,
            no_data,
            either,
            signature,
        )
        _declared.append(declared)

        @functools.wraps(signature)
        def method(*args: P.args, **kwargs: P.kwargs) -> R:
            client, *positional = args
            if positional or not isinstance(client, FunctionGroup):
                raise TypeError(f"{signature.__name__}() takes keyword arguments only")
            result: R = client._call(declared, kwargs)
            return result

        return method

    return declare
