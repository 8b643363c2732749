"""`import taskengine`: from real databases of every kind into real workspaces, again and again, here and in clones."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cli import (
    PROCESS,
    assert_nothing_forgotten,
    assert_rebuild_is_equal,
    change,
    clone,
    common_dir,
    conflicts,
    delete,
    dump,
    git_dir,
    ledger,
    listed,
    need,
    opened,
    pending,
    run,
    save,
    sql,
    titles,
    workspace,
)
from gitrepo import git, sealed_env
from hypothesis import given, settings
from hypothesis import strategies as st
from test_docs import console, vault  # noqa: F401 - a fixture

from mlos_sync.app import importing, telling
from mlos_sync.core import taskengine
from mlos_sync.core.cells import TEXT_LIMIT, Undecoded
from mlos_sync.core.taskengine import Found, Options
from mlos_sync.edge import store
from mlos_sync.errors import MlosError, SurroundingsError, UsageError

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = (
    "CREATE TABLE tasks(id INTEGER PRIMARY KEY, description TEXT, status TEXT, sprint_context TEXT,"
    " source_line INTEGER, source_transcript TEXT, assigned_date TEXT, created_at TEXT, estimate REAL)"
)
TRANSCRIPT = ".specstory/history/2026-02-03_01-57Z-design.md"
ROWS = [
    (1, "Design the schema", "done", "sprint-1", 12, TRANSCRIPT, "2026-02-03", "2026-02-03 01:57:00", 1.5),
    (2, "Write the triggers", "doing", "sprint-1", 40, TRANSCRIPT, "2026-02-04", "2026-02-04 10:00:00", None),
    (3, "Choose a name", "someday", "sprint-2", None, None, "next week", None, 0.1),
    (4, "Tidy up", "todo", None, None, None, None, None, None),
]


def engine(folder: Path, rows: list[tuple[Any, ...]] = ROWS, schema: str = SCHEMA, name: str = "engine.db") -> Path:
    """A TaskEngine database."""
    path = folder / name
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute(schema)
        for row in rows:
            db.execute(f"INSERT INTO tasks VALUES ({', '.join('?' * len(row))})", row)
    return path


def alter(path: Path, *statements: str) -> None:
    """Change the source as its own program would."""
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        for statement in statements:
            db.execute(statement)


def bring(repo: Path, path: Path, chosen: Options | None = None, **more: Any) -> taskengine.Plan:
    """The import, in this process; what it did."""
    with opened(repo) as index:
        return importing.import_tasks(index, str(path), chosen or Options(), **more).plan


def counts(plan: taskengine.Plan) -> tuple[int, int, int, int]:
    """How many needs, tasks, rows here already, rows skipped."""
    return len(plan.needs), len(plan.tasks), plan.unchanged, len(plan.skipped)


def origin(repo: Path, ref: str) -> dict[str, Any]:
    """What the history of a record keeps of where it came from."""
    with opened(repo) as index:
        first = telling.history(index, ref)[0]
    return json.loads(first["fields"]["imported"])


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One workspace, to be copied. It is made before any test's world is sealed, so it seals its own."""
    folder = tmp_path_factory.mktemp("template")
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(("GIT_", "MLOS_SYNC_")):
                patch.delenv(name)
        for name, value in sealed_env(folder / "home").items():
            patch.setenv(name, value)
        return workspace(folder)


@pytest.fixture
def repo(template: Path, tmp_path: Path) -> Path:
    """A workspace."""
    shutil.copytree(template, tmp_path / "repo", symlinks=True)
    return tmp_path / "repo"


# What comes of it


def test_contexts_become_needs_and_rows_their_tasks(repo, tmp_path):
    """Every column that has a place is in it, every word is mapped, and the printed document says what was made."""
    done = run(repo, "import", "taskengine", str(engine(tmp_path)), "--json").json
    assert done["imported"] == {"needs": 2, "tasks": 4}
    assert (done["unchanged"], done["skipped"], done["dry_run"]) == (0, [], False)
    assert done["columns"]["description"] == ["description"] and done["columns"]["scope"] == ["sprint_context"]
    assert done["columns"]["kept"] == ["source_line", "estimate"] and done["columns"]["key"] == ["id"]
    assert "rows" not in done
    needs = {row["id"]: row for row in listed(repo, "need")}
    assert [(row["title"], row["scope"], row["status"]) for row in needs.values()] == [
        ("sprint-1", "sprint-1", "in_progress"), ("sprint-2", "sprint-2", "active"),
    ]  # fmt: skip
    assert needs[1]["created_at"] == "2026-02-03T01:57:00Z"
    tasks = listed(repo, "task")
    assert [(t["description"], t["status"], needs.get(t["need_id"], {}).get("scope")) for t in tasks] == [
        ("Design the schema", "completed", "sprint-1"), ("Write the triggers", "in_progress", "sprint-1"),
        ("Choose a name", "open", "sprint-2"), ("Tidy up", "open", None),
    ]  # fmt: skip
    assert (tasks[0]["created_at"], tasks[0]["assigned_date"]) == ("2026-02-03T01:57:00Z", "2026-02-03")
    assert (tasks[0]["source_transcript"], tasks[2]["assigned_date"]) == (TRANSCRIPT, None)
    assert tasks[2]["created_at"] is not None, "a row that does not tell gets the time of the import"
    assert len(done["notes"]) == 2 and "'someday'" in done["notes"][0] and "'next week'" in done["notes"][1]


def test_the_history_keeps_the_whole_row(repo, tmp_path):
    """What no column can say is in the creation's event, and a rebuild from events alone brings the same back."""
    bring(repo, engine(tmp_path))
    assert origin(repo, "task:3") == {
        "source": "taskengine", "key": 3,
        "row": {"id": 3, "description": "Choose a name", "status": "someday", "sprint_context": "sprint-2",
                "assigned_date": "next week", "estimate": 0.1},
    }  # fmt: skip
    assert origin(repo, "task:1")["row"]["source_line"] == 12
    assert origin(repo, "need:1") == {"source": "taskengine", "key": "sprint-1"}
    with opened(repo) as index:
        events = telling.history(index, None)
        assert {event["door"] for event in events} == {"cli"} and len(events) == 6
        assert index.db.execute("SELECT count(*) FROM held").fetchone() == (0,)
    need(repo, "made by hand")
    with opened(repo) as index:
        assert "imported" not in telling.history(index, "need:3")[0]["fields"]
    assert_rebuild_is_equal(repo)
    assert_nothing_forgotten(repo)


def test_times_of_the_source_stand(repo, tmp_path):
    """`updated_at` of the source stays until the record is changed here."""
    path = engine(tmp_path, [(1, "x", 1714558830, 1717236000)], "CREATE TABLE tasks(id, task, created_at, updated_at)")
    bring(repo, path)
    (row,) = listed(repo, "task")
    assert (row["created_at"], row["updated_at"]) == ("2024-05-01T10:20:30Z", "2024-06-01T10:00:00Z")
    assert_rebuild_is_equal(repo)
    assert listed(repo, "task") == [row]
    assert change(repo, "task", "1", status="completed")["updated_at"] > "2026"


def test_no_task_is_made_that_the_source_does_not_have(repo, tmp_path):
    """No need comes as `actionable`, whatever its tasks."""
    rows = [(n, "x", status, f"s{n}", *[None] * 5) for n, status in enumerate(taskengine.STATUSES, 1)]
    plan = bring(repo, engine(tmp_path, rows))
    assert len(listed(repo, "task")) == len(plan.tasks) == len(rows)
    assert "actionable" not in {row["status"] for row in listed(repo, "need")}


def test_options_reach_the_mapping(repo, tmp_path):
    """Another column, status, priority, source name, and one need for the rest."""
    path = engine(
        tmp_path, [(1, "t", "b", 9, "zu"), (2, "t", "c", None, "auf")],
        "CREATE TABLE tasks(nr INTEGER PRIMARY KEY, title, body, prio, status)",
    )  # fmt: skip
    run(
        repo, "import", "taskengine", str(path), "--column", "description=body", "--status", "zu=completed",
        "--status", "auf=assigned", "--priority", "9=1", "--rest", "Loose ends", "--source", "old laptop",
    )  # fmt: skip
    assert [(t["description"], t["status"], t["priority"]) for t in listed(repo, "task")] == [
        ("b", "completed", 1), ("c", "assigned", None),
    ]  # fmt: skip
    assert [(n["title"], n["scope"]) for n in listed(repo, "need")] == [("Loose ends", None)]
    assert {t["need_id"] for t in listed(repo, "task")} == {1}
    assert origin(repo, "task:1")["source"] == "old laptop"


def test_a_dry_run_shows_all_and_writes_nothing(repo, tmp_path):
    """Neither the database nor the journal nor the source's folder changes by a byte; the rows are those that come."""
    path = engine(tmp_path)
    pending(repo)  # whatever a command catches up on is done
    place = git_dir(repo) / "mlos"

    def state() -> dict[str, bytes]:
        files = (file for folder in (place, tmp_path) for file in folder.iterdir() if file.is_file())
        return {str(file): file.read_bytes() for file in files if not file.name.endswith("-shm")}

    before = state()
    done = run(repo, "import", "taskengine", str(path), "--dry-run", "--json", before=PROCESS)
    assert state() == before and done.err == ""
    assert done.json["imported"] == {"needs": 2, "tasks": 4} and done.json["dry_run"]
    shown = done.json["rows"]
    assert [row["kind"] for row in shown] == ["need", "need", "task", "task", "task", "task"]
    text = run(repo, "import", "taskengine", str(path), "--dry-run").out
    assert "Choose a name" in text and text.endswith("would import 2 needs and 4 tasks; 0 here already, 0 skipped\n")
    run(repo, "import", "taskengine", str(path))
    made = {row["uid"]: row for kind in ("need", "task") for row in listed(repo, kind)}
    for row in shown:
        for name in set(row) & set(made[row["uid"]]):
            assert row[name] == made[row["uid"]][name]


def test_a_dry_run_says_when_it_cannot_know(repo, tmp_path):
    """An index that is behind is not brought up to date by it, and one that is missing is not made."""
    path = engine(tmp_path)
    sql(repo, "INSERT INTO needs(title) VALUES ('typed in')")
    assert "behind the journal" in run(repo, "import", "taskengine", str(path), "--dry-run").err
    assert ledger(repo) == set()
    (git_dir(repo) / "mlos" / "index.db").unlink()
    refused = run(repo, "import", "taskengine", str(path), "--dry-run", ok=False)
    assert refused.code == 3 and "mlos-sync rebuild" in refused.err
    assert not (git_dir(repo) / "mlos" / "index.db").exists()


def test_progress_is_told(repo, tmp_path):
    """Every hundred records, with the total."""
    told: list[tuple[int, int]] = []
    rows = [(n, "x", "todo", "s", *[None] * 5) for n in range(250)]
    bring(repo, engine(tmp_path, rows), progress=lambda done, total: told.append((done, total)))
    assert told == [(100, 251), (200, 251)]


def test_all_or_nothing(repo, tmp_path):
    """A rule that refuses one row refuses the import; nothing of it stays, and the next one is whole."""
    sql(
        repo,
        "CREATE TRIGGER mine BEFORE INSERT ON tasks WHEN NEW.description = 'Tidy up'"
        " BEGIN SELECT RAISE(ABORT, 'never tidy up'); END",
    )
    refused = run(repo, "import", "taskengine", str(engine(tmp_path)), ok=False)
    assert refused.code == 4 and "never tidy up" in refused.err
    assert listed(repo, "need") == listed(repo, "task") == [] and ledger(repo) == set()
    sql(repo, "DROP TRIGGER mine")
    assert counts(bring(repo, tmp_path / "engine.db")) == (2, 4, 0, 0)


# Again


def test_a_second_run_brings_what_is_new(repo, tmp_path):
    """Nothing twice, not even an event; new rows join the need that is here, whatever was changed in it."""
    path = engine(tmp_path)
    bring(repo, path)
    events = ledger(repo)
    pending(repo)  # the edges that follow from it are made
    with store.writer_lock(str(common_dir(repo) / "mlos")):  # where there is nothing to write, nobody waits for it
        assert counts(bring(repo, path)) == (0, 0, 4, 0)
    assert ledger(repo) == events
    change(repo, "need", "1", title="The first sprint", scope="early")
    change(repo, "task", "2", status="completed")
    alter(path, "INSERT INTO tasks(id, description, sprint_context) VALUES (9, 'More', 'sprint-1')")
    assert counts(bring(repo, path)) == (0, 1, 4, 0)
    assert titles(repo) == ["The first sprint", "sprint-2"]
    assert [(t["description"], t["need_id"], t["status"]) for t in listed(repo, "task")][1::3] == [
        ("Write the triggers", 1, "completed"), ("More", 1, "open"),
    ]  # fmt: skip


def test_changed_rows_are_reported_not_overwritten(repo, tmp_path):
    """With the columns that changed; a row that was only changed here is none of them."""
    path = engine(tmp_path)
    bring(repo, path)
    change(repo, "task", "1", description="Design it better")
    alter(path, "UPDATE tasks SET status = 'done', source_line = 41 WHERE id = 2")
    done = run(repo, "import", "taskengine", str(path), "--json").json
    assert done["imported"] == {"needs": 0, "tasks": 0} and done["unchanged"] == 3
    (told,) = done["skipped"]
    assert (told["kind"], told["row"]) == ("task", 2) and "(source_line, status)" in told["reason"]
    assert [t["status"] for t in listed(repo, "task")][:2] == ["completed", "in_progress"]


def test_what_was_deleted_here_stays_deleted(repo, tmp_path):
    """A task and a need; also after a rebuild, and new rows of the need come without one."""
    path = engine(tmp_path)
    bring(repo, path)
    delete(repo, "task", "1")
    delete(repo, "need", "2")
    assert_rebuild_is_equal(repo)
    alter(path, "INSERT INTO tasks(id, description, sprint_context) VALUES (9, 'More', 'sprint-2')")
    plan = bring(repo, path)
    assert counts(plan) == (0, 1, 3, 2)
    assert [(one.kind, one.row) for one in plan.skipped] == [("task", 1), ("need", "sprint-2")]
    assert all("deleted here" in one.reason for one in plan.skipped)
    rows = {t["description"]: t["need_id"] for t in listed(repo, "task")}
    assert "Design the schema" not in rows and rows["More"] is None
    assert titles(repo) == ["sprint-1"]


# Clones and branches


def test_two_clones_that_import_the_same_make_one_set(tmp_path):
    """Numbers and times of creation differ; after the merge both have the same records, and nothing is in conflict."""
    here = workspace(tmp_path)
    path = engine(tmp_path)
    there = clone(here, "there")
    need(there, "was there first", status="active")
    assert counts(bring(here, path)) == counts(bring(there, path)) == (2, 4, 0, 0)
    save(here, "imported here")
    save(there, "imported there")
    git(there, "pull", "-q", "--no-rebase", "--no-edit")
    git(here, "pull", "-q", "--ff-only", str(there), "main")
    for repo in (here, there):
        assert conflicts(repo) == []
        assert titles(repo) == ["sprint-1", "sprint-2", "was there first"]
        assert len(listed(repo, "task")) == 4
        assert counts(bring(repo, path)) == (0, 0, 4, 0)
        assert pending(repo) == 0
        assert_rebuild_is_equal(repo)
    assert dump(here) == dump(there)


def test_another_clone_keeps_to_a_deletion(tmp_path):
    """Imported and deleted there, pulled here: the row stays away."""
    here = workspace(tmp_path)
    path = engine(tmp_path)
    there = clone(here, "there")
    bring(there, path)
    delete(there, "task", "4")
    save(there, "imported, and one thrown out")
    git(here, "pull", "-q", "--ff-only", str(there), "main")
    assert counts(bring(here, path)) == (0, 0, 3, 1)
    assert pending(here) == 0


def test_two_branches_that_import_the_same_make_one_set(tmp_path):
    """The other branch's records are not here, so they are made; the merge has them once, under one number."""
    repo = workspace(tmp_path)
    path = engine(tmp_path)
    git(repo, "switch", "-q", "-c", "side")
    bring(repo, path)
    save(repo, "imported on the side")
    numbers = {row["uid"]: row["id"] for row in listed(repo, "task")}
    git(repo, "switch", "-q", "main")
    assert listed(repo, "task") == []
    assert counts(bring(repo, path)) == (2, 4, 0, 0)
    save(repo, "imported on main")
    git(repo, "merge", "-q", "--no-edit", "side")
    assert {row["uid"]: row["id"] for row in listed(repo, "task")} == numbers
    assert conflicts(repo) == [] and pending(repo) == 0
    assert len(listed(repo, "task")) == 4 and len(listed(repo, "need")) == 2
    assert_rebuild_is_equal(repo)


# Sources of every kind


def broken(folder: Path) -> Path:
    """A database whose table's pages are overwritten."""
    path = engine(folder, [(n, "x" * 2000, *[None] * 7) for n in range(50)])
    data = bytearray(path.read_bytes())
    data[4096:] = b"\xee" * (len(data) - 4096)
    path.write_bytes(data)
    return path


def cut(folder: Path) -> Path:
    """A database that ends in the middle of its second page."""
    path = engine(folder)
    path.write_bytes(path.read_bytes()[:6000])
    return path


def made(content: bytes):
    """A file of some bytes."""

    def make(folder: Path) -> Path:
        (folder / "x.db").write_bytes(content)
        return folder / "x.db"

    return make


def fifo(folder: Path) -> Path:
    os.mkfifo(folder / "pipe")
    return folder / "pipe"


def odd_name(folder: Path) -> Path:
    """A column whose name is no UTF-8."""
    path = engine(folder, schema="CREATE TABLE tasks(id, description, colXr)", rows=[(1, "x", "y")])
    path.write_bytes(path.read_bytes().replace(b"colXr", b"col\xffr"))
    return path


SOURCES = {
    "missing": (lambda folder: folder / "nowhere.db", 3, "No such file"),
    "folder": (lambda folder: folder, 3, "is a folder"),
    "pipe": (fifo, 3, "is no regular file"),
    "empty": (made(b""), 2, "is no SQLite database"),
    "text": (made(b"not a database at all\n" * 9), 2, "is no SQLite database"),
    "header alone": (made(b"SQLite format 3\0\2\0" + b"\1" * 1006), 2, "is no SQLite database"),
    "damaged": (broken, 3, "is damaged"),
    "cut": (cut, 3, "is damaged"),
    "other tables": (lambda f: engine(f, [], "CREATE TABLE notes(id)"), 2, "no table tasks: it has notes"),
    "no tables": (lambda f: engine(f, [], "PRAGMA user_version = 1"), 2, "no table tasks: it has none"),
    "view": (lambda f: engine(f, [], "CREATE VIEW tasks AS SELECT 1 AS id"), 2, "tasks is a view"),
    "no text": (lambda f: engine(f, [], "CREATE TABLE tasks(id, colour)"), 2, "there are id, colour"),
    "odd name": (odd_name, 2, "no UTF-8"),
}


@pytest.mark.parametrize("kind", SOURCES)
def test_what_is_no_taskengine_is_named_with_a_way_on(repo, tmp_path, kind):
    """The exit code as docs/reference.md has it, a message, a hint, and no trace in the index or beside the source."""
    make, code, says = SOURCES[kind]
    folder = tmp_path / "source"
    folder.mkdir()
    path = make(folder)
    names = sorted(os.listdir(folder))
    with opened(repo) as index, pytest.raises(MlosError) as caught:
        importing.import_tasks(index, str(path), Options(), patience=0)
    assert caught.value.exit_code == code and says in caught.value.message and caught.value.hint
    assert sorted(os.listdir(folder)) == names and ledger(repo) == set()


def test_errors_reach_the_shell(repo, tmp_path):
    """A path is taken from where the command is started (`-C` too); outside a workspace nothing works."""
    missing = run(repo, "import", "taskengine", "nowhere.db", ok=False)
    assert missing.code == 3 and "hint:" in missing.err
    engine(repo)
    assert run(tmp_path, "-C", "repo", "import", "taskengine", "engine.db").out.endswith("0 skipped\n")
    assert run(repo, "import", "taskengine", "engine.db", "--status", "a=b", ok=False).code == 2
    assert run(tmp_path, "import", "taskengine", "repo/engine.db", ok=False).code == 3


def test_our_own_index_is_no_source(repo):
    """It has a table `tasks`, and reading it as a file would drop its locks. By any of its names."""
    own = git_dir(repo) / "mlos" / "index.db"
    other = repo / "again.db"
    other.symlink_to(own)
    for path in (own, other):
        with opened(repo) as index, pytest.raises(UsageError, match="index of this workspace"):
            importing.import_tasks(index, str(path), Options())


def test_a_locked_database_is_waited_for_and_then_named(repo, tmp_path):
    """While its program holds it for writing nothing is read; afterwards all of it is."""
    path = engine(tmp_path)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("BEGIN EXCLUSIVE")
        with opened(repo) as index, pytest.raises(SurroundingsError, match="locked"):
            importing.import_tasks(index, str(path), Options(), patience=0)
        writer.execute("ROLLBACK")
        assert counts(bring(repo, path, patience=0)) == (2, 4, 0, 0)


@pytest.mark.parametrize("state", ["open", "left behind", "folded back"])
def test_a_database_with_a_write_ahead_log_is_read_whole(repo, tmp_path, state):
    """What is only in the log is read; no file is made, changed or removed beside the source."""
    alive = tmp_path / "alive"
    alive.mkdir()
    path = engine(alive)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("PRAGMA journal_mode = WAL").fetchone()
        writer.execute("INSERT INTO tasks(id, description) VALUES (7, 'only in the log')")
        folder = alive
        if state == "left behind":
            folder = tmp_path / "copy"
            folder.mkdir()
            for name in ("engine.db", "engine.db-wal"):
                shutil.copy(alive / name, folder / name)
        elif state == "folded back":
            writer.close()
        before = {name: (folder / name).read_bytes() for name in os.listdir(folder) if not name.endswith("-shm")}
        assert (state == "folded back") == ("engine.db-wal" not in before)
        assert counts(bring(repo, folder / "engine.db")) == (2, 5, 0, 0)
        after = {name: (folder / name).read_bytes() for name in os.listdir(folder) if not name.endswith("-shm")}
        assert after == before and (state == "open") == ("engine.db-shm" in os.listdir(folder))


@pytest.mark.parametrize(
    ("schema", "rows", "key"),
    [
        ("CREATE TABLE tasks(description, id)", [("x", 5)], 5),
        ("CREATE TABLE tasks(description)", [("x",)], 1),
        ("CREATE TABLE tasks(description, rowid)", [("x", "mine")], 1),
        ("CREATE TABLE tasks(a, b, description, PRIMARY KEY(b, a)) WITHOUT ROWID", [(1, "k", "x")], ["k", 1]),
        ('CREATE TABLE Tasks("a ""quoted"" key" PRIMARY KEY, description)', [("q", "x")], "q"),
        ("CREATE TABLE tasks(description, uuid, twice AS (description || description))", [("x", "u")], "u"),
    ],
)
def test_rows_are_known_by_what_the_table_has(repo, tmp_path, schema, rows, key):
    """A primary key of any shape, a column named like one, SQLite's row number."""
    path = tmp_path / "engine.db"
    names = "description, uuid" if "twice" in schema else None
    alter(path, schema)
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        marks = ", ".join("?" * len(rows[0]))
        db.executemany(f"INSERT INTO tasks{f'({names})' if names else ''} VALUES ({marks})", rows)
    plan = bring(repo, path)
    assert [one.row for one in plan.tasks] == [key]
    assert counts(bring(repo, path)) == (0, 0, 1, 0)


def test_records_come_in_the_order_of_their_keys(repo, tmp_path):
    """So that their numbers do not hang on how the source is stored."""
    path = engine(tmp_path, [("b", "second"), ("a", "first")], "CREATE TABLE tasks(id TEXT PRIMARY KEY, description)")
    bring(repo, path)
    assert [(row["id"], row["description"]) for row in listed(repo, "task")] == [(1, "first"), (2, "second")]


def test_rows_that_cannot_be_told_apart_make_the_exit_code_1(repo, tmp_path):
    """They are listed; the others come. The row number tells them apart."""
    path = engine(
        tmp_path, [(1, "a"), (1, "b"), (2, "c"), (None, "d"), (3, " ")], "CREATE TABLE tasks(id, description)"
    )
    done = run(repo, "import", "taskengine", str(path), "--json", ok=False)
    assert done.code == 1 and done.json["imported"] == {"needs": 0, "tasks": 1}
    assert len(done.json["skipped"]) == 4
    again = run(repo, "import", "taskengine", str(path), "--column", "key=rowid", "--source", "b", "--json", ok=False)
    assert again.code == 1 and again.json["imported"] == {"needs": 0, "tasks": 4}


def test_hostile_values_come_as_rows(repo, tmp_path):
    """Blobs, NUL, bytes that are no UTF-8, infinite numbers, 10 MB: in the index, the journal, a commit and a rebuild."""
    path = engine(tmp_path, [])
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute("INSERT INTO tasks(id, description, estimate) VALUES (1, ?, 9e999)", ("nul \0 \x1b[31m \U0010ffff",))
        db.execute("INSERT INTO tasks(id, description, status) VALUES (2, CAST(x'68fffe' AS TEXT), x'ff00')")
        db.execute("INSERT INTO tasks(id, description, sprint_context) VALUES (3, x'ffd8ffe0', x'00ff')")
        db.execute("INSERT INTO tasks(id, description) VALUES (4, ?)", ("ö" * 10_000_000,))
        db.execute("INSERT INTO tasks(id, description) VALUES (5, 0.1)")
        db.execute("INSERT INTO tasks(id, description, source_transcript) VALUES (6, 'x', CAST(x'eda080' AS TEXT))")
    plan = bring(repo, path)
    assert counts(plan) == (1, 6, 0, 0)
    rows = [row["description"] for row in listed(repo, "task")]
    assert rows[:3] == ["nul ␀ \x1b[31m \U0010ffff", "h\\xff\\xfe", "(a blob of 4 bytes, kept in the history)"]
    assert (len(rows[3]), rows[4]) == (TEXT_LIMIT, "0.1")
    kept = origin(repo, "task:1")["row"]
    assert kept["description"] == "nul \0 \x1b[31m \U0010ffff" and kept["estimate"] == {"real": "inf"}
    assert origin(repo, "task:2")["row"]["description"] == {"text": "aP/+"}
    assert origin(repo, "task:3")["row"]["description"] == {"blob": "/9j/4A=="}
    assert origin(repo, "task:4")["row"]["description"]["length"] == 10_000_000
    assert counts(bring(repo, path)) == (0, 0, 6, 0)
    assert_rebuild_is_equal(repo)
    assert_nothing_forgotten(repo)


cells = st.one_of(
    st.none(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), st.text(st.characters(codec="utf-8")),
    st.binary(max_size=20), st.binary(max_size=20).map(Undecoded),
    st.sampled_from(["done", "2024-05-01", "2024-02-30", " ", "\n", "\0", "\xa0", "5", "2024-05-01 24:00", "\ud7ff"]),
)  # fmt: skip
table_rows = st.lists(st.fixed_dictionaries(dict.fromkeys(taskengine.SYNONYMS, cells)), min_size=1, max_size=20)


@pytest.fixture(scope="module")
def empty():
    """A database of ours in memory."""
    db = store.create(":memory:")
    yield db
    db.close()


@settings(max_examples=150)
@given(table_rows, st.sampled_from([None, "Loose ends", "\n x"]))
def test_the_database_takes_whatever_the_mapping_makes(empty, rows, rest):
    """No cell of any kind makes a record that a rule refuses, nor an event that cannot be written."""
    found = [Found((n,), row) for n, row in enumerate(rows)]
    chosen = Options(rest=rest)
    columns = taskengine.recognised(list(taskengine.SYNONYMS), chosen.columns)
    plan = taskengine.compared(taskengine.mapped(found, columns, chosen), {})
    empty.execute("BEGIN IMMEDIATE")
    with store.capture(empty, on=True, actor="a", door="cli", tx=None):
        importing._insert(empty, plan, None)
    notes = empty.execute("SELECT note FROM outbox").fetchall()
    empty.execute("ROLLBACK")
    assert len(notes) == len(plan.needs) + len(plan.tasks)
    assert all(isinstance(json.loads(json.loads(note)["imported"]), dict) for (note,) in notes)
    assert len(plan.tasks) + len(plan.skipped) == len(rows)


def test_a_context_of_nothing_but_blanks_is_none():
    """Two tasks without a context that says anything have one need together, however their cells say nothing."""
    cells = dict.fromkeys(taskengine.SYNONYMS, None) | {"description": "Do it"}
    found = [Found((n,), cells | {"scope": scope}) for n, scope in enumerate([None, "\xa0", b"\xc2\xa0", b"\x1f"])]
    columns = taskengine.recognised(list(taskengine.SYNONYMS), {})
    plan = taskengine.mapped(found, columns, Options(rest="Loose ends"))
    assert [need.values["title"] for need in plan.needs] == ["Loose ends"]
    assert {task.need for task in plan.tasks} == {plan.needs[0].uid}


# Cost


def test_an_insert_costs_the_same_in_a_large_index():
    """Steps of SQLite's machine for one hundred inserts, with 100 and with 2,000 records there."""
    db = store.create(":memory:")
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    def insert(many: int) -> int:
        nonlocal steps
        steps = 0
        for _ in range(many):
            db.execute("INSERT INTO tasks(description) VALUES ('x')")
        return steps

    db.execute("BEGIN IMMEDIATE")
    with store.capture(db, on=True, actor="a", door="cli", tx=None):
        insert(100)
        db.set_progress_handler(count, 100)
        few = insert(100)
        insert(2000)
        assert insert(100) < 3 * few
    db.execute("ROLLBACK")
    db.close()


# The page


def test_the_commands_of_the_page_run(vault):  # noqa: F811
    """docs/import.md, in order, in a workspace."""
    for command in ("git init -q .", "mlos-sync init", *console(ROOT / "docs" / "import.md")):
        done = subprocess.run(["sh", "-c", command], cwd=vault, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    assert "next week" in done.stdout, "the last one shows the history"
