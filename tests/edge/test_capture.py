"""Every change of a record, through whatever door, is in the outbox in the transaction that made it, and flushes."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gitrepo import make_repo

from mlos_sync.app import dumping, freshness, journaling, setup
from mlos_sync.app.opening import open_index
from mlos_sync.app.sync import sync
from mlos_sync.edge import ledger, store
from mlos_sync.errors import MlosError, RefusedError

ONE, TWO, THREE = "1" * 32, "2" * 32, "3" * 32
EDGE = "INSERT INTO relationships(source_type, source_id, relationship_type, target_type, target_id, metadata) VALUES "


@pytest.fixture
def path(tmp_path: Path) -> str:
    """An index with two needs, a task, an agent and an edge, and an empty outbox."""
    found = str(tmp_path / "index.db")
    db = store.create(found)
    db.execute(f"INSERT INTO needs(title, uid, scope) VALUES ('one', '{ONE}', 's'), ('two', '{TWO}', 's')")
    db.execute(f"INSERT INTO tasks(description, need_id, uid) VALUES ('do', 1, '{ONE}')")
    db.execute(f"INSERT INTO agents(agent_type, uid) VALUES ('janitor', '{ONE}')")
    db.execute(EDGE + "('need', 1, 'blocks', 'need', 2, '{\"why\":\"x\"}')")
    db.execute("DELETE FROM outbox")
    db.close()
    return found


@pytest.fixture
def db(path: str) -> Iterator[sqlite3.Connection]:
    """A stranger's connection, foreign keys off as in the shell."""
    connection = sqlite3.connect(path, isolation_level=None)
    yield connection
    connection.close()


def captured(db: sqlite3.Connection) -> list[tuple[str, str, str, Any, Any]]:
    """(kind, uid, op, old, new) of the outbox, images decoded, in order."""
    rows = db.execute("SELECT kind, uid, op, old, new FROM outbox ORDER BY seq").fetchall()
    return [
        (k, u, op, json.loads(old) if old else None, json.loads(new) if new else None) for k, u, op, old, new in rows
    ]


def differing(old: dict[str, Any], new: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """What differs between two images."""
    assert old.keys() == new.keys()
    return {name: (old[name], new[name]) for name in old if old[name] != new[name]}


def test_an_insert_is_a_creation_with_all_that_was_given(db):
    """No old image; the number and the defaults travel along; uid and origin do not, updated_at only if set by hand."""
    db.execute(f"INSERT INTO needs(title, priority, parent_need_id, uid) VALUES ('three', 2, 1, '{THREE}')")
    ((kind, uid, op, old, new),) = captured(db)
    assert (kind, uid, op, old) == ("need", THREE, "create", None)
    created = new.pop("created_at")
    assert created.endswith("Z") and new == {
        "id": 3, "title": "three", "description": None, "status": "identified", "priority": 2, "scope": None,
        "source_transcript": None, "parent_need_id": f"need:{ONE}", "updated_at": None,
    }  # fmt: skip


def test_an_update_has_both_images_and_only_what_changed_differs(db):
    """References are told by uid, before and after."""
    db.execute("UPDATE tasks SET result = 'r', need_id = 2 WHERE id = 1")
    ((kind, uid, op, old, new),) = captured(db)
    assert (kind, uid, op) == ("task", ONE, "update")
    assert differing(old, new) == {"result": (None, "r"), "need_id": (f"need:{ONE}", f"need:{TWO}")}


@pytest.mark.parametrize(
    "statement",
    ["UPDATE needs SET title = title", "UPDATE needs SET title = 'one' WHERE id = 1", "UPDATE needs SET title = 'x' WHERE 0",
     "DELETE FROM needs WHERE id = 99", "INSERT INTO needs(title) SELECT title FROM needs WHERE 0"],
)  # fmt: skip
def test_what_changes_nothing_is_not_captured(db, statement):
    """No event for a statement without effect."""
    db.execute(statement)
    assert captured(db) == []


def test_a_bulk_update_is_captured_row_by_row(db):
    """One statement, one entry for each row it changed, and none for the others."""
    db.execute("UPDATE needs SET priority = id + 1, scope = 's' WHERE scope = 's'")
    found = captured(db)
    assert [(uid, differing(old, new)) for _, uid, _, old, new in found] == [
        (ONE, {"priority": (None, 2)}),
        (TWO, {"priority": (None, 3)}),
    ]


def test_a_bulk_insert_and_a_bulk_delete_are_captured_row_by_row(db):
    """INSERT … SELECT, and DELETE without WHERE, which SQLite would otherwise do by truncation."""
    db.execute("INSERT INTO needs(title) SELECT title || '!' FROM needs ORDER BY id")
    assert [new["title"] for *_, new in captured(db)] == ["one!", "two!"]
    db.execute("DELETE FROM outbox")
    db.execute("DELETE FROM agents")
    ((kind, uid, op, old, new),) = captured(db)
    assert (kind, uid, op, new) == ("agent", ONE, "delete", None) and old["agent_type"] == "janitor"


def test_an_upsert_is_an_update_where_the_row_stands_and_a_creation_where_it_does_not(db):
    """ON CONFLICT DO UPDATE through either branch."""
    sql = "INSERT INTO needs(title, uid) VALUES ('new', ?) ON CONFLICT(uid) DO UPDATE SET title = excluded.title"
    db.execute(sql, (ONE,))
    ((_, uid, op, old, new),) = captured(db)
    assert (uid, op, differing(old, new)) == (ONE, "update", {"title": ("one", "new")})
    db.execute("DELETE FROM outbox")
    db.execute(sql, (THREE,))
    ((_, uid, op, old, new),) = captured(db)
    assert (uid, op, old, new["title"]) == (THREE, "create", None, "new")
    db.execute("DELETE FROM outbox")
    db.execute(sql.replace("UPDATE SET title = excluded.title", "NOTHING"), (ONE,))
    assert captured(db) == []


def test_an_update_through_returning_and_from_is_captured(db):
    """Newer forms of the statements are the same door."""
    db.execute("UPDATE needs SET title = t.description FROM tasks t WHERE t.need_id = needs.id RETURNING id").fetchall()
    db.execute("DELETE FROM needs WHERE id = 2 RETURNING title").fetchall()
    assert [(op, uid) for kind, uid, op, *_ in captured(db) if kind == "need"] == [("update", ONE), ("delete", TWO)]


@pytest.mark.parametrize("what", ["id, title) VALUES (1, 'x'", f"title, uid) VALUES ('x', '{TWO}'"])
def test_a_replace_is_refused_and_leaves_nothing(db, what):
    """Neither the row nor the outbox changes."""
    before = db.execute("SELECT * FROM needs").fetchall()
    for verb in ("INSERT OR REPLACE", "REPLACE"):
        with pytest.raises(sqlite3.IntegrityError, match="REPLACE"):
            db.execute(f"{verb} INTO needs({what})")
    assert captured(db) == [] and db.execute("SELECT * FROM needs").fetchall() == before


@pytest.mark.parametrize("keys", ["ON", "OFF"])
def test_a_deletion_is_captured_with_what_it_takes_along(db, keys):
    """The row's last image is kept; its edges and the references to it go, with foreign keys on or off."""
    db.execute(f"PRAGMA foreign_keys = {keys}")
    db.execute("DELETE FROM needs WHERE id = 1")
    found = captured(db)
    deleted = [(kind, uid, old["title"]) for kind, uid, op, old, _ in found if op == "delete" and kind == "need"]
    assert deleted == [("need", ONE, "one")]
    assert db.execute("SELECT count(*) FROM relationships").fetchone() == (0,)
    assert db.execute("SELECT need_id FROM tasks").fetchone() == (None,)
    assert db.execute("SELECT dead FROM record_keys WHERE kind = 'need' AND number = 1").fetchone() == (1,)


def test_an_edge_is_captured_by_its_ends(db):
    """Ends by uid, type and metadata; a deletion has the same as its old image."""
    db.execute(EDGE + "('task', 1, 'references', 'agent', 1, NULL)")
    db.execute("UPDATE relationships SET metadata = '{}' WHERE source_type = 'task'")
    db.execute("DELETE FROM relationships WHERE source_type = 'task'")
    ends = {"source": f"task:{ONE}", "type": "references", "target": f"agent:{ONE}"}
    made, changed, gone = captured(db)
    assert made[2:4] == ("create", None) and made[4].items() >= {**ends, "metadata": None}.items()
    assert changed[2] == "update" and differing(changed[3], changed[4]) == {"metadata": (None, "{}")}
    assert gone[2] == "delete" and gone[3].items() >= ends.items() and gone[4] is None


def test_arrays_are_captured_by_uid_in_a_fixed_order(db):
    """Ids become keys, sorted, so that the order in which somebody wrote them is no change."""
    db.execute("UPDATE agents SET monitored_needs = '[2,1]', assigned_tasks = '[1]' WHERE id = 1")
    ((_, _, _, old, new),) = captured(db)
    assert old["monitored_needs"] in (None, [])
    assert (new["monitored_needs"], new["assigned_tasks"]) == ([f"need:{ONE}", f"need:{TWO}"], [f"task:{ONE}"])


def test_a_need_that_becomes_actionable_gets_its_task_once(db):
    """The task is created by the database, in the same transaction, under a uid made from the need's by rule."""
    db.execute("UPDATE needs SET status = 'active', priority = 2 WHERE id = 1")
    db.execute("UPDATE needs SET status = 'actionable' WHERE id = 1")
    made = [entry for entry in captured(db) if entry[0] == "task"]
    ((_, uid, op, old, new),) = made
    assert (uid, op, old) == ("9" + ONE[1:], "create", None)
    assert new["need_id"] == f"need:{ONE}" and (new["description"], new["priority"], new["status"]) == (
        "one",
        2,
        "open",
    )
    db.execute("DELETE FROM tasks WHERE uid = ?", (uid,))
    db.execute("UPDATE needs SET status = 'deferred' WHERE id = 1")
    db.execute("UPDATE needs SET status = 'actionable' WHERE id = 1")
    assert db.execute("SELECT count(*) FROM tasks WHERE uid = ?", (uid,)).fetchone() == (0,), "once means once"


@pytest.mark.parametrize("digit", "0123456789abcdef")
def test_the_uid_of_a_generated_task_is_one_digit_away(db, digit):
    """For every first digit another one, valid and reversible."""
    uid = digit + "a" * 31
    db.execute("INSERT INTO needs(title, status, uid) VALUES ('t', 'actionable', ?)", (uid,))
    (made,) = db.execute(
        "SELECT uid FROM tasks WHERE need_id = (SELECT id FROM needs WHERE uid = ?)", (uid,)
    ).fetchone()
    assert made == f"{int(digit, 16) ^ 8:x}" + "a" * 31


def test_who_wrote_it_is_captured_and_an_unknown_writer_is_called_so(path, db):
    """Inside our context actor, door and transaction are told; outside the door is `sql` and nobody is named."""
    db.execute("INSERT INTO needs(title) VALUES ('by hand')")
    ours = store.connect(path, "")
    with store.transaction(ours), store.capture(ours, on=True, actor="Ada", door="cli", tx="77"):
        ours.execute("INSERT INTO needs(title) VALUES ('ours')")
    ours.close()
    rows = db.execute("SELECT actor, door, tx FROM outbox ORDER BY seq").fetchall()
    assert rows == [(None, "sql", None), ("Ada", "cli", "77")]


def test_a_rolled_back_change_leaves_nothing(db):
    """The outbox is in the same transaction."""
    db.execute("BEGIN")
    db.execute("UPDATE needs SET title = 'x'")
    assert len(captured(db)) == 2
    db.execute("ROLLBACK")
    assert captured(db) == []


def test_an_update_is_dated_unless_the_date_is_given(db):
    """updated_at follows a change that does not set it itself."""
    db.execute("UPDATE needs SET updated_at = '2001-01-01T00:00:00Z'")
    db.execute("UPDATE needs SET title = 'x' WHERE id = 1")
    db.execute("UPDATE needs SET title = 'x', updated_at = '2002-02-02T00:00:00Z' WHERE id = 2")
    first, second = (at for (at,) in db.execute("SELECT updated_at FROM needs ORDER BY id"))
    assert first > "2020" and second == "2002-02-02T00:00:00Z"


def test_with_capture_off_nothing_is_captured_but_the_shadow_is_kept(path):
    """Our own fold writes no events, and a REPLACE of what it wrote is still seen."""
    ours = store.connect(path, "")
    with store.transaction(ours), store.capture(ours, on=False):
        ours.execute(f"INSERT INTO needs(title, uid) VALUES ('folded', '{THREE}')")
        ours.execute("UPDATE needs SET title = 'x' WHERE id = 1")
        ours.execute("DELETE FROM needs WHERE id = 2")
    assert captured(ours) == []
    with pytest.raises(sqlite3.IntegrityError, match="REPLACE"):
        ours.execute("REPLACE INTO needs(id, title) VALUES (3, 'other')")
    with pytest.raises(sqlite3.IntegrityError, match="let ids be given"):
        ours.execute("INSERT INTO needs(id, title) VALUES (2, 'other')")
    ours.close()


def test_a_forgotten_context_makes_the_commit_fail(path):
    """Capture cannot be left off: the row that turns it off forbids COMMIT."""
    ours = store.connect(path, "")
    ours.execute("BEGIN IMMEDIATE")
    ours.execute("INSERT INTO context(id, capture, door) VALUES (1, 0, 'forgetful')")
    ours.execute("UPDATE needs SET title = 'unseen'")
    with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"):
        ours.execute("COMMIT")
    ours.execute("ROLLBACK")
    with pytest.raises(RefusedError), store.transaction(ours):
        ours.execute("INSERT INTO context(id, capture, door) VALUES (1, 0, 'forgetful')")
    with pytest.raises(ZeroDivisionError), store.transaction(ours), store.capture(ours, on=False):
        ours.execute("UPDATE needs SET title = 'unseen'")
        1 / 0  # noqa: B018
    assert not ours.in_transaction
    assert ours.execute("SELECT count(*) FROM context").fetchone() == (0,)
    assert ours.execute("SELECT count(*) FROM needs WHERE title = 'unseen'").fetchone() == (0,)
    ours.close()


def test_capture_off_is_invisible_to_another_connection(path):
    """While we write with capture off, another program reads no context row, cannot write, and is captured afterwards."""
    ours = store.connect(path, "")
    other = sqlite3.connect(path, isolation_level=None, timeout=0)
    with store.transaction(ours), store.capture(ours, on=False):
        ours.execute("UPDATE needs SET title = 'ours' WHERE id = 1")
        assert other.execute("SELECT count(*) FROM context").fetchone() == (0,)
        assert other.execute("SELECT title FROM needs WHERE id = 1").fetchone() == ("one",)
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("UPDATE needs SET title = 'theirs' WHERE id = 2")
    other.execute("UPDATE needs SET title = 'theirs' WHERE id = 2")
    assert [(uid, new["title"]) for _, uid, _, _, new in captured(other)] == [(TWO, "theirs")]
    ours.close()
    other.close()


def test_a_rule_becomes_a_refusal_with_the_rule_as_its_message(path):
    """Our own door says what the database said."""
    ours = store.connect(path, "")
    with pytest.raises(RefusedError) as caught, store.transaction(ours):
        ours.execute("INSERT INTO needs(title, priority) VALUES ('t', 9)")
    assert caught.value.message.startswith("needs.priority is a whole number") and caught.value.hint
    ours.close()


# --- through a whole workspace: what was captured becomes events, and the events make the same rows again


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A real repository with a synced index, two needs, a task of the first, an agent that watches it, and an edge."""
    root = str(make_repo(tmp_path_factory.mktemp("template")))
    setup.initialise(root)
    index = open_index(root)
    sync(index)
    index.db.close()
    by_hand(root, f"INSERT INTO needs(title, uid) VALUES ('one', '{ONE}'), ('two', '{TWO}')")
    by_hand(root, "INSERT INTO tasks(description, need_id) VALUES ('do', 1)")
    by_hand(root, "INSERT INTO agents(agent_type, monitored_needs, assigned_tasks) VALUES ('janitor', '[1]', '[1]')")
    by_hand(root, EDGE + "('need', 1, 'blocks', 'need', 2, '{\"why\":\"x\"}')")
    return root


@pytest.fixture
def workspace(template: str, tmp_path: Path) -> str:
    """A copy of its own for each test."""
    return shutil.copytree(template, str(tmp_path / "repo"), symlinks=True)


def by_hand(root: str, *statements: str, keys: str = "OFF") -> None:
    """Write with a stranger's connection, then let the next command catch up."""
    path = open_path(root)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(f"PRAGMA foreign_keys = {keys}")
    try:
        for statement in statements:
            connection.execute(statement)
    finally:
        connection.close()
    catch_up(root)


def open_path(root: str) -> str:
    """Where the index is."""
    index = open_index(root)
    index.db.close()
    return index.workspace.database


def catch_up(root: str) -> None:
    """What every command does first."""
    index = open_index(root)
    freshness.catch_up(index)
    index.db.close()


def dump(root: str) -> str:
    """The canonical dump of the index as it stands."""
    index = open_index(root)
    freshness.catch_up(index)
    text = dumping.canonical(index.db)
    index.db.close()
    return text


def differences_after_rebuild(root: str) -> list[str]:
    """What the index says that its events do not, and the other way round."""
    before = dump(root)
    setup.rebuild(open_index(root).workspace)
    return dumping.differences(before, dump(root))


TWICE = "UPDATE needs SET title = 'a' WHERE id = 1"
DOORS: dict[str, tuple[str, ...]] = {
    "insert": ("INSERT INTO needs(title, parent_need_id) VALUES ('t', 1)",),
    "update": ("UPDATE needs SET title = 'x', priority = 3 WHERE id = 1",),
    "update twice before a flush": (TWICE, TWICE.replace("'a'", "'b'")),
    "bulk update": ("UPDATE needs SET scope = 's'",),
    "upsert": (f"INSERT INTO needs(title, uid) VALUES ('u', '{ONE}') ON CONFLICT(uid) DO UPDATE SET title = 'u'",),
    "made and deleted": ("INSERT INTO needs(title) VALUES ('t')", "DELETE FROM needs WHERE title = 't'"),
    "generated task": ("INSERT INTO needs(title, status) VALUES ('t', 'actionable')",),
    "delete a task": ("DELETE FROM tasks WHERE id = 1",),
    "delete an agent": ("DELETE FROM agents WHERE id = 1",),
    "delete an end of an edge": ("DELETE FROM needs WHERE id = 2",),
    "delete a need with a task and a watcher": ("DELETE FROM needs WHERE id = 1",),
    "delete a parent": ("UPDATE needs SET parent_need_id = 1 WHERE id = 2", "DELETE FROM needs WHERE id = 1"),
    "delete an assigned agent": ("UPDATE tasks SET assigned_agent_id = 1 WHERE id = 1", "DELETE FROM agents WHERE id = 1"),
    "delete all": ("DELETE FROM relationships WHERE origin = 'record'", "DELETE FROM tasks", "DELETE FROM agents", "DELETE FROM needs"),
    "delete an edge": ("DELETE FROM relationships WHERE origin = 'record'",),
    "edge made again without metadata": (
        "DELETE FROM relationships WHERE origin = 'record'", EDGE + "('need', 1, 'blocks', 'need', 2, NULL)",
    ),
    "need made again": (
        "DELETE FROM needs WHERE id = 2", f"INSERT INTO needs(id, uid, title) VALUES (2, '{TWO}', 'again')",
    ),
    "array emptied": ("UPDATE agents SET monitored_needs = '[]' WHERE id = 1",),
    "array nulled": ("UPDATE agents SET monitored_needs = NULL WHERE id = 1",),
    "array first given empty": ("UPDATE agents SET provisioned_artifacts = '[]' WHERE id = 1",),
    "array in another order": (
        "UPDATE agents SET monitored_needs = '[1,2]' WHERE id = 1", "UPDATE agents SET monitored_needs = '[2,1]' WHERE id = 1",
    ),
    "value nulled": ("UPDATE needs SET scope = 's'", "UPDATE needs SET scope = NULL"),
    "updated_at by hand": ("UPDATE needs SET updated_at = '2020-01-01T00:00:00Z' WHERE id = 1",),
    "updated_at with a change": ("UPDATE needs SET title = 'x', updated_at = '2020-01-01T00:00:00Z' WHERE id = 1",),
    "updated_at at birth": ("INSERT INTO needs(title, updated_at) VALUES ('t', '2020-01-01T00:00:00Z')",),
    "created_at by hand": ("UPDATE needs SET created_at = '2020-01-01T00:00:00Z' WHERE id = 1",),
    "id by hand": ("INSERT INTO needs(id, title) VALUES (4000, 't')", "INSERT INTO needs(title) VALUES ('next')"),
    "everything null": ("UPDATE needs SET created_at = NULL, updated_at = NULL",),
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "keys"), [(n, k) for n in DOORS for k in ("OFF", "ON") if k == "OFF" or n.startswith("delete")]
)
def test_what_any_door_wrote_is_what_a_rebuild_brings_back(workspace, name, keys):
    """Each change, with foreign keys on or off: the index and one made anew from the events are equal."""
    for statement in DOORS[name]:
        by_hand(workspace, statement, keys=keys)
    assert differences_after_rebuild(workspace) == []


@pytest.mark.parametrize("name", [name for name in DOORS if len(DOORS[name]) > 1])
def test_several_changes_flush_together(workspace, name):
    """The same in one go: all statements before anybody flushes."""
    by_hand(workspace, *DOORS[name])
    assert differences_after_rebuild(workspace) == []


def test_what_was_written_by_hand_is_not_altered_by_the_flush(workspace):
    """The rows that stand after the flush are those that were written."""
    query = "SELECT id, title, description, status, priority, scope, created_at, updated_at, parent_need_id FROM needs"
    edges = "SELECT source_id, target_id, metadata FROM relationships WHERE origin = 'record'"
    connection = sqlite3.connect(open_path(workspace), isolation_level=None)
    for statement in (
        "INSERT INTO needs(title, updated_at) VALUES ('dated', '2020-01-01T00:00:00Z')",
        "UPDATE needs SET updated_at = '2021-01-01T00:00:00Z', description = 'd' WHERE id = 1",
        "DELETE FROM needs WHERE id = 2",
        EDGE + "('need', 1, 'enables', 'need', 3, NULL)",
    ):
        connection.execute(statement)
        before = connection.execute(query).fetchall(), connection.execute(edges).fetchall()
        catch_up(workspace)
        assert (connection.execute(query).fetchall(), connection.execute(edges).fetchall()) == before, statement
    connection.close()


def test_a_record_made_again_has_its_edges_again(workspace):
    """A deletion cuts the edges of a record, no more: they stand again when it comes back."""
    edges = "SELECT source_id, target_id, metadata FROM relationships WHERE origin = 'record'"
    connection = sqlite3.connect(open_path(workspace), isolation_level=None)
    before = connection.execute(edges).fetchall()
    assert before
    for statement in (
        "DELETE FROM needs WHERE id = 2",
        f"INSERT INTO needs(id, uid, title) VALUES (2, '{TWO}', 'again')",
    ):
        connection.execute(statement)
        assert connection.execute(edges).fetchall() == []
        catch_up(workspace)
    assert connection.execute(edges).fetchall() == before
    connection.close()


BAD_TEXT = {
    "invalid UTF-8": "CAST(x'61ff62' AS TEXT)",
    "a cut character": "CAST(x'61e282' AS TEXT)",
    "a surrogate in bytes": "CAST(x'eda080' AS TEXT)",
    "overlong slash": "CAST(x'c0af' AS TEXT)",
    "NUL": "'a' || char(0) || 'b'",
    "blob": "x'6162'",
    "float": "1.5",
    "infinity": "9e999",
    "minus infinity": "-9e999",
    "2 to the 63rd": "9223372036854775808",
    "line separators": "'a' || char(8232) || char(133) || char(12) || char(10) || 'b'",
    "control characters": "char(1, 7, 27, 127)",
    "noncharacters": "char(65534, 65535, 1114111)",
    "SQL": "'''); DROP TABLE needs; --'",
    "JSON": "'{\"a\": [1'",
    "as much as is allowed": "replace(hex(zeroblob(65536)), '00', 'ä')",
}
PLACES = {
    "need.title": "UPDATE needs SET title = {0} WHERE id = 1",
    "need.description": "INSERT INTO needs(title, description) VALUES ('t', {0})",
    "need.priority": "UPDATE needs SET priority = {0} WHERE id = 1",
    "need.created_at": "UPDATE needs SET created_at = {0} WHERE id = 1",
    "need.uid": "INSERT INTO needs(title, uid) VALUES ('t', {0})",
    "need.id": "INSERT INTO needs(title, id) VALUES ('t', {0})",
    "need.parent": "UPDATE needs SET parent_need_id = {0} WHERE id = 1",
    "edge.metadata": "UPDATE relationships SET metadata = {0} WHERE origin = 'record'",
    "agent.array": "UPDATE agents SET monitored_needs = {0} WHERE id = 1",
}
ODD = {
    "blob uid": f"INSERT INTO needs(title, uid) VALUES ('t', CAST('{THREE}' AS BLOB))",
    "NUL behind a uid": f"INSERT INTO needs(title, uid) VALUES ('t', '{THREE}' || char(0) || 'x')",
    "negative id": "INSERT INTO needs(id, title) VALUES (-5, 't')",
    "id beyond JSON": "INSERT INTO needs(id, title) VALUES (9007199254740993, 't')",
    "null in an array": "UPDATE agents SET monitored_needs = '[1,null]' WHERE id = 1",
    "only null in an array": "UPDATE agents SET monitored_needs = '[null]' WHERE id = 1",
    "id twice in an array": "UPDATE agents SET monitored_needs = '[1,1]' WHERE id = 1",
    "float id in an array": "UPDATE agents SET monitored_needs = '[1.0]' WHERE id = 1",
    "NUL behind an array": "UPDATE agents SET monitored_needs = '[1]' || char(0) || 'x' WHERE id = 1",
    "array as blob": "UPDATE agents SET monitored_needs = x'5b315d' WHERE id = 1",
    "invalid UTF-8 in metadata": "UPDATE relationships SET metadata = CAST(x'7b2261223a22ff227d' AS TEXT) WHERE id = 1",
    "surrogate escape in metadata": 'UPDATE relationships SET metadata = \'{"a":"\\ud800"}\' WHERE id = 1',
    "huge number in metadata": "UPDATE relationships SET metadata = '{\"a\":1e999}' WHERE id = 1",
    "replaced by itself": f"REPLACE INTO needs(id, uid, title) VALUES (1, '{ONE}', 'x')",
    "edge replaced": EDGE.replace("INSERT", "REPLACE") + "('need', 1, 'blocks', 'need', 2, NULL)",
}


def assert_refused_or_whole(root: str, statement: str) -> None:
    """A write is refused on the spot, or every later command works and a rebuild brings it back; `dump` is one of them."""
    with contextlib.suppress(sqlite3.IntegrityError):
        by_hand(root, statement)
    assert differences_after_rebuild(root) == []
    index = open_index(root)
    assert index.db.execute("SELECT count(*) FROM outbox").fetchone() == (0,)
    assert ledger.read(index.workspace.common, 0)[1] == [], "the pending log holds a line that nobody can read"
    index.db.close()


@pytest.mark.parametrize("name", ODD)
def test_an_odd_value_is_refused_or_survives(workspace, name):
    """Values that pass a careless check must not stop the flush, the dump or the rebuild."""
    assert_refused_or_whole(workspace, ODD[name])


@pytest.mark.parametrize("place", PLACES)
def test_hostile_values_are_refused_or_survive(workspace, place):
    """Whatever bytes a stranger puts into a column: an integrity error, or a row that flushes and comes back."""
    for value in BAD_TEXT.values():
        try:
            by_hand(workspace, PLACES[place].format(value))
        except sqlite3.IntegrityError:
            continue
    assert differences_after_rebuild(workspace) == []


def test_a_flush_that_fails_loses_nothing(workspace, monkeypatch):
    """If the pending log cannot be written the captured rows stay, and the next command writes them once."""

    def full(folder, events, **how):
        raise MlosError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(ledger, "append", full)
        with pytest.raises(MlosError, match="full"):
            by_hand(workspace, "UPDATE needs SET title = 'kept' WHERE id = 1")
    assert differences_after_rebuild(workspace) == []
    assert dump(workspace).count('"title\\":\\"kept\\"') == 1


def test_a_crash_after_the_append_makes_no_event_twice(workspace, monkeypatch):
    """The ledger has the event, the database has rolled back: the next flush finds it there and makes no second one."""
    real = journaling.add_events

    def crash(db, events, **more):
        if more.get("in_ledger"):
            raise KeyboardInterrupt
        real(db, events, **more)

    with monkeypatch.context() as patch:
        patch.setattr(journaling, "add_events", crash)
        with pytest.raises(KeyboardInterrupt):
            by_hand(workspace, "UPDATE needs SET title = 'kept' WHERE id = 1")
    catch_up(workspace)
    index = open_index(workspace)
    events, problems, _ = ledger.read(index.workspace.common, 0)
    index.db.close()
    assert problems == [] and len([e for e in events if e.fields.get("title") == "kept"]) == 1
    assert len(events) == len({e.id for e in events})
    assert differences_after_rebuild(workspace) == []
