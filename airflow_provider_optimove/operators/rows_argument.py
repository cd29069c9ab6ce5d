"""Arguments that hold rows: a list, the XCom of another task, or the path of a file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from airflow_provider_optimove.exceptions import MOST_PROBLEMS_SHOWN, OptimoveInputError
from airflow_provider_optimove.hooks.task_arguments import got_text, is_text_of_value
from airflow_provider_optimove.storage.paths import location_of, shown_path, text_of_path

if TYPE_CHECKING:
    from airflow_provider_optimove.clients.optimove.rows import Objects, Stretch

LONGEST_TEXT_SHOWN = 200
# Rows of a list that are checked together: what they hold then stays in the processor's cache.
STRETCH = 2_000


def count_of(rows: int) -> str:
    """A number of rows in words."""
    return f"{rows:,} row{'' if rows == 1 else 's'}"


class RowsValue(Sequence[Any]):
    """A list of rows as the value of an operator's field: Airflow leaves it as it is and shows the count."""

    def __init__(self, rows: Sequence[Any]) -> None:
        self._rows = rows

    def __getitem__(self, index: Any) -> Any:
        return self._rows[index]

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._rows)

    def __repr__(self) -> str:
        return count_of(len(self))

    def serialize(self) -> str:
        """What Airflow shows of the field."""
        return repr(self)


class TextOfValue:
    """Stands for text that a template made of a list or an object: no value of a field, and nothing to be shown."""

    def __repr__(self) -> str:
        return "text of a list or an object"

    def serialize(self) -> str:
        """What Airflow shows of the field."""
        return repr(self)


class RowsField:
    """A template field that holds rows. Templates in text are rendered, the texts inside of rows are not."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self
        try:
            return instance.__dict__[self._name]
        except KeyError:
            raise AttributeError(self._name) from None

    def __set__(self, instance: Any, value: Any) -> None:
        if isinstance(value, (list, tuple)):
            value = RowsValue(value)
        elif self._name in instance.__dict__ and is_text_of_value(value):
            from airflow_provider_optimove.storage.row_files import is_path

            # The second time, it was rendered.
            value = value if is_path(value) else TextOfValue()
        instance.__dict__[self._name] = value


class RowList:
    """Rows in memory, as they are checked: a stretch at a time, as often as needed.

    :param rows: the rows.
    """

    def __init__(self, rows: Iterable[Any]) -> None:
        self._rows = rows

    def __iter__(self) -> Iterator[Objects]:
        from airflow_provider_optimove.clients.optimove.rows import Objects

        if isinstance(self._rows, RowsValue):
            for start in range(0, len(self._rows), STRETCH):
                yield Objects(self._rows[start : start + STRETCH])
            return
        # A sequence that fetches its rows as they are asked for.
        remaining = iter(self._rows)
        while stretch := list(islice(remaining, STRETCH)):
            yield Objects(stretch)


def stretches_of(field: str, value: Any, *, function: str, conn_id: str | None = None) -> Iterable[Stretch]:
    """The rows that an argument holds, read anew each time they are iterated over.

    :param field: the argument's name.
    :param value: its value, rendered.
    :param function: what the rows are for, as an error names it.
    :param conn_id: the Airflow connection of the storage, where the value is a path.
    :raises OptimoveInputError: the value holds no rows; while iterating, the file cannot be read to its end.
    """
    from airflow_provider_optimove.storage.row_files import ENDINGS, RowFile, is_path

    path = text_of_path(value)
    if path is not None and is_path(path):
        return RowFile(path, conn_id)
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        return RowList(value)
    if isinstance(value, TextOfValue) or is_text_of_value(path):
        problem = f"expected a list of rows, {got_text('list')}"
    elif path is not None:
        problem = (
            f"expected a list of rows or a path that ends in {', '.join(ENDINGS)}, got"
            f" {shown_path(path)[:LONGEST_TEXT_SHOWN]!r}; save spreadsheets as CSV"
        )
    else:
        hint = "; in expand(), too, each task takes a list" if isinstance(value, Mapping) else ""
        problem = f"expected a list of rows or the path of a file, got {type(value).__name__}{hint}"
    raise OptimoveInputError("the arguments are not valid", function=function, problems=[f"{field}: {problem}"])


def ids_of(stretches: Iterable[Stretch], id_field: str, *, source: str, function: str) -> list[str]:
    """The ids that rows hold: bare, or in a field of that name beside any others.

    :param stretches: the rows.
    :param id_field: the field, such as ``user_id``; in rows and files in any letter case, with or without underscores.
    :param source: the argument that holds the rows.
    :param function: what the ids are for, as an error names it.
    :raises OptimoveInputError: naming the rows without an id by number, up to 20 of them.
    """
    from airflow_provider_optimove.clients.optimove.functions import Parameter
    from airflow_provider_optimove.clients.optimove.functions.types import Text
    from airflow_provider_optimove.clients.optimove.rows import BadColumns, BadRows, RowChecker, RowShape

    check = RowChecker(RowShape({id_field: Parameter(id_field, id_field, Text(), required=True)}, bare=True))
    problems: list[str] = []
    count = bad = 0
    for stretch in stretches:
        try:
            check.take(_with_name(id_field, stretch))
        except BadRows as found:
            bad += len(found.problems)
            problems += [
                f"row {count + position + 1:,}: {problem}"
                for position, problem in found.problems[: MOST_PROBLEMS_SHOWN - len(problems)]
            ]
        except BadColumns as found:
            raise OptimoveInputError(
                f"the columns of {source} do not fit", function=function, problems=found.problems
            ) from None
        count += len(stretch)
    if bad:
        raise OptimoveInputError(
            f"{source}: {bad:,} of {count:,} rows {'is' if bad == 1 else 'are'} not valid",
            function=function,
            problems=problems,
            count=bad,
        )
    return check.taken[()]


def check_paths(paths: Mapping[str, Any], *, function: str) -> None:
    """Check that no file is read and written at once, or written by two.

    :param paths: what the arguments hold; what is no path among it is left alone.
    :param function: what an error names.
    :raises OptimoveInputError: two are the same file.
    """
    found: dict[str, str] = {}
    for field, value in paths.items():
        path = text_of_path(value)
        if path is not None and (other := found.setdefault(location_of(path), field)) != field:
            problem = f"{other}, {field}: both are {shown_path(path)}"
            raise OptimoveInputError("the arguments are not valid", function=function, problems=[problem])


def _with_name(field: str, stretch: Stretch) -> Stretch:
    """The same rows, whose field has that name however it was written."""
    from airflow_provider_optimove.clients.optimove.rows import Objects, Table

    def renamed(name: Any) -> Any:
        return field if str(name).replace("_", "").lower() == field.replace("_", "").lower() else name

    if isinstance(stretch, Table):
        return Table(tuple(map(renamed, stretch.names)), stretch.columns, stretch.text)
    return Objects(
        [
            {renamed(name): value for name, value in row.items()} if isinstance(row, Mapping) else row
            for row in stretch.rows
        ]
    )
