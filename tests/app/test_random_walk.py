"""A random walk: three to five clones of one bare repository, records and git operations in any order.

Whatever was done, git never finds a conflict in the journal, every event counts where it must, and once everybody has
everything all clones say the same: nothing lost, every losing value listed. A failure prints its steps and a blob that
replays them. `MLOS_SYNC_WALKS=N` walks N times.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any, ClassVar

import cli
import pytest
import walk_git
import walk_oracle
from gitrepo import git
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from walk_git import GitSteps, IndexSteps
from walk_records import REFERENCES, VALUES, RecordSteps, SqlSteps
from walking import STEPS, TABLE, Step, owner, step

from mlos_sync.app import dumping
from mlos_sync.core.vocabulary import NEED_STATUSES

WALKS = int(os.environ.get("MLOS_SYNC_WALKS", "3"))
LENGTH = 60
FILES = ("artifact:", "commit:")
ROUNDS = 6  # in which everybody must have everything


class Walk(RecordSteps, SqlSteps, GitSteps, IndexSteps, RuleBasedStateMachine):
    """The clones, what is done in them, and what must come of it."""

    counts: ClassVar[list[int]] = [0, 0]  # walks, steps

    def __init__(self) -> None:
        super().__init__()
        self.is_whole = True

    @initialize(count=st.integers(3, 5))
    def start(self, count: int) -> None:
        """Copies of the template's clones."""
        self.base.mkdir()
        for name in ("origin.git", *(f"c{n}" for n in range(count))):
            shutil.copytree(self.template / name, self.base / name, symlinks=True)
        self.places = [self.base / f"c{n}" for n in range(count)]

    @rule(step=st.deferred(lambda: st.one_of(STEPS)))
    def do(self, step: Step) -> None:
        """One step, and a look at what git says of the journal after it."""
        self.is_whole = False
        self.count += 1
        given = dict(step.given)
        who = given.pop("who")
        if who < 20 or self.place not in self.places:  # else once more where the last step was
            self.place = self.places[who % len(self.places)]
        place = self.place
        getattr(self, step.name)(place, **given)
        if place in self.places:
            self.glance(place)
        self.is_whole = True

    @step(deep=st.booleans())
    def look(self, place: Path, deep: bool) -> None:
        """What counts is what the oracle says, and what no commit here holds is called pending."""
        self.check_visible(place)
        if deep:
            self.check_rebuild(place)

    def check_rebuild(self, place: Path) -> None:
        """An index made anew says what the live one says."""
        cli.synced(place)
        live = cli.dump(place)
        self.lose_index(place)
        cli.synced(place)
        found = dumping.differences(live, cli.dump(place))
        assert not found, "\n".join(found)

    def check_visible(self, place: Path) -> None:
        """The program's events are the oracle's, and closings that reachable commits make."""
        rows = walk_oracle.tables_of(cli.dump(place))["events"]
        shown = {row["id"]: json.loads(row["line"]) for row in rows}
        wanted = self.truth.visible(place)
        others = [event for name, event in shown.items() if name not in wanted]
        assert shown.keys() >= wanted.keys(), f"not counted: {[wanted[one] for one in wanted.keys() - shown.keys()]}"
        assert all(event["door"].startswith("commit ") for event in others), f"counted and nowhere: {others}"
        here = self.truth.committed(place, cli.head(place))
        assert cli.pending(place) == len(shown.keys() - here.keys())

    def glance(self, place: Path) -> None:
        """Git calls a segment new, or nothing at all: never changed, deleted or unmerged."""
        self.truth.visible(place)
        odd = walk_git.odd_states(place)
        if not odd:
            self.undone.discard(place)
        usual = ("A ", "D ") if place in self.undone else ("A ",)
        assert all(line[:2] in usual for line in odd), odd

    def teardown(self) -> None:
        """Everybody gets everything, and all is judged; after a failure only the files go."""
        Walk.counts[0] += 1
        Walk.counts[1] += self.count
        if Walk.counts[0] % 25 == 0:
            print(f"{Walk.counts[0]} walks, {Walk.counts[1]} steps so far", flush=True)
        try:
            if self.is_whole and self.places:
                self.is_whole = False
                self.gather()
                self.exchange()
                self.judge()
        finally:
            shutil.rmtree(self.base, ignore_errors=True)

    def gather(self) -> None:
        """Each clone brings all that its refs name and its work trees have together on main."""
        for place in sorted(self.places, key=lambda place: "-" not in place.name):
            git(place, "add", "-A")
            if cli.pending(place) or cli.changed(place):
                walk_git.commit(place, "-q", "--allow-empty", "-m", "last on this branch")
            if "-" in place.name:
                git(self.base / owner(place), "worktree", "remove", "--force", str(place))
                self.places.remove(place)
            else:
                git(place, "switch", "-q", "main")
                for name in walk_git.refs(place, "refs/heads", "refs/tags", "refs/remotes"):
                    walk_git.attempt(place, "merge", "-q", "--no-edit", name)

    def exchange(self) -> None:
        """Commit, pull and push until all have one commit and nothing is pending."""
        for _ in range(ROUNDS):
            for place in self.places:
                if cli.pending(place):
                    walk_git.commit(place, "-q", "--allow-empty", "-m", "pending")
                walk_git.attempt(place, "pull", "-q", "--no-edit", "--no-rebase", "origin", "main")
                self.glance(place)
                git(place, "push", "-q", "origin", "main")
            waiting = [cli.pending(place) for place in self.places]
            if len({cli.head(place) for place in self.places}) == 1 and not any(waiting):
                return
        raise AssertionError(f"after {ROUNDS} rounds {waiting} events are pending")

    def judge(self) -> None:
        """One state everywhere, also in a clone made now and in an index made anew; and it is the right one."""
        self.check_visible(self.places[0])
        cli.synced(self.places[0])
        first = cli.dump(self.places[0])
        git(self.base, "clone", "-q", "origin.git", "fresh", env={"HOME": str(self.base / "home")})
        for place in (*self.places[1:], self.base / "fresh"):
            cli.synced(place)
            found = dumping.differences(first, cli.dump(place))
            assert not found, f"{place.name}:\n" + "\n".join(found)
        self.check_rebuild(self.places[-1])
        events = self.truth.committed(self.places[0], cli.head(self.places[0]))
        for place in self.places:
            lost = walk_oracle.pending_log(place).keys() - events.keys()
            assert not lost, f"{place.name} lost {lost}"
        self.judge_state(events, first)

    def judge_state(self, events: dict[str, walk_oracle.Event], text: str) -> None:
        """Rows, edges and conflicts are what the oracle makes of the events, and every write is among them."""
        tables = walk_oracle.tables_of(text)
        verdicts = {record: walk_oracle.judged(found) for record, found in walk_oracle.by_record(events).items()}
        lost = {(*record, *loss) for record, (_, losses) in verdicts.items() for loss in losses}
        shown = {(row["kind"], row["uid"], row["field"], row["loser"]) for row in tables["conflicts"]}
        assert shown == lost, f"not shown: {lost - shown}; shown for nothing: {shown - lost}"
        for kind, table in TABLE.items():
            rows = {row["uid"]: row for row in tables[table] if row["origin"] == "record"}
            alive = {
                uid: fields for (k, uid), (fields, _) in verdicts.items() if k == kind and fields.get(walk_oracle.ALIVE)
            }
            assert rows.keys() == alive.keys()
            for uid, fields in alive.items():
                wrong = [name for name in VALUES if name in fields and rows[uid][name] != fields[name]]
                assert not wrong, (rows[uid], fields)
        deleted = {event["uid"] for event in events.values() if event["op"] == "delete"}
        present = {row["uid"] for table in TABLE.values() for row in tables[table]}
        assert self.gone <= deleted and self.order.keys() - deleted <= present
        given: dict[tuple[str, str], list[Any]] = {}
        for event in events.values():
            for name, value in walk_oracle.assigned(event):
                given.setdefault((event["uid"], name), []).append(value)
        missing = [one for one in self.written if one[2] is not None and one[2] not in given.get(one[:2], ())]
        assert not missing, f"written and in no event: {missing}"
        judge_references(tables, {record: standing for record, (standing, _) in verdicts.items()})


def judge_references(tables: dict[str, Any], states: dict[walk_oracle.Record, dict[str, Any]]) -> None:
    """What records name, and edges between records, are what the oracle says, less what names a record that has gone."""
    uids = {kind: {row["id"]: row["uid"] for row in tables[TABLE[kind]] if "id" in row} for kind in TABLE}
    alive = {f"{kind}:{uid}" for (kind, uid), fields in states.items() if fields.get(walk_oracle.ALIVE)}
    for kind, table in TABLE.items():
        for row in tables[table]:
            fields = states.get((kind, row["uid"]), {})
            for column, target in REFERENCES.items():
                if column in row:
                    named = row[column] and f"{target}:{uids[target][row[column]]}"
                    assert named == (fields.get(column) if fields.get(column) in alive else None), (row, fields)
            for column in ("assigned_tasks", "monitored_needs"):
                if column in row and row["origin"] == "record":
                    elements = {
                        name.partition("/")[2]
                        for name, value in fields.items()
                        if value and name.startswith(f"{column}/")
                    }
                    assert set(row[column] or ()) == elements & alive, (row, fields)
    edges = {
        (fields["source"], fields["type"], fields["target"], fields.get("metadata"))
        for (kind, _), fields in states.items()
        if kind == "relationship" and fields.get(walk_oracle.ALIVE) and {fields["source"], fields["target"]} <= alive
    }
    shown = {
        (row["source"], row["type"], row["target"], row["metadata"])
        for row in tables["relationships"]
        if row["origin"] == "record"
    }
    assert {edge for edge in shown if not edge[0].startswith(FILES) and not edge[2].startswith(FILES)} == edges


@pytest.fixture
def template(tmp_path: Path) -> Path:
    """A bare origin and five clones of it, with hooks and indexes, for each walk to copy."""
    folder = tmp_path / "template"
    folder.mkdir()
    repo = cli.workspace(folder)
    for n in range(3):
        row = cli.need(repo, f"Need {n}", status=NEED_STATUSES[n], priority=n + 1)
        task = cli.add(repo, "task", description=f"Task {n}", need_id=row["uid"])
        cli.add(repo, "agent", agent_type="worker", assigned_tasks=[task["uid"]], monitored_needs=[row["uid"]])
        cli.link(repo, f"task:{task['uid']}", "blocks", f"need:{row['uid']}")
    for n in range(5):
        cli.write(repo, f"c{n}/f.md", f"file {n}\n")
    cli.save(repo, "what all share")
    git(folder, "clone", "-q", "--bare", "repo", "origin.git", env={"HOME": str(folder)})
    for n in range(5):
        clone = cli.clone(folder / "origin.git", f"c{n}")
        git(clone, "remote", "set-url", "origin", "../origin.git")
        git(clone, "config", "advice.detachedHead", "false")
    shutil.rmtree(repo)
    return folder


def test_random_walk(template):
    """See above; nothing that was done by anybody is lost, and nothing tells the clones apart in the end."""
    Walk.template = template
    run_state_machine_as_test(Walk, settings=settings(max_examples=WALKS, stateful_step_count=LENGTH))
    print(f"{Walk.counts[0]} walks, {Walk.counts[1]} steps")
