"""A file appears under its name when it is complete, and not before: on this machine and in every kind of storage."""

from __future__ import annotations

import csv
import errno
import fcntl
import gc
import gzip
import importlib
import io
import os
import resource
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow
import pytest
from airflow.providers.common.compat.sdk import AirflowTaskTimeout
from fsspec import AbstractFileSystem
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.spec import AbstractBufferedFile
from pyarrow import parquet

from airflow_provider_optimove.exceptions import OptimoveInputError
from airflow_provider_optimove.storage import whole_file as module
from airflow_provider_optimove.storage.paths import location_of, uri_of
from airflow_provider_optimove.storage.row_files import RowFile
from airflow_provider_optimove.storage.whole_file import whole_file

BLOCK_BYTES = 64
NOBODY = 65534
OLD = b"what was there before"
NEW = b"0123456789" * 50


class UploadedFile(AbstractBufferedFile):  # type: ignore[misc]
    """Sent in parts, and there when the last one has come: as s3fs, gcsfs and adlfs do it."""

    fs: UploadStore
    parts: list[bytes]

    def _initiate_upload(self) -> None:
        self.fs.note("start", self.path)
        self.parts = []

    def _upload_chunk(self, final: bool = False) -> bool:
        if self.buffer.tell():
            self.parts.append(self.buffer.getvalue())
            self.fs.note(f"part {len(self.parts)}", self.path)
        if final:
            self.fs.note("publish", self.path)
            self.fs.objects[self.path] = b"".join(self.parts)
        return True

    def discard(self) -> None:
        if self.offset is not None:
            self.fs.note("abort", self.path)


class UploadStore(AbstractFileSystem):  # type: ignore[misc]
    """An object storage whose files are uploads."""

    cachable = False

    def __init__(self) -> None:
        super().__init__()
        self.objects: dict[str, bytes] = {}
        self.steps: list[str] = []
        self.paths: set[str] = set()
        self.failing: dict[str, BaseException] = {}

    def note(self, step: str, path: str) -> None:
        self.steps.append(step)
        self.paths.add(path)
        if error := self.failing.get(step):
            raise error

    def _open(self, path: str, mode: str = "rb", **options: Any) -> UploadedFile:
        return UploadedFile(self, path, mode, BLOCK_BYTES)

    def info(self, path: str, **options: Any) -> dict[str, Any]:
        if path not in self.objects:
            raise FileNotFoundError(path)
        return {"name": path, "size": len(self.objects[path]), "type": "file"}

    def cp_file(self, path1: str, path2: str, **options: Any) -> None:
        self.note("copy", path2)
        self.objects[path2] = self.objects[path1]

    def _rm(self, path: str) -> None:
        if path not in self.objects:
            raise FileNotFoundError(path)
        del self.objects[path]


class PlainStore(UploadStore):
    """An object storage that can neither copy nor rename."""

    cp_file = AbstractFileSystem.cp_file


class FolderStore(MemoryFileSystem):  # type: ignore[misc]
    """A storage that has folders and renames, as SFTP does."""

    cachable = False
    moves = True

    def _open(self, path: str, mode: str = "rb", **options: Any) -> Any:
        if not self.isdir(self._parent(path)):
            raise FileNotFoundError(path)
        return super()._open(path, mode, **options)

    def mv(self, path1: str, path2: str, **options: Any) -> None:
        if self.moves:
            self.store[path2] = self.store.pop(path1)


@pytest.fixture
def attach(monkeypatch: pytest.MonkeyPatch) -> Callable[[AbstractFileSystem], None]:
    """Makes a storage known to Airflow as memory://, with the connection `store`, too."""
    try:
        store: Any = importlib.import_module("airflow.sdk.io.store")
    except ImportError:
        store = importlib.import_module("airflow.io.store")

    def put(files: AbstractFileSystem) -> None:
        for alias, conn_id in [("memory", None), ("memory-store", "store")]:
            monkeypatch.setitem(store._STORE_CACHE, alias, store.ObjectStore("memory", conn_id, fs=files))

    return put


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch, attach: Callable[[AbstractFileSystem], None]) -> MemoryFileSystem:
    files = MemoryFileSystem()
    monkeypatch.setattr(MemoryFileSystem, "store", {})
    monkeypatch.setattr(MemoryFileSystem, "pseudo_dirs", [""])
    attach(files)
    return files


@pytest.fixture
def folders(memory: MemoryFileSystem, attach: Callable[[AbstractFileSystem], None]) -> FolderStore:
    files = FolderStore()
    attach(files)
    return files


@pytest.fixture
def unknown_uploads(attach: Callable[[AbstractFileSystem], None]) -> UploadStore:
    """A store of which nobody knows whether its uploads can be seen."""
    files = UploadStore()
    attach(files)
    return files


@pytest.fixture
def uploads(unknown_uploads: UploadStore, monkeypatch: pytest.MonkeyPatch) -> UploadStore:
    kind = f"{UploadedFile.__module__}.{UploadedFile.__qualname__}"
    monkeypatch.setattr(module, "PUBLISHED_AT_CLOSE", module.PUBLISHED_AT_CLOSE | {kind})
    return unknown_uploads


class Place:
    """One of the storages: what is in it."""

    def __init__(self, root: str, files: AbstractFileSystem | Path) -> None:
        self.root = root
        self.files = files

    def path(self, name: str) -> str:
        return f"{self.root}/{name}"

    def put(self, name: str, content: bytes) -> None:
        if isinstance(self.files, Path):
            (self.files / name).write_bytes(content)
        elif isinstance(self.files, UploadStore):
            self.files.objects[f"/bucket/{name}"] = content
        else:
            self.files.makedirs("/bucket", exist_ok=True)
            self.files.pipe(f"/bucket/{name}", content)

    def content(self) -> dict[str, bytes]:
        """All files, by their names."""
        if isinstance(self.files, Path):
            return {path.name: path.read_bytes() for path in self.files.iterdir()}
        if isinstance(self.files, UploadStore):
            return {path.removeprefix("/bucket/"): content for path, content in self.files.objects.items()}
        return {path.removeprefix("/bucket/"): file.getvalue() for path, file in MemoryFileSystem.store.items()}


@pytest.fixture(params=["local", "memory", "folders", "uploads", "unknown_uploads"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "local":
        return Place(str(tmp_path), tmp_path)
    return Place("memory://bucket", request.getfixturevalue(request.param))


def write(
    path: str, content: bytes = NEW, *, then: Callable[[], object] = lambda: None, pieces: int = 1, **options: Any
) -> None:
    with whole_file(path, **options) as file:
        for _ in range(pieces):
            file.write(content)
        then()


def stop() -> None:
    raise ValueError("stop")


# What is written


def write_csv(file: BinaryIO) -> None:
    with io.TextIOWrapper(file, encoding="utf-8", newline="") as text:
        csv.writer(text).writerows([["ID", "Name"], *([number, "Grüße"] for number in range(50))])


def write_gzip(file: BinaryIO) -> None:
    with gzip.GzipFile(fileobj=file, mode="wb", mtime=0) as packed:
        packed.write(NEW)


def write_parquet(file: BinaryIO) -> None:
    table = pyarrow.table({"ID": list(range(100))})
    with parquet.ParquetWriter(file, table.schema) as writer:
        writer.write_table(table)
        writer.write_table(table)


def write_pieces(file: BinaryIO) -> None:
    assert file.write(b"bytes " * 20) == 120
    assert file.write(memoryview(b"a view")[2:]) == 4
    assert file.write(memoryview(pyarrow.array([1, 2], pyarrow.int32()).buffers()[1]).cast("i")[:2]) == 8
    file.writelines([bytearray(b"one"), b"two"])


@pytest.mark.parametrize("fill", [write_csv, write_gzip, write_parquet, write_pieces, lambda file: None])
@pytest.mark.parametrize("old", [None, OLD])
def test_what_is_written_is_there(place: Place, fill: Callable[[BinaryIO], None], old: bytes | None) -> None:
    expected = io.BytesIO()
    # What closes the file takes the content of a BytesIO with it.
    expected.close = lambda: None  # type: ignore[method-assign]
    fill(expected)
    if old:
        place.put("rows", old)
    before = place.content()
    with whole_file(place.path("rows")) as file:
        assert (file.tell(), file.writable(), file.seekable(), file.closed) == (0, True, False, False)
        fill(file)
        assert {name: content for name, content in place.content().items() if "partial" not in name} == before
    assert place.content() == {"rows": expected.getvalue()}
    assert file.tell() == len(expected.getvalue())
    with pytest.raises(ValueError, match="closed"):
        file.write(b"too late")
    assert place.content() == {"rows": expected.getvalue()}


def test_text_is_not_written(place: Place) -> None:
    text: Any = "text"
    with pytest.raises(TypeError):
        write(place.path("rows"), text)
    assert place.content() == {}


def test_connection(memory: MemoryFileSystem) -> None:
    write("memory://bucket/rows", conn_id="store")
    assert Place("", memory).content() == {"rows": NEW}


@pytest.mark.parametrize("name", ["rows [1]*?.csv", "a:b #2%41.csv", "a@b.csv"])
def test_names_are_taken_literally(place: Place, name: str) -> None:
    for content in (OLD, NEW):
        write(place.path(name), content)
        assert place.content() == {name: content}


def test_missing_folders_are_made(tmp_path: Path, folders: FolderStore) -> None:
    write(f"{tmp_path}/a/b/rows")
    assert (tmp_path / "a" / "b" / "rows").read_bytes() == NEW
    write("memory://bucket/a/b/rows")
    assert list(folders.store) == ["/bucket/a/b/rows"]


# Errors


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, GeneratorExit, AirflowTaskTimeout])
def test_after_any_error_nothing_changed(place: Place, error: type[BaseException]) -> None:
    def fail() -> None:
        raise error

    place.put("rows", OLD)
    with pytest.raises(error):
        write(place.path("rows"), then=fail)
    gc.collect()
    assert place.content() == {"rows": OLD}


@pytest.mark.parametrize("old", [{}, {"rows": OLD}])
@pytest.mark.parametrize("size", [0, 10, BLOCK_BYTES])
def test_nothing_changed_whatever_was_written(place: Place, old: dict[str, bytes], size: int) -> None:
    for name, content in old.items():
        place.put(name, content)
    with pytest.raises(ValueError, match="stop"):
        write(place.path("rows"), b"x" * size, then=stop)
    gc.collect()
    assert place.content() == old


@pytest.mark.parametrize("fill", [write_csv, write_gzip, write_parquet])
def test_a_wrapper_that_is_closed_publishes_nothing(place: Place, fill: Callable[[BinaryIO], None]) -> None:
    def fail() -> None:
        with whole_file(place.path("rows")) as file:
            fill(file)
            file.close()
            stop()

    place.put("rows", OLD)
    with pytest.raises(ValueError, match="stop"):
        fail()
    gc.collect()
    assert place.content() == {"rows": OLD}


def test_a_block_that_is_never_left(place: Place) -> None:
    place.put("rows", OLD)
    block: Any = whole_file(place.path("rows"))
    block.__enter__().write(NEW)
    del block
    gc.collect()
    assert place.content() == {"rows": OLD}


# Uploads


def test_an_upload_is_seen_when_it_is_closed(uploads: UploadStore) -> None:
    with whole_file("memory://bucket/rows") as file:
        file.write(b"x" * BLOCK_BYTES)
        assert uploads.steps == ["start", "part 1"]
        file.write(b"y")
    assert uploads.steps == ["start", "part 1", "part 2", "publish"]
    assert uploads.paths == {"/bucket/rows"}
    assert uploads.objects == {"/bucket/rows": b"x" * BLOCK_BYTES + b"y"}


def test_an_empty_upload(uploads: UploadStore) -> None:
    write("memory://bucket/rows", b"")
    assert uploads.steps == ["start", "publish"]
    assert uploads.objects == {"/bucket/rows": b""}


def test_an_unknown_upload_is_moved(unknown_uploads: UploadStore) -> None:
    unknown_uploads.objects["/bucket/rows"] = OLD
    with whole_file("memory://bucket/rows") as file:
        file.write(NEW)
        assert len(unknown_uploads.paths) == 1
        assert "/bucket/rows" not in unknown_uploads.paths
    assert unknown_uploads.steps[-2:] == ["publish", "copy"]
    assert unknown_uploads.objects == {"/bucket/rows": NEW}


def test_an_unknown_upload_that_cannot_be_moved(attach: Callable[[AbstractFileSystem], None]) -> None:
    files = PlainStore()
    attach(files)
    write("memory://bucket/rows", NEW)
    assert files.objects == {"/bucket/rows": NEW}
    files.failing["publish"] = OSError("fake")
    with pytest.raises(OSError, match="fake"):
        write("memory://bucket/rows", OLD * BLOCK_BYTES)
    gc.collect()
    assert files.steps[-1] == "abort"
    assert files.objects == {"/bucket/rows": NEW}


@pytest.mark.parametrize(
    ("failing", "steps"),
    [
        ("start", ["start"]),
        ("part 1", ["start", "part 1"]),
        ("part 3", ["start", "part 1", "part 2", "part 3"]),
        ("publish", ["start", *(f"part {number}" for number in range(1, 6)), "publish"]),
    ],
)
@pytest.mark.parametrize("error", [OSError("the store is down"), AirflowTaskTimeout("too long")])
def test_an_upload_fails(uploads: UploadStore, failing: str, steps: list[str], error: BaseException) -> None:
    uploads.objects["/bucket/rows"] = OLD
    uploads.failing[failing] = error
    with pytest.raises(type(error)) as raised:
        write("memory://bucket/rows", b"x" * BLOCK_BYTES, pieces=5)
    assert raised.value is error
    uploads.failing.clear()
    gc.collect()
    assert uploads.steps == [*steps, "abort"]
    assert uploads.objects == {"/bucket/rows": OLD}


@pytest.mark.parametrize("size", [1, 3 * BLOCK_BYTES])
def test_an_upload_is_aborted(uploads: UploadStore, size: int) -> None:
    with pytest.raises(ValueError, match="stop"):
        write("memory://bucket/rows", b"x" * size, then=stop)
    gc.collect()
    assert uploads.steps == ([] if size < BLOCK_BYTES else ["start", "part 1", "abort"])
    assert uploads.objects == {}


def test_an_upload_cannot_be_aborted(uploads: UploadStore, caplog: pytest.LogCaptureFixture) -> None:
    uploads.failing["abort"] = OSError("no answer from https://user:s3cret@store")
    with pytest.raises(ValueError, match="stop"):
        write("memory://store@bucket/rows", then=stop)
    gc.collect()
    assert uploads.objects == {}
    (record,) = [record for record in caplog.records if record.name == module.__name__]
    assert record.getMessage() == (
        "memory://***@bucket/rows: what was written of it could not be removed: no answer from https://***@store"
    )


def test_a_file_that_cannot_be_moved(folders: FolderStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "moves", False)
    place = Place("memory://bucket", folders)
    place.put("rows", OLD)
    with pytest.raises(OSError, match="memory://bucket/rows: the storage did not move the file there"):
        write(place.path("rows"))
    assert place.content() == {"rows": OLD}


# Existing files


@pytest.mark.parametrize("old", [OLD, b""])
def test_an_existing_file_stays(place: Place, old: bytes) -> None:
    place.put("rows", old)
    entered = False
    with pytest.raises(OptimoveInputError) as raised, whole_file(place.path("rows"), overwrite=False):
        entered = True
    assert str(raised.value) == f"{place.path('rows')}: exists already, and overwrite is false"
    assert not entered
    assert place.content() == {"rows": old}


def test_a_new_file_without_overwriting(place: Place) -> None:
    write(place.path("rows"), overwrite=False)
    assert place.content() == {"rows": NEW}


@pytest.fixture(params=[True, False])
def links(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the folder takes links."""

    def refuse(*names: str) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    if not request.param:
        monkeypatch.setattr(os, "link", refuse)
    return bool(request.param)


def test_a_local_file_appears_meanwhile(tmp_path: Path, links: bool) -> None:
    path = tmp_path / "rows"
    with pytest.raises(OptimoveInputError, match="exists already"):
        write(str(path), then=lambda: path.write_bytes(OLD), overwrite=False)
    assert Place("", tmp_path).content() == {"rows": OLD}


def test_a_new_local_file(tmp_path: Path, links: bool) -> None:
    write(f"{tmp_path}/rows", overwrite=False)
    assert Place("", tmp_path).content() == {"rows": NEW}


# Paths


FILE_URIS = [
    *("file://{}/rows.jsonl", "file:{}/rows.jsonl", "FILE://{}/rows.jsonl", "File:{}/rows.jsonl"),
    *("file://localhost{}/rows.jsonl", "file://LocalHost{}/rows.jsonl"),
    *("file://conn@{}/rows.jsonl", "file://conn@localhost{}/rows.jsonl"),
]


@pytest.mark.parametrize("uri", FILE_URIS)
def test_file_uris(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uri: str) -> None:
    monkeypatch.chdir(tmp_path)
    path, file = uri.format(tmp_path), tmp_path / "rows.jsonl"
    assert location_of(path) == str(file)
    assert uri_of(path) == f"file://{file}"
    write(path, content=b'{"a":1}\n{"a":2}\n')
    assert Place("", tmp_path).content() == {"rows.jsonl": b'{"a":1}\n{"a":2}\n'}
    assert [len(stretch) for stretch in RowFile(path)] == [2]
    with pytest.raises(OptimoveInputError, match="exists already"):
        write(path, overwrite=False)


@pytest.mark.parametrize("name", ["a@b.jsonl", "a:b#2%41.jsonl", "file:x.jsonl"])
def test_names_in_file_uris_are_taken_literally(tmp_path: Path, name: str) -> None:
    write(f"file://{tmp_path}/{name}", content=b"{}\n")
    assert Place("", tmp_path).content() == {name: b"{}\n"}
    assert location_of(f"file:{tmp_path}/{name}") == str(tmp_path / name)


@pytest.mark.parametrize("uri", ["file://elsewhere{}/rows.jsonl", "FILE://conn@elsewhere{}/rows.jsonl"])
def test_a_file_of_another_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uri: str) -> None:
    monkeypatch.chdir(tmp_path)
    path = uri.format(tmp_path)
    for use in (location_of, uri_of, write, lambda path: list(RowFile(path))):
        with pytest.raises(OptimoveInputError, match="expected file:///, with three slashes") as raised:
            use(path)
        assert "conn@" not in str(raised.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", ["memory://bucket/rows", "s3://conn@bucket/file:/rows"])
def test_other_uris_are_left_as_they_are(path: str) -> None:
    assert location_of(path) == path


def test_an_error_names_the_file_that_was_asked_for(tmp_path: Path) -> None:
    path = f"{tmp_path}/{'long' * 100}"
    with pytest.raises(OSError, match="File name too long") as raised:
        write(path)
    assert (raised.value.errno, raised.value.filename) == (errno.ENAMETOOLONG, path)
    assert ".partial" not in str(raised.value)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def closed_folder() -> Iterator[str]:
    """A folder into which nobody may write, and we are nobody."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        os.chmod(folder, 0o500)
        user = os.geteuid()
        if user == 0:
            os.seteuid(NOBODY)
        yield folder
        if user == 0:
            os.seteuid(user)


def test_a_folder_that_must_not_be_written_to(closed_folder: str) -> None:
    with pytest.raises(PermissionError) as raised:
        write(f"{closed_folder}/rows")
    assert (type(raised.value), raised.value.filename) == (PermissionError, f"{closed_folder}/rows")
    assert ".partial" not in str(raised.value)


@pytest.mark.parametrize("path", ["rows", "./rows", "~/rows", "file://{}/rows"])
def test_local_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    write(path.format(tmp_path))
    assert Place("", tmp_path).content() == {"rows": NEW}


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to("elsewhere/rows")
    write(f"{tmp_path}/link")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "elsewhere" / "rows").read_bytes() == NEW


@pytest.mark.parametrize("path", ["folder", "new/", "pipe"])
@pytest.mark.parametrize("overwrite", [True, False])
def test_what_is_no_file(tmp_path: Path, path: str, overwrite: bool) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OptimoveInputError) as raised:
        write(f"{tmp_path}/{path}", overwrite=overwrite)
    assert str(raised.value) == f"{tmp_path}/{path}: this is a folder or a device, not a file"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["folder", "pipe"]
    assert list((tmp_path / "folder").iterdir()) == []


@pytest.mark.parametrize("path", ["file/rows", "file/a/rows"])
def test_a_file_in_place_of_a_folder(tmp_path: Path, path: str) -> None:
    (tmp_path / "file").write_bytes(OLD)
    with pytest.raises(OptimoveInputError) as raised:
        write(f"{tmp_path}/{path}")
    assert str(raised.value) == f"{tmp_path}/{path}: a part of the path is a file, not a folder"
    assert Place("", tmp_path).content() == {"file": OLD}


def test_user_info_is_not_shown(memory: MemoryFileSystem) -> None:
    memory.pipe("/bucket/rows", OLD)
    with pytest.raises(OptimoveInputError) as raised:
        write("memory://store@bucket/rows", overwrite=False)
    assert str(raised.value).startswith("memory://***@bucket/rows: ")
    with pytest.raises(OptimoveInputError, match="credentials do not belong into a path"):
        write("memory://user:s3cret@bucket/rows")


@pytest.fixture
def umask() -> Iterator[None]:
    before = os.umask(0o027)
    yield
    os.umask(before)


@pytest.mark.usefixtures("umask")
def test_who_may_read_a_local_file(tmp_path: Path) -> None:
    path = tmp_path / "rows"
    write(str(path))
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    path.chmod(0o600)
    write(str(path))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_local_file_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[tuple[int, list[str]]] = []
    path = tmp_path / "rows"
    path.write_bytes(OLD)
    original = os.fsync

    def fsync(descriptor: int) -> None:
        original(descriptor)
        found.append((os.fstat(descriptor).st_size, [path.read_text()]))

    monkeypatch.setattr(os, "fsync", fsync)
    write(str(path))
    assert found == [(len(NEW), [OLD.decode()])]


@contextmanager
def small_disk() -> Iterator[None]:
    """No file can be larger than 1,000 bytes; that of pytest's own output neither, so it must be short."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


# What still fits into the buffer fails at the end only.
@pytest.mark.parametrize("size", [2000, 2_000_000])
def test_a_full_disk(tmp_path: Path, size: int, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "rows").write_bytes(OLD)
    with pytest.raises(OSError) as raised, small_disk():
        write(f"{tmp_path}/rows", b"x" * size)
    assert raised.value.errno == errno.EFBIG
    assert not [record for record in caplog.records if record.name == module.__name__]
    assert Place("", tmp_path).content() == {"rows": OLD}


# Leftovers


WRITER = """
import sys
from airflow_provider_optimove.storage.whole_file import whole_file
with whole_file(sys.argv[1]) as file:
    file.write(b"x" * 100_000)
    print("written", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that is about to write the file `rows`, and ends it when it is told to."""
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, f"{tmp_path}/rows"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout
            assert "written\n" in iter(process.stdout.readline, "")
            yield process
        finally:
            process.kill()


def test_what_a_killed_writer_left_is_removed(tmp_path: Path, writer: subprocess.Popen[str]) -> None:
    (leftover,) = Place("", tmp_path).content()
    assert leftover.startswith(".rows.")
    assert leftover.endswith(".partial")
    writer.kill()
    writer.wait()
    assert [*Place("", tmp_path).content()] == [leftover]
    with whole_file(f"{tmp_path}/rows") as file:
        assert leftover not in Place("", tmp_path).content()
        file.write(NEW)
    assert Place("", tmp_path).content() == {"rows": NEW}


def test_two_writers(tmp_path: Path, writer: subprocess.Popen[str]) -> None:
    (other,) = Place("", tmp_path).content()
    with whole_file(f"{tmp_path}/rows") as file:
        file.write(NEW)
        assert other in Place("", tmp_path).content()
    assert set(Place("", tmp_path).content()) == {"rows", other}
    assert (tmp_path / "rows").read_bytes() == NEW
    writer.communicate("end\n")
    assert writer.returncode == 0
    assert Place("", tmp_path).content() == {"rows": b"x" * 100_000}


def test_two_writers_at_once(place: Place) -> None:
    with whole_file(place.path("rows")) as first:
        first.write(b"first")
        with whole_file(place.path("rows")) as second:
            second.write(b"second")
        assert place.content()["rows"] == b"second"
        first.write(b" and last")
    assert place.content() == {"rows": b"first and last"}


DIGITS = "0123456789abcdef"


def test_other_files_are_not_leftovers(tmp_path: Path) -> None:
    others = {f".rows.csv.{DIGITS}.partial", f".rows.{DIGITS}", ".rows.notes.partial", f"rows.{DIGITS}.partial"}
    for name in {*others, f".rows.{DIGITS}.partial"}:
        (tmp_path / name).touch()
    write(f"{tmp_path}/rows")
    assert set(Place("", tmp_path).content()) == {"rows", *others}


@pytest.mark.parametrize("name", ["[1]", "*", "?.csv"])
def test_leftovers_of_names_that_look_like_patterns(tmp_path: Path, name: str) -> None:
    (tmp_path / f".{name}.{DIGITS}.partial").touch()
    (tmp_path / f".1.{DIGITS}.partial").touch()
    write(f"{tmp_path}/{name}")
    assert set(Place("", tmp_path).content()) == {name, f".1.{DIGITS}.partial"}


def test_without_locks_leftovers_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    (tmp_path / f".rows.{DIGITS}.partial").touch()
    write(f"{tmp_path}/rows")
    assert Place("", tmp_path).content() == {"rows": NEW, f".rows.{DIGITS}.partial": b""}


def test_a_file_that_was_taken_for_a_leftover(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    removed: list[str] = []
    original = fcntl.flock

    def flock(file: Any, operation: int) -> None:
        if not removed:
            (name,) = Place("", tmp_path).content()
            (tmp_path / name).unlink()
            removed.append(name)
        original(file, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    write(f"{tmp_path}/rows")
    assert removed
    assert Place("", tmp_path).content() == {"rows": NEW}
