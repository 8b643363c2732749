"""The status view: what is ready, running and blocked, by uid, as `ready` says it."""

from viewed import NEED, OTHER, TASK, compile_all, fill, make_workspace, opened, root, sql

from mlos_sync.app import readying


def edge(kind, source, uid, target, other):
    return (
        "INSERT INTO relationships(source_type, source_id, relationship_type, target_type, target_id)"
        f" SELECT ?, s.id, ?, ?, t.id FROM {source}s s, {target}s t WHERE s.uid = ? AND t.uid = ?",
        (source, kind, target, uid, other),
    )


def page(place):
    compile_all(place, "views/status.md")
    return (root(place) / "views/status.md").read_text()


def section(text, title):
    return text.partition(f"## {title}\n\n")[2].partition("\n## ")[0]


def test_what_is_ready_running_and_blocked(tmp_path):
    """Each task once, under the heading of its state, with what it waits for; titles are shown as text."""
    place = make_workspace(tmp_path)
    fill(place)
    sql(
        place,
        ("INSERT INTO tasks(uid, need_id, description) SELECT ?, id, 'Wait *here*' FROM needs WHERE uid = ?", ("e" * 32, OTHER)),
        edge("blocks", "task", TASK, "need", OTHER),
    )  # fmt: skip
    text = page(place)
    assert "1 ready, 1 in progress, 1 blocked.\n" in text
    assert "- [ ] Loose end · task-" in section(text, "Ready")
    running = section(text, "In progress")
    assert "- [/] Add jitter · task-5d0c9e · in progress · high · for need-3f9a2c Make \\*retries\\*" in running
    blocked = section(text, "Blocked").rstrip("\n").split("\n")
    assert blocked == [
        "- [ ] Wait \\*here\\* · task-eeeeee · open · high · for need-77aa11 Child",
        "  - blocks need-77aa11: Add jitter · task-5d0c9e · in progress",
    ]
    assert "## Circles" not in text


def test_circles_are_named_by_uid(tmp_path):
    """Whatever their numbers are."""
    place = make_workspace(tmp_path)
    one, two = "b" * 32, "a" * 32
    sql(
        place,
        *(("INSERT INTO tasks(uid, description) VALUES (?, ?)", (uid, uid[0])) for uid in (one, two)),
        edge("blocks", "task", one, "task", two),
        edge("enables", "task", two, "task", one),
    )  # fmt: skip
    assert "- task-aaaaaa → task-bbbbbb → task-aaaaaa\n" in section(page(place), "Circles")


def test_nothing_to_do(tmp_path):
    """Three zeros, and no empty heading."""
    text = page(make_workspace(tmp_path))
    assert text.rstrip("\n").endswith("0 ready, 0 in progress, 0 blocked.") and "##" not in text


def test_it_says_what_ready_says(tmp_path):
    """The same tasks in both."""
    place = make_workspace(tmp_path)
    fill(place)
    text = page(place)
    with opened(place) as index:
        found = readying.ready(index)
    assert section(text, "Ready").count("- [") == len(found["ready"]) and "## Blocked" not in text
    assert NEED[:6] in section(text, "In progress")
