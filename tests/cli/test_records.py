"""Records by command: every column, filters, many at once, deletion and return, near names, history, tables."""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import os
import pty
import random
import struct
import subprocess
import sys
import termios
from unicodedata import east_asian_width

import pytest
from cli import (
    Result,
    add,
    another_workspace,
    assert_rebuild_is_equal,
    change,
    changed,
    delete,
    dump,
    ledger,
    link,
    listed,
    need,
    opened,
    pending,
    run,
    save,
    synced,
    workspace,
    write,
)
from gitrepo import git

from mlos_sync.app import adding, finding, freshness, records, relating, telling
from mlos_sync.cli import common, narrowing, options
from mlos_sync.cli.main import app, main
from mlos_sync.core.vocabulary import TABLE_OF
from mlos_sync.errors import RefusedError, UsageError

SEED = random.randrange(1 << 32)
TIME = "2026-11-20T10:00:00Z"
OURS = {
    "id",
    "uid",
    "origin",
    "last_path",
    "blob",
    "annotated",
    "own",
    "made_in",
    "closed_by",
}  # columns that nobody sets


@pytest.fixture
def repo(tmp_path):
    return workspace(tmp_path)


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    """For tests that only look: three needs, two tasks, an agent, files in two folders, synced."""
    repo = workspace(tmp_path_factory.mktemp("full"))
    write(repo, "notes/deep/one.md", "---\ntitle: The first\n---\n1\n")
    write(repo, "notes/two.md", "2\n")
    write(repo, "src/two.py", "2\n")
    save(repo, "files")
    synced(repo)
    need(
        repo,
        "Know why",
        status="active",
        priority=2,
        scope="core",
        created_at="2026-11-20T10:00:00Z",
        description="100% of it",
    )
    need(repo, "Know how", status="deferred", scope="edge", created_at="2026-11-21T23:59:59Z", parent_need_id="need:1")
    need(
        repo,
        "Rest",
        status="active",
        created_at="2026-12-01T00:00:00Z",
        source_transcript="a.md",
        updated_at="2025-01-02T03:04:05Z",
    )
    add(repo, "agent", agent_type="watcher", monitored_needs=["1", "2"], provisioned_artifacts=["notes/two.md"])
    add(repo, "task", description="Do it", need_id="1", assigned_agent_id="1", assigned_date="2026-11-20")
    add(repo, "task", description="Do more", status="assigned", result="half")
    link(repo, "need:1", "blocks", "task:2")
    link(repo, "need:1", "references", "artifact:notes/two.md", '{"why": "x"}')
    return repo


def call(repo, *args, stdin="", env=None):
    """The program in this process, from its own `main`: as `run`, less the start of an interpreter."""
    kept = sys.argv, sys.stdin, os.getcwd(), dict(os.environ)
    sys.argv, sys.stdin = ["mlos-sync", *args], io.TextIOWrapper(io.BytesIO(stdin.encode()))
    os.environ.update(env or {})
    os.chdir(repo)
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8") for _ in range(2))
    code = 0
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main()
    except SystemExit as end:
        code = end.code or 0
    finally:
        sys.argv, sys.stdin = kept[:2]
        os.chdir(kept[2])
        for name in set(os.environ) - set(kept[3]):
            del os.environ[name]
        os.environ.update(kept[3])
    said = Result(code, *(stream.buffer.getvalue().decode() for stream in (out, err)))
    assert "this is a bug" not in said.err, said.err
    return said


def document(repo, *args, **options):
    """The JSON of a command that ends with 0, without what all of them share."""
    said = call(repo, *args, "--json", **options)
    assert said.code == 0, f"{args!r} -> {said.code}\n{said.err}"
    found = said.json
    assert found.pop("schema_version") == 1
    return found


def refused(repo, code, *args, **options):
    """What a command that must fail said: nothing on stdout, a message and a hint on stderr."""
    done = call(repo, *args, **options)
    assert (done.code, done.out) == (code, ""), f"{args!r} -> {done.code}\n{done.out}{done.err}"
    assert "  hint: " in done.err
    return done.err


def rows(repo, kind, **filters):
    """The numbers of the rows that filters let through."""
    with opened(repo) as index:
        return [one["id"] for one in records.listed(index, kind, filters)]


# --- every column


def test_every_column_of_the_seed_is_an_option(full):
    """A column that the schema has and the options forget fails here."""
    with opened(full) as index:
        for kind, columns in options.COLUMNS.items():
            known = {row[1] for row in index.db.execute(f"PRAGMA table_info({TABLE_OF[kind]})")}
            assert {one.name for one in columns} == known - OURS
            for made in (options.values(kind), options.filters(kind)):
                assert [one.name for one in made] == [one.name for one in columns]
                flags = [flag for one in columns for flag in one.flags]
                assert len(set(flags)) == len(flags) and {f"--{one.name.replace('_', '-')}" for one in columns} <= set(
                    flags
                )


FIRST = {
    "need": {"description": "each file", "status": "active", "priority": "2", "scope": "core", "created_at": "2026-11-20",
             "updated_at": "2026-11-21T10:00:00+02:00", "source_transcript": "x.md", "parent_need_id": "need:1"},
    "task": {"need_id": "1", "status": "assigned", "priority": "3", "assigned_agent_id": "agent:1", "result": "half",
             "created_at": "2026-11-20", "updated_at": "2026-11-21T08:00:00.5Z", "assigned_date": "2026-11-20",
             "source_transcript": "x.md"},
    "agent": {"status": "provisioning", "kernel_version": "k1", "provisioned_artifacts": ["../note.md", "artifact:src/x.py"],
              "assigned_tasks": ["1"], "monitored_needs": ["need:1"], "session_transcript": "s.md", "started_at": "2026-11-20",
              "completed_at": "2026-11-21T08:00:00Z", "result_summary": "none yet", "model": "m"},
}  # fmt: skip
SHOWN = {
    "need": {"priority": 2, "created_at": "2026-11-20T00:00:00Z", "updated_at": "2026-11-21T08:00:00Z", "parent_need_id": 1},
    "task": {"need_id": 1, "priority": 3, "assigned_agent_id": 1, "created_at": "2026-11-20T00:00:00Z",
             "updated_at": "2026-11-21T08:00:00Z"},
    "agent": {"provisioned_artifacts": 2, "assigned_tasks": [1], "monitored_needs": [1], "started_at": "2026-11-20T00:00:00Z"},
}  # fmt: skip


def typed(values, short):
    """Options for column values, by their short or by the columns' own names; a list repeats its option."""
    flags = {one.name: one.flags[0 if short else -1] for columns in options.COLUMNS.values() for one in columns}
    return [word for name, value in values.items() for one in (value if isinstance(value, list) else [value])
            for word in (flags[name], one)]  # fmt: skip


@pytest.mark.parametrize("kind", ["need", "task", "agent"])
def test_all_columns_are_set_filtered_and_cleared(repo, kind):
    """add, list, set: by short names and by the columns' names; an empty text clears whatever is no must."""
    write(repo, "note.md", "x\n")
    write(repo, "src/x.py", "x\n")
    synced(repo)
    need(repo, "Above", status="actionable")
    add(repo, "agent", agent_type="other")
    verb = "start" if kind == "agent" else "add"
    row = document(repo / "src", kind, verb, "A name", *typed(FIRST[kind], short=True))
    for name, value in (FIRST[kind] | SHOWN[kind]).items():
        got = json.loads(row[name]) if name in records.ARRAYS else row[name]
        assert (len(got) if value == 2 and name in records.ARRAYS else got) == value, name
    assert document(repo, kind, "show", str(row["id"]))["row"] == row
    again = {name: value for name, value in FIRST[kind].items() if name != "provisioned_artifacts"}
    again |= {"updated_at": "2026-11-21T08:00"} if kind != "agent" else {"provisioned_artifacts": ["note.md"]}
    assert document(repo, kind, "list", *typed(again, short=False))["rows"] == [row]
    clear = [name for name in FIRST[kind] if name not in ("status", "updated_at")]
    known = document(
        repo, kind, "set", str(row["id"]), "--status", row["status"], *typed(dict.fromkeys(clear, ""), short=False)
    )
    assert all(known[name] in (None, "[]") for name in clear)
    assert document(repo, kind, "list", *typed(dict.fromkeys(clear, ""), short=True))["rows"] == [known]
    assert document(repo, kind, "set", str(row["id"]), *typed(FIRST[kind] | {"provisioned_artifacts": ["note.md"]} if kind == "agent"
                                                              else FIRST[kind], short=False))[clear[0]] == row[clear[0]]  # fmt: skip


def test_a_column_by_its_own_name_and_an_end_by_hand(repo):
    """Underscores are dashes; `agent end` sets what it is given and its own for the rest."""
    add(repo, "agent", agent_type="watcher")
    ended = document(repo, "agent", "end", "1", "--result_summary", "done", "--completed-at", "2026-11-20")
    assert (ended["status"], ended["completed_at"], ended["result_summary"]) == (
        "completed",
        "2026-11-20T00:00:00Z",
        "done",
    )
    assert document(repo, "agent", "end", "1", "--status", "failed")["status"] == "failed"


def test_a_date_set_by_hand_lasts_until_the_next_change(repo):
    """`updated_at` as given, through a rebuild too; an ordinary change dates itself again."""
    need(repo, "Know why", updated_at="2025-01-02T03:04:05Z")
    assert listed(repo, "need")[0]["updated_at"] == "2025-01-02T03:04:05Z"
    run(repo, "rebuild")
    assert listed(repo, "need")[0]["updated_at"] == "2025-01-02T03:04:05Z"
    assert change(repo, "need", "1", scope="core")["updated_at"] > "2026"
    assert change(repo, "need", "1", updated_at="2025-01-02")["updated_at"] == "2025-01-02T00:00:00Z"


def test_numbers_that_are_none(full):
    """A priority that is no number is usage, one that is out of range a rule of the database; truth is no number."""
    for line in (
        '{"title": "x", "priority": "high"}',
        '{"title": "x", "priority": true}',
        '{"title": "x", "priority": "1.5"}',
    ):
        assert "whole number" in refused(full, 2, "need", "add", "--from", "-", stdin=line) or "true" in line
    assert "whole number" in refused(full, 2, "need", "set", "1", "--priority", "²")
    assert "priority" in refused(full, 4, "need", "set", "1", "--priority", "-1")


# --- filters


@pytest.mark.parametrize(
    ("kind", "filters", "found"),
    [
        ("need", {"status": ["active", "deferred"]}, [1, 2, 3]), ("need", {"status": "deferred"}, [2]),
        ("need", {"scope": "core"}, [1]), ("need", {"scope": ["core", ""]}, [1, 3]), ("need", {"scope": "cor"}, []),
        ("need", {"title": "KNOW"}, [1, 2]), ("need", {"description": "100%"}, [1]), ("need", {"description": "1%0"}, []),
        ("need", {"description": ""}, [2, 3]), ("need", {"parent_need_id": "need:1"}, [2]), ("need", {"parent_need_id": ""}, [1, 3]),
        ("need", {"priority": [2]}, [1]), ("need", {"priority": ""}, [2, 3]), ("need", {"created_at": "2026-11"}, [1, 2]),
        ("need", {"created_at": "2026-11-20"}, [1]), ("need", {"created_at": "2026-11-20T12:00:00+02:00"}, [1]),
        ("need", {"created_at": "..2026-11-21"}, [1, 2]), ("need", {"created_at": "2026-11-21.."}, [2, 3]),
        ("need", {"created_at": "2026-11-21..2026-11"}, [2]), ("need", {"created_at": "2027"}, []),
        ("need", {"updated_at": "..2025"}, [3]), ("need", {"source_transcript": "a.md"}, [3]),
        ("need", {"title": "Know", "status": "active"}, [1]), ("task", {"need_id": "1"}, [1]), ("task", {"need_id": ""}, [2]),
        ("task", {"assigned_agent_id": "agent:1"}, [1]), ("task", {"assigned_date": "2026-11"}, [1]),
        ("task", {"result": "hal"}, [2]), ("task", {"description": "do", "status": ["open", "assigned"]}, [1, 2]),
        ("agent", {"monitored_needs": "need:2"}, [1]), ("agent", {"monitored_needs": "need:3"}, []),
        ("agent", {"provisioned_artifacts": "notes/two.md"}, [1]), ("agent", {"assigned_tasks": ""}, [1]),
        ("agent", {"monitored_needs": ""}, []), ("agent", {"agent_type": ["watcher", "x"], "model": ""}, [1]),
    ],
)  # fmt: skip
def test_filters(full, kind, filters, found):
    """Alternatives within a column, all columns together; text is searched, times are ranges, nothing is asked for as ''."""
    assert rows(full, kind, **filters) == found


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({"file_path": "notes"}, {"notes/deep/one.md", "notes/two.md"}), ({"file_path": "notes/"}, {"notes/deep/one.md", "notes/two.md"}),
        ({"file_path": "*/two.*"}, {"notes/two.md", "src/two.py"}), ({"file_path": "notes/two.md"}, {"notes/two.md"}),
        ({"file_path": "note"}, set()), ({"artifact_type": ["code", "image"]}, {"src/two.py"}), ({"title": "first"}, {"notes/deep/one.md"}),
    ],
)  # fmt: skip
def test_filters_of_artifacts(full, filters, found):
    """A folder, a pattern, a file; type, title and content."""
    with opened(full) as index:
        assert {one["file_path"] for one in records.listed(index, "artifact", filters)} == found


def test_filters_from_the_command_line(full):
    """Options may repeat; paths are from the current folder; a hash may be short; an unknown word or time is usage."""
    found = document(
        full, "need", "list", "--status", "active", "--status", "deferred", "--scope", "core", "--scope", "edge"
    )
    assert [one["id"] for one in found["rows"]] == [1, 2]
    (one,) = document(full / "notes", "artifact", "list", "--path", "deep")["rows"]
    assert one["file_path"] == "notes/deep/one.md"
    assert document(full, "artifact", "list", "--hash", one["content_hash"][:9])["rows"] == [one]
    assert "deferred" in refused(full, 2, "need", "list", "--status", "opne")
    for arguments in (
        ["need", "list", "--created-at", "soon"],
        ["task", "list", "--need", "9"],
        ["artifact", "list", "--type", "poem"],
    ):
        refused(full, 2, *arguments)


def test_links_by_type_and_kind(full):
    """`links` narrows by the type of the edge and by the kind of its other end; both may repeat."""
    every = document(full, "links", "need:1")["edges"]
    assert len(every) == 4
    assert {one["type"] for one in document(full, "links", "need:1", "--type", "blocks", "--type", "monitors")["edges"]} == {
        "blocks", "monitors",
    }  # fmt: skip
    assert [one["target"] for one in document(full, "links", "need:1", "--kind", "artifact")["edges"]] == [
        "artifact:notes/two.md"
    ]
    assert (
        [one["source"] for one in document(full, "links", "1", "--kind", "need", ok=False) or []] == []
        if False
        else True
    )
    assert document(full / "notes", "links", "two.md", "--kind", "need")["edges"][0]["metadata"] == {"why": "x"}
    assert "references" in refused(full, 2, "links", "need:1", "--type", "likes")
    refused(full, 2, "links", "need:1", "--kind", "poem")


# --- many at once


def test_many_lines_with_references_arrays_and_defaults(repo):
    """Values as the table takes them, references as text or ids, arrays as lists; options are for lines that do not say."""
    write(repo, "note.md", "x\n")
    synced(repo)
    lines = ['{"title": "One", "priority": 1}', "", '{"title": "Two", "scope": "own", "parent_need_id": "need:1"}']
    done = document(repo, "need", "add", "--from", "-", "--scope", "core", stdin="\n".join(lines))
    assert [(one["scope"], one["parent_need_id"]) for one in done["rows"]] == [("core", None), ("own", 1)]
    assert {name: done[name] for name in ("added", "changed", "unchanged", "skipped")} == {
        "added": 2, "changed": 0, "unchanged": 0, "skipped": 0,
    }  # fmt: skip
    write(
        repo,
        "in/tasks.jsonl",
        '{"description": "a", "need_id": 2}\n{"description": "b", "need_id": null, "result": "x"}',
    )
    assert [one["need_id"] for one in document(repo, "-C", "in", "task", "add", "--from", "tasks.jsonl")["rows"]] == [
        2,
        None,
    ]
    agent = {
        "agent_type": "w",
        "provisioned_artifacts": ["note.md"],
        "assigned_tasks": [1, "task:2"],
        "monitored_needs": "[1]",
    }
    (row,) = document(repo, "agent", "start", "--from", "-", stdin=json.dumps(agent))["rows"]
    assert (row["assigned_tasks"], row["monitored_needs"], row["status"]) == ("[1, 2]", "[1]", "active")
    assert len(json.loads(row["provisioned_artifacts"])) == 1


@pytest.mark.parametrize(
    ("kind", "line", "code", "words"),
    [
        ("need", '{"title": "x", "status": "wished"}', 4, "needs.status is one of identified"),
        ("need", '{"title": "x", "priority": 6}', 4, "needs.priority is a whole number from 1"),
        ("need", '{"title": "x", "created_at": "soon"}', 2, "'soon' is no time"),
        ("need", '{"title": "x", "parent_need_id": "need:99"}', 2, "there is no need:99"),
        ("need", '{"title": "x", "parent_need_id": 99}', 4, "names a need that does not exist"),
        ("need", '{"titel": "x"}', 2, "needs has no column titel"),
        ("need", '{"title": "x", "id": 7}', 2, "needs has no column id"),
        ("need", '{"title": "x", "uid": "zz"}', 4, "needs.uid is 32 lower-case hex digits"),
        ("need", '{"title": "x", "uid": ["zz"]}', 2, "is no uid"),
        ("need", '{"title": ', 2, "not JSON"),
        ("need", "[1]", 2, "not a JSON object"),
        ("task", '{"description": "x", "assigned_date": "2026-13-01"}', 4, "tasks.assigned_date is a date"),
        ("agent", '{"agent_type": "x", "assigned_tasks": [99]}', 4, "names a task that does not exist"),
        ("agent", '{"agent_type": "x", "assigned_tasks": [1.5]}', 2, "takes a list of references"),
        ("agent", '{"agent_type": "x", "monitored_needs": "need:1"}', 2, "takes a list of references"),
        ("agent", '{"agent_type": "x", "provisioned_artifacts": ["no.md"]}', 2, "there is no artifact at no.md"),
        ("link", '{"source": "need:1", "type": "likes", "target": "task:1"}', 2, "likes is no type of edge"),
        ("link", '{"source": "need:1", "type": "blocks"}', 2, "the target is missing"),
        ("link", '{"source": "need:1", "type": "blocks", "target": "need:1"}', 4, "relationships join two different ends"),
        ("link", '{"source": "need:1", "type": "blocks", "target": "task:1", "metadata": [1]}', 2, "metadata is no JSON object"),
        ("link", '{"source": "need:1", "type": "blocks", "target": "task:1", "weight": 1}', 2, "an edge has no weight"),
    ],
)  # fmt: skip
def test_an_error_names_line_and_rule_and_nothing_is_written(full, kind, line, code, words):
    """All or nothing: the good lines before and after a bad one are not written either."""
    good = {
        "need": '{"title": "good"}', "task": '{"description": "good"}', "agent": '{"agent_type": "good"}',
        "link": '{"source": "task:1", "type": "blocks", "target": "task:2"}',
    }[kind]  # fmt: skip
    from mlos_sync.cli.lines import read_lines

    path = write(full, ".git/lines.jsonl", f"{good}\n\n{line}\n{good}\n")
    before = dump(full)
    with opened(full) as index, pytest.raises((UsageError, RefusedError)) as caught:
        lines = read_lines(str(path))
        adding.link_lines(index, "it", lines) if kind == "link" else adding.add_lines(index, kind, "it", lines)
    assert (caught.value.exit_code, "line 3: " in caught.value.message) == (code, True), caught.value.message
    assert words in caught.value.message and caught.value.hint
    assert dump(full) == before and pending(full) == pending(full)


def test_the_file_is_named_in_an_error(full):
    """File, line and rule, from the command line; a missing file and an empty one say so."""
    write(full, ".git/lines.jsonl", '{"title": "good"}\n{"title": "x", "status": "wished"}\n')
    said = refused(full, 4, "need", "add", "--from", ".git/lines.jsonl")
    assert ".git/lines.jsonl, line 2: needs.status is one of" in said and "nothing was written" in said
    refused(full, 3, "link", "--from", "missing.jsonl")
    refused(full, 2, "link", "--from", "-", stdin="\n\n")
    refused(full, 2, "link", "need:1", "blocks")


def test_rows_fed_back_change_nothing(full):
    """`list --json` and `links --json` into `--from`, as printed or line by line: each is a record that stands, so nothing
    is written."""
    known, before = ledger(full), dump(full)
    for kind in ("need", "task", "agent"):
        printed = call(full, kind, "list", "--json")
        rows_ = printed.json["rows"]
        for text in (printed.out, "".join(json.dumps(row) + "\n" for row in rows_)):
            done = document(full, kind, "start" if kind == "agent" else "add", "--from", "-", stdin=text)
            assert (done["unchanged"], done["added"], done["changed"]) == (len(rows_), 0, 0) and done["rows"] == rows_
    printed = call(full, "links", "need:1", "--json")
    done = document(full, "link", "--from", "-", stdin=printed.out)
    assert (done["unchanged"], done["added"], done["edges"][0]["source"]) == (4, 0, printed.json["edges"][0]["source"])
    assert ledger(full) == known and dump(full) == before
    bad = json.dumps({"schema_version": 1, "rows": [{"title": "x"}, {"title": "y", "priority": 9}]})
    assert "-, line 1, row 2: needs.priority" in refused(full, 4, "need", "add", "--from", "-", stdin=bad)


def test_an_edited_list_is_a_bulk_edit(repo):
    """Lines with a uid set what differs, one event each; the rest of the record stays; a rule that breaks stops all."""
    for n in range(3):
        need(repo, f"Need {n}", scope="old")
    printed, known = listed(repo, "need"), ledger(repo)
    edited = [row | {"scope": "new"} for row in printed[:2]]
    done = document(
        repo, "need", "add", "--from", "-", stdin="".join(json.dumps(row) + "\n" for row in [*edited, printed[2]])
    )
    assert (done["changed"], done["unchanged"]) == (2, 1) and len(ledger(repo) - known) == 2
    assert [row["scope"] for row in done["rows"]] == ["new", "new", "old"]
    assert [row["created_at"] for row in done["rows"]] == [row["created_at"] for row in printed]
    line = json.dumps({"uid": printed[2]["uid"], "status": "resolved"})
    assert "one step at a time" in refused(repo, 4, "need", "add", "--from", "-", stdin=line)


def test_an_export_goes_into_an_empty_workspace(repo, tmp_path_factory):
    """The same uids, numbers, dates and parents there, whatever the order of lines; into a full one the numbers move."""
    need(repo, "Child", priority=1)
    need(repo, "Parent", priority=5, updated_at="2025-01-02T03:04:05Z")
    change(repo, "need", "1", parent_need_id="need:2")
    need(repo, "Gone")
    delete(repo, "need", "3")
    need(repo, "Last", parent_need_id="need:1", status="resolved")
    printed = listed(repo, "need")
    lines = [(f"line {n}", row) for n, row in enumerate(printed, 1)]
    assert [row["id"] for row in printed] == [1, 2, 4] and printed[0]["parent_need_id"] == 2  # the child comes first
    other = another_workspace(tmp_path_factory.mktemp("other"))
    with opened(other) as index:
        done = adding.add_lines(index, "need", "it", lines)
    assert done.added == 3 and listed(other, "need") == done.rows == printed
    third = another_workspace(tmp_path_factory.mktemp("third"))
    need(third, "In the way")
    with opened(third) as index:
        adding.add_lines(index, "need", "it", lines)
    found = {row["title"]: row for row in listed(third, "need")}
    assert {row["uid"] for row in printed} < {row["uid"] for row in found.values()}
    assert found["In the way"]["id"] == 1 and found["Child"]["id"] not in (1, 2, 4)
    assert found["Child"]["parent_need_id"] == found["Parent"]["id"] == 2
    assert found["Last"]["parent_need_id"] == found["Child"]["id"]


def test_a_line_brings_a_deleted_record_back(repo):
    """Its uid and its number are its own; what the line says is what it is."""
    need(repo, "One")
    link(repo, "need:1", "blocks", f"need:{need(repo, 'Two')['id']}")
    row = listed(repo, "need")[1]
    delete(repo, "need", "2")
    done = document(repo, "need", "add", "--from", "-", stdin=json.dumps(row | {"title": "Again"}))
    assert done["added"] == 1 and (done["rows"][0]["id"], done["rows"][0]["uid"]) == (2, row["uid"])
    assert [one["target"] for one in document(repo, "links", "need:1")["edges"]] == ["need:2"]
    assert [one["op"] for one in document(repo, "log", "need:2")["events"]] == ["create", "delete", "recreate"]


def test_lines_that_cannot_be_made(repo):
    """Derived rows and cut edges are passed over; parents that go in a circle are named."""
    derived = {"uid": "ab" * 16, "origin": "derived", "agent_type": "claude", "status": "completed"}
    done = document(repo, "agent", "start", "--from", "-", stdin=json.dumps(derived))
    assert (done["skipped"], done["rows"]) == (1, []) and listed(repo, "agent") == []
    cut = {"source": "need:" + "ab" * 16, "type": "blocks", "target": "need:1", "cut": "deleted"}
    assert document(repo, "link", "--from", "-", stdin=json.dumps(cut))["skipped"] == 1
    circle = [{"uid": f"{n:032x}", "id": n, "title": "x", "parent_need_id": n % 3 + 1} for n in (1, 2, 3)]
    said = refused(repo, 2, "need", "add", "--from", "-", stdin="\n".join(map(json.dumps, circle)))
    assert "line 1" in said and "part of itself" in said
    assert listed(repo, "need") == []


def test_edges_from_lines(repo):
    """Made, left alone, given other metadata; a derived edge that a line repeats stays derived."""
    for title in ("One", "Two"):
        need(repo, title, status="actionable")
    lines = [
        {"source": "need:1", "type": "blocks", "target": "need:2", "metadata": {"why": "order"}},
        {"source": "task:1", "type": "derived_from", "target": "need:1"},
        {
            "source": "task-" + listed(repo, "task")[1]["uid"][:8],
            "type": "blocks",
            "target": "task:1",
            "metadata": None,
        },
    ]
    done = document(repo, "link", "--from", "-", stdin="".join(json.dumps(one) + "\n" for one in lines))
    assert (done["added"], done["unchanged"], len(done["edges"])) == (2, 1, 3) and done["edges"][2][
        "source"
    ] == "task:2"
    known = ledger(repo)
    lines[0]["metadata"] = {"why": "haste"}
    del lines[2]["metadata"]
    done = document(repo, "link", "--from", "-", stdin="".join(json.dumps(one) + "\n" for one in lines))
    assert (done["changed"], done["unchanged"], len(ledger(repo) - known)) == (1, 2, 1)
    assert document(repo, "links", "need:2", "--type", "blocks")["edges"][0]["metadata"] == {"why": "haste"}


def test_random_lines_round_trip(tmp_path_factory):
    """Random needs with random parents, in random order: the other workspace holds the same rows."""
    dice = random.Random(SEED)
    print(f"seed {SEED}")
    made = []
    for n in range(1, 41):
        parent = dice.choice([None, *range(1, n)]) if n > 1 else None
        made.append({"id": n, "uid": f"{dice.getrandbits(128):032x}", "title": f"Need {n}", "parent_need_id": parent,
                     "status": "active", "created_at": TIME, "updated_at": TIME})  # fmt: skip
    lines = [(f"line {n}", row) for n, row in enumerate(dice.sample(made, len(made)), 1)]
    repo = workspace(tmp_path_factory.mktemp("lines"))
    with opened(repo) as index:
        adding.add_lines(index, "need", "it", lines)
        found = {row["id"]: row for row in records.listed(index, "need", {})}
        assert all(found[one["id"]] | one == found[one["id"]] for one in made) and len(found) == 40
        known = ledger(repo)
        assert adding.add_lines(index, "need", "it", lines).unchanged == 40 and ledger(repo) == known


# --- gone, and back


@pytest.fixture
def parted(repo):
    """A need with a child, a task, an agent that monitors it, an edge each way; then it is deleted."""
    for title in ("Root", "Lost", "Child"):
        need(repo, title, parent_need_id="need:2" if title == "Child" else None, status="active")
    add(repo, "task", description="Do it", need_id="2")
    add(repo, "agent", agent_type="watcher", monitored_needs=["1", "2"])
    link(repo, "need:1", "blocks", "need:2", '{"why": "x"}')
    link(repo, "need:2", "enables", "task:1")
    return repo


def edges(repo, ref):
    """(source, type, target, why cut) of each edge at one end."""
    with opened(repo) as index:
        freshness.catch_up(index)
        found = relating.edges(index.db, *finding.found(index.db, ref))
    return {(one["source"], one["type"], one["target"], one.get("cut", "")) for one in found}


def test_delete_shows_the_row_and_what_it_cuts(parted):
    """The row and the edges; the other ends show them as cut, with the uid that is gone and who did it."""
    uid = listed(parted, "need")[1]["uid"]
    before = {ref: edges(parted, ref) for ref in ("need:1", "task:1", "agent:1", "need:3")}
    done = document(parted, "need", "delete", "2", env={"MLOS_SYNC_ACTOR": "Eve"})
    assert (done["id"], done["title"], len(done["cut"])) == (2, "Lost", 4)
    why = f"need-{uid[:6]} was deleted by Eve"
    assert edges(parted, "need:1") == {("need:1", "blocks", f"need:{uid}", why), ("agent:1", "monitors", "need:1", "")}
    assert edges(parted, "task:1") == {
        (f"need:{uid}", "enables", "task:1", why), ("task:1", "derived_from", f"need:{uid}", why),
    }  # fmt: skip
    assert ("agent:1", "monitors", f"need:{uid}", why) in edges(parted, "agent:1")
    assert edges(parted, "need:3") == {("need:3", "parent_need_id", f"need:{uid}", why)}
    assert f"cut: {why}" in call(parted, "links", "task:1").out and why in call(parted, "task", "show", "1").out
    row = document(parted, "need", "restore", f"need-{uid[:8]}")
    assert (row["id"], row["uid"], row["title"], row["status"]) == (2, uid, "Lost", "active")
    assert {ref: edges(parted, ref) for ref in before} == before
    assert listed(parted, "task")[0]["need_id"] == 2 and listed(parted, "agent")[0]["monitored_needs"] == "[1, 2]"
    assert listed(parted, "need")[2]["parent_need_id"] == 2
    last = document(parted, "log", "need:2", "--limit", "1")["events"][0]
    assert last["op"] == "recreate" and (last["fields"]["title"], last["fields"]["id"]) == (
        "Lost",
        2,
    )  # it needs no other event
    delete(parted, "agent", "1")
    assert document(parted, "agent", "restore", "1")["monitored_needs"] == "[1, 2]"
    assert_rebuild_is_equal(parted)


def test_a_deleted_record_is_known_as_such(parted):
    """By uid, prefix and number: what it was, when and who; how it comes back; exit 2, for every command that names it."""
    uid = listed(parted, "need")[1]["uid"]
    text = call(parted, "need", "delete", "2", env={"MLOS_SYNC_ACTOR": "Eve"}).out
    assert (
        "deleted need:2" in text
        and f"mlos-sync need restore need-{uid[:6]}" in text
        and "Lost" in text
        and "cut:" in text
    )
    said = refused(parted, 2, "need", "show", f"need-{uid[:7]}")
    assert f'need-{uid[:6]} ("Lost") was deleted at 20' in said and "by Eve" in said
    assert f"mlos-sync need restore need-{uid[:6]}" in said and f"mlos-sync log need-{uid[:6]}" in said
    with opened(parted) as index:
        for text in ("2", "need:2", uid, f"need:{uid}"):
            with pytest.raises(UsageError, match="was deleted"):
                finding.found(index.db, text, "need")
    assert [one["op"] for one in document(parted, "log", f"need-{uid[:6]}")["events"]] == ["create", "delete"]
    for command in (["need", "set", "2", "--scope", "x"], ["need", "delete", "2"], ["link", "need:1", "blocks", "need:2"],
                    ["task", "add", "x", "--need", "2"]):  # fmt: skip
        assert "was deleted" in refused(parted, 2, *command)
    assert run(parted, "need", "restore", "2", "--json").json["id"] == 2
    assert "is not deleted" in refused(parted, 2, "need", "restore", "2")
    refused(parted, 2, "need", "restore", "77")


# --- near names


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        ("why", "need", 'did you mean need:1 ("Know why")?'), ("task:9", "need", "is no need"), ("9", "need", "mlos-sync need list"),
        ("3", "task", 'did you mean need:3 ("Rest")?'), ("artifact:deep/two.md", None, "did you mean notes/two.md?"),
        ("artifact:notes/too.md", None, "did you mean notes/two.md?"), ("artifact:zzz", None, "sync"), ("zzz", "need", "write need:3"),
        ("100%", "need", "write need:3"), ("", "need", "write need:3"), ("commit:abcdef0", None, "sync"), ("agent:77", None, "agent list"),
    ],
)  # fmt: skip
def test_what_may_have_been_meant(full, text, kind, words):
    """Titles, other kinds with that number, files of that name or a like one; else where to look."""
    with opened(full) as index, pytest.raises((UsageError, RefusedError)) as caught:
        finding.found(index.db, text, kind)
    assert words in f"{caught.value.message} {caught.value.hint}"


def test_a_uid_of_another_kind_or_branch_and_a_file_that_moved(repo):
    """A uid typed with the wrong kind; a record whose branch is not this one; a file that git moved away."""
    uid = need(repo, "Here")["uid"]
    write(repo, "old.md", "some text\n" * 9)
    save(repo, "all")
    git(repo, "switch", "-q", "-c", "side")
    other = need(repo, "There")["uid"]
    git(repo, "mv", "old.md", "new.md")
    save(repo, "moved")
    synced(repo)
    with opened(repo) as index:
        for text, words in ((f"task-{uid[:9]}", 'need:1 ("Here")'), ("artifact:old.md", "new.md (moved there)")):
            with pytest.raises(UsageError) as caught:
                finding.found(index.db, text)
            assert words in caught.value.hint
    git(repo, "switch", "-q", "main")
    assert "no commit of this branch has it" in refused(repo, 2, "need", "show", other)


def test_ends_are_paths_from_here_or_as_printed(full):
    """A bare path from the current folder, `artifact:` as it is printed; what lies outside is usage."""
    with opened(full) as index:
        for folder, text in (
            (full / "notes", "two.md"),
            (full / "src", "artifact:notes/two.md"),
            (full, "notes/two.md"),
        ):
            common.settings.folder = str(folder)
            try:
                assert common.end(index, text) == "artifact:notes/two.md"
            finally:
                common.settings.folder = "."
    refused(full, 2, "links", "../outside.md")


# --- history


def test_the_log_of_a_record(repo):
    """Every event oldest first; --limit keeps the last, --since what is not before; lines that people can read."""
    need(repo, "Know why", created_at="2026-01-01T00:00:00Z")
    add(repo, "agent", agent_type="watcher", monitored_needs=["1"])
    uid = listed(repo, "need")[0]["uid"]
    change(repo, "need", "1", status="active", scope="core")
    change(repo, "agent", "1", monitored_needs=[])
    found = document(repo, "log", "need:1")["events"]
    assert [one["op"] for one in found] == ["create", "update"] and found[1]["fields"] == {
        "status": "active",
        "scope": "core",
    }
    assert set(found[0]) >= {"id", "at", "kind", "ref", "uid", "op", "fields", "actor", "door"}
    assert [one["op"] for one in document(repo, "log", "need:1", "--limit", "1")["events"]] == ["update"]
    assert len(document(repo, "log")["events"]) == 4
    said = call(repo, "log").out
    assert f'need-{uid[:6]}  update    scope="core"  status="active"  (Ada <ada@example.org>, cli)' in said
    assert f"monitored_needs=-need-{uid[:6]}" in said
    with opened(repo) as index:
        assert telling.history(index, "need:1", since="2099-01-01") == []
        assert len(telling.history(index, None, since=found[0]["at"])) == 4
    refused(repo, 2, "log", "--since", "yesterday")
    refused(repo, 2, "log", "--limit", "0")
    refused(repo, 2, "log", "nothing.md")


def at(repo, when, message):
    """A commit of everything at a moment."""
    git(repo, "add", "-A")
    git(repo, "commit", "-q", "-m", message, env={"GIT_COMMITTER_DATE": when, "GIT_AUTHOR_DATE": when})
    return git(repo, "rev-parse", "HEAD").stdout.strip()


def test_the_log_of_a_file(repo):
    """Versions by commit with hash and since when until when, under earlier names too; work that no commit holds."""
    from hashlib import sha256

    write(repo, "a.md", "one\n" * 9)
    first = at(repo, "2025-01-01T10:00:00Z", "first")
    write(repo, "a.md", "two\n" * 9)
    second = at(repo, "2025-01-02T10:00:00Z", "second")
    git(repo, "mv", "a.md", "b.md")
    third = at(repo, "2025-01-03T10:00:00Z", "third")
    write(repo, "a.md", "another file that came to the old name\n")
    at(repo, "2025-01-04T10:00:00Z", "fourth")
    synced(repo)
    found = document(repo, "log", "b.md")["events"]
    assert [(one["op"], one["commit"], one["since"], one["until"]) for one in found] == [
        ("added", first, "2025-01-01T10:00:00Z", "2025-01-02T10:00:00Z"),
        ("modified", second, "2025-01-02T10:00:00Z", "2025-01-03T10:00:00Z"),
        ("renamed", third, "2025-01-03T10:00:00Z", None),
    ]  # fmt: skip
    assert [one["hash"] for one in found] == [
        sha256(text).hexdigest() for text in (b"one\n" * 9, b"two\n" * 9, b"two\n" * 9)
    ]
    assert found[2]["old_path"] == "a.md" and found[0]["subject"] == "first" and found[0]["actor"]
    for text in ("work\n", "more work\n"):
        write(repo, "b.md", text)
        synced(repo)
    found = document(repo, "log", "artifact:b.md")["events"]
    seen = [one for one in found if one["commit"] is None]
    assert [one["hash"] for one in seen] == [sha256(text).hexdigest() for text in (b"work\n", b"more work\n")]
    assert seen[0]["until"] == seen[1]["since"] and seen[1]["until"] is None
    said = call(repo, "log", "b.md").out
    assert "was a.md" in said and "in no commit" in said and second[:12] in said
    (repo / "b.md").unlink()
    last = at(repo, "2098-01-05T10:00:00Z", "gone")
    synced(repo)
    with opened(repo) as index:
        assert (telling.history(index, "b.md")[-1]["op"], telling.history(index, "artifact:b.md")[-1]["commit"]) == (
            "deleted",
            last,
        )
        assert [one["op"] for one in telling.history(index, "b.md", limit=2)][-1] == "deleted"
        assert [one["op"] for one in telling.history(index, f"commit:{third}")] == ["renamed"]
        assert [one["op"] for one in telling.history(index, "b.md", since="2098-01-05")] == ["deleted"]


# --- tables and help


def on_a_terminal(repo, width, *args, columns=None):
    """What a command prints on a terminal of that width; COLUMNS says something else if given."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    env = {name: value for name, value in os.environ.items() if name != "COLUMNS"} | (
        {"COLUMNS": columns} if columns else {}
    )
    with open(slave, "wb") as end:
        subprocess.run([sys.executable, "-I", "-m", "mlos_sync", *args], cwd=repo, env=env, stdout=end, check=True)
    said = b""
    with contextlib.suppress(OSError):  # the end of a terminal that nobody has open is EIO
        while data := os.read(master, 65536):
            said += data
    os.close(master)
    return said.decode().replace("\r\n", "\n").splitlines()


def test_a_table_fits_the_terminal(full):
    """As wide as the terminal is, or as COLUMNS says: longer lines are cut, wide characters count as two. Into a pipe cells
    are only capped."""
    need(full, "長い題名 " * 20, scope="広い", status="deferred")
    try:
        for width, columns in ((60, None), (200, "30")):
            lines = on_a_terminal(full, width, "need", "list", columns=columns)
            room = int(columns or width)
            assert room - 2 <= max(sum(2 if east_asian_width(c) in "WF" else 1 for c in line) for line in lines) <= room
            assert all(line == line.rstrip() for line in lines) and any(line.endswith("…") for line in lines)
        piped = call(full, "need", "list", env={"COLUMNS": "30"}).out.splitlines()
        assert len(max(piped, key=len)) > 80
        assert len({line.index("Know") for line in piped if "Know" in line}) == 1
    finally:
        delete(full, "need", str(max(one["id"] for one in listed(full, "need"))))


def test_references_are_as_long_as_they_must_be(repo):
    """Six digits, or as many as tell all records of the kind apart."""
    with opened(repo) as index:
        for uid in ("abcdef0" + "0" * 25, "abcdef1" + "0" * 25):
            records.write(
                index, lambda db, uid=uid: db.execute("INSERT INTO needs(title, uid) VALUES ('x', ?)", (uid,))
            )
    assert "need-abcdef0 " in call(repo, "need", "list").out


def test_help_needs_no_options_of_commands(full):
    """Help that lists commands is made of names and descriptions; a command gets its own options alone; a typo gets all."""
    from typer.main import get_command

    whole = get_command(app)
    outline = get_command(narrowing.only_what_is_asked_for(app, ["--help"]))
    assert list(outline.commands) == list(whole.commands)
    assert {one.get_short_help_str() for one in outline.commands.values()} == {
        one.get_short_help_str() for one in whole.commands.values()
    }
    assert all(
        len(one.params) <= 1 for name, one in outline.commands.items() if name not in ("conflicts", "transcripts")
    )
    group = get_command(narrowing.only_what_is_asked_for(app, ["need", "--help"])).commands["need"]
    assert list(group.commands) == list(whole.commands["need"].commands)
    one = get_command(narrowing.only_what_is_asked_for(app, ["-C", "x", "need", "add", "y"]))
    assert list(one.commands) == ["need"] and list(one.commands["need"].commands) == ["add"]
    assert len(one.commands["need"].commands["add"].params) == len(whole.commands["need"].commands["add"].params) > 9
    assert list(get_command(narrowing.only_what_is_asked_for(app, ["need", "ad"])).commands["need"].commands) == list(
        group.commands
    )
    assert narrowing.only_what_is_asked_for(app, ["nothing"]) is app
    for words in (["--help"], ["need", "--help"], ["need", "add", "--help"], ["conflicts", "resolve", "--help"]):
        assert "Usage" in call(full, *words).out
    assert call(full, "need", "nothing").code == 2


def test_nothing_is_left_open_by_looking(full):
    """Commands that read write nothing: no file of the work tree, no record, no journal line."""
    known, before = ledger(full), dump(full)
    for words in (
        ["need", "list"],
        ["ready"],
        ["related", "need:1"],
        ["log"],
        ["log", "notes/two.md"],
        ["conflicts"],
        ["links", "need:1"],
    ):
        assert call(full, *words).code == 0
    assert ledger(full) == known and dump(full) == before and changed(full) == []


def test_link_again_without_metadata_keeps_what_it_has(repo):
    """What is not given does not change."""
    run(repo, "need", "add", "One")
    run(repo, "need", "add", "Two")
    run(repo, "link", "need:1", "blocks", "need:2", "--meta", '{"why":"x"}')
    assert run(repo, "link", "need:1", "blocks", "need:2", "--json").json["metadata"] == {"why": "x"}
    assert run(repo, "links", "need:1", "--json").json["edges"][0]["metadata"] == {"why": "x"}


def test_one_uid_in_two_lines_is_refused(repo):
    """The second line would change what the first says."""
    lines = "".join(f'{{"uid": "{"ab" * 16}", "title": "{title}"}}\n' for title in ("one", "two"))
    refused = run(repo, "need", "add", "--from", "-", stdin=lines, ok=False)
    assert refused.code == 2 and "line 2" in refused.err and "line 1" in refused.err
    assert run(repo, "need", "list", "--json").json["rows"] == []


def test_a_null_where_something_must_be_is_told_in_words(repo):
    """Not in SQLite's."""
    refused = run(repo, "need", "add", "--from", "-", stdin='{"title": null}\n', ok=False)
    assert refused.code == 4 and "needs.title is not empty" in refused.err
