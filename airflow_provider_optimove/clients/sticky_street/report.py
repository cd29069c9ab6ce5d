"""The report of all customers: bytes in, customers out. Nothing is sent here.

An answer is read as it arrives. Its customers wait in a temporary file until it has come to its end, so that nobody
sees a customer of an answer that breaks off or turns out to be an error, and memory does not grow with their number.
"""

from __future__ import annotations

import codecs
import re
import tempfile
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import IO, Any, Literal, NamedTuple, Protocol
from xml.parsers import expat

import ijson
import msgspec

from airflow_provider_optimove.clients.http import StopReading

CUSTOMER = "customer"
RESPONSE = "response"
ATTRIBUTES = "@attributes"
NO_OBJECT = "a customer in it has no fields"
TEXT = "#text"

# An answer is parsed in slices of this size, however it arrives: small ones would have an unfinished word looked at
# over and over.
SLICE = 64 * 1024
# What one customer, one field beside the customers, or a word that does not end, may have; and all fields beside them.
MOST_BYTES_OF_A_PART = 1 << 20
# Elements, or objects and lists, inside of each other.
DEEPEST = 32
# What may stand before the first element, and be looked at to tell the format.
LONGEST_OPENING = 64 * 1024
# Reports below this size never touch the disk.
IN_MEMORY = 8 << 20
PIECE = 1 << 20

BLANKS = b" \t\r\n"
UTF_8_MARK = codecs.BOM_UTF8
UTF_16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
PAGE = re.compile(rb"(?i)<(!doctype\s+html|html|head|body|title)\b")
CALL_OF_A_FUNCTION = re.compile(rb"(?:/\*\*/)?\s*[A-Za-z_$][\w$.]*\s*\(\s*(?=\{)")
MAY_BECOME_A_CALL = re.compile(rb"(?:/(?:\*(?:\*/?)?)?)?\s*(?:[A-Za-z_$][\w$.]*\s*(?:\(\s*)?)?")
END_OF_A_CALL = re.compile(rb"\s*\)\s*;?\s*")
# The line of the document that follows may hold anything.
YAJL_COMPLAINT = re.compile(r"(?:lexical|parse) error: [^\n\\]*")

# JSON up to its next number, as far as its texts are complete, and the number; the rest of a text; a number.
TO_NEXT_NUMBER = re.compile(rb'((?:[^"0-9-]++|"(?:[^"\\]++|\\.)*+")*+)([-0-9][-+.0-9eE]*+)?', re.DOTALL)
REST_OF_TEXT = re.compile(rb'(?:[^"\\]++|\\.)*+', re.DOTALL)
VALID_NUMBER = re.compile(rb"-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?(?:[eE][-+]?[0-9]++)?")

_encode = msgspec.json.Encoder()
_rows = msgspec.json.Decoder(dict[str, Any])


class Lines(NamedTuple):
    """Customers as JSON Lines.

    :param content: one object a line, UTF-8, without a newline at the end.
    :param rows: how many lines there are.
    """

    content: bytes
    rows: int


@dataclass(frozen=True)
class Report:
    """A report that arrived completely. Its customers can be read once.

    :param rows: how many customers there are.
    :param beside: what the answer has beside the customers, by name: attributes of ``response`` and further elements.
    :param last_customer: the last of them; empty where there is none.
    """

    rows: int
    beside: Mapping[str, Any] = field(repr=False)
    last_customer: Mapping[str, Any] = field(repr=False)
    _file: IO[bytes] = field(repr=False)

    def lines(self) -> Iterator[Lines]:
        """The customers, some thousands at a time; the temporary file is gone afterwards."""
        with self._file as file:
            file.seek(0)
            while piece := file.read(PIECE):
                piece += file.readline()
                yield Lines(piece[:-1], piece.count(b"\n"))

    def customers(self) -> Iterator[dict[str, Any]]:
        """The customers, one by one; the temporary file is gone afterwards."""
        for lines in self.lines():
            yield from _rows.decode_lines(lines.content)

    def close(self) -> None:
        """Remove the temporary file."""
        self._file.close()


@dataclass(frozen=True)
class NoReport:
    """What an answer is instead of a report.

    :param kind: Sticky Street's ``error``; ``incomplete``, as a report that broke off; ``unreadable``; or ``not kept``,
        because this machine has no room for it.
    :param message: the server's words, without secrets, or why it cannot be read or kept.
    """

    kind: Literal["error", "incomplete", "unreadable", "not kept"]
    message: str


class _Unreadable(Exception):
    """The answer is not one that can be read; the text says why, and holds nothing of it."""


class _NotKept(Exception):
    """There is no room for the answer; the text says where."""


class _OfSomethingElse(Exception):
    """The answer is neither a report nor an error of Sticky Street's."""


class _Parts:
    """What a parser has found so far."""

    def __init__(self) -> None:
        self.customers: list[dict[str, Any]] = []
        self.beside: dict[str, Any] = {}
        self.text = ""
        """The answer's own text, where there is nothing else in it."""
        self.ended = False
        self.moved = False
        self._bytes_beside = 0

    def add_customer(self, fields: dict[str, Any]) -> None:
        self.moved = True
        # An element without anything in it tells of nobody.
        if fields:
            self.customers.append(fields)

    def add_beside(self, name: str, value: Any) -> None:
        self.moved = True
        self._bytes_beside += len(_encode.encode((name, value)))
        if self._bytes_beside > MOST_BYTES_OF_A_PART:
            raise _Unreadable(f"what it holds beside the customers is longer than {MOST_BYTES_OF_A_PART:,} bytes")
        _add(self.beside, name, value)


class _Parser(Protocol):
    def feed(self, data: bytes) -> None: ...

    def end(self) -> None:
        """All was fed. Raises nothing for a document without its end: that is seen by ``ended``."""
        ...


class ReportReader:
    """Reads an answer as it arrives. A :class:`BodyReader`.

    XML or JSON is told by the first character, whatever was asked for, and JSON may be wrapped in a function's call.
    Both give the same customers: an object by the names of the fields, whose values are text, also where JSON has
    numbers, as they are written there, or ``true`` and ``false``. Attributes count as fields. What has fields of its
    own is an object, what comes more than once a list. What a converter from XML to JSON makes of an empty element
    (``[]``, ``{}``, null) is an empty text, as in XML; and an object of numbered customers, as PHP writes a list with
    a gap, is the list.

    :param redact: takes secrets out of the server's words.
    :param glance: whether the first customers are enough: the rest is not read.
    """

    def __init__(self, redact: Callable[[str], str], *, glance: bool = False) -> None:
        self._redact = redact
        self._glance = glance
        self._stopped = False
        self._parts = _Parts()
        self._parser: _Parser | None = None
        self._opening = b""
        self._waiting: list[bytes] = []
        self._bytes_waiting = 0
        self._unfinished = 0
        self._rows = 0
        self._last_customer: Mapping[str, Any] = {}
        self._refused: Exception | None = None
        self._file = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY)  # noqa: SIM115 - closed with the report

    def read(self, piece: bytes) -> None:
        """Take the next bytes.

        :raises StopReading: it is clear that this is no report.
        """
        self._waiting.append(piece)
        self._bytes_waiting += len(piece)
        if self._bytes_waiting < SLICE:
            return
        data = b"".join(self._waiting)
        whole = len(data) - len(data) % SLICE
        self._waiting = [data[whole:]]
        self._bytes_waiting = len(data) - whole
        for start in range(0, whole, SLICE):
            if not self._take(data[start : start + SLICE]):
                self._stopped = True
                raise StopReading

    def end(self) -> tuple[bytes, Report | NoReport | None]:
        """A report, or what it is instead; or the beginning of a body that is something else."""
        rest = b"".join(self._waiting)
        self._waiting = []
        if not self._stopped and self._take(rest) and self._parser is not None and self._parsed(self._parser.end):
            self._wrote(self._file.flush)
        if self._parser is None or isinstance(self._refused, _OfSomethingElse):
            self.close()
            return self._opening, None
        outcome = self._outcome()
        if isinstance(outcome, NoReport):
            self.close()
        return b"", outcome

    def close(self) -> None:
        """Remove the temporary file of an answer whose report nobody got."""
        # Where there is no room, there is none for what it still has to write either.
        with suppress(OSError):
            self._file.close()

    def _outcome(self) -> Report | NoReport:
        if self._refused is not None:
            return NoReport("not kept" if isinstance(self._refused, _NotKept) else "unreadable", str(self._refused))
        if not self._parts.ended:
            return NoReport("incomplete", "the report ends before its end")
        beside = self._parts.beside
        told = str(beside.get("status", "")).strip()
        status = told.lower()
        said = _words(beside.get("error")) or _words(beside.get("message")) or self._parts.text or ""
        if not status and not self._rows:
            # An object around it may hold the words alone.
            response = beside.get(RESPONSE)
            said = said or (_words(response) if isinstance(response, str) else "")
        if status == "success" or (not status and not said and self._rows):
            unknown = [] if self._rows else [name for name, value in beside.items() if isinstance(value, (dict, list))]
            if unknown:
                named = ", ".join(unknown)
                return NoReport("unreadable", f"it has no customers where they are documented, but {named}")
            return Report(self._rows, beside, self._last_customer, self._file)
        if status or said:
            named = f"the status is '{told}': " if status not in ("", "error") else ""
            return NoReport("error", self._redact(f"{named}{said or 'no explanation'}"))
        return NoReport("unreadable", "it has neither a status nor customers")

    def _take(self, data: bytes) -> bool:
        """Parse the next slice; False when the rest does not matter any more."""
        if self._parser is None:
            self._opening += data
            found = _parser_for(self._opening, self._parts)
            if found is None:
                if len(self._opening) >= LONGEST_OPENING or not _may_become_a_report(self._opening):
                    self._refused = _OfSomethingElse()
                return self._refused is None
            self._parser, data = found
        parser = self._parser
        return self._parsed(lambda: parser.feed(data)) and self._kept(len(data))

    def _wrote(self, step: Callable[[], object]) -> bool:
        """Whether the temporary file has taken something."""
        try:
            step()
        except OSError as error:
            self._refused = _NotKept(
                f"the folder for temporary files ({_folder()}) does not take the report: {error.strerror}"
            )
            return False
        return True

    def _parsed(self, step: Callable[[], None]) -> bool:
        try:
            step()
            return True
        except (_Unreadable, _OfSomethingElse) as refused:
            self._refused = refused
        except expat.ExpatError as error:
            self._refused = _Unreadable(f"the XML is not valid: {expat.ErrorString(error.code)}, line {error.lineno}")
        except ijson.JSONError as error:
            found = YAJL_COMPLAINT.search(str(error))
            self._refused = _Unreadable(f"the JSON is not valid: {found[0] if found else 'syntax error'}")
        except UnicodeError:
            self._refused = _Unreadable("the characters are not those of its encoding")
        except ValueError as error:
            # Encodings with several bytes a character.
            self._refused = _Unreadable(f"it cannot be read: {error}")
        except LookupError:
            self._refused = _Unreadable("its encoding is not known")
        return False

    def _kept(self, length: int) -> bool:
        customers = self._parts.customers
        if customers:
            lines = _encode.encode_lines(customers)
            if not self._wrote(lambda: self._file.write(lines)):
                return False
            self._rows += len(customers)
            self._last_customer = customers[-1]
            customers.clear()
        if self._glance and self._rows:
            self._parts.ended = True
            return False
        self._unfinished = 0 if self._parts.moved else self._unfinished + length
        self._parts.moved = False
        if self._unfinished <= MOST_BYTES_OF_A_PART:
            return True
        self._refused = _Unreadable(
            f"a customer, a field, a word or white space in it is longer than {MOST_BYTES_OF_A_PART:,} bytes"
        )
        return False


def _parser_for(opening: bytes, parts: _Parts) -> tuple[_Parser, bytes] | None:
    """The parser of a body that begins like this, and what it is to be fed first; None where that is not clear."""
    if opening[:2] in UTF_16_MARKS:
        start = opening.decode("utf-16", errors="ignore").lstrip()[:1]
        if start == "<":
            return _XmlParser(parts), opening
        return (_JsonParser(parts, "utf-16"), opening) if start == "{" else None
    # Scripts often write an empty line before they begin.
    text = opening.removeprefix(UTF_8_MARK).lstrip(BLANKS)
    if text.startswith(b"<"):
        return None if PAGE.match(text) else (_XmlParser(parts), text)
    if text.startswith(b"{"):
        return _JsonParser(parts), text
    if call := CALL_OF_A_FUNCTION.match(text):
        return _JsonParser(parts, in_a_call=True), text[call.end() :]
    return None


def _may_become_a_report(opening: bytes) -> bool:
    text = opening.removeprefix(UTF_8_MARK).lstrip(BLANKS)
    return opening[:2] in UTF_16_MARKS or bool(MAY_BECOME_A_CALL.fullmatch(text))


class _XmlParser:
    """XML by expat. A document type is refused, and with it all entities but the five that every document has."""

    def __init__(self, parts: _Parts) -> None:
        self._parts = parts
        self._begun = False
        self._before = 0
        self._open: list[dict[str, Any]] = []
        parser = expat.ParserCreate()
        parser.buffer_text = True
        parser.buffer_size = SLICE
        self._parser = parser
        self._listen()

    def feed(self, data: bytes) -> None:
        start = 0
        # Expat does not stop before the end of what it was given. So an entity must not be given with its declaration.
        while not self._begun and start < len(data):
            end = data.find(b">", start) + 1 or len(data)
            self._before += end - start
            if self._before > LONGEST_OPENING:
                raise _Unreadable(f"what stands before its first element is longer than {LONGEST_OPENING:,} bytes")
            self._parser.Parse(data[start:end], False)
            start = end
        if start < len(data):
            self._parser.Parse(data[start:], False)
        _check_depth(len(self._open))

    def end(self) -> None:
        try:
            self._parser.Parse(b"", True)
        except expat.ExpatError:
            if self._parts.ended:
                raise

    def _listen(self) -> None:
        parts = self._parts
        # Of the elements that are open: what they hold, and where in the texts theirs begin.
        open_ = self._open
        marks: list[int] = []
        texts: list[str] = []

        def first(name: str, attributes: dict[str, Any]) -> None:
            if name != RESPONSE:
                raise _OfSomethingElse
            self._begun = True
            self._parser.StartElementHandler = start
            start(name, attributes)

        # These two are called some 20 times a customer.
        def start(name: str, attributes: dict[str, Any]) -> None:
            open_.append(attributes)
            marks.append(len(texts))

        def end(name: str) -> None:
            fields = open_.pop()
            mark = marks.pop()
            if len(texts) - mark == 1:
                text = texts.pop()
            else:
                text = "".join(texts[mark:])
                del texts[mark:]
            if len(open_) < 2:
                end_outside(name, fields, text)
                return
            if fields:
                _check_depth(len(open_))
                if text.strip():
                    _add(fields, TEXT, text)
            parent = open_[-1]
            if name in parent:
                _add(parent, name, fields or text)
            else:
                parent[name] = fields or text

        def end_outside(name: str, fields: dict[str, Any], text: str) -> None:
            if not open_:
                parts.ended = True
                parts.text = text.strip()
                for attribute, value in fields.items():
                    parts.add_beside(attribute, value)
                return
            if text.strip() and fields:
                _add(fields, TEXT, text)
            if name == CUSTOMER:
                if text.strip() and not fields:
                    raise _Unreadable(NO_OBJECT)
                parts.add_customer(fields)
            else:
                parts.add_beside(name, fields or text)
            # The blanks between the customers.
            texts.clear()

        def refuse(name: str, *_: object) -> None:
            if name.lower() == "html":
                raise _OfSomethingElse
            raise _Unreadable("it has a document type, which reports do not have and which may declare entities")

        self._parser.StartElementHandler = first
        self._parser.EndElementHandler = end
        self._parser.CharacterDataHandler = texts.append
        self._parser.StartDoctypeDeclHandler = refuse


class _OfReport(dict[str, Any]):
    """The object that has the customers among its fields."""


class _OfCustomers(list[Any]):
    """The list of the customers."""


class _CustomerOrNumbered(dict[str, Any]):
    """A customer, or an object whose fields are customers: ``{"0": {…}, "2": {…}}``."""

    numbered = False

    def first_are_empty(self) -> bool:
        """Whether they are numbered customers, of whom the first ones stood there as nothing."""
        return all(map(str.isdecimal, self)) and any(isinstance(value, dict) for value in self.values())


class _NumbersAsText:
    """JSON with its numbers in quotation marks.

    They stay as they are written. And ijson sees none: of one with more digits than Python takes, its fast parser (3.6)
    brings down the process.
    """

    def __init__(self) -> None:
        self._held_back = b""
        self._in_text = False

    def __call__(self, data: bytes, *, last: bool = False) -> bytes:
        """The next bytes, but for what may be the beginning of a number."""
        data = self._held_back + data
        self._held_back = b""
        parts: list[bytes] = []
        start = self._rest_of_text(data, 0, parts) if self._in_text else 0
        if start == len(data):
            return b"".join(parts)
        for found in TO_NEXT_NUMBER.finditer(data, start):
            before, number = found.groups()
            parts.append(before)
            start = found.end()
            if not number:
                break
            if start == len(data) and not last:
                self._held_back = number
            elif VALID_NUMBER.fullmatch(number):
                parts += (b'"', number, b'"')
            else:
                raise _Unreadable("the JSON is not valid: a number in it is none")
        if start < len(data):
            parts.append(b'"')
            self._rest_of_text(data, start + 1, parts)
        return b"".join(parts)

    def _rest_of_text(self, data: bytes, start: int, parts: list[bytes]) -> int:
        """Take a text that has begun, up to its end or that of the data."""
        found = REST_OF_TEXT.match(data, start)
        assert found
        parts.append(found[0])
        end = found.end()
        self._in_text = data[end : end + 1] != b'"'
        if self._in_text:
            # Nothing, or the first half of an escape.
            self._held_back = data[end:]
            return len(data)
        parts.append(b'"')
        return end + 1


class _JsonParser:
    """JSON by ijson.

    :param parts: what is found.
    :param encoding: None: UTF-8.
    :param in_a_call: whether a closing bracket follows.
    """

    def __init__(self, parts: _Parts, encoding: str | None = None, *, in_a_call: bool = False) -> None:
        self._parts = parts
        self._decoder = codecs.getincrementaldecoder(encoding)() if encoding else None
        self._in_a_call = in_a_call
        self._held_back = b""
        self._numbers_as_text = _NumbersAsText()
        events = _json_events(parts)
        next(events)
        self._events = ijson.basic_parse_coro(events)

    def feed(self, data: bytes) -> None:
        if self._decoder:
            data = self._decoder.decode(data).encode()
        if self._in_a_call:
            data = self._held_back + data
            end = data.rfind(b"}") + 1
            self._held_back = data[end:]
            data = data[:end]
        if data := self._numbers_as_text(data):
            self._events.send(data)

    def end(self) -> None:
        if data := self._numbers_as_text(b"", last=True):
            self._events.send(data)
        if self._decoder and self._parts.ended:
            self._decoder.decode(b"", final=True)
        if self._in_a_call and self._parts.ended and not END_OF_A_CALL.fullmatch(self._held_back):
            cut_off = not self._held_back.strip(BLANKS)
            if not cut_off:
                raise _Unreadable("something follows the call that the JSON is wrapped in")
            self._parts.ended = False
        if self._parts.ended:
            self._events.close()


def _json_events(parts: _Parts) -> Generator[None, tuple[str, Any], None]:
    """Takes the events of a parser."""
    opened: list[tuple[Any, str]] = []
    current: Any = None
    key = ""
    while True:
        event, value = yield
        if event == "map_key":
            key = value
        elif event in ("start_map", "start_array"):
            opened.append((current, key))
            _check_depth(len(opened))
            current = _opened(event, current, key, depth=len(opened))
        elif event in ("end_map", "end_array"):
            closed = current
            current, key = opened.pop()
            _close(parts, closed, current, key)
        else:
            if event != "string":
                # There are no numbers any more.
                value = "" if value is None else "true" if value else "false"
            kind = type(current)
            if kind is dict and key not in current:
                current[key] = value
            elif isinstance(current, dict) and kind is not _OfReport:
                _add(current, key, value)
            elif kind is list:
                current.append(value)
            elif kind is _OfReport and key != CUSTOMER:
                parts.add_beside(key, value)
            elif value != "":
                raise _Unreadable(NO_OBJECT)


def _opened(event: str, parent: Any, key: str, *, depth: int) -> Any:
    if depth == 1:
        return _OfReport()
    if type(parent) is _OfReport and key == RESPONSE and depth == 2 and event == "start_map":
        return _OfReport()
    if type(parent) is _OfReport and key == CUSTOMER and event == "start_array":
        return _OfCustomers()
    if type(parent) is _OfReport and key == CUSTOMER:
        return _CustomerOrNumbered()
    return {} if event == "start_map" else []


def _close(parts: _Parts, closed: Any, parent: Any, key: str) -> None:
    """Put an object or a list, which is complete, where it belongs."""
    if isinstance(closed, dict) and ATTRIBUTES in closed:
        _raise_attributes(closed)
    if parent is None:
        parts.ended = True
    elif isinstance(closed, (_OfReport, _OfCustomers)):
        pass
    elif type(parent) is _OfCustomers or (type(parent) is _OfReport and key == CUSTOMER):
        if closed and not isinstance(closed, dict):
            raise _Unreadable(NO_OBJECT)
        numbered = type(closed) is _CustomerOrNumbered and (closed.numbered or closed.first_are_empty())
        if numbered and closed:
            raise _Unreadable("its customers are numbered, and something else is among them")
        if not numbered:
            parts.add_customer(closed or {})
    elif type(parent) is _CustomerOrNumbered and not parent and key.isdecimal() and isinstance(closed, dict):
        # They are many, and not kept until the last of them is there.
        parent.numbered = True
        parts.add_customer(closed)
    elif type(parent) is _OfReport:
        attributes = closed.items() if key == ATTRIBUTES and isinstance(closed, dict) else [(key, closed or "")]
        for name, value in attributes:
            parts.add_beside(name, value)
    elif type(parent) is list:
        parent.append(closed or "")
    else:
        _add(parent, key, closed or "")


def _raise_attributes(fields: dict[str, Any]) -> None:
    """Make the attributes the first fields of the object itself."""
    attributes = fields.pop(ATTRIBUTES)
    if isinstance(attributes, dict):
        others = dict(fields)
        fields.clear()
        fields.update(attributes)
        for name, value in others.items():
            _add(fields, name, value)


def _folder() -> str:
    """Where temporary files go."""
    try:
        return tempfile.gettempdir()
    except OSError:
        return "there is none"


def _check_depth(depth: int) -> None:
    if depth > DEEPEST:
        raise _Unreadable(f"more than {DEEPEST} parts are inside of each other")


def _add(fields: dict[str, Any], name: str, value: Any) -> None:
    """Add a field; one that comes again makes a list."""
    if name not in fields:
        fields[name] = value
    elif isinstance(fields[name], list):
        fields[name].append(value)
    else:
        fields[name] = [fields[name], value]


def _words(value: Any) -> str:
    """What the server says in a field of an error."""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, dict):
        return ": ".join(filter(None, map(_words, value.values())))
    if isinstance(value, list):
        return "; ".join(filter(None, map(_words, value)))
    return ""
