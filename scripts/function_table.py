"""Write the table of functions, as the catalogue has them, between the two markers of the README."""

from __future__ import annotations

import pathlib

from airflow_provider_optimove.clients.optimove.functions import GROUP_TITLES, Function, catalogue

README = pathlib.Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- functions: begin -->\n", "<!-- functions: end -->\n"


def function_table() -> str:
    """The catalogue in Markdown, a table a group."""
    lines = []
    for group, title in GROUP_TITLES.items():
        lines += [f"**{title}**", "", "| Function | Python | Takes | |", "|---|---|---|---|"]
        lines += [_row(function) for function in catalogue().values() if function.group == group]
        lines.append("")
    return "\n".join(lines)


def _row(function: Function) -> str:
    takes = ", ".join(
        f"`{parameter.python_name}`" if parameter.required else f"`{parameter.python_name}`?"
        for parameter in function.own_parameters
    )
    notes = []
    if function.paged:
        notes.append("pages")
    if function.rows:
        notes.append(f"{function.max_rows:,} rows a call" if function.max_rows else "rows")
    if not function.reads:
        notes.append("may be repeated" if function.repeatable else "**not repeated when in doubt**")
    return f"| {function.name} | `{function.python_name}` | {takes} | {', '.join(notes)} |"


def main() -> None:
    """Renew the table in the README."""
    text = README.read_text()
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    README.write_text(before + BEGIN + "\n" + function_table() + "\n" + END + after)


if __name__ == "__main__":
    main()
