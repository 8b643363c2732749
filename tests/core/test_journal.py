"""The journal's file format: one text for one event, every damage reported, nothing else lost."""

from __future__ import annotations

import contextlib
import hashlib
import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlos_sync.core import journal
from mlos_sync.core.journal import BadLineError, decode

CREATED = "2026-11-20T10:00:00Z"
WORKSPACE = "ab" * 16


def an_event(**given) -> journal.Event:
    """A valid event; any part of it may be given."""
    parts = {
        "id": "01" * 16, "clock": (1_795_168_800_000, 0), "seen": (), "kind": "need", "uid": "fe" * 16, "op": "create",
        "fields": {"title": "A need", "priority": 2}, "actor": "Ada <ada@example.org>", "door": "cli", "tx": "02" * 16,
    }  # fmt: skip
    return journal.make(**{**parts, **given})


def some_events(count: int = 4) -> list[journal.Event]:
    """Events one second apart, each with an id of its own."""
    return [
        an_event(id=f"{n:032x}", clock=(1_795_168_800_000 + 1000 * n, 0), fields={"title": f"n {n}"})
        for n in range(count)
    ]


def signed(body: object) -> bytes:
    """The canonical line of a body with the checksum that fits, whatever the body holds."""
    if isinstance(body, dict):
        body = {name: value for name, value in body.items() if name != "sum"}
        body["sum"] = journal.checksum(journal.canonical(body))
    return journal.canonical(body).encode()


def body_of(event: journal.Event) -> dict:
    """An event's line as a dictionary."""
    return json.loads(event.line)


hex32 = st.binary(min_size=16, max_size=16).map(bytes.hex)
words = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)
whole = st.integers(-(2**70), 2**70)
values = st.recursive(
    st.none() | st.booleans() | whole | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=6,
)
events = st.builds(
    journal.make,
    id=hex32,
    clock=st.tuples(st.integers(0, 2**53 - 1), st.integers(0, 2**53 - 1)),
    seen=st.lists(hex32, max_size=3, unique=True),
    kind=words.filter(bool),
    uid=hex32,
    op=words.filter(bool),
    fields=st.dictionaries(words, values, max_size=4),
    actor=st.none() | words,
    door=words.filter(bool),
    tx=st.none() | hex32,
)


@given(events)
@settings(max_examples=200, deadline=None)
def test_an_event_survives_the_way_through_its_line(event):
    """What was made is what is read, byte for byte, both by the careful and by the trusting reader."""
    read = decode(event.line.encode())
    assert read == event == journal.trusted(event.line)
    assert "\n" not in event.line


@given(events)
@settings(max_examples=100, deadline=None)
def test_the_line_is_canonical_json_that_others_can_check(event):
    """Sorted keys, no blanks, UTF-8, and a checksum over the line without it."""
    body = json.loads(event.line)
    again = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert again == event.line
    given_sum = body.pop("sum")
    rest = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    assert hashlib.sha256(rest).hexdigest()[:16] == given_sum


def test_the_format_stands_as_documented():
    """A line written once must be read for ever, so one line and one segment are held here by their bytes."""
    event = an_event(seen=("cd" * 16, "ab" * 16))
    assert event.line == (
        '{"actor":"Ada <ada@example.org>","clock":[1795168800000,0],"door":"cli","fields":{"priority":2,"title":"A need"},'
        f'"id":"{"01" * 16}","kind":"need","op":"create","seen":["{"ab" * 16}","{"cd" * 16}"],"sum":"{body_of(event)["sum"]}",'
        f'"tx":"{"02" * 16}","uid":"{"fe" * 16}"}}'
    )
    data = journal.segment_bytes([event], WORKSPACE, CREATED)
    header = f'{{"created":"{CREATED}","format":1,"journal":"mlos","workspace":"{WORKSPACE}"}}'
    assert data.decode() == header + "\n" + event.line + "\n"
    assert journal.segment_path(data, CREATED) == f".mlos/journal/2026/11/{hashlib.sha256(data).hexdigest()}.jsonl"


def test_seen_is_sorted_whatever_the_order_given():
    """Two authors who saw the same heads write the same text."""
    assert an_event(seen=["b0" * 16, "a0" * 16]).line == an_event(seen=["a0" * 16, "b0" * 16]).line


def test_events_are_ordered_by_clock_and_id_in_a_segment():
    """The same events give the same segment, whatever the order in which they come."""
    made = [an_event(id=f"{n:032x}", clock=(100 - n // 2, n)) for n in range(6)]
    data = journal.segment_bytes(made, WORKSPACE, CREATED)
    for seed in range(10):
        random.Random(seed).shuffle(made)
        assert journal.segment_bytes(made, WORKSPACE, CREATED) == data
    read = journal.read_segment(journal.segment_name(data), data)
    assert [(event.clock, event.id) for event in read.events] == sorted((event.clock, event.id) for event in made)
    assert read.problems == () and read.workspace == WORKSPACE


def test_null_is_apart_from_absent():
    """A field that is set to nothing is told, a field that is not set is not."""
    read = decode(an_event(fields={"scope": None}).line.encode())
    assert read.fields == {"scope": None} and "title" not in read.fields


@pytest.mark.parametrize("value", [1.5, float("nan"), float("inf")])
def test_floats_cannot_be_read(value):
    """A float in a line, valid JSON or not, is refused: its text is not the same on every machine."""
    line = json.dumps({**body_of(an_event()), "fields": {"x": value}}, sort_keys=True, separators=(",", ":"))
    with pytest.raises(BadLineError, match="float"):
        decode(line.encode())


def test_nan_is_never_written():
    """The writer refuses NaN rather than write what is no JSON."""
    with pytest.raises(ValueError):
        journal.canonical({"x": float("nan")})


DEEP = 100_000
GOOD = an_event().line.encode()
HOSTILE = {
    "empty": b"",
    "blank": b" ",
    "no JSON": b"hello",
    "not an object": b"[1,2]",
    "a number": b"7",
    "two values": b"{} {}",
    "NaN": b'{"x":NaN}',
    "infinity": b'{"x":-Infinity}',
    "a float": b'{"x":1.0}',
    "an exponent": b'{"x":1e400}',
    "a key twice": b'{"id":"1","id":"2"}',
    "a key twice, inside": b'{"fields":{"a":1,"a":2}}',
    "lone surrogate": b'{"x":"\\ud800"}',
    "lone surrogate as key": b'{"\\udfff":1}',
    "surrogate in bytes": b'{"x":"\xed\xa0\x80"}',
    "not UTF-8": b'{"x":"\xff"}',
    "UTF-16": '{"x":1}'.encode("utf-16"),
    "deep arrays": b"[" * DEEP,
    "deep arrays, closed": b"[" * DEEP + b"]" * DEEP,
    "deep objects": b'{"a":' * DEEP + b"1" + b"}" * DEEP,
    "deep inside a field": b'{"fields":{"x":' + b"[" * DEEP + b"]" * DEEP + b"}}",
    "an integer of 5,000 digits": b'{"x":' + b"9" * 5000 + b"}",
    "BOM": b"\xef\xbb\xbf" + GOOD,
    "CR at the end": GOOD + b"\r",
    "NUL at the end": GOOD + b"\0",
    "NUL before": b"\0" + GOOD,
    "blank inside": GOOD.replace(b":", b": ", 1),
    "keys in another order": json.dumps(dict(reversed(json.loads(GOOD).items())), separators=(",", ":")).encode(),
    "escaped instead of raw": an_event(fields={"title": "ä"}).line.encode().replace("ä".encode(), b"\\u00e4"),
    "conflict marker": b"<<<<<<< HEAD",
    "no checksum": journal.canonical({"id": "01" * 16}).encode(),
    "a null checksum": GOOD.replace(json.loads(GOOD)["sum"].encode(), b"0" * 16),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_bad_line_is_refused_with_a_reason_and_nothing_else(name):
    """Whatever the bytes, the reader answers with its own error and one short sentence."""
    with pytest.raises(BadLineError) as caught:
        decode(HOSTILE[name])
    assert 0 < len(str(caught.value)) < 300


def test_a_line_beyond_the_limit_is_refused():
    """The length of a line is bounded before anything is parsed."""
    with pytest.raises(BadLineError, match="longer"):
        decode(b'{"x":"' + b"a" * journal.LINE_LIMIT + b'"}')


@given(st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode("utf-8", "surrogatepass")))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_refused_or_read(data):
    """No input raises anything but BadLineError."""
    with pytest.raises(BadLineError):
        decode(data)


WRONG_PARTS = [
    ("id", "short"), ("id", "FE" * 16), ("id", None), ("id", 7), ("id", ["fe" * 16]), ("id", "fe" * 17),
    ("uid", "x" * 32), ("uid", ""), ("uid", {}),
    ("clock", None), ("clock", [1]), ("clock", [1, 2, 3]), ("clock", ["1", "2"]), ("clock", [-1, 0]), ("clock", [0, -1]),
    ("clock", [2**53, 0]), ("clock", [True, False]), ("clock", "12"), ("clock", {"a": 1, "b": 2}), ("clock", 5),
    ("seen", None), ("seen", 5), ("seen", "ab" * 16), ("seen", ["no hex"]), ("seen", [["ab" * 16]]), ("seen", [None]),
    ("seen", {"ab" * 16: 1}),
    ("kind", ""), ("kind", None), ("kind", 3), ("kind", ["need"]),
    ("op", ""), ("op", None), ("op", {}),
    ("fields", None), ("fields", []), ("fields", "title"), ("fields", 1),
    ("door", ""), ("door", None), ("door", 1),
    ("actor", 5), ("actor", ["Ada"]), ("actor", {"name": "Ada"}),
    ("tx", 5), ("tx", []),
]  # fmt: skip


@pytest.mark.parametrize(("part", "value"), WRONG_PARTS, ids=lambda one: repr(one)[:24])
def test_a_part_of_the_wrong_form_is_refused(part, value):
    """A line with a good checksum is still no event when a part of it is not what the format says."""
    with pytest.raises(BadLineError):
        decode(signed({**body_of(an_event()), part: value}))


@pytest.mark.parametrize("part", ["id", "clock", "seen", "kind", "uid", "op", "fields", "door"])
def test_a_missing_part_is_refused(part):
    """Every part that the fold needs must be there."""
    body = body_of(an_event())
    del body[part]
    with pytest.raises(BadLineError, match=part):
        decode(signed(body))


def nested(depth: int) -> list:
    """An array in an array, so many times."""
    value: list = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize("part", ["id", "kind", "clock", "seen", "fields", "actor", "format"])
def test_no_depth_slips_between_the_limits(part):
    """Between what the parser and what the printer of an error can bear there is no depth that crashes."""
    for depth in range(20, 1000, 7):
        inner = "[" * depth + "]" * depth
        body = body_of(an_event())
        body.pop("sum")
        text = journal.canonical({**body, part: "@"}).replace('"@"', inner)
        text = text[:-1] + f',"sum":"{"0" * 16}"}}'
        with contextlib.suppress(RecursionError):
            text = signed({**body, part: json.loads(inner)}).decode()
        with contextlib.suppress(BadLineError):
            decode(text.encode())


def deeper(frames: int, line: str) -> journal.Event:
    """Read a trusted line from further down the stack."""
    return deeper(frames - 1, line) if frames else journal.trusted(line)


def test_what_was_accepted_can_be_read_from_deeper_down():
    """A line that decode takes near the parser's limit does not bring down a caller with a deeper stack later."""
    accepted = None
    for depth in range(20, 1000, 5):
        try:
            line = signed({**body_of(an_event()), "fields": {"x": nested(depth)}})
            accepted = decode(line)
        except (BadLineError, RecursionError):
            break
    assert accepted is not None
    assert deeper(100, accepted.line) == accepted


@pytest.mark.parametrize(
    "fields",
    [
        {"monitored_needs": {"add": 5}},
        {"monitored_needs": {"add": None}},
        {"monitored_needs": {"remove": None}},
        {"monitored_needs": {"add": {"a": 1}}},
        {"monitored_needs": {"add": [["a"]]}},
        {"title": ["a", {"b": None}]},
        {"title/x": 1},
        {"@alive": False},
        {"": 1},
    ],
    ids=repr,
)
def test_fields_of_any_shape_reach_the_fold_without_crash(fields):
    """A value whose shape this version does not know is refused by the reader or borne by the fold, never a crash."""
    from mlos_sync.core.fold import fold

    create = an_event()
    try:
        strange = decode(signed({**body_of(an_event(id="03" * 16, op="update", seen=[create.id])), "fields": fields}))
    except BadLineError:
        return
    state = fold([create, strange])
    assert state.alive, "only a deletion ends a life"
    assert state.fields.get("title") is not None


def test_what_is_unknown_is_kept_as_it_stands():
    """A newer version's kinds, operations and further keys are passed on byte for byte."""
    body = {**body_of(an_event()), "kind": "dream", "op": "transmute", "signature": {"alg": "ed25519", "by": [1, None]}}
    line = signed(body)
    read = decode(line)
    assert read.line.encode() == line and (read.kind, read.op) == ("dream", "transmute")
    data = journal.segment_bytes([read], WORKSPACE, CREATED)
    assert line in data.split(b"\n")


@pytest.mark.parametrize(
    "text",
    ["a\u2028b", "a\u2029b", "a\x85b", "a\x0cb", "a\x0bb", "a\x1cb\x1db\x1eb", "a\nb\r\nc", "\x00", "\ufeffa", "𝄞"],
)
def test_line_separators_in_text_do_not_cut_a_line(text):
    """One event is one LF-terminated line of bytes, whatever its text holds."""
    event = an_event(fields={"title": text})
    data = journal.segment_bytes([event, an_event(id="05" * 16)], WORKSPACE, CREATED)
    assert data.count(b"\n") == 3
    segment = journal.read_segment(journal.segment_name(data), data)
    assert segment.problems == () and segment.events[0].fields["title"] == text


SEGMENT = journal.segment_bytes(some_events(), WORKSPACE, CREATED)
NAME = journal.segment_name(SEGMENT)
WHOLE = journal.read_segment(NAME, SEGMENT)


def test_every_flipped_byte_is_reported_and_the_other_lines_are_kept():
    """One byte changed anywhere: the segment is called damaged, the line is named, its neighbours still count."""
    assert not WHOLE.problems and len(WHOLE.events) == 4
    spans = []
    start = 0
    for line in SEGMENT.split(b"\n")[:-1]:
        spans.append((start, start + len(line)))
        start += len(line) + 1
    for at in range(len(SEGMENT)):
        for flip in (0x01, 0x80) if at % 5 == 0 else (0x20,):
            data = bytearray(SEGMENT)
            data[at] ^= flip
            segment = journal.read_segment(NAME, bytes(data))
            assert segment.problems and segment.problems[0][0] == 0
            hit = next((n for n, (begin, end) in enumerate(spans) if begin <= at <= end), None)
            lost = {hit, hit + 1} if SEGMENT[at : at + 1] == b"\n" else {hit}
            expected = [event for n, event in enumerate(WHOLE.events, 1) if n not in lost]
            assert list(segment.events) == expected, f"byte {at}"
            if hit:
                assert any(line in (hit + 1, hit + 2) for line, _ in segment.problems), f"byte {at}: no line is named"


def test_a_segment_cut_at_each_byte_is_reported_and_its_head_is_kept():
    """A shorter file never passes, and every whole line before the cut still counts."""
    for length in range(len(SEGMENT)):
        segment = journal.read_segment(NAME, SEGMENT[:length])
        assert segment.problems, f"cut at {length}"
        assert segment.events == WHOLE.events[: len(segment.events)]
        assert len(segment.events) >= SEGMENT[:length].count(b"\n") - 1


@pytest.mark.parametrize(
    ("name", "alter"),
    {
        "NUL tail": lambda data: data + b"\0" * 512,
        "NUL line": lambda data: data + b"\0\n",
        "CRLF": lambda data: data.replace(b"\n", b"\r\n"),
        "BOM": lambda data: b"\xef\xbb\xbf" + data,
        "line twice": lambda data: data + data.split(b"\n")[-2] + b"\n",
        "extra line": lambda data: data + an_event(id="aa" * 16).line.encode() + b"\n",
        "empty line": lambda data: data + b"\n",
        "conflict markers": lambda data: b"<<<<<<< ours\n" + data + b"=======\n>>>>>>> theirs\n",
        "no header": lambda data: data.partition(b"\n")[2],
        "lines in another order": lambda data: b"\n".join([*data.split(b"\n")[:1], *data.split(b"\n")[-2:0:-1], b""]),
    }.items(),
)
def test_an_altered_segment_is_reported(name, alter):
    """What git, an editor or a bad copy may do to a file is seen."""
    segment = journal.read_segment(NAME, alter(SEGMENT))
    assert segment.problems, name
    if name not in ("CRLF", "no header"):
        assert all(event in segment.events for event in WHOLE.events)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        b"{}\n",
        b"[]\n",
        b'{"journal":"other","format":1,"workspace":"x"}\n',
        b'{"journal":"mlos","format":1}\n',
        b'{"journal":"mlos","format":1,"workspace":null}\n',
        b'{"journal":"mlos","workspace":"x"}\n',
        b'{"journal":"mlos","format":2,"workspace":"x"}\n',
        b'{"journal":"mlos","format":"1","workspace":"x"}\n',
        an_event().line.encode() + b"\n",
    ],
    ids=repr,
)
def test_a_segment_without_a_good_header_is_reported_though_its_name_fits(data):
    """The name vouches for the bytes, not for what they mean."""
    segment = journal.read_segment(journal.segment_name(data), data)
    assert segment.problems and segment.workspace is None


def test_the_events_of_a_newer_format_are_kept_and_the_format_is_named():
    """A segment of a later version is not called whole, and what can be read of it is not dropped."""
    data = SEGMENT.replace(b'"format":1', b'"format":2', 1)
    segment = journal.read_segment(journal.segment_name(data), data)
    assert segment.events == WHOLE.events
    assert [reason for _, reason in segment.problems if "newer" in reason]


@pytest.mark.parametrize(
    ("path", "named"),
    [
        (f".mlos/journal/2026/11/{NAME}.jsonl", True),
        (f"mlos/journal/2026/11/{NAME}.jsonl", False),
        (f".mlos/journal/2026/{NAME}.jsonl", False),
        (f".mlos/journal/2026/11/x/{NAME}.jsonl", False),
        (f".mlos/journalx/2026/11/{NAME}.jsonl", False),
        (f"a/.mlos/journal/2026/11/{NAME}.jsonl", False),
        (f".mlos/journal/2026/11/{NAME}.json", False),
        (f".mlos/journal/2026/11/{NAME.upper()}.jsonl", False),
        (f".mlos/journal/2026/11/{NAME[:-1]}.jsonl", False),
        (f".mlos/journal/2026/11/{NAME}.jsonl.orig", False),
        (".mlos/journal/.gitattributes", False),
        (".mlos/journal", False),
        ("", False),
    ],
)
def test_only_a_segments_path_has_a_name(path, named):
    """Whatever else lies in the folder is no segment."""
    assert journal.name_of(path) == (NAME if named else None)


def test_path_and_name_belong_together():
    """The path that a segment is given leads back to its name."""
    assert journal.name_of(journal.segment_path(SEGMENT, CREATED)) == NAME


clocks = st.tuples(st.integers(0, 2**45), st.integers(0, 50))


@given(clocks, st.lists(st.integers(0, 2**45), max_size=20))
def test_the_hybrid_clock_always_goes_forward(clock, times):
    """Whatever the wall clock does, the next clock is greater, and it follows a wall clock that is ahead."""
    for now in times:
        following = journal.later(clock, now)
        assert following > clock and following[0] == max(now, clock[0])
        clock = following


def test_the_hybrid_clock_by_example():
    """Counts within one millisecond and while the wall clock stands or goes back."""
    assert journal.later((5, 0), 9) == (9, 0)
    assert journal.later((5, 7), 5) == (5, 8)
    assert journal.later((5, 7), 3) == (5, 8)
