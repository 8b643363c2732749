"""What is connected, and what can be worked on: by example, and against slow and simple oracles on random graphs."""

from __future__ import annotations

import itertools
import random

import pytest
from cli import add, change, delete, link, need, run, save, synced, workspace, write

from mlos_sync.app import readying, relating
from mlos_sync.core.circles import knots
from mlos_sync.edge import store

SEED = random.randrange(1 << 32)
COLUMNS = "source_type, source_id, relationship_type, target_type, target_id"


@pytest.fixture(scope="module")
def empty():
    """An index in memory, for graphs that no git is needed for."""
    return store.create(":memory:")


@pytest.fixture
def graph(empty):
    """A function that fills the index with needs, tasks and edges; all is taken back afterwards."""
    empty.execute("BEGIN")
    empty.execute("INSERT INTO context(id, capture, door) VALUES (1, 0, 'test')")

    def fill(needs=(), tasks=(), edges=()):
        for one in needs:
            insert(empty, "needs", {"title": "n", "status": "active"} | one)
        for one in tasks:
            insert(empty, "tasks", {"description": "t", "status": "open"} | one)
        for one in edges:
            (source, kind, target) = one.split()
            ends = [*source.split(":"), kind, *target.split(":")]
            empty.execute(f"INSERT INTO relationships({COLUMNS}) VALUES (?, ?, ?, ?, ?)", ends)
        return empty

    yield fill
    empty.execute("ROLLBACK")


def insert(db, table, row):
    db.execute(f"INSERT INTO {table}({', '.join(row)}) VALUES ({', '.join('?' * len(row))})", list(row.values()))


def reached(db, ref, hops, kinds=()):
    """{reference: distance}."""
    kind, number = ref.split(":")
    return {one["ref"]: one["hops"] for one in relating.around(db, (kind, int(number)), hops, kinds)}


def numbered(count, **columns):
    return [{"id": n, **columns} for n in range(1, count + 1)]


# --- related


def test_a_chain_is_walked_in_both_directions(graph):
    """Distance is the number of edges, whichever way they point."""
    db = graph(
        numbered(5),
        [],
        ["need:1 blocks need:2", "need:3 blocks need:2", "need:3 enables need:4", "need:5 blocks need:4"],
    )
    assert reached(db, "need:2", 1) == {"need:1": 1, "need:3": 1}
    assert reached(db, "need:1", 9) == {"need:2": 1, "need:3": 2, "need:4": 3, "need:5": 4}
    assert reached(db, "need:1", 2) == {"need:2": 1, "need:3": 2}
    assert reached(db, "need:1", 9, ["task"]) == {}


def test_the_way_is_told_from_the_start_on(graph):
    """`via` has an edge for each hop, as it stands in the table."""
    db = graph(numbered(2), [{"id": 7, "need_id": None}], ["task:7 references need:2", "need:2 blocks need:1"])
    (last,) = [one for one in relating.around(db, ("need", 1), 2) if one["hops"] == 2]
    assert last["ref"] == "task:7" and last["title"] == "t" and len(last["uid"]) == 32
    assert last["via"] == [
        {"source": "need:2", "type": "blocks", "target": "need:1"},
        {"source": "task:7", "type": "references", "target": "need:2"},
    ]


def test_columns_connect_as_edges_do(graph):
    """A need's parent, a task's agent, an agent's tasks: by the name of the column."""
    db = graph([{"id": 1}, {"id": 2, "parent_need_id": 1}])
    insert(db, "agents", {"id": 3, "agent_type": "janitor", "status": "active"})
    insert(db, "tasks", {"id": 4, "description": "t", "status": "open", "assigned_agent_id": 3})
    insert(db, "tasks", {"id": 5, "description": "t", "status": "open"})
    db.execute("UPDATE agents SET assigned_tasks = '[5]'")
    assert reached(db, "need:1", 1) == {"need:2": 1} and reached(db, "need:2", 1) == {"need:1": 1}
    assert reached(db, "task:4", 2) == {"agent:3": 1, "task:5": 2}
    assert relating.around(db, ("task", 5), 1)[0]["via"][0]["type"] == "assigned_tasks"


def test_circles_are_harmless(graph):
    """Also one in which everything is next to everything, and an edge in each direction."""
    names = [f"need:{n}" for n in range(1, 6)]
    db = graph(numbered(5), [], [f"{a} references {b}" for a, b in itertools.permutations(names, 2)])
    assert reached(db, "need:3", 100) == {name: 1 for name in names if name != "need:3"}


@pytest.mark.parametrize("round_", range(20))
def test_distances_are_those_of_a_slow_walk(graph, round_):
    """Random graphs: the same ends at the same distance as by widening a set of ends edge by edge."""
    dice = random.Random(f"{SEED} {round_}")
    print(f"seed {SEED}")
    ends = [*(f"need:{n}" for n in range(1, 9)), *(f"task:{n}" for n in range(1, 9))]
    edges = {tuple(dice.sample(ends, 2)) for _ in range(dice.randrange(4, 24))}
    db = graph(numbered(8), numbered(8), [f"{a} {dice.choice(['blocks', 'produced'])} {b}" for a, b in edges])
    hops = dice.randrange(1, 6)
    slow, circle = {}, {"need:1"}
    for distance in range(1, hops + 1):
        circle |= {end for edge in edges for end in edge if circle & set(edge)}
        slow |= {end: slow.get(end, distance) for end in circle - {"need:1"}}
    assert reached(db, "need:1", hops) == slow
    for one in relating.around(db, ("need", 1), hops):
        at = "need:1"
        for edge in one["via"]:
            assert at in (edge["source"], edge["target"])
            at = edge["target"] if edge["source"] == at else edge["source"]
        assert at == one["ref"] and len(one["via"]) == one["hops"]


def test_the_number_of_queries_grows_with_hops_not_with_edges(graph):
    """A level a query: 300 edges at one end cost as many statements as one edge does."""
    counts = []
    db = graph(numbered(301), [], [f"need:1 blocks need:{n}" for n in range(2, 302)])
    for start in (1, 2):
        asked = []
        db.set_trace_callback(asked.append)
        found = relating.around(db, ("need", start), 2)
        db.set_trace_callback(None)
        assert len(found) == 300
        counts.append(len(asked))
    assert counts == [4, 4]


def test_related_from_the_command_line(tmp_path):
    """Files and commits too; --hops and --kind; a path for a reference; what is no number or kind is usage."""
    repo = workspace(tmp_path)
    need(repo, "Know why", status="actionable")
    write(repo, "notes/note.md", "x\n")
    sha = save(repo, "The note\n\nTask: 1")
    synced(repo)
    found = run(repo, "related", "notes/note.md", "--hops", "3", "--json").json["related"]
    assert [(one["ref"], one["hops"]) for one in found] == [("task:1", 1), (f"commit:{sha}", 2), ("need:1", 2)]
    assert found[2]["via"][0] == {"source": "artifact:notes/note.md", "type": "derived_from", "target": "task:1"}
    only = run(repo, "related", "need:1", "--kind", "artifact", "--json").json["related"]
    assert [one["ref"] for one in only] == ["artifact:notes/note.md"] and set(only[0]) >= {"ref", "hops", "via"}
    assert "task:1 derived_from need:1" in run(repo, "related", "need:1").out
    for arguments in (["--hops", "0"], ["--kind", "poem"], ["--hops", "many"]):
        assert run(repo, "related", "need:1", *arguments, ok=False).code == 2
    assert run(repo, "related", "need:9", ok=False).code == 2


# --- ready


def judged(db, scope=None):
    """({ready tasks in order}, {blocked task: [what it waits for]}, circles)."""
    found = readying.judged(db, scope)
    return (
        [one["id"] for one in found["ready"]],
        {one["id"]: sorted(by["ref"] for by in one["by"]) for one in found["blocked"]},
        found["cycles"],
    )


def test_most_urgent_first_with_the_priority_of_the_need(graph):
    """Its own, its need's, that of the nearest need above; none comes last; then the older one."""
    needs = [
        {"id": 1, "priority": 3},
        {"id": 2, "parent_need_id": 1},
        {"id": 3, "parent_need_id": 2, "priority": 1},
        {"id": 4},
    ]
    tasks = [
        {"id": 1, "need_id": 4}, {"id": 2, "need_id": 2}, {"id": 3, "need_id": 3}, {"id": 4, "need_id": 3, "priority": 5},
        {"id": 5, "priority": 2}, {"id": 6, "need_id": 1}, {"id": 7},
    ]  # fmt: skip
    found = readying.judged(graph(needs, tasks))
    assert [one["id"] for one in found["ready"]] == [3, 5, 2, 6, 4, 1, 7]
    assert [one["effective_priority"] for one in found["ready"]] == [1, 2, 3, 3, 5, None, None]
    assert found["ready"][0]["priority"] is None and found["ready"][0]["need"]["ref"] == "need:3"


def test_what_is_asked_about(graph):
    """Open and assigned tasks whose need is neither resolved nor deferred; a scope narrows."""
    states = ["identified", "active", "actionable", "in_progress", "resolved", "deferred"]
    needs = [{"id": n, "status": one, "scope": "core" if n % 2 else "edge"} for n, one in enumerate(states, 1)]
    tasks = [{"id": n, "need_id": n} for n in range(1, 7)]
    statuses = ["open", "assigned", "in_progress", "completed", "failed", "cancelled"]
    tasks += [{"id": n, "status": one} for n, one in enumerate(statuses, 7)]
    db = graph(needs, tasks)
    assert judged(db) == ([1, 2, 3, 4, 7, 8], {}, [])
    assert judged(db, "core")[0] == [1, 3]


@pytest.mark.parametrize("word", ["blocks", "enables"])
@pytest.mark.parametrize(
    ("edge", "waits"),
    [
        ("task:2 {} task:1", ["task:2"]), ("need:3 {} task:1", ["need:3"]), ("need:3 {} need:2", ["need:3"]),
        ("task:2 {} need:2", ["task:2"]), ("need:3 {} need:1", ["need:3"]), ("task:2 {} need:1", ["task:2"]),
        ("task:1 {} task:2", []), ("need:2 {} need:3", []), ("need:4 {} task:1", []), ("task:3 {} task:1", []),
        ("need:5 {} task:1", ["need:5"]), ("task:4 {} task:1", ["task:4"]),
    ],
)  # fmt: skip
def test_what_holds_a_task_up(graph, word, edge, waits):
    """An unresolved need or an unfinished task, before the task, its need or a need above; either word of order."""
    needs = [
        {"id": 1},
        {"id": 2, "parent_need_id": 1},
        {"id": 3},
        {"id": 4, "status": "resolved"},
        {"id": 5, "status": "deferred"},
    ]
    tasks = [{"id": 1, "need_id": 2}, {"id": 2}, {"id": 3, "status": "completed"}, {"id": 4, "status": "in_progress"}]
    ready, blocked, circles = judged(graph(needs, tasks, [edge.format(word)]))
    assert blocked.get(1, []) == waits and (1 in ready) is not bool(waits) and circles == []


def test_other_edges_and_other_ends_hold_nothing_up(graph):
    """Only `blocks` and `enables`, only from needs and tasks."""
    db = graph(
        numbered(2),
        [{"id": 1, "need_id": 1}],
        [f"need:2 {word} task:1" for word in ("references", "derived_from", "monitors")],
    )
    insert(db, "agents", {"id": 1, "agent_type": "janitor", "status": "active"})
    db.execute(f"INSERT INTO relationships({COLUMNS}) VALUES ('agent', 1, 'blocks', 'task', 1)")
    assert judged(db) == ([1], {}, [])


def test_parts_of_a_need_do_not_hold_up_its_other_parts(graph):
    """They have to be done before the need is resolved, which is what the edge says of them."""
    needs = [{"id": 1}, {"id": 2, "parent_need_id": 1}, {"id": 3, "parent_need_id": 1}]
    tasks = [{"id": 1, "need_id": 1}, {"id": 2, "need_id": 1}, {"id": 3, "need_id": 2}, {"id": 4, "need_id": 3}]
    db = graph(
        needs, tasks, ["task:1 blocks need:1", "task:2 blocks need:1", "need:2 blocks need:1", "task:4 blocks need:1"]
    )
    assert judged(db) == ([1, 2, 3, 4], {}, [])
    db.execute(f"INSERT INTO relationships({COLUMNS}) VALUES ('need', 2, 'blocks', 'need', 3)")
    assert judged(db) == ([1, 2, 3], {4: ["need:2"]}, [])


def test_circles_are_named_and_end(graph):
    """Of two, of five through a need's task, and of a parent with itself; each of their tasks says so."""
    db = graph(
        [*numbered(3), {"id": 4, "parent_need_id": None}],
        [{"id": 1}, {"id": 2}, {"id": 3, "need_id": 1}, {"id": 4, "need_id": 2}, {"id": 5}, {"id": 6}],
        [
            "task:1 blocks task:2",
            "task:2 blocks task:1",
            "need:1 blocks need:2",
            "task:4 blocks task:3",
            "task:1 blocks task:5",
            "task:2 blocks task:5",
            "task:5 blocks task:6",
        ],
    )
    found = readying.judged(db)
    assert found["ready"] == []
    assert found["cycles"] == [
        ["need:1", "task:3", "task:4", "need:1"],  # need:1 waits for its task:3, that for task:4, and that for need:1
        ["task:1", "task:2", "task:1"],
    ]
    assert {one["id"]: [by["in_cycle"] for by in one["by"]] for one in found["blocked"]}[5] == [True, True]
    assert [by["in_cycle"] for one in found["blocked"] if one["id"] == 6 for by in one["by"]] == [False]
    db.execute("UPDATE needs SET parent_need_id = 3 WHERE id = 4")
    db.execute("UPDATE needs SET parent_need_id = 4 WHERE id = 3")
    insert(db, "tasks", {"id": 9, "description": "t", "status": "open", "need_id": 3})
    assert [one["id"] for one in readying.judged(db)["ready"]] == [9]


def test_a_long_chain_needs_no_deep_stack(graph):
    """10,000 tasks in a row, each before the next: one is ready."""
    count = 10_000
    db = graph([], numbered(count), [f"task:{n} blocks task:{n + 1}" for n in range(1, count)])
    found = readying.judged(db)
    assert [one["id"] for one in found["ready"]] == [1] and len(found["blocked"]) == count - 1 and found["cycles"] == []
    db.execute(f"INSERT INTO relationships({COLUMNS}) VALUES ('task', {count}, 'blocks', 'task', 1)")
    (circle,) = readying.judged(db)["cycles"]
    assert len(circle) == count + 1


@pytest.mark.parametrize("round_", range(30))
def test_readiness_is_what_the_rules_say(graph, round_):
    """Random needs, parents, tasks and edges, against the rules spelled out task by task."""
    dice = random.Random(f"{SEED} {round_}")
    print(f"seed {SEED}")
    states = ["active", "actionable", "resolved", "deferred"]
    needs = [
        {"id": n, "status": dice.choice(states), "parent_need_id": dice.choice([None, *range(1, n)]) if n > 1 else None}
        for n in range(1, 7)
    ]
    tasks = [
        {
            "id": n,
            "status": dice.choice(["open", "assigned", "in_progress", "completed"]),
            "need_id": dice.choice([None, *range(1, 7)]),
        }
        for n in range(1, 8)
    ]
    ends = [*(f"need:{n['id']}" for n in needs), *(f"task:{t['id']}" for t in tasks)]
    edges = {tuple(dice.sample(ends, 2)) for _ in range(dice.randrange(1, 9))}
    ready, blocked, _ = judged(graph(needs, tasks, [f"{a} {dice.choice(readying.ORDER)} {b}" for a, b in edges]))
    assert set(ready) == {n for n, waits in told(needs, tasks, edges).items() if not waits}
    assert {n: set(by) for n, by in blocked.items()} == {
        n: waits for n, waits in told(needs, tasks, edges).items() if waits
    }


def told(needs, tasks, edges):
    """{task asked about: what it waits for}, by the rules as docs/reference.md has them."""
    parent = {f"need:{n['id']}": n["parent_need_id"] for n in needs} | {f"task:{t['id']}": t["need_id"] for t in tasks}
    done = {f"need:{n['id']}" for n in needs if n["status"] == "resolved"}
    done |= {f"task:{t['id']}" for t in tasks if t["status"] == "completed"}
    aside = {f"need:{n['id']}" for n in needs if n["status"] == "deferred"}

    def above(end):
        number = parent[end]
        return [] if number is None else [f"need:{number}", *above(f"need:{number}")]

    found = {}
    for one in tasks:
        name, need_ = f"task:{one['id']}", f"need:{one['need_id']}"
        if one["status"] in ("open", "assigned") and need_ not in done | aside:
            held = {a for a, b in edges if b == name}
            held |= {a for a, b in edges if b in above(name) and b not in done and b not in above(a) and a != b}
            found[one["id"]] = held - done
    return found


@pytest.mark.parametrize("round_", range(20))
def test_knots_are_what_reaching_each_other_says(round_):
    """Random graphs: every set of ends that reach each other over a counted step, and a true circle in each."""
    dice = random.Random(f"{SEED} {round_}")
    print(f"seed {SEED}")
    ends = [("task", n) for n in range(10)]
    steps = {end: {} for end in ends}
    for _ in range(dice.randrange(5, 25)):
        a, b = dice.sample(ends, 2)
        steps[a][b] = dice.choice(["blocks", "part of"])
    reach = {a: {b for b in ends if b in _from(a, steps)} for a in ends}
    slow = {frozenset(b for b in ends if b in reach[a] and a in reach[b]) for a in ends if a in reach[a]}
    slow = {knot for knot in slow if any(word == "blocks" and b in knot for a in knot for b, word in steps[a].items())}
    found = knots(ends, steps.__getitem__, frozenset({"blocks"}))
    assert {knot.ends for knot in found} == slow
    for knot in found:
        words = [steps[a][b] for a, b in itertools.pairwise(knot.circle)]
        assert "blocks" in words and knot.circle[0] == knot.circle[-1] and len(set(knot.circle)) == len(words)


def _from(start, steps):
    """All that is reached by one step or more."""
    found, waiting = set(), [start]
    while waiting:
        fresh = [other for other in steps[waiting.pop()] if other not in found]
        found.update(fresh)
        waiting += fresh
    return found


def test_ready_from_the_command_line(tmp_path):
    """The list changes as work is done; --limit, --scope; what blocks is named; a circle is told."""
    repo = workspace(tmp_path)
    need(repo, "First", status="actionable", priority=2, scope="core")
    need(repo, "Second", status="actionable", priority=1, scope="edge")
    link(repo, "need:1", "enables", "need:2")
    add(repo, "task", description="Third", need_id="1")
    found = run(repo, "ready", "--json").json
    assert [one["id"] for one in found["ready"]] == [1, 3] and set(found["ready"][0]) >= {
        "uid",
        "ref",
        "effective_priority",
    }
    (blocked,) = found["blocked"]
    assert blocked["ref"] == "task:2"
    assert blocked["by"] == [
        {
            "ref": "need:1",
            "title": "First",
            "status": "actionable",
            "type": "enables",
            "of": "need:2",
            "in_cycle": False,
        }
    ]
    assert [one["id"] for one in run(repo, "ready", "--limit", "1", "--json").json["ready"]] == [1]
    said = run(repo, "ready", "--scope", "edge").out
    assert "no task is ready" in said and "need:1" in said
    link(repo, "need:2", "blocks", "need:1")
    assert "need:1 -> need:2 -> need:1" in run(repo, "ready").out
    for status in ("in_progress", "resolved"):
        change(repo, "need", "1", status=status)
    assert [one["id"] for one in run(repo, "ready", "--json").json["ready"]] == [2]
    delete(repo, "task", "2")
    assert run(repo, "ready", "--json").json["ready"] == []
    assert run(repo, "ready", "--limit", "0", ok=False).code == 2
