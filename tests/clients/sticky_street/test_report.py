"""Reports: bytes in, customers out; what is no report, and what is meant to harm."""

from __future__ import annotations

import codecs
import json
import tempfile
import tracemalloc
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import pytest

from airflow_provider_optimove.clients.http import StopReading
from airflow_provider_optimove.clients.sticky_street import report as reports
from airflow_provider_optimove.clients.sticky_street.report import (
    DEEPEST,
    MOST_BYTES_OF_A_PART,
    SLICE,
    NoReport,
    Report,
    ReportReader,
)

MEGABYTE = 1 << 20
SUCCESS = b'<response status="success">'


def ended(body: bytes, pieces_of: int = MEGABYTE, *, redact: Callable[[str], str] = str) -> Any:
    """What a body turns out to be."""
    reader = ReportReader(redact)
    read_by(reader, (body[start : start + pieces_of] for start in range(0, len(body), pieces_of)))
    rest, found = reader.end()
    return rest if found is None else found


def read_by(reader: ReportReader, pieces: Iterable[bytes]) -> int | None:
    """How many bytes a reader took until it had enough; None: all."""
    read = 0
    for piece in pieces:
        try:
            reader.read(piece)
        except StopReading:
            return read
        read += len(piece)
    return None


def customers(body: bytes) -> list[dict[str, Any]]:
    """The customers, the same however the body arrives."""
    at_once, by_byte = ended(body), ended(body, 1)
    assert isinstance(at_once, Report), at_once
    found = list(at_once.customers())
    assert found == list(by_byte.customers())
    assert len(found) == at_once.rows
    return found


def refusal(body: bytes, kind: str = "unreadable") -> str:
    """Why a body is no report."""
    found = ended(body)
    assert isinstance(found, NoReport), found
    assert found.kind == kind
    return found.message


DOCUMENTED = b"""<response status="success">
<customer>
<first_name>Jane</first_name>
<address2></address2>
<country/>
<custom1>She likes cheese &amp; more!</custom1>
<card_number>11111111</card_number>
</customer>
<customer>
<first_name>Zo\xc3\xab</first_name>
</customer>
</response>"""
JANE = {
    "first_name": "Jane",
    "address2": "",
    "country": "",
    "custom1": "She likes cheese & more!",
    "card_number": "11111111",
}


def test_the_documented_form() -> None:
    assert customers(DOCUMENTED) == [JANE, {"first_name": "Zoë"}]
    found = ended(DOCUMENTED)
    assert (found.rows, found.last_customer, found.beside) == (2, {"first_name": "Zoë"}, {"status": "success"})


def as_json(*found: Any, **beside: Any) -> bytes:
    return json.dumps({"status": "success", "customer": list(found), **beside}).encode()


@pytest.mark.parametrize(
    "body",
    [
        as_json(JANE),
        json.dumps({"status": "success", "customer": JANE}, indent=4).encode(),
        json.dumps({"customer": [JANE], "status": "Success"}).encode(),
        json.dumps({"customer": [JANE]}).encode(),
        json.dumps({"response": {"status": "success", "customer": JANE}}).encode(),
        json.dumps({"response": {"@attributes": {"status": "success"}, "customer": [JANE]}}).encode(),
        json.dumps({"response": {"@attributes": {"status": "success"}, "customer": [JANE, [], None, "", {}]}}).encode(),
        json.dumps({"status": "success", "customer": JANE | {"address2": [], "country": {}}}).encode(),
        json.dumps({"status": "success", "customer": JANE | {"address2": None}}).encode(),
        b"\r\n \t" + as_json(JANE) + b"\n",
        codecs.BOM_UTF8 + as_json(JANE),
        as_json(JANE).decode().encode("utf-16"),
        b"someFunctionName(" + as_json(JANE) + b")",
        b"/**/ $.on_customers (\n" + as_json(JANE) + b"\n ) ;\n",
        b" \n" + DOCUMENTED.replace("<customer>\n<first_name>Zoë</first_name>\n</customer>\n".encode(), b"<customer/>"),
    ],
)
def test_forms_that_say_the_same(body: bytes) -> None:
    assert customers(body) == [JANE]


@pytest.mark.parametrize(
    ("xml", "converted", "expected"),
    [
        (b'<customer id="5"><a>x</a></customer>', {"@attributes": {"id": "5"}, "a": "x"}, {"id": "5", "a": "x"}),
        (b"<customer><a>1</a><b/><a>2</a></customer>", {"a": ["1", "2"], "b": []}, {"a": ["1", "2"], "b": ""}),
        (
            b"<customer><tags><tag>x</tag><tag/></tags></customer>",
            {"tags": {"tag": ["x", []]}},
            {"tags": {"tag": ["x", ""]}},
        ),
        (
            b"<customer><a k='v'>She <i>likes</i> it</a></customer>",
            {"a": {"@attributes": {"k": "v"}, "i": "likes", "#text": "She  it"}},
            {"a": {"k": "v", "i": "likes", "#text": "She  it"}},
        ),
        (b"<customer><a> x </a></customer>", {"a": " x "}, {"a": " x "}),
        (b"<customer><a><![CDATA[<b>]]>&#8364;</a></customer>", {"a": "<b>€"}, {"a": "<b>€"}),
    ],
)
def test_what_is_not_documented_is_kept_in_both_formats(xml: bytes, converted: Any, expected: Any) -> None:
    assert customers(SUCCESS + xml + b"</response>") == [expected]
    assert customers(as_json(converted)) == [expected]


@pytest.mark.parametrize("value", ["1.5", "-0", "1.10", "1e400", "4.137071924090694e+15", "1" * 5000, "true", "false"])
def test_values_of_json_are_text_as_they_are_written(value: str) -> None:
    body = '{"status":"success","n":%s,"customer":[{"a":%s,"b":[%s,{"c":%s}]}]}' % ((value,) * 4)
    assert customers(body.encode()) == [{"a": value, "b": [value, {"c": value}]}]
    assert ended(body.encode()).beside["n"] == value
    assert customers(body.encode("utf-16")) == customers(f"f({body});".encode()) == customers(body.encode())
    # As in XML.
    elements = f"<customer><a>{value}</a><b>{value}</b><b><c>{value}</c></b></customer>"
    assert customers(SUCCESS + elements.encode() + b"</response>") == customers(body.encode())


@pytest.mark.parametrize(
    "text", ["1", "1" * 2500, '\\" 12 \\\\', "\\\\", "\\u0031 2", "a: 1, 2", "12:30", '{\\"n\\": 1}']
)
def test_digits_of_texts_are_not_taken_for_numbers(text: str) -> None:
    body = f'{{"{text}x":"{text}","status":"success","customer":[{{"a" :"{text}","b": 7 ,"{text}":"{text}"}}]}}'
    plain = json.loads(f'"{text}"')
    assert customers(body.encode()) == [{"a": plain, "b": "7", plain: plain}]
    assert ended(body.encode()).beside == {"status": "success", f"{plain}x": plain}


def test_a_field_that_comes_twice_is_a_list_in_both_formats() -> None:
    xml = SUCCESS + b"<customer><a>1</a><a>2</a><b><c/></b><b>x</b></customer></response>"
    body = b'{"status":"success","customer":[{"a":1,"a":"2","b":{"c":[]},"b":"x"}]}'
    assert customers(body) == customers(xml) == [{"a": ["1", "2"], "b": [{"c": ""}, "x"]}]


def test_customers_that_are_numbered() -> None:
    # PHP's list, where one was taken out.
    body = b'{"status":"success","customer":{"0":{"a":"x"},"2":{"a":"y","0":"z"},"3":{}},"last":7}'
    assert customers(body) == [{"a": "x"}, {"a": "y", "0": "z"}]
    assert ended(body).last_customer == {"a": "y", "0": "z"}
    assert customers(body.replace(b'"customer":', b'"response":{"customer":')[:-1] + b"}}") == customers(body)
    # One customer is none of them.
    assert customers(b'{"customer":{"a":"x","2":{"b":"y"}}}') == [{"a": "x", "2": {"b": "y"}}]
    assert customers(b'{"customer":{"2":"y"}}') == [{"2": "y"}]
    assert customers(b'{"customer":{"2":[]}}') == [{"2": ""}]
    many = b",".join(b'"%d":{"a":"%s"}' % (number, b"x" * 1000) for number in range(5000))
    assert ended(b'{"customer":{%s}}' % many).rows == 5000


@pytest.mark.parametrize(
    ("body", "names"),
    [
        (b'{"status":"success","customers":[{"secret":"x"}]}', "customers"),
        (b'{"response":{"@attributes":{"status":"success"},"customers":{"customer":[{"a":"x"}]}}}', "customers"),
        (SUCCESS + b"<customers><customer><a>x</a></customer></customers></response>", "customers"),
        (b'{"status":"success","Customer":[{"a":"x"}],"page":{"n":1},"n":2}', "Customer, page"),
    ],
)
def test_customers_elsewhere_are_no_empty_report(body: bytes, names: str) -> None:
    assert refusal(body) == f"it has no customers where they are documented, but {names}"


def test_what_stands_beside_the_customers_is_kept() -> None:
    xml = b'<response status="success" last="77"><total>2</total><customer><a>x</a></customer></response>'
    assert ended(xml).beside == {"status": "success", "last": "77", "total": "2"}
    converted = {"@attributes": {"status": "success", "last": "77"}, "total": "2", "customer": {"a": "x"}}
    assert ended(json.dumps({"response": converted}).encode()).beside == ended(xml).beside
    assert ended(as_json({"a": "x"}, last=77, page={"n": [], "next": None})).beside == {
        "status": "success",
        "last": "77",
        "page": {"n": "", "next": ""},
    }


@pytest.mark.parametrize(
    "body",
    [
        b'<response status="success"/>',
        b'<?xml version="1.0"?><response status="success">\n</response>',
        b'{"status":"success"}',
        b'{"status":"success","customer":[]}',
        b'{"status":"success","customer":null}',
        b'{"response":{"@attributes":{"status":"success"}}}',
        b'call({"status":"success"});',
    ],
)
def test_a_report_without_customers(body: bytes) -> None:
    assert customers(body) == []
    assert ended(body).last_customer == {}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'<response status="error">\n<error>Error message</error>\n</response>', "Error message"),
        (b'<response status="error">Tom &amp; Jerry</response>', "Tom & Jerry"),
        (b'<response status="ERROR"/>', "no explanation"),
        (b'<response status="failed"><error>x</error></response>', "the status is 'failed': x"),
        (b'<response status="error"><customer><a>x</a></customer><error>after all</error></response>', "after all"),
        (b'{"status":"error","error":"Error message"}', "Error message"),
        (b'{"customer":[{"a":"x"}],"status":"error","error":"after all"}', "after all"),
        (b'{"error":{"code":7,"message":"Error message"}}', "7: Error message"),
        (b'{"status":"error","message":["one","two"]}', "one; two"),
        (b'{"response":{"@attributes":{"status":"error"},"error":"Error message"}}', "Error message"),
        (b'{"response":"Error message"}', "Error message"),
        (b'call({"status":"error","error":"Error message"});', "Error message"),
    ],
)
def test_errors_of_the_server(body: bytes, words: str) -> None:
    assert refusal(body, "error") == words


def test_the_words_of_an_error_hold_no_secrets() -> None:
    body = b'<response status="error"><error>not &#104;ush&amp;hush</error></response>'
    found = ended(body, redact=lambda text: text.replace("hush&hush", "***"))
    assert found == NoReport("error", "not ***")


@pytest.mark.parametrize("ending", [b"", b"</customer>", b"</customer></resp"])
def test_xml_that_breaks_off(ending: bytes) -> None:
    refusal(SUCCESS + b"<customer><a>x</a>" + ending, "incomplete")


@pytest.mark.parametrize("ending", [b"", b']}"', b"]}", b"]} "])
def test_json_that_breaks_off(ending: bytes) -> None:
    # The function's call lacks its end in the last two.
    refusal(b'call({"status":"success","customer":[{"a":"x"}' + ending.rstrip(b'"'), "incomplete")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" \n",
        b"[]",
        b"null",
        b'"Error message"',
        b"Error message",
        b"Warning: fopen(secret) failed",
        b"<!DOCTYPE html><html><body>Sign in</body></html>",
        b"<!doctype html>\n<html><br></html>",
        b"<!-- page --><!DOCTYPE html><html/>",
        b"<html><body>Sign in</body></html>",
        b'<?xml version="1.0"?><feed/>',
        b"call(",
        b"call([1])",
    ],
)
def test_what_is_something_else_comes_back_as_it_is(body: bytes) -> None:
    assert ended(body) == body
    assert ended(body, 1) == body


def test_of_something_else_only_the_beginning_is_read() -> None:
    reader = ReportReader(str)
    assert read_by(reader, [b"x" * SLICE] * 100) == 0
    rest, found = reader.end()
    assert (len(rest), found) == (SLICE, None)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"<response/>", "neither a status nor customers"),
        (b"{}", "neither a status nor customers"),
        (SUCCESS + b"<customer><a>x</b></customer></response>", "mismatched tag, line 1"),
        (SUCCESS + b"</response><br/>", "junk after document element"),
        (SUCCESS + b"<customer>nobody</customer></response>", "a customer in it has no fields"),
        (b'{"status":"success"} more', "trailing garbage"),
        (b'{"status":tru}', "the JSON is not valid"),
        (b'{"status":"success"} 12', "trailing garbage"),
        *[
            (b'{"status":%s}' % none, "a number in it is none")
            for none in (b"01", b"1.", b"-", b"1e", b"--1", b"1.2.3")
        ],
        (b'{"status":"success","customer":{"0":{"a":"x"},"total":"1"}}', "something else is among them"),
        *[
            (b'{"status":"success","customer":{"0":%s,"2":{"a":"x"}}}' % first, "something else is among them")
            for first in (b"[]", b"null", b'""')
        ],
        (b'{"response":{"response":{"status":"success","customer":[{"a":"private"}]}}}', "neither a status nor"),
        (b'call({"status":"success"}); more', "something follows the call"),
        (b'{"status":"success","customer":"nobody"}', "a customer in it has no fields"),
        (b'{"status":"success","customer":[["nobody"]]}', "a customer in it has no fields"),
        (b'{"status":"success","customer":[{"a":"\xff"}]}', "invalid bytes in UTF8"),
        (b'{"status":"success","customer":[{"a":"\\udc00"}]}', "not those of its encoding"),
        (SUCCESS + b"<customer><a>\xff</a></customer></response>", "not well-formed"),
        (b'<?xml version="1.0" encoding="nonsense"?><response status="success"/>', "encoding"),
        (b'<?xml version="1.0" encoding="shift_jis"?><response status="success"/>', "multi-byte"),
        (codecs.BOM_UTF16_LE + '{"status":"success"}'.encode("utf-16-le") + b"x", "not those of its encoding"),
    ],
)
def test_what_cannot_be_read_is_explained(body: bytes, words: str) -> None:
    assert words in refusal(body)


def test_explanations_hold_nothing_of_the_answer() -> None:
    for body in (b'{"status":"success","customer":[{"a":"private" private}]}', SUCCESS + b"<private></other>"):
        assert "private" not in refusal(body)


@pytest.mark.parametrize("encoding", ["iso-8859-1", "windows-1252", "utf-8", "utf-16"])
def test_encodings_of_xml(encoding: str) -> None:
    text = f'<?xml version="1.0" encoding="{encoding}"?><response><customer><a>é</a></customer></response>'
    assert customers(text.encode(encoding)) == [{"a": "é"}]


# What is meant to harm. Bodies are endless, so that nothing but a refusal ends them.


def forever(start: bytes, again: bytes) -> Iterator[bytes]:
    yield start
    piece = again * (MEGABYTE // len(again))
    while True:
        yield piece


BILLION_LAUGHS = (
    b'<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY a "'
    + b"lol" * 1000
    + b'">'
    + b"".join(b"<!ENTITY %c '%b'>" % (letter, b"&%c;" % (letter - 1) * 1000) for letter in range(ord("b"), ord("h")))
    + b"]><response>&g;</response>"
)
HOSTILE = {
    "entity expansion": (BILLION_LAUGHS, b" ", "document type"),
    "external entity": (b'<!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/passwd">]><response>&x;', b" ", "document type"),
    "external document type": (b'<!DOCTYPE r SYSTEM "http://127.0.0.1:1/x.dtd"><response>', b" ", "document type"),
    "parameter entity": (b'<!DOCTYPE r [<!ENTITY % x SYSTEM "file:///etc/passwd"> %x;]><r/>', b" ", "document type"),
    "document type without an end": (b"<!DOCTYPE r [", b"<!-- -->", "document type"),
    "undefined entity": (b"<response>&harm;", b" ", "undefined entity"),
    "nested elements": (SUCCESS + b"<customer>", b"<a>", f"more than {DEEPEST} parts"),
    "nested and closed": (SUCCESS + b"<customer>" + b"<a>" * 5000 + b"</a>" * 5000, b" ", f"more than {DEEPEST} parts"),
    "nested lists": (b'{"status":', b"[", f"more than {DEEPEST} parts"),
    "nested objects": (b'{"customer":[', b'{"a":', f"more than {DEEPEST} parts"),
    "long tag": (SUCCESS + b"<", b"tag", "is longer"),
    "long attribute": (SUCCESS + b'<customer a="', b"x", "is longer"),
    "many attributes": (SUCCESS + b"<customer ", b"a='x' ", "is longer"),
    "long text": (SUCCESS + b"<customer><a>", b"text", "is longer"),
    "long comment": (SUCCESS + b"<!--", b"x", "is longer"),
    "long instruction": (SUCCESS + b"<?php ", b"x", "is longer"),
    "many fields of a customer": (SUCCESS + b"<customer>", b"<a>x</a>", "is longer"),
    "many fields beside": (SUCCESS, b"<a>x</a>", "beside the customers"),
    "comments before the first element": (b"<?xml version='1.0'?>", b"<!-- -->", "before its first element"),
    "long first tag": (b"<", b"tag", "before its first element"),
    "long key": (b'{"', b"key", "is longer"),
    "long value": (b'{"customer":[{"a":"', b"text", "is longer"),
    "long list": (b'{"customer":[{"a":[1', b",1", "is longer"),
    "many keys of a customer": (b'{"customer":[{"a":1', b',"a":1', "is longer"),
    "many keys beside": (b'{"a":"x"', b',"a":"x"', "beside the customers"),
    "long number": (b'{"a":', b"1", "is longer"),
    "long text of digits": (b'{"a":"', b"1", "is longer"),
    "numbered customers without an end": (b'{"customer":{"0":{"a":"x"}', b',"0":1', "is longer"),
    "long call": (b'call({"a":"', b"x", "is longer"),
    "blanks": (SUCCESS, b" ", "is longer"),
    "blanks in JSON": (b'{"status":', b" ", "is longer"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_harm_is_refused_before_it_is_done(name: str) -> None:
    start, again, words = HOSTILE[name]
    reader = ReportReader(str)
    tracemalloc.start()
    try:
        read = read_by(reader, forever(start, again))
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    _, found = reader.end()
    assert isinstance(found, NoReport)
    assert found.kind == "unreadable"
    assert words in found.message
    assert read is not None
    assert read <= 3 * MEGABYTE
    # Expat and yajl have, outside of what is counted here, not more than what they have not given back.
    assert most < 40 * MEGABYTE


@pytest.mark.parametrize("before", [0, 1, 62_000, 64_000])
def test_a_number_with_more_digits_than_python_takes(before: int) -> None:
    # As a number, ijson 3.6 would bring down the process.
    for digits in (4300, 5000, 100_000):
        body = b'{"status":"success","a":"' + b"x" * before + b'","customer":{"b":' + b"1" * digits + b"}}"
        assert customers_at_once(body) == [{"b": "1" * digits}]


@pytest.mark.parametrize("shift", range(36))
def test_what_the_edge_of_a_slice_cuts(shift: int) -> None:
    value = '-12.5e+3,"\\\\\\"1\\u0031",true'
    body = '{"status":"success","customer":{"a":"' + "x" * (SLICE - 76 + shift) + '","b":[' + value + "]}}"
    (found,) = customers_at_once(body.encode())
    assert found["b"] == ["-12.5e+3", '\\"1' + "1", "true"]


def test_a_report_that_finds_no_room(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setattr(reports, "IN_MEMORY", 10)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    for body in (SUCCESS + b"<customer><a>private</a></customer></response>", as_json({"a": "private"})):
        told = refusal(body, "not kept")
        assert (
            told
            == f"the folder for temporary files ({tmp_path}/gone) does not take the report: No such file or directory"
        )


def test_a_disk_that_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    # What was written is in a buffer at first.
    monkeypatch.setattr(tempfile, "SpooledTemporaryFile", lambda **_: open("/dev/full", "w+b"))  # noqa: SIM115
    assert "does not take the report: No space left on device" in refusal(as_json({"a": "x"}), "not kept")
    assert "No space left" in refusal(as_json({"a": "x" * 100_000}), "not kept")


def test_parts_up_to_the_limit_are_taken() -> None:
    text = "x" * (MOST_BYTES_OF_A_PART - SLICE)
    assert customers_at_once(SUCCESS + f"<customer><a>{text}</a></customer></response>".encode()) == [{"a": text}]
    assert customers_at_once(as_json({"a": text})) == [{"a": text}]
    deep: Any = "x"
    for _ in range(DEEPEST - 3):
        deep = {"a": deep}
    assert customers_at_once(as_json({"deep": deep})) == [{"deep": deep}]


def customers_at_once(body: bytes) -> list[Mapping[str, Any]]:
    found = ended(body)
    assert isinstance(found, Report), found
    return list(found.customers())


def test_many_customers_come_in_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reports, "IN_MEMORY", 1000)
    monkeypatch.setattr(reports, "PIECE", 1000)
    found = ended(SUCCESS + b"".join(b"<customer><n>%d</n></customer>" % n for n in range(10_000)) + b"</response>")
    pieces = list(found.lines())
    assert len(pieces) > 10
    assert sum(lines.rows for lines in pieces) == found.rows == 10_000
    assert b"\n".join(lines.content for lines in pieces) == b"\n".join(b'{"n":"%d"}' % n for n in range(10_000))
    assert found.last_customer == {"n": "9999"}


def test_blanks_between_customers_are_not_kept() -> None:
    blanks = b"\n" * 100_000
    reader = ReportReader(str)
    tracemalloc.start()
    try:
        read_by(reader, [SUCCESS, *[blanks + b"<customer><a>x</a></customer>"] * 300, b"</response>"])
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    _, found = reader.end()
    assert isinstance(found, Report)
    assert found.rows == 300
    assert most < 10 * MEGABYTE
    found.close()


def test_a_glance_reads_the_first_customers_only() -> None:
    reader = ReportReader(str, glance=True)
    read = read_by(reader, forever(SUCCESS, b"<customer><a>x</a></customer>"))
    _, found = reader.end()
    assert isinstance(found, Report)
    assert 0 < found.rows <= SLICE
    assert read == len(SUCCESS)
    found.close()


@pytest.mark.parametrize(
    "body", [b'<response status="error"/>', b"nothing", SUCCESS, b'{"a":' + b"[" * 100], ids=lambda body: body[:9]
)
def test_no_file_is_left_of_what_is_no_report(body: bytes) -> None:
    reader = ReportReader(str)
    read_by(reader, [body])
    reader.end()
    assert reader._file.closed


def test_no_file_is_left_of_a_report_that_was_read() -> None:
    found = ended(as_json({"a": "x"}))
    assert list(found.customers()) == [{"a": "x"}]
    assert found._file.closed
