"""Several clones: merges by plain git, the same state everywhere, and nothing lost on the way."""

from __future__ import annotations

import itertools
import json
import random

import pytest
from cli import (
    add,
    assert_rebuild_is_equal,
    change,
    changed,
    clone,
    committed,
    conflicts,
    delete,
    dump,
    ledger,
    link,
    listed,
    need,
    pending,
    run,
    save,
    sql,
    synced,
    titles,
    workspace,
    write,
)
from copies import copied
from gitrepo import git

from mlos_sync.app import dumping


@pytest.fixture
def clones(tmp_path):
    """Two clones, Ada's and Bob's, of a workspace with one need that nobody works in."""
    copied(two_clones, tmp_path)
    return tmp_path / "ada", tmp_path / "bob"


def two_clones(folder):
    origin = workspace(folder)
    need(origin, "Shared")
    save(origin, "shared")
    git(origin, "switch", "-q", "--detach")
    clone(origin, "ada"), clone(origin, "bob")


def commit(repo, message="work"):
    """A commit with a file of this clone alone, so that git merges files without conflict."""
    name = f"{repo.name}.md"
    text = (repo / name).read_text() if (repo / name).exists() else ""
    write(repo, name, text + "more\n")
    return save(repo, message)


def pull(repo, other):
    """Merge another clone's main branch; git must find no conflict."""
    done = git(repo, "pull", "-q", "--no-rebase", "--no-edit", str(other), "main", check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert changed(repo) == []


def exchange(*repos):
    """Everybody gets everything: commits first, then merges round and round, then what closings made pending."""
    for repo in repos:
        commit(repo)
    for _ in range(2):
        for one, other in itertools.permutations(repos, 2):
            pull(one, other)


def assert_same_state(*repos):
    """The same commit checked out, equal dumps, and a rebuild changes nothing."""
    for repo in repos:
        synced(repo)
    dumps = [dump(repo) for repo in repos]
    for other in dumps[1:]:
        found = dumping.differences(dumps[0], other)
        assert not found, "\n".join(found)
    assert_rebuild_is_equal(repos[0])


def test_both_add_and_change_records(clones):
    """Needs, tasks, agents and edges made on both sides are on both sides afterwards."""
    ada, bob = clones
    for repo in clones:
        row = need(repo, f"Of {repo.name}", status="actionable", priority=2)
        agent = add(repo, "agent", agent_type="researcher", monitored_needs=[row["uid"], "1"])
        add(repo, "task", description=f"Task of {repo.name}", need_id=row["uid"], assigned_agent_id=agent["uid"])
        link(repo, f"need:{row['id']}", "blocks", "need:1", json.dumps({"by": repo.name}))
    exchange(*clones)
    assert titles(ada) == titles(bob) == ["Of ada", "Of bob", "Shared"]
    assert len(listed(ada, "task")) == 4 and len(listed(ada, "agent")) == 2
    numbers = [row["id"] for row in listed(ada, "need")]
    assert sorted(numbers) == [1, 2, 3]
    assert_same_state(*clones)


def test_raw_sql_on_both_sides(clones):
    """Rows written by the sqlite3 program merge like any other."""
    for repo in clones:
        sql(
            repo,
            f"INSERT INTO needs(title, priority) VALUES ('Raw {repo.name}', 1)",
            f"UPDATE needs SET scope = '{repo.name}' WHERE id = 1",
            "INSERT INTO tasks(description, need_id) VALUES ('raw', 1)",
            "INSERT INTO relationships(source_type, source_id, target_type, target_id, relationship_type)"
            " VALUES ('need', 2, 'need', 1, 'blocks')",
        )
    exchange(*clones)
    assert titles(clones[0]) == ["Raw ada", "Raw bob", "Shared"]
    assert len(listed(clones[0], "task")) == 2
    assert len([one for one in conflicts(clones[0]) if one["field"] == "scope"]) == 1
    assert_same_state(*clones)


def test_the_losing_value_of_a_concurrent_edit_is_kept_and_shown(clones):
    """Both set one field: the same winner in both clones, the loser in `conflicts`, gone once somebody decides."""
    ada, bob = clones
    for repo in clones:
        run(repo, "need", "set", "1", "--title", f"Title of {repo.name}", env={"MLOS_SYNC_ACTOR": repo.name})
    exchange(*clones)
    assert titles(ada) == titles(bob)
    found = run(ada, "conflicts", "--json").json
    assert found["schema_version"] == 1
    (conflict,) = found["conflicts"]
    assert conflict["field"] == "title" and conflict["uid"] == listed(ada, "need")[0]["uid"]
    assert {conflict["winner"]["value"], conflict["loser"]["value"]} == {"Title of ada", "Title of bob"}
    assert {conflict["winner"]["by"], conflict["loser"]["by"]} == {"ada", "bob"}
    assert conflict["winner"]["value"] == titles(ada)[0]
    assert_same_state(*clones)
    change(bob, "need", "1", title="Decided")
    exchange(*clones)
    assert titles(ada) == ["Decided"] and conflicts(ada) == conflicts(bob) == []
    assert_same_state(*clones)


def test_edits_of_different_fields_both_stand(clones):
    """Last writer wins per field, so two people can change one record."""
    ada, bob = clones
    change(ada, "need", "1", priority=1)
    change(bob, "need", "1", scope="core")
    exchange(*clones)
    row = listed(ada, "need")[0]
    assert (row["priority"], row["scope"]) == (1, "core") and conflicts(ada) == []
    assert_same_state(*clones)


def test_additions_to_an_array_on_both_sides_all_stand(clones):
    """An array is its elements: both added one, nothing is dropped and nothing is a conflict."""
    ada, bob = clones
    second = need(ada, "Second")
    third = need(ada, "Third")
    agent = add(ada, "agent", agent_type="watcher", monitored_needs=["1"])
    exchange(*clones)
    change(ada, "agent", agent["uid"], monitored_needs=["1", second["uid"]])
    change(bob, "agent", agent["uid"], monitored_needs=["1", third["uid"]])
    exchange(*clones)
    assert [json.loads(row["monitored_needs"]) for row in listed(ada, "agent")] == [[1, 2, 3]]
    assert conflicts(ada) == []
    assert_same_state(*clones)


def test_both_make_a_need_actionable_and_get_one_task(clones):
    """The generated task has one uid on both sides, so there is one task, and no conflict about it."""
    ada, bob = clones
    for repo in clones:
        change(repo, "need", "1", status="active")
        change(repo, "need", "1", status="actionable")
        assert len(listed(repo, "task")) == 1
    assert listed(ada, "task")[0]["uid"] == listed(bob, "task")[0]["uid"]
    exchange(*clones)
    assert len(listed(ada, "task")) == len(listed(bob, "task")) == 1
    assert conflicts(ada) == conflicts(bob) == []
    assert_same_state(*clones)


def test_a_generated_task_that_was_deleted_stays_deleted(clones):
    """Deferred and made actionable again: the need has had its task."""
    ada, bob = clones
    for status in ("active", "actionable"):
        change(ada, "need", "1", status=status)
    delete(ada, "task", "1")
    exchange(*clones)
    for status in ("deferred", "actionable"):
        change(bob, "need", "1", status=status)
    assert listed(bob, "task") == []
    exchange(*clones)
    assert_same_state(*clones)


def test_one_number_given_out_twice(clones):
    """The later record moves above all numbers, nothing else moves, and the old number is ambiguous (exit 4)."""
    ada, bob = clones
    for number in range(3):
        need(ada, f"Ada {number}")
    row = need(bob, "Bob 0")
    assert row["id"] == 2
    link(bob, "need:2", "blocks", "need:1")
    exchange(*clones)
    by_title = {row["title"]: row["id"] for row in listed(bob, "need")}
    assert by_title == {"Shared": 1, "Ada 0": 2, "Ada 1": 3, "Ada 2": 4, "Bob 0": 5}
    assert by_title == {row["title"]: row["id"] for row in listed(ada, "need")}
    done = run(ada, "need", "show", "2", ok=False)
    assert done.code == 4 and "need:5" in done.err and "need:2" in done.err
    assert run(ada, "need", "show", row["uid"][:12], "--json").json["row"]["title"] == "Bob 0"
    edges = run(ada, "links", "need:5", "--json").json["edges"]
    assert [(one["source"], one["target"]) for one in edges] == [("need:5", "need:1")]
    assert need(ada, "Next")["id"] == 6
    exchange(*clones)
    assert_same_state(*clones)


def test_a_late_arriving_earlier_record_moves_nothing_that_has_no_rival(clones, tmp_path):
    """A third clone's records, made first and merged last, renumber themselves against rivals only."""
    ada, bob = clones
    eve = clone(tmp_path / "repo", "eve")
    git(eve, "switch", "-q", "-C", "main")
    need(eve, "Earliest")
    for number in range(4):
        need(ada, f"Ada {number}")
    exchange(ada, bob)
    before = {row["title"]: row["id"] for row in listed(ada, "need")}
    exchange(ada, bob, eve)
    after = {row["title"]: row["id"] for row in listed(ada, "need")}
    moved = {title for title, number in before.items() if after[title] != number}
    assert moved <= {"Ada 0"} and len(set(after.values())) == len(after)
    assert_same_state(ada, bob, eve)


def test_a_deleted_need_and_a_new_task_for_it(clones):
    """One deletes, the other builds on it: the task stays, says what it misses, and both clones agree."""
    ada, bob = clones
    delete(ada, "need", "1")
    add(bob, "task", description="For it", need_id="1")
    need(bob, "Below", parent_need_id="1")
    exchange(*clones)
    for repo in clones:
        assert [(row["description"], row["need_id"]) for row in listed(repo, "task")] == [("For it", None)]
        assert titles(repo) == ["Below"]
    assert_same_state(*clones)


def test_a_deleted_need_and_a_new_edge_to_it(clones):
    """The edge is cut, shown as such at its other end, and both clones agree."""
    ada, bob = clones
    row = need(bob, "Other")
    exchange(*clones)
    delete(ada, "need", "1")
    link(bob, f"need:{row['id']}", "blocks", "need:1")
    exchange(*clones)
    for repo in clones:
        edges = run(repo, "links", f"need:{row['id']}", "--json").json["edges"]
        assert len(edges) == 1 and "cut" in edges[0]
    assert_same_state(*clones)


def test_a_deleted_need_in_an_array(clones):
    """An agent of the other clone monitors it: the array loses it, and both clones agree."""
    ada, bob = clones
    add(bob, "agent", agent_type="watcher", monitored_needs=["1"])
    delete(ada, "need", "1")
    exchange(*clones)
    assert [json.loads(row["monitored_needs"]) for row in listed(bob, "agent")] == [[]]
    assert_same_state(*clones)


def test_an_edit_against_a_deletion_is_a_conflict(clones):
    """Deletion wins over an edit that had not seen it, and the edit is shown."""
    ada, bob = clones
    delete(ada, "need", "1")
    change(bob, "need", "1", title="Still wanted")
    exchange(*clones)
    assert titles(ada) == titles(bob) == []
    assert len(conflicts(ada)) == 1 and len(conflicts(bob)) == 1
    assert_same_state(*clones)


def test_both_delete_one_record(clones):
    """Twice gone is gone, without a conflict."""
    for repo in clones:
        delete(repo, "need", "1")
    exchange(*clones)
    assert titles(clones[0]) == [] and conflicts(clones[0]) == []
    assert_same_state(*clones)


def test_both_make_and_unmake_one_edge(clones):
    """An edge is its ends and type, whoever made it."""
    ada, bob = clones
    need(ada, "Second")
    exchange(*clones)
    for repo in clones:
        link(repo, "need:2", "blocks", "need:1", json.dumps({"by": "both"}))
    exchange(*clones)
    assert_same_state(*clones)
    run(ada, "unlink", "need:2", "blocks", "need:1")
    exchange(*clones)
    assert run(bob, "links", "need:2", "--json").json["edges"] == []
    link(bob, "need:2", "blocks", "need:1")
    exchange(*clones)
    assert len(run(ada, "links", "need:2", "--json").json["edges"]) == 1
    assert_same_state(*clones)


def test_two_parents_that_are_each_others_child(clones):
    """A cycle that two clones made together stops nothing and is the same on both sides."""
    ada, bob = clones
    need(ada, "Second")
    exchange(*clones)
    change(ada, "need", "1", parent_need_id="2")
    change(bob, "need", "2", parent_need_id="1")
    exchange(*clones)
    assert titles(ada) == titles(bob) == ["Second", "Shared"]
    assert_same_state(*clones)


@pytest.mark.parametrize("seed", [1, 2])
def test_three_clones_in_any_order(clones, tmp_path, seed):
    """Random work and random merges in three clones end in one state, without a conflict in git."""
    chance = random.Random(seed)
    eve = clone(tmp_path / "repo", "eve")
    git(eve, "switch", "-q", "-C", "main")
    repos = (*clones, eve)
    for step in range(18):
        repo = chance.choice(repos)
        work(repo, chance, step)
        if chance.random() < 0.5:
            commit(repo)
        if chance.random() < 0.3:
            other = chance.choice([one for one in repos if one is not repo])
            commit(repo)
            pull(repo, other)
    exchange(*repos)
    assert_same_state(*repos)
    for repo in repos:
        assert pending(repo) == 0 and ledger(repo) <= committed(repo)


def work(repo, chance, step):
    """One random change of records."""
    needs, tasks = listed(repo, "need"), listed(repo, "task")
    some = chance.choice(needs)["uid"] if needs else None
    kind = chance.randrange(6) if some else 0
    if kind == 0:
        need(repo, f"{repo.name} {step}", status=chance.choice(["identified", "active", "actionable"]))
    elif kind == 1:
        change(repo, "need", some, title=f"{repo.name} {step}", priority=chance.randint(1, 5))
    elif kind == 2:
        add(repo, "task", description=f"{repo.name} {step}", need_id=some)
    elif kind == 3 and tasks:
        row = chance.choice(tasks)
        change(repo, "task", row["uid"], status="open" if row["status"] == "completed" else "completed")
    elif kind == 4 and len(needs) > 2:
        delete(repo, "need", some)
    else:
        add(
            repo,
            "agent",
            agent_type="watcher",
            monitored_needs=[some],
            assigned_tasks=[one["uid"] for one in tasks[:2]],
        )


def test_a_fresh_clone_rebuilds_everything(clones, tmp_path):
    """After git clone, rebuild brings back what the journal holds: equal dumps."""
    ada, _ = clones
    change(ada, "need", "1", status="active")
    change(ada, "need", "1", status="actionable")
    link(ada, "task:1", "references", "need:1")
    commit(ada)
    git(tmp_path, "clone", "-q", str(ada), "fresh")
    fresh = tmp_path / "fresh"
    done = run(fresh, "rebuild", "--json")
    assert "hooks install" in done.err and done.json["events"] > 0
    synced(ada)
    assert dumping.differences(dump(ada), dump(fresh)) == []
    assert changed(fresh) == []


def test_any_command_works_right_after_a_clone(clones, tmp_path):
    """A missing index is made, whatever is asked first."""
    ada, _ = clones
    commit(ada)
    for number, command in enumerate((["need", "list"], ["status"], ["sync"])):
        git(tmp_path, "clone", "-q", str(ada), f"fresh{number}")
        assert run(tmp_path / f"fresh{number}", *command, "--json").json["schema_version"] == 1


def test_a_shallow_clone_has_every_record(clones, tmp_path):
    """One commit deep: records come from the journal, not from history."""
    ada, _ = clones
    add(ada, "task", description="Close me")
    commit(ada)
    commit(ada, "done\n\nCloses: 1")
    listed(ada, "task")
    commit(ada, "later")
    git(tmp_path, "clone", "-q", "--depth", "1", f"file://{ada}", "shallow")
    run(tmp_path / "shallow", "rebuild")
    assert [row["status"] for row in listed(tmp_path / "shallow", "task")] == ["completed"]
    assert titles(tmp_path / "shallow") == titles(ada)


def test_a_row_of_the_sqlite3_program_survives_commit_clone_and_rebuild(clones, tmp_path):
    """Any door is a good door, and the unknown writer is told as unknown."""
    ada, _ = clones
    sql(
        ada,
        "INSERT INTO needs(title, description, priority, scope) VALUES ('Raw', 'line\none \"two\" \u2028 end', 3, 's')",
    )
    commit(ada)
    assert ledger(ada) <= committed(ada)
    git(tmp_path, "clone", "-q", str(ada), "fresh")
    fresh = tmp_path / "fresh"
    run(fresh, "rebuild")
    for repo in (ada, fresh):
        (row,) = [one for one in listed(repo, "need") if one["title"] == "Raw"]
        assert (row["description"], row["priority"], row["scope"]) == ('line\none "two" \u2028 end', 3, "s")
        (event,) = run(repo, "log", f"need:{row['id']}", "--json").json["events"]
        assert event["actor"] is None and event["door"] == "sql"
    assert_rebuild_is_equal(ada)


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO needs(title, priority) VALUES ('x', 9e999)",
        "INSERT INTO needs(title, priority) VALUES ('x', 2.5)",
        "INSERT INTO needs(title, status) VALUES ('x', 'wished')",
        "INSERT INTO needs(title) VALUES (x'c3')",
        "INSERT INTO needs(title) VALUES ('a' || char(0) || 'b')",
        "INSERT INTO needs(title) VALUES ('  ')",
        "INSERT INTO tasks(description, need_id) VALUES ('x', 99)",
        "INSERT INTO agents(agent_type, monitored_needs) VALUES ('x', '[99]')",
        "INSERT INTO agents(agent_type, monitored_needs) VALUES ('x', '[1')",
        "INSERT INTO relationships(source_type, source_id, target_type, target_id, relationship_type)"
        " VALUES ('need', 1, 'need', 99, 'blocks')",
        "INSERT INTO relationships(source_type, source_id, target_type, target_id, relationship_type)"
        " VALUES ('need', 1, 'need', 1, 'blocks')",
        "INSERT OR REPLACE INTO needs(id, title) VALUES (1, 'replaced')",
        "UPDATE OR REPLACE needs SET id = 1 WHERE id = 2",
        "UPDATE needs SET uid = '00000000000000000000000000000000' WHERE id = 1",
        "UPDATE needs SET status = 'resolved' WHERE id = 1",
        "DELETE FROM artifacts",
    ],
)  # fmt: skip
def test_the_database_itself_refuses_what_is_malformed(tmp_path, statement):
    """The sqlite3 program, with its foreign keys off, gets an error and nothing is stored or captured."""
    repo = workspace(tmp_path)
    need(repo, "First")
    need(repo, "Second")
    synced(repo)
    before = dump(repo)
    assert "rror" in sql(repo, statement, ok=False)
    assert dump(repo) == before
    assert_rebuild_is_equal(repo)


@pytest.mark.parametrize("text", ["CAST(x'ff' AS TEXT)", "CAST(x'61eda080' AS TEXT)", "CAST(x'c0af' AS TEXT)"])
def test_text_that_is_no_utf8_breaks_nothing(tmp_path, text):
    """Invalid bytes and lone surrogates are refused, or stored as something that every later command can read."""
    repo = workspace(tmp_path)
    need(repo, "First")
    sql(repo, f"INSERT INTO needs(title) VALUES ('a' || {text})", ok=False)
    rows = run(repo, "need", "list", "--json").json["rows"]
    assert rows[0]["title"] == "First"
    save(repo, "records")
    assert ledger(repo) <= committed(repo)
    assert_rebuild_is_equal(repo)


def closing(repo):
    """A workspace with one open task on main, committed."""
    row = add(repo, "task", description="Close me")
    save(repo, "task")
    return row


def status_of(repo):
    return [row["status"] for row in listed(repo, "task")]


@pytest.mark.parametrize("form", ["number", "kind", "uid", "short"])
def test_a_closing_trailer_closes_where_the_commit_is_reachable(tmp_path, form):
    """By uid and by number: completed on the branch, open on the other, and completed there once merged."""
    repo = workspace(tmp_path)
    row = closing(repo)
    uid = row["uid"]
    text = {"number": "1", "kind": "task:1", "uid": f"task-{uid[:16]}", "short": f"task-{uid[:6]}"}[form]
    git(repo, "switch", "-q", "-c", "side")
    write(repo, "work.md", "x\n")
    save(repo, f"Do it\n\nCloses: {text}")
    message = git(repo, "log", "-1", "--format=%B").stdout
    assert uid[:16] in message or form == "short"
    assert status_of(repo) == ["completed"]
    git(repo, "switch", "-q", "main")
    assert status_of(repo) == ["open"] and pending(repo) == 0
    git(repo, "switch", "-q", "side")
    assert status_of(repo) == ["completed"]
    write(repo, "work.md", "y\n")
    save(repo, "publishes the closing")
    assert status_of(repo) == ["completed"] and pending(repo) == 0
    git(repo, "switch", "-q", "main")
    assert status_of(repo) == ["open"]
    git(repo, "merge", "-q", "--no-ff", "--no-edit", "side")
    assert status_of(repo) == ["completed"]
    assert_rebuild_is_equal(repo)


def test_the_next_commit_publishes_a_closing(tmp_path):
    """Two commits in a row, with no command of ours between them: the second holds the first one's closing."""
    repo = workspace(tmp_path)
    closing(repo)
    before = committed(repo)
    save(repo, "Done\n\nCloses: 1")
    assert committed(repo) == before
    save(repo, "next")
    assert len(committed(repo) - before) == 1
    assert status_of(repo) == ["completed"] and pending(repo) == 0


def test_commit_msg_writes_the_uid_beside_the_number(tmp_path):
    """What was typed stays as it is; each known number gains the uid that lasts."""
    repo = workspace(tmp_path)
    task = closing(repo)
    row = need(repo, "A need")
    message = "Do it\n\nBody says task 1 and Closes nothing.\n\nTask: 1\nNeed: 1\nFixes: 77\nReviewed-by: 1"
    save(repo, message)
    lines = git(repo, "log", "-1", "--format=%B").stdout.strip().split("\n")
    assert lines[-4:] == [
        f"Task: 1 (task-{task['uid'][:16]})", f"Need: 1 (need-{row['uid'][:16]})", "Fixes: 77", "Reviewed-by: 1",
    ]  # fmt: skip
    assert lines[2] == "Body says task 1 and Closes nothing."


def test_a_number_typed_in_the_editor_gains_its_uid(tmp_path):
    """The editor comes after git has prepared the message."""
    repo = workspace(tmp_path)
    task = closing(repo)
    editor = write(tmp_path, "editor", '#!/bin/sh\nprintf "Done\\n\\nCloses: 1\\n" > "$1"\n')
    editor.chmod(0o755)
    git(repo, "commit", "-q", "--allow-empty", env={"GIT_EDITOR": str(editor)})
    assert f"Closes: 1 (task-{task['uid'][:16]})" in git(repo, "log", "-1", "--format=%B").stdout
    assert status_of(repo) == ["completed"]


def test_an_unknown_reference_is_an_observation(tmp_path):
    """Closing what is not there stops neither the commit nor a command; status tells, exit 0."""
    repo = workspace(tmp_path)
    closing(repo)
    save(repo, "Do it\n\nCloses: 99\nFixes: task-abcdef0123456789")
    assert status_of(repo) == ["open"]
    done = run(repo, "status", "--json")
    told = " ".join(one["message"] for one in done.json["observations"])
    assert "task:99" in told and "task-abcdef0123456789" in told
    assert run(repo, "sync", "--json").json["skipped"] == []


def test_reopening_stands_against_the_closing_it_has_seen(tmp_path):
    """A later decision that knew of the closing beats it, here and in a clone."""
    repo = workspace(tmp_path)
    closing(repo)
    save(repo, "Done\n\nCloses: 1")
    assert status_of(repo) == ["completed"]
    change(repo, "task", "1", status="open")
    assert status_of(repo) == ["open"]
    save(repo, "reopened")
    assert status_of(repo) == ["open"] and conflicts(repo) == []
    other = clone(repo, "other")
    assert status_of(other) == ["open"]
    assert_rebuild_is_equal(repo)


def test_an_amend_after_reopening_closes(tmp_path):
    """Closed on Monday, reopened by hand on Tuesday, amended with a closing on Wednesday: the author date stays Monday's."""
    repo = workspace(tmp_path)
    closing(repo)
    change(repo, "task", "1", status="completed")
    monday = {"GIT_AUTHOR_DATE": "2020-01-06T10:00:00Z"}
    write(repo, "work.md", "x\n")
    git(repo, "add", "-A")
    git(repo, "commit", "-q", "-m", "Monday", env=monday)
    change(repo, "task", "1", status="open")
    git(repo, "commit", "-q", "--amend", "-m", "Wednesday\n\nCloses: 1")
    assert git(repo, "log", "-1", "--format=%as").stdout.strip() == "2020-01-06"
    assert status_of(repo) == ["completed"]
    assert_rebuild_is_equal(repo)


@pytest.mark.parametrize("look", [False, True], ids=["at-once", "after-a-look"])
def test_a_closing_that_was_amended_away_does_not_close(tmp_path, look):
    """The commit that closed is on no branch any more: the task is open."""
    repo = workspace(tmp_path)
    closing(repo)
    write(repo, "work.md", "x\n")
    save(repo, "Done\n\nCloses: 1")
    if look:
        assert status_of(repo) == ["completed"]
    git(repo, "commit", "-q", "--amend", "-m", "Not done after all")
    assert status_of(repo) == ["open"]
    assert_rebuild_is_equal(repo)


def test_a_closed_need_walks_to_resolved(tmp_path):
    """A commit's closing, being history, may take several steps at once."""
    repo = workspace(tmp_path)
    need(repo, "Wanted")
    save(repo, "need")
    save(repo, "Done\n\nResolves: need:1")
    assert [row["status"] for row in listed(repo, "need")] == ["resolved"]
    assert_rebuild_is_equal(repo)


def test_both_clones_close_one_task(clones):
    """Two closings say the same: completed, no conflict."""
    ada, bob = clones
    add(ada, "task", description="Close me")
    exchange(*clones)
    for repo in clones:
        commit(repo, "Done\n\nCloses: 1")
        assert status_of(repo) == ["completed"]
    exchange(*clones)
    exchange(*clones)
    assert status_of(ada) == status_of(bob) == ["completed"] and conflicts(ada) == []
    assert_same_state(*clones)


def test_a_closing_follows_its_commit_to_another_clone(clones):
    """The trailer alone closes there, before any segment says so."""
    ada, bob = clones
    add(ada, "task", description="Close me")
    commit(ada)
    git(bob, "pull", "-q", str(ada), "main")
    commit(ada, "Done\n\nCloses: 1")
    git(bob, "pull", "-q", str(ada), "main")
    assert status_of(bob) == ["completed"]
    assert_same_state(*clones)


def test_a_closing_against_a_concurrent_status_is_decided_alike_everywhere(clones):
    """One closes by commit, the other cancels by hand: the same end in both clones, the other value in conflicts."""
    ada, bob = clones
    add(ada, "task", description="Close me")
    exchange(*clones)
    commit(ada, "Done\n\nCloses: 1")
    change(bob, "task", "1", status="cancelled")
    commit(bob)
    exchange(*clones)
    exchange(*clones)
    assert status_of(ada) == status_of(bob)
    assert len(conflicts(ada)) == 1
    assert_same_state(*clones)
