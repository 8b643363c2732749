"""Rows of a TaskEngine become needs and tasks: columns by name, words by table, nothing lost, the same in every clone."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mlos_sync.core import taskengine
from mlos_sync.core.cells import (
    ROW_LIMIT,
    TEXT_LIMIT,
    Undecoded,
    date_of,
    imported_text,
    is_long,
    json_of,
    key_of,
    text_of,
    time_of,
)
from mlos_sync.core.journal import LINE_LIMIT
from mlos_sync.core.taskengine import Found, Known, Options, compared, mapped, options, recognised, word
from mlos_sync.edge import columns as rules
from mlos_sync.errors import UsageError

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "import.md").read_text("utf-8")


def rows(*given: dict, key: str = "id") -> list[Found]:
    """Rows of one table: every row has every column."""
    names = list(dict.fromkeys(name for row in given for name in row))
    return [Found((row.get(key),), {name: row.get(name) for name in names}) for row in given]


def read(*given: dict, chosen: Options | None = None) -> taskengine.Mapped:
    """Rows mapped as an import does it."""
    chosen = chosen or Options()
    found = rows(*given)
    return mapped(found, recognised(list(found[0].cells), chosen.columns), chosen)


def task(**cells) -> taskengine.Record:
    """The one task of one row that has at least a key and a description."""
    return read({"id": 1, "description": "what to do", **cells}).tasks[0]


def table(name: str) -> dict[str, list[str]]:
    """A table of docs/import.md: the first cell -> the words of the second."""
    part = PAGE[PAGE.index(f"<!-- {name} -->") :]
    lines = part[: part.index("<!-- end -->")].strip().split("\n")[3:]
    cells = [re.findall(r"`([^`]*)`", line) for line in lines]
    return {first: words for first, *words in cells}


def test_the_page_lists_the_tables_that_are_used():
    """docs/import.md and the program name the same columns, statuses and priorities."""
    assert table("columns") == {name: list(names) for name, names in taskengine.SYNONYMS.items()}
    statuses = {status: [word(one) for one in words] for status, words in table("statuses").items()}
    assert statuses == {status: names.split() for status, names in taskengine.STATUSES.items()}
    priorities = {int(number): words for number, words in table("priorities").items()}
    assert priorities == {number: names.split() for number, names in taskengine.PRIORITIES.items()}


def test_no_word_means_two_things():
    """Each word stands under one status, one priority."""
    for words in (taskengine.STATUSES, taskengine.PRIORITIES, taskengine.SYNONYMS):
        listed = [name for names in words.values() for name in (names.split() if isinstance(names, str) else names)]
        assert sorted(set(listed)) == sorted(listed)


def test_the_limit_is_that_of_the_columns():
    """What `text_of` makes fits into a column, and a row with its columns into a line of the journal."""
    assert TEXT_LIMIT == rules.TEXT_LIMIT
    assert ROW_LIMIT + 4 * 6 * TEXT_LIMIT < LINE_LIMIT


# Columns


def test_columns_are_found_by_name():
    """In any case, with blanks, hyphens or camel case; the best name first, all of them taken in turn."""
    found = recognised(["ID", "Title", "Sprint Context", "State", "createdAt", "DESCRIPTION", "due-date", "notes"], {})
    assert found["description"] == ("DESCRIPTION", "Title")
    assert (found["scope"], found["status"], found["created_at"]) == (("Sprint Context",), ("State",), ("createdAt",))
    assert (found["result"], found["priority"]) == (("notes",), ())


def test_a_title_speaks_where_the_description_is_silent():
    """The first column that says something in a row counts."""
    both = read(
        {"id": 1, "description": "  ", "title": "from the title"},
        {"id": 2, "description": "from the body", "title": "a title"},
    )
    assert [one.values["description"] for one in both.tasks] == ["from the title", "from the body"]


def test_a_chosen_column_is_taken_from_what_it_would_have_been():
    """`--column description=notes` makes notes no result; `--column status=` takes none."""
    chosen = options("s", ["description=NOTES", "status="], [], [], None)
    found = recognised(["id", "description", "Notes", "status"], chosen.columns)
    assert found["description"] == ("Notes",)
    assert found["result"] == found["status"] == ()


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"columns": ["description=nope"]}, "no such column"),
        ({"columns": ["colour=red"]}, "no such name"),
        ({"columns": ["description"]}, "no = in it"),
        ({"statuses": ["done=finished"]}, "no status of a task"),
        ({"priorities": ["high=0"]}, "no priority"),
        ({"source": "  "}, "no text"),
        ({"rest": "\udcff"}, "no text"),
    ],
)
def test_an_option_that_cannot_be_meant_says_why(given, says):
    """Each with what to type instead."""
    full = {"source": "s", "columns": [], "statuses": [], "priorities": [], "rest": None} | given
    with pytest.raises(UsageError, match=says) as caught:
        recognised(["id", "text"], options(**full).columns)
    assert caught.value.hint


def test_a_table_without_anything_like_a_description_is_refused():
    """The message lists what there is, the hint says how to choose."""
    with pytest.raises(UsageError, match="there are id, colour") as caught:
        recognised(["id", "colour"], {})
    assert "--column description=" in caught.value.hint


# Words


@pytest.mark.parametrize(
    ("said", "status"),
    [("Done", "completed"), ("  in progress ", "in_progress"), ("To-Do", "open"), ("CANCELED", "cancelled"),
     ("[x]", "completed"), ("[ ]", "open"), ("won't fix", "cancelled"), (None, "open"), ("", "open"), (b"done", "completed")],
)  # fmt: skip
def test_known_statuses(said, status):
    """Case, blanks and hyphens do not matter, and nothing is told about them."""
    one = task(status=said)
    assert (one.values["status"], one.remarks) == (status, ())


@pytest.mark.parametrize("said", ["parked", 3, b"\xff\xfe", Undecoded(b"d\xf6ne")])
def test_an_unknown_status_is_open_and_told(said):
    """The word stands in the note and, as it was, in the history."""
    plan = compared(read({"id": 1, "description": "x", "status": said}), {})
    assert plan.tasks[0].values["status"] == "open"
    assert len(plan.notes) == 1 and "--status" in plan.notes[0] and "1 task is open" in plan.notes[0]
    assert json.loads(plan.tasks[0].imported)["row"]["status"] == json_of(said)


def test_statuses_can_be_overridden():
    """Also words of the table, numbers, words with an equals sign, and none at all."""
    chosen = options("s", [], ["DONE=failed", "3=assigned", "a=b=cancelled", "=completed"], [], None)
    told = [{"id": n, "description": "x", "status": s} for n, s in enumerate(["done", 3, "A=B", None, "todo"], 1)]
    with pytest.raises(UsageError):  # an empty word would be a slip of the hand
        options("s", [], [""], [], None)
    assert [t.values["status"] for t in read(*told, chosen=chosen).tasks] == [
        "failed", "assigned", "cancelled", "completed", "open",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("said", "number"),
    [(1, 1), (5, 5), ("2", 2), (3.0, 3), ("High", 2), ("p1", 1), ("LOWEST", 5), (None, None), (0, None), (9, None),
     (2.5, None), ("soon", None), ("٣", None), (-1, None), (b"4", 4)],
)  # fmt: skip
def test_priorities(said, number):
    """1 to 5 and known words; the rest is left out, and told."""
    one = task(priority=said)
    assert one.values.get("priority") == number
    assert bool(one.remarks) is (number is None and said is not None)


def test_priorities_can_be_overridden():
    """`--priority 0=1` maps a scale that begins at 0."""
    chosen = options("s", [], [], ["0=1", "soon=2"], None)
    found = read(
        {"id": 1, "description": "x", "priority": 0}, {"id": 2, "description": "x", "priority": "Soon"}, chosen=chosen
    )
    assert [one.values["priority"] for one in found.tasks] == [1, 2]


# Times


@pytest.mark.parametrize(
    ("said", "time", "date"),
    [
        ("2024-05-01", "2024-05-01T00:00:00Z", "2024-05-01"),
        ("2024-05-01 10:20", "2024-05-01T10:20:00Z", None),
        ("2024-05-01 10:20:30.999999", "2024-05-01T10:20:30Z", None),
        ("2024-05-01T10:20:30+02:00", "2024-05-01T08:20:30Z", None),
        ("2024-05-01T23:20:30 -0530", "2024-05-02T04:50:30Z", None),
        ("2024-05-01t10:20:30z", "2024-05-01T10:20:30Z", None),
        (1714558830, "2024-05-01T10:20:30Z", None),
        (1714558830.75, "2024-05-01T10:20:30Z", None),
        ("1714558830", "2024-05-01T10:20:30Z", None),
        (1714558830123, "2024-05-01T10:20:30Z", None),
        (1714558830123456, "2024-05-01T10:20:30Z", None),
        (b"2024-05-01", "2024-05-01T00:00:00Z", "2024-05-01"),
        ("0001-01-01", "0001-01-01T00:00:00Z", "0001-01-01"),
    ],
)
def test_times_that_are_read(said, time, date):
    """ISO in its usual forms, and seconds, milliseconds, microseconds since 1970; all as UTC."""
    assert (time_of(said), date_of(said)) == (time, date or time)


@pytest.mark.parametrize(
    "said",
    ["May 1 2024", "01.05.2024", "2024-02-30", "2024-05-01T25:00", "0001-01-01T00:00+10:00", "9999-12-31T23:00-23:59",
     20240501, 2460431.9, -1714558830, 10**20, 1e300, float("inf"), "٢٠٢٤-٠٥-٠١", "tomorrow", "2024-05-01\n10", b"\xff",
     "2024-05-01T10:00+99:00", Undecoded(b"2024-05-01\xff")],
)  # fmt: skip
def test_times_that_are_not_read_stay_in_the_history(said):
    """The row comes, without that column, and it is told; nothing is guessed."""
    assert time_of(said) is None and date_of(said) is None
    one = task(created_at=said, assigned_date=said)
    assert not {"created_at", "assigned_date"} & set(one.values)
    assert {name for name, _ in one.remarks} == {"created_at", "assigned_date"}
    assert json.loads(one.imported)["row"]["created_at"] == json_of(said)


# Cells

cells = st.one_of(
    st.none(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), st.text(st.characters(codec="utf-8")),
    st.binary(), st.binary().map(Undecoded),
)  # fmt: skip


def back(value):
    """A cell from what the history keeps of it, as docs/import.md tells it."""
    if not isinstance(value, dict):
        return value
    ((form, inner),) = value.items()
    return {"blob": base64.b64decode, "text": lambda t: Undecoded(base64.b64decode(t)), "real": float}[form](inner)


@given(st.dictionaries(st.text(st.characters(codec="utf-8")), cells))
def test_the_history_keeps_every_cell(row):
    """From `imported` the row can be read back, each value with its type; only NULL is left out."""
    text, limit = imported_text({"key": 1}, row)
    found = {name: back(value) for name, value in json.loads(text)["row"].items()}
    wanted = {name: value for name, value in row.items() if value is not None}
    assert found == wanted and limit == TEXT_LIMIT
    assert {n: type(v) for n, v in found.items()} == {n: type(v) for n, v in wanted.items()}


@given(cells)
@example("\0")
@example(b"\0")
def test_text_fits_a_column(value):
    """No NUL, and UTF-8; text that can stand as it is does."""
    text = text_of(value)
    assert (text is None) == (value is None)
    if text is not None:
        assert "\0" not in text and text.encode("utf-8") is not None and len(text) <= TEXT_LIMIT
        assert not isinstance(value, str) or text.replace("␀", "\0") == value.replace("␀", "\0")


def test_what_is_too_long_is_cut_and_its_whole_is_known_by_hash():
    """10 MB of text: the column and the history keep the beginning, the history length and SHA-256, a note tells."""
    long = "ä" * 10_000_000
    plan = compared(read({"id": 1, "description": long, "notes": b"\0" * 300_000}), {})
    one = plan.tasks[0]
    assert one.values["description"] == "ä" * TEXT_LIMIT
    kept = json.loads(one.imported)["row"]
    assert kept["description"]["cut"] == "ä" * TEXT_LIMIT
    assert kept["description"]["length"] == 10_000_000
    assert kept["description"]["sha256"] == hashlib.sha256(long.encode()).hexdigest()
    assert base64.b64decode(kept["notes"]["cut"]["blob"]) == b"\0" * TEXT_LIMIT
    assert sorted(note.split(":")[0] for note in plan.notes) == ["description", "notes"]


def test_a_long_text_that_begins_with_blanks_is_still_a_text():
    """Cutting must not leave the database nothing but blanks."""
    assert task(description=" " * 300_000 + "at last").values["description"] == "at last"


def test_a_row_of_many_long_columns_fits_a_line():
    """Values are cut further until the row fits, escapes of escapes included; past that the row is skipped."""
    row = {f"c{n}": '"\\\1' * 20_000 for n in range(60)}
    text, limit = imported_text({}, row)
    assert len(json.dumps(text, ensure_ascii=False).encode()) <= ROW_LIMIT < LINE_LIMIT and limit < 60_000
    assert is_long(row["c0"], limit)
    wide = read({"id": 1, "description": "x", **{f"{n:04}" * 700: "y" for n in range(2000)}})
    assert not wide.tasks and wide.skipped[0].lost and "too long" in wide.skipped[0].reason


# Records


def test_uids_never_change():
    """They are what makes a second run, and another clone's run, find the record: these two are for ever."""
    found = read({"id": 7, "description": "x", "sprint_context": "sprint-3"})
    assert found.tasks[0].uid == hashlib.sha256(b"import\0taskengine\0task\x007").hexdigest()[:32]
    assert found.needs[0].uid == hashlib.sha256(b"import\0taskengine\0need\0sprint-3").hexdigest()[:32]
    other = read({"id": 7, "description": "x"}, chosen=Options(source="another"))
    assert other.tasks[0].uid != found.tasks[0].uid


def test_keys_are_told_apart_by_type():
    """The number 7, the text '7' and the blob '7' are three rows; a key of two columns is a list."""
    assert len({json.dumps(key_of((value,))) for value in (7, "7", b"7", Undecoded(b"7"))}) == 4
    assert key_of(("a", 1)) == ["a", 1]
    long = [key_of(("x" * 5000 + end,)) for end in "ab"]
    assert long[0] != long[1]


def test_rows_that_cannot_be_told_apart_are_skipped():
    """Not one of them is preferred; so are rows without a key or a description. All count as lost."""
    found = read(
        {"id": 1, "description": "a"}, {"id": 1, "description": "b"}, {"id": None, "description": "c"},
        {"id": 2, "description": "\n "}, {"id": 3, "description": "d"},
    )  # fmt: skip
    assert [one.row for one in found.tasks] == [3]
    assert sorted((str(one.row), one.lost) for one in found.skipped) == [
        ("1", True), ("1", True), ("2", True), ("None", True),
    ]  # fmt: skip


def test_one_need_per_context():
    """Blanks around a context do not make another; a task without one has no need."""
    found = read(
        *({"id": n, "description": "x", "sprint": s} for n, s in enumerate(["s1", " s1\n", "s2", None, "  ", 3], 1))
    )
    assert [need.values["scope"] for need in found.needs] == ["s1", "s2", "3"]
    by_uid = {need.uid: need.row for need in found.needs}
    assert [by_uid.get(one.need or "") for one in found.tasks] == ["s1", "s1", "s2", None, None, "3"]


def test_tasks_without_a_context_may_share_a_need():
    """It has the given title and no scope; its uid does not hang on the title."""
    first, again = (
        read({"id": 1, "description": "x"}, chosen=options("s", [], [], [], title)) for title in ("Loose ends", "Rest")
    )
    assert (first.needs[0].values["title"], "scope" in first.needs[0].values) == ("Loose ends", False)
    assert first.tasks[0].need == first.needs[0].uid == again.needs[0].uid


def test_a_need_is_told_by_its_tasks():
    """Title from the first line of the context; times and priority from the tasks, closed ones last."""
    (need,) = read(
        {"id": 1, "description": "x", "sprint": "\n First line \nsecond", "created": "2024-05-02", "priority": 1, "status": "done"},
        {"id": 2, "description": "x", "sprint": "First line \nsecond", "created": "2024-05-01", "priority": 4, "updated": "2024-06-01"},
        {"id": 3, "description": "x", "sprint": "First line \nsecond", "priority": 3},
    ).needs  # fmt: skip
    assert need.values == {
        "title": "First line", "scope": "First line \nsecond", "status": "in_progress", "priority": 3,
        "created_at": "2024-05-01T00:00:00Z", "updated_at": "2024-06-01T00:00:00Z",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("statuses", "need"),
    [
        (["completed", "cancelled"], "resolved"),
        (["failed", "cancelled"], "deferred"),
        (["open"], "active"),
        (["open", "failed"], "active"),
        (["open", "completed"], "in_progress"),
        (["assigned"], "in_progress"),
        (["in_progress", "open"], "in_progress"),
    ],
)
def test_the_status_of_a_need(statuses, need):
    """The table in docs/import.md; never `actionable`."""
    assert taskengine.need_status(statuses) == need
    assert f"`{need}`" in PAGE


# Against what is here


def test_a_second_run_makes_nothing_twice():
    """What is here counts as unchanged; a need comes only with a new task."""
    found = read({"id": 1, "description": "x", "sprint": "s"}, {"id": 2, "description": "y", "sprint": "t"})
    here = {(one.kind, one.uid): Known(one.imported) for one in (*found.needs, *found.tasks)}
    plan = compared(found, here)
    assert (plan.needs, plan.tasks, plan.skipped, plan.unchanged) == ((), (), (), 2)
    del here["need", found.needs[0].uid]
    assert compared(found, here).needs == ()
    del here["task", found.tasks[0].uid]
    assert [one.row for one in compared(found, here).needs] == ["s"]


def test_a_changed_row_is_reported_with_its_columns():
    """New columns that say nothing are no change; nothing is reported where nothing is known."""
    before = read({"id": 1, "description": "x", "status": "todo", "n": 1})
    here = {("task", before.tasks[0].uid): Known(before.tasks[0].imported)}
    now = read({"id": 1, "description": "x", "status": "done", "n": 2})
    (told,) = compared(now, here).skipped
    assert "n, status" in told.reason and not told.lost
    same = read({"id": 1, "description": "x", "status": "todo", "n": 1, "added": None})
    assert compared(same, here).skipped == ()
    for unknown in (None, "[", "{}", '{"row":3}'):
        assert compared(now, {("task", before.tasks[0].uid): Known(unknown)}).unchanged == 1


def test_what_was_deleted_stays_deleted():
    """Tasks and needs; new tasks of a deleted need come without one, and it is told."""
    found = read({"id": 1, "description": "x", "sprint": "s"}, {"id": 2, "description": "y", "sprint": "s"})
    here = {("task", found.tasks[0].uid): Known(gone="deleted"), ("need", found.needs[0].uid): Known(gone="deleted")}
    plan = compared(found, here)
    assert ([one.row for one in plan.tasks], plan.needs) == ([2], ())
    assert [(one.kind, one.row, one.lost) for one in plan.skipped] == [("task", 1, False), ("need", "s", False)]
    assert "was deleted here: 1 new task" in plan.notes[0]


def test_new_tasks_of_a_need_that_is_over_are_told():
    """The need stays as it is; closed tasks are nothing to tell."""
    found = read(
        {"id": 1, "description": "x", "sprint": "s"}, {"id": 2, "description": "y", "sprint": "s", "status": "done"}
    )
    plan = compared(found, {("need", found.needs[0].uid): Known(status="resolved")})
    assert "is resolved here: 1 new task" in plan.notes[0] and len(plan.tasks) == 2
