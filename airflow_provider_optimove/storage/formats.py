"""The formats that files of rows are written in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from airflow_provider_optimove.exceptions import OptimoveInputError
from airflow_provider_optimove.storage.paths import shown_path

FileFormat = Literal["jsonl", "csv", "parquet"]
FORMATS: Mapping[str, FileFormat] = {"jsonl": "jsonl", "ndjson": "jsonl", "csv": "csv", "parquet": "parquet"}

NO_PYARROW = "Parquet needs pyarrow, which is not installed: install pyarrow, or airflow-provider-optimove[parquet]"


def format_of(path: str, file_format: FileFormat | None) -> tuple[FileFormat, bool]:
    """The format of a file, and whether it is compressed.

    :param path: where it lies.
    :param file_format: None: as the path's ending says.
    :raises OptimoveInputError: the ending names no format, or Parquet is to be compressed once more.
    """
    name = path.lower()
    compressed = name.endswith(".gz")
    found = file_format or FORMATS.get(name.removesuffix(".gz").rpartition(".")[2])
    if found is None or (found == "parquet" and compressed):
        raise OptimoveInputError(
            f"path: {shown_path(path)} ends in none of .jsonl, .ndjson, .csv (each also with .gz) and .parquet;"
            " file_format takes jsonl, csv or parquet for other endings"
        )
    return found, compressed
