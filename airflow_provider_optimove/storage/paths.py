"""Where files of rows lie: on this machine, or in an object storage."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

from airflow_provider_optimove.exceptions import OptimoveInputError

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import ObjectStoragePath

# Secrets may hold "/", so credentials do not end where Airflow's reading of the URI has them end.
CREDENTIALS = re.compile(r"(?<=://)[^/:]*:(?!\d+/).*@")
# Airflow puts the name of a connection in front of the host.
FILE_URI = re.compile(r"(?is)file:(//([^/@]*@)?(?P<host>[^/]*))?(?P<path>/.*)")
USER_INFO = re.compile(rf"{CREDENTIALS.pattern}|(?<=://)[^/]*@")


def shown_path(path: str) -> str:
    """A path as an error or the log may show it."""
    return USER_INFO.sub("***@", path)


def text_of_path(value: Any) -> str | None:
    """A path as text, whatever holds it; None where it is no path."""
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    return str(value) if isinstance(value, (str, os.PathLike, ObjectStoragePath)) else None


def location_of(path: str) -> str:
    """A path in the one form that tells whether two are the same: the real one, or a URI.

    :raises OptimoveInputError: the path names a file of another machine.
    """
    if path.lower().startswith("file:"):
        of_file = FILE_URI.fullmatch(path)
        if not of_file or (of_file["host"] or "").lower() not in ("", "localhost"):
            raise OptimoveInputError(f"{shown_path(path)}: expected file:///, with three slashes, and an absolute path")
        path = of_file["path"]
    # Absolute also because Airflow 2.11 takes a relative path for one below the root.
    return path if "://" in path else os.path.realpath(os.path.expanduser(path))


def uri_of(path: str) -> str:
    """A path as the URI of an asset; without the connection that a URI may name."""
    location = location_of(path)
    return USER_INFO.sub("", location) if "://" in location else f"file://{location}"


def storage_path(path: str, conn_id: str | None = None) -> ObjectStoragePath:
    """The place of a file.

    :param path: a local path, also a relative one or one below ``~``, or a URI that ObjectStoragePath knows.
    :param conn_id: the Airflow connection of the storage.
    :raises OptimoveInputError: the path holds credentials, or leads to a storage that Airflow does not know.
    """
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    if CREDENTIALS.search(path):
        raise OptimoveInputError(
            f"{shown_path(path)}: credentials do not belong into a path; name the Airflow connection that holds them"
        )
    try:
        place = ObjectStoragePath(location_of(path), conn_id=conn_id)
        _ = place.fs
    except (ValueError, ImportError) as error:
        raise OptimoveInputError(
            f"{shown_path(path)}: {shown_path(str(error))}; is the Airflow provider of this storage installed?"
        ) from None
    return place
