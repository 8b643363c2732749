"""Schema to SQL: the CREATE statements of `edge/schema.py` and the triggers generated from it.

The triggers are the whole of "any door is a good door": they validate live writes that no CHECK can see (ends of
edges, ids in arrays, steps of a lifecycle, foreign keys even where the writer has them off), and they write each
change of a record row into `outbox` in the same transaction. While `context.capture` is 0 (our own fold and
derivation, inside one transaction, invisible to others) they stand aside and only keep the shadow up to date.

Facts of SQLite that shape them (3.40, tried): `INSERT OR REPLACE` fires no delete trigger, hence the shadow
`record_keys` and an AFTER INSERT check; a RAISE message must be a literal before 3.47; a trigger's own conflict
clause is overridden by the outer statement's.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Table
from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateIndex, CreateTable
from sqlmodel import SQLModel

from mlos_sync.core.vocabulary import ANNOTATED, ENDPOINTS, NEED_RULE, NEED_STEPS, TABLE_OF, TASK_RULE, TASK_STEPS
from mlos_sync.edge import bookkeeping, commit_tables, schema
from mlos_sync.edge.columns import NOW, UID

TABLES = (schema, commit_tables, bookkeeping)  # importing them declares the tables
KIND_OF = {table: kind for kind, table in TABLE_OF.items()}
LIVE = "NOT EXISTS (SELECT 1 FROM context WHERE capture = 0)"
BY_HAND = f"NEW.updated_at IS NOT {NOW}"  # else it follows from the events, and is not journaled
NOW_MS = "strftime('%Y-%m-%dT%H:%M:%fZ', 'now')"
# The key that names a record in the journal: uids for records, paths for files, object names for commits.
KEYS = {
    "need": "uid",
    "task": "uid",
    "agent": "uid",
    "artifact": "coalesce(file_path, last_path, '#' || uid)",
    "commit": "sha",
}


def statements() -> list[str]:
    """Everything that makes an empty database ours, in order."""
    return foundation() + completion()


def foundation() -> list[str]:
    """Tables, indexes and cascades: enough for a database that only the fold writes to. The triggers of live writes would
    be asked for each row and stand aside each time, which is half of what it takes to fill a table."""
    dialect = sqlite.dialect()
    tables = SQLModel.metadata.sorted_tables
    made = [str(CreateTable(table).compile(dialect=dialect)) for table in tables]
    made += [str(CreateIndex(index).compile(dialect=dialect)) for table in tables for index in sorted_indexes(table)]
    made += [_delete_cuts(table.name) for table in record_tables() if table.name != "relationships"]
    made += [_insert_captured(table) for table in record_tables()]
    made.append(f"PRAGMA user_version = {schema.SCHEMA_VERSION}")
    return made


def completion() -> list[str]:
    """What makes it ready for everybody: the shadow of the rows that are there, and the triggers."""
    made = [
        f"INSERT OR REPLACE INTO record_keys(kind, number, uid) SELECT '{KIND_OF[table.name]}', id,"
        f" {_identity(table.name, table.name == 'relationships')} FROM {table.name}"
        for table in record_tables()
    ]
    for table in record_tables():
        made += triggers(table)
    return made + lifecycle() + parent_rules() + artifact_rules()


def sorted_indexes(table: Table) -> list[Any]:
    """Indexes in a fixed order, so that two databases have the same schema text."""
    return sorted(table.indexes, key=lambda index: str(index.name))


def record_tables() -> list[Table]:
    """The tables whose rows people and agents make."""
    return [table for table in SQLModel.metadata.sorted_tables if table.info.get("role") == "record"]


def roles() -> dict[str, str]:
    """Table name -> record, derived or local; a table without a role is a mistake (KeyError)."""
    return {table.name: table.info["role"] for table in SQLModel.metadata.sorted_tables}


def _journaled(table: Table) -> list[tuple[str, Any]]:
    return [(column.name, form) for column in table.columns if (form := column.info.get("journal"))]


def _insert_captured(table: Table) -> str:
    rows = []
    for name, form in _journaled(table):
        word, target = (form, None) if isinstance(form, str) else form
        about = f"'{target}'" if target else "NULL"
        rows.append(f"('{KIND_OF[table.name]}', '{name}', '{word}', {about})")
    return 'INSERT INTO captured(kind, "column", form, target) VALUES ' + ", ".join(rows)


def _key(kind: str, id_expression: str) -> str:
    return f"(SELECT '{kind}:' || {KEYS[kind]} FROM {TABLE_OF[kind]} WHERE id = {id_expression})"


def _end(row: str, side: str) -> str:
    cases = " ".join(f"WHEN '{kind}' THEN {_key(kind, f'{row}.{side}_id')}" for kind in ENDPOINTS)
    return f"(CASE {row}.{side}_type {cases} END)"


def _value(row: str, name: str, form: Any) -> str:
    if isinstance(form, str):
        return f"{row}.{name}"
    word, kind = form
    if word == "ref":
        return _key(kind, f"{row}.{name}")
    keys = f"SELECT {_key(kind, 'j.value')} AS k FROM json_each({row}.{name}) j ORDER BY 1"
    return f"json((SELECT json_group_array(k) FROM ({keys}) WHERE k IS NOT NULL))"


def _image(table: Table, row: str, updated_at: str) -> str:
    """SQL for a JSON object of all that is journaled of a row; `updated_at` is SQL for it where it was set by hand."""
    if table.name == "relationships":
        pairs = [f"'source', {_end(row, 'source')}", f"'type', {row}.relationship_type"]
        pairs += [f"'target', {_end(row, 'target')}", f"'metadata', {row}.metadata", f"'created_at', {row}.created_at"]
    else:
        pairs = [f"'{name}', {_value(row, name, form)}" for name, form in _journaled(table)]
        pairs += [f"'updated_at', {updated_at}"] if "updated_at" in table.columns else []
    return f"json_object({', '.join(pairs)})"


def _outbox(table: Table, row: str, op: str, old: str, new: str) -> str:
    return (
        "INSERT INTO outbox(event, at, kind, uid, op, old, new, actor, door, tx, note) VALUES "
        f"({UID}, {NOW_MS}, '{KIND_OF[table.name]}', {row}.uid, {op}, {old}, {new}, "
        "(SELECT actor FROM context), coalesce((SELECT door FROM context), 'sql'), (SELECT tx FROM context), "
        "(SELECT note FROM context));"
    )


def _trigger(name: str, event: str, table: str, when: str, *body: str) -> str:
    return f'CREATE TRIGGER "{name}" {event} ON {table} WHEN {when} BEGIN {" ".join(body)} END'


def _refuse(condition: str, message: str) -> str:
    quoted = message.replace("'", "''")
    return f"SELECT RAISE(ABORT, '{quoted}') WHERE {condition};"


def triggers(table: Table) -> list[str]:
    """Validation, capture and shadow of one record table."""
    name = table.name
    edge = name == "relationships"
    made = [_insert_is_captured(table, edge), *_shadow(table, edge), *_changes_are_captured(table, edge)]
    made += _identity_rules(name, edge)
    for event in ("INSERT", "UPDATE"):
        checks = _reference_checks(table)
        if checks:
            made.append(_trigger(f"{name}: {event.lower()} names what exists", f"BEFORE {event}", name, LIVE, *checks))
    return made


def _identity(row: str, edge: bool) -> str:
    """SQL for what a row is known by: its uid, or, for an edge, its ends and type."""
    return (
        f"{_end(row, 'source')} || '|' || {row}.relationship_type || '|' || {_end(row, 'target')}"
        if edge
        else f"{row}.uid"
    )


def _keep_shadow(kind: str, edge: bool) -> str:
    return f"INSERT OR REPLACE INTO record_keys(kind, number, uid) VALUES ('{kind}', NEW.id, {_identity('NEW', edge)});"


def _insert_is_captured(table: Table, edge: bool) -> str:
    name, kind, identity = table.name, KIND_OF[table.name], _identity("NEW", edge)
    # A live key, or a dead one of another: an upsert fires no insert trigger, so this insert replaced a row. Two searches
    # instead of one with OR: SQLite would go through all keys of the kind for each row.
    keys = f"SELECT 1 FROM record_keys WHERE kind = '{kind}'"
    other = "dead = 0" if edge else "(dead = 0 OR number <> NEW.id)"
    taken = f"(EXISTS ({keys} AND number = NEW.id AND uid <> {identity})"
    taken += f" OR EXISTS ({keys} AND uid = {identity} AND {other}))"
    known = f"SELECT 1 FROM record_keys WHERE kind = '{kind}' AND uid = {identity}"
    op = f"(CASE WHEN EXISTS ({known}) THEN 'recreate' ELSE 'create' END)"
    message = f"{name}: this id or uid belongs to another record; use UPDATE, not REPLACE, and let ids be given"
    image = _image(table, "NEW", f"CASE WHEN {BY_HAND} THEN NEW.updated_at END")
    capture = _outbox(table, "NEW", op, "NULL", image)
    shadow = _keep_shadow(kind, edge)
    return _trigger(f"{name}: insert is captured", "AFTER INSERT", name, LIVE, _refuse(taken, message), capture, shadow)


def _shadow(table: Table, edge: bool) -> list[str]:
    name, kind = table.name, KIND_OF[table.name]
    dead = f"UPDATE record_keys SET dead = 1 WHERE kind = '{kind}' AND number = OLD.id;"
    return [
        _trigger(f"{name}: insert keeps the shadow", "AFTER INSERT", name, f"NOT ({LIVE})", _keep_shadow(kind, edge)),
        _trigger(f"{name}: delete keeps the shadow", "AFTER DELETE", name, "1", dead),
    ]


def _changes_are_captured(table: Table, edge: bool) -> list[str]:
    name = table.name
    dated = "updated_at" in table.columns
    by_hand = f"(NEW.updated_at IS NOT OLD.updated_at AND {BY_HAND})"
    old, new = _image(table, "OLD", "NULL"), _image(table, "NEW", f"CASE WHEN {by_hand} THEN NEW.updated_at END")
    differ = " OR ".join(f"OLD.{c} IS NOT NEW.{c}" for c, form in _journaled(table) if form != "end")
    changed = f"{LIVE} AND ({differ}{f' OR {by_hand}' if dated else ''})"
    gone = f"{LIVE} AND {_ends_exist('OLD') if edge else '1'}"  # an edge that falls with its end is cut, not deleted
    made = [
        _trigger(
            f"{name}: update is captured", "AFTER UPDATE", name, changed, _outbox(table, "NEW", "'update'", old, new)
        ),
        _trigger(
            f"{name}: delete is captured", "AFTER DELETE", name, gone, _outbox(table, "OLD", "'delete'", old, "NULL")
        ),
    ]
    if dated:
        touch = f"UPDATE {name} SET updated_at = {NOW} WHERE id = NEW.id;"
        when = f"{LIVE} AND NEW.updated_at IS OLD.updated_at AND ({differ})"
        made.append(_trigger(f"{name}: update is dated", "AFTER UPDATE", name, when, touch))
    return made


def _delete_cuts(name: str) -> str:
    """ON DELETE SET NULL once more, for a shell that has keys off, and for edges and arrays, which have none."""
    kind = KIND_OF[name]
    ends = f"(source_type = '{kind}' AND source_id = OLD.id) OR (target_type = '{kind}' AND target_id = OLD.id)"
    cut = [f"DELETE FROM relationships WHERE {ends};"]
    cut += [f"UPDATE {other} SET {column} = NULL WHERE {column} = OLD.id;" for other, column in _naming(kind, "ref")]
    cut += [
        f"UPDATE {other} SET {column} = (SELECT json_group_array(value) FROM json_each({column}) WHERE value <> OLD.id)"
        f" WHERE EXISTS (SELECT 1 FROM json_each({other}.{column}) WHERE value = OLD.id);"
        for other, column in _naming(kind, "refs")
    ]
    return _trigger(f"{name}: delete cuts edges and references", "AFTER DELETE", name, "1", *cut)


def _naming(kind: str, word: str) -> list[tuple[str, str]]:
    """(table, column) of every reference to a kind, or every array of them."""
    return [(table.name, name) for table in record_tables() for name, form in _journaled(table) if form == (word, kind)]


def _identity_rules(name: str, edge: bool) -> list[str]:
    fixed = ["id", "uid", "origin"]
    if name in ("annotations", "facts"):
        fixed.append("path")
    if name == "facts":
        fixed.append("session_id")
    if edge:
        fixed += ["source_type", "source_id", "target_type", "target_id", "relationship_type", "evidence"]
    changed = " OR ".join(f"OLD.{column} IS NOT NEW.{column}" for column in fixed)
    what = "an edge is its ends and type: delete it and insert another" if edge else "id, uid and origin never change"
    return [
        _trigger(
            f"{name}: identity is fixed", "BEFORE UPDATE", name, LIVE,
            _refuse("OLD.origin = 'derived'", f"{name}: this row is derived; change what it is derived from"),
            _refuse(changed, f"{name}: {what}"),
        ),
        _trigger(
            f"{name}: origin is given", "BEFORE INSERT", name, f"{LIVE} AND NEW.origin <> 'record'",
            _refuse("1", f"{name}: derived rows are made by mlos-sync"),
        ),
        _trigger(
            f"{name}: derived rows stay", "BEFORE DELETE", name, f"{LIVE} AND OLD.origin = 'derived'",
            _refuse(_ends_exist("OLD") if edge else "1", f"{name}: this row is derived; change what it is derived from"),
        ),
    ]  # fmt: skip


def _ends_exist(row: str) -> str:
    return f"{_end(row, 'source')} IS NOT NULL AND {_end(row, 'target')} IS NOT NULL"


def _reference_checks(table: Table) -> list[str]:
    """Foreign keys once more, as triggers: the sqlite3 shell has them off; arrays and edge ends have none."""
    checks = []
    for name, form in _journaled(table):
        if isinstance(form, str):
            continue
        word, kind = form
        target = TABLE_OF[kind]
        if word == "ref":
            missing = f"NEW.{name} IS NOT NULL AND NOT EXISTS (SELECT 1 FROM {target} WHERE id = NEW.{name})"
        else:
            listed = f"json_each(CASE WHEN json_valid(NEW.{name}) THEN NEW.{name} END) j"
            missing = (
                f"EXISTS (SELECT 1 FROM {listed} WHERE j.type <> 'integer' OR j.value NOT IN (SELECT id FROM {target}))"
            )
            twice = f"(SELECT count(*) <> count(DISTINCT j.value) FROM {listed})"
            checks.append(_refuse(twice, f"{table.name}.{name} names a {kind} twice"))
        checks.append(_refuse(missing, f"{table.name}.{name} names a {kind} that does not exist"))
    if table.name == "relationships":
        for side in ("source", "target"):
            missing = f"{_end('NEW', side)} IS NULL"
            checks.append(_refuse(missing, f"relationships.{side}_id names a {side} that does not exist"))
    return checks


def _steps(table: str, steps: tuple[tuple[str, str], ...], message: str) -> str:
    pairs = ", ".join(f"('{a}', '{b}')" for a, b in steps)
    words = ", ".join(
        sorted({f"'{word}'" for step in steps for word in step})
    )  # another one is no step: its CHECK tells
    when = f"{LIVE} AND OLD.status <> NEW.status AND NEW.status IN ({words}) AND (OLD.status, NEW.status) NOT IN (VALUES {pairs})"
    return _trigger(
        f"{table}: status takes allowed steps", "BEFORE UPDATE OF status", table, when, _refuse("1", message)
    )


def lifecycle() -> list[str]:
    """Rules of status, and the task that an actionable need gets, once, with a uid made from the need's by rule."""
    digit = "substr('89abcdef01234567', instr('0123456789abcdef', substr(NEW.uid, 1, 1)), 1)"
    uid = f"{digit} || substr(NEW.uid, 2)"
    task = (
        "INSERT INTO tasks(uid, need_id, description, status, priority) "
        f"SELECT {uid}, NEW.id, NEW.title, 'open', NEW.priority "
        f"WHERE NOT EXISTS (SELECT 1 FROM record_keys WHERE kind = 'task' AND uid = {uid});"
    )
    became = f"{LIVE} AND NEW.status = 'actionable'"
    return [
        _steps("needs", NEED_STEPS, NEED_RULE),
        _steps("tasks", TASK_STEPS, TASK_RULE),
        _trigger("needs: a new actionable need gets its task", "AFTER INSERT", "needs", became, task),
        _trigger(
            "needs: an actionable need gets its task",
            "AFTER UPDATE OF status",
            "needs",
            became + " AND OLD.status <> 'actionable'",
            task,
        ),
    ]


def parent_rules() -> list[str]:
    """A need is part of another, never of itself by way of others. Two clones may still make such a ring together: the fold
    keeps it, for it cannot choose."""
    above = (
        "WITH RECURSIVE above(id) AS (SELECT NEW.parent_need_id UNION SELECT n.parent_need_id FROM needs n JOIN above"
        " ON n.id = above.id WHERE n.parent_need_id IS NOT NULL) SELECT 1 FROM above WHERE id = NEW.id"
    )
    when = f"{LIVE} AND NEW.parent_need_id IS NOT NULL AND NEW.parent_need_id IS NOT OLD.parent_need_id"
    message = "needs.parent_need_id: a need cannot be part of itself, by way of others"
    return [
        _trigger(
            "needs: no ring of parents", "BEFORE UPDATE OF parent_need_id", "needs", when,
            _refuse(f"EXISTS ({above})", message),
        )
    ]  # fmt: skip


def artifact_rules() -> list[str]:
    """Artifact rows come from files, so a live write of them would be lost at the next sync: refused, with what to do. What
    can be said of a file is kept as an annotation, whether it is written there or into the artifact's row."""
    message = "artifacts are indexed from files: change the file or its frontmatter, then run mlos-sync sync"
    table = SQLModel.metadata.tables["artifacts"]
    fixed = [column.name for column in table.columns if column.name not in ANNOTATED]
    changed = {name: f"NEW.{name} IS NOT OLD.{name}" for name in (*fixed, *ANNOTATED)}
    own = [
        _refuse(
            f"{changed[name]} AND json_extract(OLD.own, '$.{name}') IS NOT NULL",
            f"artifacts.{name} stands in the frontmatter of the file: change it there, then run mlos-sync sync",
        )
        for name in ANNOTATED
        if name != "artifact_type"
    ]
    said = ", ".join(f"{name} = CASE WHEN {changed[name]} THEN NEW.{name} ELSE {name} END" for name in ANNOTATED)
    return [
        *(
            _trigger(f"artifacts: no live {event.lower()}", f"BEFORE {event}", "artifacts", LIVE, _refuse("1", message))
            for event in ("INSERT", "DELETE")
        ),
        _trigger(
            "artifacts: what files say is theirs", "BEFORE UPDATE", "artifacts", LIVE,
            _refuse(" OR ".join(changed[name] for name in fixed), message),
            _refuse("OLD.file_path IS NULL", "artifacts: this file has gone, so nothing can be said of it"),
            *own,
        ),
        _trigger(
            "artifacts: what is said of a file is an annotation", "AFTER UPDATE", "artifacts",
            f"{LIVE} AND ({' OR '.join(changed[name] for name in ANNOTATED)})",
            "INSERT INTO annotations(uid, path) SELECT OLD.uid, OLD.file_path"
            " WHERE NOT EXISTS (SELECT 1 FROM annotations WHERE path = OLD.file_path);",
            f"UPDATE annotations SET {said} WHERE path = OLD.file_path;",
        ),
        _trigger(
            "annotations: of a file that is there", "BEFORE INSERT", "annotations", LIVE,
            _refuse(
                "NOT EXISTS (SELECT 1 FROM artifacts WHERE file_path = NEW.path AND uid = NEW.uid)",
                "annotations: annotate a file by UPDATE artifacts ... WHERE file_path = ..., or by mlos-sync artifact set",
            ),
        ),
    ]  # fmt: skip
