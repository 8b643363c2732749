"""Conflicts between two real clones: what is shown of them, how they are settled, and that they stay settled.

One pair of clones diverges in every way that there is, once; each test works on a copy of both.
"""

from __future__ import annotations

import json
import shutil

import pytest
from cli import (
    add,
    change,
    clone,
    conflicts,
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

from mlos_sync.app import conflicting, dumping, freshness, records, relating
from mlos_sync.errors import RefusedError, UsageError


def pull(repo, other):
    """Merge the other clone's branch; git must find no conflict."""
    done = git(repo, "pull", "-q", "--no-rebase", "--no-edit", str(other), "main", check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def exchange(ada, bob):
    """Both commit what they have, and both get what the other has."""
    for repo in (ada, bob):
        write(repo, f"{repo.name}.md", f"{sorted(ledger(repo))}\n")
        save(repo, f"work of {repo.name}")
    pull(ada, bob)
    pull(bob, ada)


@pytest.fixture(scope="module")
def split(tmp_path_factory):
    """Ada's and Bob's clones after both changed the same fields of the same records; Bob wins, being later.

    need:1 title, scope cleared against set, parent; need:2 deleted by Ada and edited by Bob; need:3 deleted by Bob, edited
    twice by Ada; task:1 completed against cancelled; agent:1 loses and keeps an element; an edge's metadata; an edge
    deleted against edited.
    """
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AUTHOR", "COMMITTER"):
            patch.setenv(f"GIT_{name}_NAME", "Ada")
            patch.setenv(f"GIT_{name}_EMAIL", "ada@example.org")
        origin = workspace(tmp_path_factory.mktemp("split"))
        for title in ("One", "Two", "Three", "Four"):
            need(origin, title, scope="core")
        add(origin, "task", description="Do it", need_id="2")
        add(origin, "agent", agent_type="watcher", monitored_needs=["4"], assigned_tasks=["1"])
        link(origin, "need:1", "blocks", "need:4", '{"why": "at first"}')
        link(origin, "need:2", "enables", "need:4", '{"why": "at first"}')
        link(origin, "need:2", "references", "task:1")
        save(origin, "shared")
        git(origin, "switch", "-q", "--detach")
        ada, bob = clone(origin, "ada"), clone(origin, "bob")
        patch.setenv("MLOS_SYNC_ACTOR", "ada")
        change(ada, "need", "1", title="Of Ada", scope=None, parent_need_id="need:3")
        delete(ada, "need", "2")
        change(ada, "need", "3", description="first")
        change(ada, "need", "3", description="second")
        change(ada, "task", "1", status="completed")
        change(ada, "agent", "1", monitored_needs=["3"])
        link(ada, "need:1", "blocks", "need:4", '{"why": "of Ada"}')
        patch.setenv("MLOS_SYNC_ACTOR", "bob")
        change(bob, "need", "1", title="Of Bob", scope="edge", parent_need_id="need:4")
        change(bob, "need", "2", title="Still wanted")
        delete(bob, "need", "3")
        change(bob, "task", "1", status="cancelled", result="not now")
        change(bob, "agent", "1", monitored_needs=[])
        change(bob, "agent", "1", monitored_needs=["4"])
        link(bob, "need:1", "blocks", "need:4", '{"why": "of Bob"}')
        exchange(ada, bob)
    return ada.parent


@pytest.fixture
def clones(split, tmp_path):
    """A copy of both clones."""
    made = []
    for name in ("ada", "bob"):
        shutil.copytree(split / name, tmp_path / name, symlinks=True)
        made.append(tmp_path / name)
    return made


def of(repo, uid_or_ref, field):
    """The one conflict of a record and field."""
    (found,) = [one for one in conflicts(repo) if field in (one["field"], one["field"].partition("/")[0])
                and (one["ref"] == uid_or_ref or one["uid"] == uid_or_ref or one["title"] == uid_or_ref)]  # fmt: skip
    return found


def resolve(repo, ref, field, **choice):
    """Settle one, in this process."""
    with opened(repo) as index:
        return conflicting.resolve_conflict(index, ref, field, **choice)


def row(repo, kind, number):
    """One row by its number, or None."""
    return next((one for one in listed(repo, kind) if one["id"] == number), None)


def assert_settled_everywhere(ada, bob):
    """Once both have everything: no conflict is left, the same state, and a rebuild finds the same."""
    exchange(ada, bob)
    assert conflicts(ada) == conflicts(bob) == []
    for repo in (ada, bob):
        synced(repo)
    assert dumping.differences(dump(ada), dump(bob)) == []
    before = dump(bob)
    run(bob, "rebuild")
    assert dumping.differences(before, dump(bob)) == []


SEEN = {
    ("One", "title"), ("One", "scope"), ("One", "parent_need_id"), ("Two", "@alive"), ("Three", "@alive"),
    ("Do it", "status"), ("watcher", "monitored_needs"), ("edge", "metadata"),
}  # fmt: skip
NAMED = {"Of Bob": "One", "Still wanted": "Two"}


def test_both_sides_are_shown_with_value_who_when_and_event(clones):
    """The same list in both clones: winner and loser of each field, array element, deletion and edge."""
    ada, bob = clones
    found = run(ada, "conflicts", "--json").json["conflicts"]
    assert found == conflicts(bob)
    named = {
        (
            "edge" if one["kind"] == "relationship" else NAMED.get(one["title"], one["title"]),
            one["field"].partition("/")[0],
        )
        for one in found
    }
    assert named == SEEN and len(found) == 9  # two edits stand against the deletion of need:3
    assert run(ada, "status", "--json").json["conflicts"] == 9
    for one in found:
        assert set(one) >= {"ref", "uid", "kind", "field", "title", "winner", "loser"}
        for side in (one["winner"], one["loser"]):
            assert (
                set(side) >= {"value", "op", "by", "at", "event"}
                and side["at"].endswith("Z")
                and len(side["event"]) == 32
            )
        assert {one["winner"]["by"], one["loser"]["by"]} == {"ada", "bob"}
    title = of(ada, "Of Bob", "title")
    assert (title["winner"]["value"], title["loser"]["value"]) == ("Of Bob", "Of Ada")
    assert [of(ada, "Of Bob", "scope")[side]["value"] for side in ("winner", "loser")] == ["edge", None]
    uid = row(ada, "need", 4)["uid"]
    assert of(ada, "Of Bob", "parent_need_id")["winner"]["value"] == f"need:{uid}"
    element = of(ada, "watcher", "monitored_needs")
    assert element["field"] == f"monitored_needs/need:{uid}"
    assert (element["winner"]["value"], element["loser"]["value"]) == (True, False)
    edge = next(one for one in found if one["kind"] == "relationship")
    assert edge["title"] == "need:1 blocks need:4" and json.loads(edge["loser"]["value"]) == {"why": "of Ada"}


def test_a_deletion_against_an_edit_is_shown_as_such(clones):
    """`@alive`: the deletion won, and what the edit set is told."""
    ada, _ = clones
    found = of(ada, "Still wanted", "@alive")
    assert (found["winner"]["op"], found["winner"]["by"], found["winner"]["value"]) == ("delete", "ada", False)
    assert (found["loser"]["op"], found["loser"]["by"], found["loser"]["value"]) == ("update", "bob", True)
    assert found["loser"]["fields"] == {"title": "Still wanted"}
    said = run(ada, "conflicts").out
    assert "deleted  ada" in said and 'edited title="Still wanted"  bob' in said
    assert f"mlos-sync conflicts resolve {found['ref']} @alive --take winner" in said


@pytest.mark.parametrize("side", ["winner", "loser"])
def test_one_side_for_everything_settles_everything_in_both_clones(clones, side):
    """Whichever side is kept: each field has that side's value in both clones, and nothing is left to settle."""
    ada, bob = clones
    with opened(ada) as index:
        for one in {(c["uid"], c["kind"], c["field"]): c for c in conflicting.conflicts(index)}.values():
            if side == "loser" and one["field"] == "@alive" and one["title"] == "Three":
                conflicting.resolve_conflict(index, one["ref"], "alive", take=one["loser"]["event"][:8])
            else:
                conflicting.resolve_conflict(index, one["ref"], one["field"], take=side)
        assert conflicting.conflicts(index) == []
    lost = side == "loser"
    for repo in (ada, bob):
        if repo is bob:
            assert_settled_everywhere(ada, bob)
        first, task, agent = row(repo, "need", 1), row(repo, "task", 1), row(repo, "agent", 1)
        assert (first["title"], first["scope"]) == (("Of Ada", None) if lost else ("Of Bob", "edge"))
        assert first["parent_need_id"] == (3 if lost else 4)
        assert (task["status"], task["result"]) == ("completed" if lost else "cancelled", "not now")
        assert json.loads(agent["monitored_needs"]) == ([3] if lost else [4])
        assert (row(repo, "need", 2) or {}).get("title") == ("Still wanted" if lost else None)
        assert (row(repo, "need", 3) or {}).get("description") == ("second" if lost else None)
        edges = {one["target"]: one for one in json.loads(run(repo, "links", "need:1", "--json").out)["edges"]}
        assert edges["need:4"]["metadata"] == {"why": "of Ada" if lost else "of Bob"}
        assert task["need_id"] == (2 if lost else None)


def test_what_is_brought_back_has_its_edges_and_references(clones):
    """Taking the edit against a deletion: the row with its number, edges from and to it, columns that name it."""
    ada, bob = clones
    assert {one.get("cut") for one in json.loads(run(ada, "links", "need:4", "--json").out)["edges"]} >= {
        f"{of(ada, 'Still wanted', '@alive')['ref']} was deleted by ada"
    }
    done = run(
        ada, "conflicts", "resolve", of(ada, "Still wanted", "@alive")["ref"], "@alive", "--take", "loser", "--json"
    )
    assert done.json["row"]["id"] == 2 and done.json["row"]["title"] == "Still wanted" and done.json["kind"] == "need"
    assert "@alive" not in {one["field"] for one in done.json["conflicts"] if one["title"] == "Still wanted"}
    exchange(ada, bob)
    for repo in (ada, bob):
        with opened(repo) as index:
            freshness.catch_up(index)
            found = relating.edges(index.db, *records.find(index.db, "need:2"))
        assert {(one["source"], one["type"], one["target"], one.get("cut")) for one in found} == {
            ("need:2", "enables", "need:4", None), ("need:2", "references", "task:1", None),
            ("task:1", "derived_from", "need:2", None),
        }  # fmt: skip
        assert row(repo, "task", 1)["need_id"] == 2 and row(repo, "need", 2)["scope"] == "core"


def test_keeping_the_winner_makes_an_event_though_no_row_changes(clones):
    """One event that has seen both, and the row as it was."""
    ada, bob = clones
    before, known = row(ada, "need", 1), ledger(ada)
    conflict = of(ada, "Of Bob", "title")
    resolve(ada, "need:1", "title", take="winner")
    (made,) = ledger(ada) - known
    with opened(ada) as index:
        (line,) = index.db.execute("SELECT line FROM events WHERE id = ?", (made,)).fetchone()
    event = json.loads(line)
    assert (event["op"], event["fields"], event["door"]) == ("update", {"title": "Of Bob"}, "cli")
    assert {key: value for key, value in row(ada, "need", 1).items() if key != "updated_at"} == {
        key: value for key, value in before.items() if key != "updated_at"
    }
    assert pending(ada) == 1 and conflict["field"] not in {c["field"] for c in conflicts(ada) if c["title"] == "Of Bob"}
    exchange(ada, bob)
    assert not [c for c in conflicts(bob) if c["field"] == "title"]


def test_a_third_value_is_an_ordinary_change(clones):
    """Typed as for `set`: references as text, an empty text for nothing; a rule of the database still holds."""
    ada, bob = clones
    run(ada, "conflicts", "resolve", "need:1", "title", "--value", "Of both")
    resolve(ada, "need:1", "scope", value="")
    resolve(ada, "need:1", "parent_need_id", value="need:4")
    edge = next(one for one in conflicts(ada) if one["kind"] == "relationship")
    resolve(ada, edge["ref"], "metadata", value='{"why": "of both"}')
    for ref, field, value in (("task:1", "status", "open"), ("task:1", "status", "wished")):
        if value == "wished":
            with pytest.raises(UsageError):  # it is settled by now
                resolve(ada, ref, field, value=value)
        else:
            resolve(ada, ref, field, value=value)
    exchange(ada, bob)
    for repo in (ada, bob):
        found = row(repo, "need", 1)
        assert (found["title"], found["scope"], found["parent_need_id"]) == ("Of both", None, 4)
        assert row(repo, "task", 1)["status"] == "open"
        assert {one["field"] for one in conflicts(repo)} == {"@alive", of(repo, "watcher", "monitored_needs")["field"]}


def test_a_status_that_no_step_leads_to_can_be_taken_when_a_side_had_it(clones):
    """`cancelled` won over `completed`, and live writes know no step between them; settling may take it, no more."""
    ada, _ = clones
    with pytest.raises(RefusedError, match="completed, failed and cancelled go back to open"):
        resolve(ada, "task:1", "status", value="failed")
    with pytest.raises(RefusedError, match=r"tasks\.status"):
        resolve(ada, "task:1", "status", value="wished")
    assert resolve(ada, "task:1", "status", value="completed")["row"]["status"] == "completed"


def test_an_element_is_named_by_its_column_or_by_a_reference(clones):
    """`monitored_needs`, `monitored_needs/need:4`, or the whole key."""
    for repo, field in zip(clones, ("monitored_needs", "monitored_needs/need:4"), strict=True):
        assert json.loads(resolve(repo, "agent:1", field, take="loser")["row"]["monitored_needs"]) == []
        assert not [one for one in conflicts(repo) if one["kind"] == "agent"]


def test_what_cannot_be_settled_is_said(clones):
    """No such record, field, side; both or no choice; a value for what is there or not: nothing is written."""
    ada, _ = clones
    before = ledger(ada)
    done = run(ada, "conflicts", "resolve", "need:1", "description", "--take", "winner", ok=False)
    assert done.code == 2 and "no conflict of description" in done.err and "title" in done.err
    for ref, field, choice in (
        ("need:4", "title", {"take": "winner"}), ("need:99", "title", {"take": "winner"}), ("need:1", "title", {}),
        ("need:1", "title", {"take": "winner", "value": "x"}), ("need:1", "title", {"take": "both"}),
        ("need:1", "title", {"take": "ffffffffff"}), ("need:2", "@alive", {"value": "yes"}),
        ("agent:1", "monitored_needs", {"value": "need:4"}), ("relationship-ffffff", "metadata", {"take": "winner"}),
    ):  # fmt: skip
        with pytest.raises(UsageError):
            resolve(ada, ref, field, **choice)
    assert ledger(ada) == before and len(conflicts(ada)) == 9


def test_two_ways_of_settling_are_a_conflict_again(clones):
    """Each clone settles by itself: the later one wins, the other is shown, and settling that ends it."""
    ada, bob = clones
    resolve(ada, "need:1", "title", take="loser")
    resolve(bob, "need:1", "title", take="winner")
    exchange(ada, bob)
    for repo in (ada, bob):
        (found,) = [one for one in conflicts(repo) if one["field"] == "title"]
        assert {found["winner"]["value"], found["loser"]["value"]} == {"Of Ada", "Of Bob"}
    resolve(bob, "need:1", "title", take="winner")
    exchange(ada, bob)
    assert not [one for repo in (ada, bob) for one in conflicts(repo) if one["field"] == "title"]


def test_several_losing_values_are_not_taken_blindly(clones):
    """A third clone's value: `--take loser` is ambiguous and names the events, one of which can be taken."""
    bob = clones[1]
    eve = clone(bob, "eve")
    git(eve, "reset", "-q", "--hard", git(eve, "log", "--format=%H", "--grep=^shared$").stdout.strip())
    change(eve, "need", "1", title="Of Eve")
    save(eve, "work of eve")
    pull(bob, eve)
    found = [one for one in conflicts(bob) if one["field"] == "title"]
    assert len(found) == 2 and found[0]["winner"]["value"] == "Of Eve"
    with pytest.raises(RefusedError, match="Of Ada"):
        resolve(bob, "need:1", "title", take="loser")
    side = next(one["loser"]["event"] for one in found if one["loser"]["value"] == "Of Ada")
    assert resolve(bob, "need:1", "title", take=side[:10])["row"]["title"] == "Of Ada"
    assert not [one for one in conflicts(bob) if one["field"] == "title"]


def test_an_edit_and_a_bringing_back_and_a_deletion(clones):
    """Deleted here, deleted and brought back there: alive, shown, and the deletion can be taken still."""
    ada, bob = clones
    for repo in clones:
        for one in {(c["uid"], c["field"]): c for c in conflicts(repo)}.values():
            if repo is ada:
                resolve(repo, one["ref"], one["field"], take="winner")
    exchange(ada, bob)
    delete(ada, "need", "4")
    delete(bob, "need", "4")
    run(bob, "need", "restore", "need:4")
    exchange(ada, bob)
    assert row(ada, "need", 4)["title"] == row(bob, "need", 4)["title"] == "Four"
    (found,) = {one["uid"]: one for one in conflicts(ada)}.values()
    assert (found["field"], found["winner"]["op"]) == ("@alive", "recreate")
    done = run(ada, "conflicts", "resolve", "need:4", "@alive", "--take", "loser")
    assert "deleted" in done.out and row(ada, "need", 4) is None
    assert_settled_everywhere(ada, bob)
    assert row(bob, "need", 4) is None


def test_a_deletion_that_has_seen_both_sides_settles_their_fields(clones):
    """Who deletes a record with a conflict has decided: nothing of it is left to settle."""
    ada, _ = clones
    delete(ada, "task", "1")
    assert not [one for one in conflicts(ada) if one["kind"] == "task"]


def test_restore_on_a_branch_that_never_had_the_record(tmp_path):
    """Its deletion travels along, its making does not: refused, and nothing is recorded."""
    repo = workspace(tmp_path)
    git(repo, "branch", "before")
    uid = need(repo, "Made on main")["uid"]
    save(repo, "need")
    run(repo, "need", "delete", "1")
    git(repo, "switch", "-q", "before")
    before = ledger(repo)
    refused = run(repo, "need", "restore", f"need-{uid}", ok=False)
    assert refused.code == 4 and "not made on this branch" in refused.err
    assert ledger(repo) == before
    git(repo, "switch", "-q", "main")
    assert run(repo, "need", "restore", f"need-{uid}").code == 0
