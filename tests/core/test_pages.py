"""PROBLEM.md read back: what the compiler wrote is read as what it was made from, and an edit as what it says."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from viewed import template

from mlos_sync.core import adopting, meaning, pages, views
from mlos_sync.core.adopting import Addition, Change, Setting, Standing
from mlos_sync.core.vocabulary import NEED_STATUSES, OPEN_NEEDS, TASK_STATUSES

MARKUP = r"#->|`*_~[]<>&;\ ·○●.!1xé漢" + "\u200b\u202e\x1b\t\r\x85"
LOOKALIKES = [
    "x · need-abcdef", "need-abcdef", "y · task-abcdef · open · high", "- [ ] box", "[x] box", "# heading", "> quote",
    "a ·", "· b", "·", "&lt;", "__init__", r"C:\dir\*", "○ ○ marks", "```", "---", "| a | b |", "two  blanks", "\ttab",
]  # fmt: skip
words = st.one_of(st.sampled_from(LOOKALIKES), st.text(MARKUP, min_size=1, max_size=12)).filter(
    lambda one: views.md(one)
)
texts = st.lists(st.one_of(words, st.just("")), max_size=4).map("\n".join)
priorities = st.sampled_from([None, 1, 2, 3, 4, 5])


@st.composite
def problem_pages(draw):
    """A page as the compiler has it before it is text."""
    digits = iter(f"{n:06x}" for n in range(0xA00000, 0xA000FF))

    def tasks(most):
        return tuple(
            views.TaskItem(f"task-{next(digits)}", draw(words), draw(st.sampled_from(TASK_STATUSES)), draw(priorities))
            for _ in range(draw(st.integers(0, most)))
        )

    groups = []
    for heading in draw(st.sampled_from([(), (None,), ("alpha", "No scope"), ("a *b*",)])):
        depth, needs = 0, []
        for _ in range(draw(st.integers(1, 3))):
            related = tuple(
                views.Related(path, draw(st.one_of(texts, st.sampled_from(["] x", "x] y", "[ ] z"]))), "references", here) for path, here in draw(st.sampled_from([
                    (), (("run.py", True),), (("[x] odd", False), ("a/b c.md", True)), (("] x", True), ("[ ] y", True)),
                ]))
            )  # fmt: skip
            needs.append(
                views.NeedItem(
                    f"need-{next(digits)}", draw(words), draw(texts), draw(st.sampled_from(OPEN_NEEDS)),
                    draw(priorities), depth=depth, part_of=draw(st.sampled_from([None, "need-ffffff"])),
                    tasks=tasks(2), related=related,
                )
            )  # fmt: skip
            depth = draw(st.integers(0, depth + 1))
        groups.append(views.Group(heading, tuple(needs)))
    time = "2026-11-20T10:00:00Z"
    front = views.Front("problem", "Problem", time, time, draw(texts), "", "", time)
    return views.ProblemPage("PROBLEM.md", front, tuple(groups), tasks(2), 1, 1)


def rendered(page):
    return views.render(template("problem"), page).decode()


def records(page):
    """The records that a page was made from, by name."""
    needs = [need for group in page.groups for need in group.needs]
    tasks = [task for need in needs for task in need.tasks] + list(page.loose)
    named = {need.name: Standing(need.name, need.title, need.status, need.priority, need.description) for need in needs}
    return named | {task.name: Standing(task.name, task.text, task.status, task.priority) for task in tasks}


@given(problem_pages())
@settings(max_examples=150)
def test_a_compiled_page_is_read_as_what_it_was_made_from(page):
    """Whatever titles and descriptions hold: each item with its texts, its status and its priority."""
    found = pages.read(rendered(page))
    wanted = records(page)
    assert {item.name for item in found.items} == set(wanted)
    for item in found.items:
        record = wanted[item.name]
        assert views.md(item.text) == views.md(record.text)
        assert meaning.status_of(item.kind, item.status) == record.status
        assert meaning.priority_of(item.priority) == (record.priority or 0)
        assert item.sign == meaning.sign_of(item.kind, record.status)
        if item.kind == "need":
            assert "\n".join(map(views.md, map(views.plain, item.description))) == "\n".join(
                views.lines(record.description)
            )


@given(problem_pages(), st.sampled_from(["\n", "\r\n"]), st.booleans())
@settings(max_examples=150)
def test_what_nobody_edited_changes_nothing(page, end, cut):
    """Nor do other line ends, or an editor that cuts blanks at the end of lines and leaves more blank lines."""
    text = rendered(page)
    edited = re.sub(r" +\n", "\n", text).replace("\n\n", "\n\n\n") if cut else text
    outcome = adopting.adopt(pages.read(text), pages.read(edited.replace("\n", end)), Setting(records(page), {}))
    assert (outcome.changes, outcome.rest) == ([], [])


@given(problem_pages(), st.data())
@settings(max_examples=150)
def test_no_added_or_lost_line_goes_unnamed(page, data):
    """A line of prose anywhere, and a line taken out, are in the changes or in the rest."""
    lines = rendered(page).rstrip("\n").split("\n")
    at = data.draw(st.integers(0, len(lines)))
    added = data.draw(
        st.sampled_from(["Some prose", "1. numbered", "- bullet", "| table |", "## Section", "<!-- note -->"])
    )
    base, setting = pages.read(rendered(page)), Setting(records(page), {})
    outcome = adopting.adopt(base, pages.read("\n".join([*lines[:at], added, *lines[at:]])), setting)
    assert added in [one.text for one in outcome.rest]
    gone = data.draw(st.integers(0, len(lines) - 1))
    outcome = adopting.adopt(base, pages.read("\n".join([*lines[:gone], *lines[gone + 1 :]])), setting)
    assert not lines[gone].strip() or outcome.changes or outcome.rest or lines[gone] == f"## {pages.LOOSE}"


@given(problem_pages(), st.data())
@settings(max_examples=150)
def test_whatever_was_done_to_a_page_is_read(page, data):
    """Lines cut, doubled, swapped and broken: changes are of records that the page still names, and nothing is raised."""
    lines = rendered(page).split("\n")
    for _ in range(data.draw(st.integers(1, 6))):
        at, other = (data.draw(st.integers(0, len(lines) - 1)) for _ in range(2))
        match data.draw(st.sampled_from(["swap", "double", "cut", "break", "move"])):
            case "swap":
                lines[at], lines[other] = lines[other], lines[at]
            case "double":
                lines.insert(other, lines[at])
            case "cut":
                lines[at] = lines[at][: data.draw(st.integers(0, len(lines[at])))]
            case "break":
                here = data.draw(st.integers(0, len(lines[at])))
                lines[at : at + 1] = [lines[at][:here] + data.draw(st.text(MARKUP, max_size=4)), lines[at][here:]]
            case "move":
                lines.insert(other, lines.pop(at))
    now = records(page)
    outcome = adopting.adopt(pages.read(rendered(page)), pages.read("\n".join(lines)), Setting(now, {}))
    for one in outcome.changes:
        assert views.lines(str(one.new)) != views.lines(str(one.old)) if isinstance(one, Change) else one.text
    named = {name for name in now if any(line.endswith(f" · {name}") or f" · {name} · " in line for line in lines)}
    assert {one.name for one in outcome.changes if isinstance(one, Change)} <= named


@given(st.text(MARKUP, max_size=30))
def test_a_line_of_markdown_is_read_back_to_what_it_shows(text):
    """`md` of what was read gives the same line again."""
    assert views.md(views.plain(views.md(text))) == views.md(text)


@pytest.mark.parametrize("kind", ["need", "task"])
def test_a_walk_takes_only_allowed_steps(kind):
    """From each status to each: a way of allowed steps, or none."""
    statuses = NEED_STATUSES if kind == "need" else TASK_STATUSES
    for old in statuses:
        for new in statuses:
            way = meaning.walk(kind, old, new)
            if way is not None:
                assert way == () if old == new else way[-1] == new
                assert set(zip((old, *way), way, strict=False)) <= set(meaning._STEPS[kind])
                assert kind == "task" or not {"deferred", "resolved"} & set(way[:-1])


def test_needs_walk_on_and_never_back():
    """Backwards there is a way only by giving up or resolving, which nobody said."""
    assert meaning.walk("need", "identified", "resolved") == ("active", "actionable", "in_progress", "resolved")
    assert meaning.walk("need", "in_progress", "active") is None
    assert meaning.walk("task", "completed", "failed") == ("open", "failed")


BASE = """---
title: x
---

# Problem

## alpha

### ○ First · need-aaaaaa

identified · no priority

> old

- [ ] Work · task-bbbbbb · assigned · high

## Tasks without a need

- [ ] Loose · task-cccccc · open · no priority
"""
NOW = {
    "need-aaaaaa": Standing("a" * 32, "First", "identified", None, "old"),
    "task-bbbbbb": Standing("b" * 32, "Work", "assigned", 2),
    "task-cccccc": Standing("c" * 32, "Loose", "open", None),
}


def outcome(*edits, now=None, scopes=None):
    text = BASE
    for old, new in edits:
        assert old in text
        text = text.replace(old, new, 1)
    return adopting.adopt(
        pages.read(BASE), pages.read(text), Setting(NOW | (now or {}), scopes or {"alpha": ["alpha"]})
    )


def told(found):
    return [
        (one.name, one.field, one.old, one.new) if isinstance(one, Change) else ("new", one.kind, one.text, one.above)
        for one in found.changes
    ], [(one.line, one.text) for one in found.rest]


@pytest.mark.parametrize(
    ("edit", "change"),
    [
        (("○ First", "○ Second"), ("need-aaaaaa", "title", "First", "Second")),
        (("### ○ First", "### First *now*"), ("need-aaaaaa", "title", "First", "First *now*")),
        (("○ First", "◔ First"), ("need-aaaaaa", "status", "identified", "active")),
        (("identified ·", "deferred ·"), ("need-aaaaaa", "status", "identified", "deferred")),
        (("identified · no priority", "identified · Critical"), ("need-aaaaaa", "priority", None, 1)),
        (("> old", "> new"), ("need-aaaaaa", "description", "old", "new")),
        (("> old\n", ""), ("need-aaaaaa", "description", "old", None)),
        (("[ ] Work", "[x] Work"), ("task-bbbbbb", "status", "assigned", "completed")),
        (("[ ] Work", "[X] Work"), ("task-bbbbbb", "status", "assigned", "completed")),
        (("assigned · high", "in progress · high"), ("task-bbbbbb", "status", "assigned", "in_progress")),
        (("assigned · high", "assigned · no priority"), ("task-bbbbbb", "priority", 2, None)),
        (("- [ ] Loose", "* [ ] Loser"), ("task-cccccc", "description", "Loose", "Loser")),
    ],
)
def test_one_edit_is_one_change(edit, change):
    """Marks, words, boxes and texts; nothing of it is left over."""
    assert told(outcome(edit)) == ([change], [])


def test_sign_and_word_that_agree_are_one_change_and_those_that_do_not_are_none():
    """`[x] … completed` is said twice; `[x] … failed` is said to be two things."""
    both = outcome(("- [ ] Work · task-bbbbbb · assigned", "- [x] Work · task-bbbbbb · completed"))
    assert told(both) == ([("task-bbbbbb", "status", "assigned", "completed")], [])
    apart = outcome(("- [ ] Work · task-bbbbbb · assigned", "- [x] Work · task-bbbbbb · failed"))
    assert told(apart)[0] == []
    assert "different things" in apart.rest[0].why


def test_a_record_that_was_changed_since_is_a_conflict_unless_both_say_the_same():
    """The edit of an older page does not undo what was done since."""
    since = {"need-aaaaaa": Standing("a" * 32, "Third", "identified", None, "old")}
    found = outcome(("○ First", "○ Second"), now=since)
    assert not found.changes and "conflict" in found.rest[0].why and "Third" in found.rest[0].why
    assert told(outcome(("○ First", "○ Third"), now=since)) == ([], [])
    assert told(outcome(("> old", "> new"), now=since))[0] == [("need-aaaaaa", "description", "old", "new")]


def test_new_needs_and_tasks_stand_where_they_are_written():
    """Below a heading of a scope, below a need, below a new need."""
    new = "### Fresh\n\nactive · 1\n\n> why\n>\n> so\n\n- [x] done · completed · low\n\n#### ◔ Inner\n\n- [ ] deep\n\n"
    found = outcome(("## Tasks", new + "## Tasks"), ("- [ ] Loose", "- [ ] Other\n- [ ] Loose"))
    fresh, done, inner, deep, other = found.changes
    assert not found.rest
    assert (fresh.text, fresh.status, fresh.priority, fresh.description, fresh.scope, fresh.above) == (
        "Fresh", "active", 1, "why\n\nso", "alpha", None,
    )  # fmt: skip
    assert (done.text, done.status, done.priority, done.above) == ("done", "completed", 4, fresh.key)
    assert (inner.text, inner.status, inner.above, deep.above) == ("Inner", "active", fresh.key, inner.key)
    assert (other.text, other.above, other.status) == ("Other", None, "open")
    below = outcome(("## Tasks", "#### Child\n\n## Tasks")).changes[0]
    assert isinstance(below, Addition) and below.above == "a" * 32


@pytest.mark.parametrize(
    ("edits", "why"),
    [
        ([("title: x", "title: y")], "frontmatter"),
        (
            [("### ○ First", "#### ○ First"), ("## alpha", "## alpha\n\n### ○ First · need-dddddd")],
            "moved to another need",
        ),
        ([("## alpha", "## beta")], "headings are computed"),
        ([("## alpha", "Prose\n\n## alpha")], "no record holds this text"),
        ([("- [ ] Work · task-bbbbbb · assigned · high\n", "")], "mlos-sync task delete task-bbbbbb"),
        ([("· need-aaaaaa", "· need-aaaaaa and more")], "which has lost its place"),
        ([(" · need-aaaaaa", "")], "which has lost its place"),
        ([("identified ·", "done ·")], "is no status"),
        ([("assigned · high", "done · high")], "is no status"),
        ([("assigned · high", "assigned · highest")], "is no priority"),
        ([("[ ] Work", "[?] Work")], "is no sign"),
        ([("○ First ·", "○  ·")], "cannot be empty"),
        ([("## Tasks", "### Copy · need-dddddd\n\n## Tasks")], "without a name it is a new need"),
        ([("## Tasks", "## gamma\n\n### New\n\n## Tasks")], "is no scope of this page"),
        ([("# Problem", "# Problem\n\n- [ ] adrift")], "a new task stands below a need"),
        ([("\n## Tasks", "- [ ] W · task-bbbbbb · assigned · high\n\n## Tasks")], "more than once"),
        ([("identified · no priority", "identified · no priority · part of need-dddddd")], "is computed"),
    ],
)
def test_what_no_record_takes_is_named(edits, why):
    """With its line, and with what to type where there is something."""
    found = outcome(*edits)
    assert not found.changes
    assert any(why in one.why for one in found.rest), found.rest


def test_lines_without_a_name_that_were_there_before_are_not_new():
    """A template of the workspace's own may have a list of its own; one that is gone is named."""
    base = BASE.replace("## Tasks", "### Rules\n\n- [ ] wash hands\n\n## Tasks")
    setting = Setting(NOW, {"alpha": ["alpha"]})
    assert adopting.adopt(pages.read(base), pages.read(base), setting).changes == []
    found = adopting.adopt(pages.read(base), pages.read(base.replace("- [ ] wash hands\n", "")), setting)
    assert told(found) == ([], [(None, "- [ ] wash hands")])


def test_a_heading_that_may_be_two_scopes_is_none():
    """Blanks are flattened, so two scopes may be written alike."""
    found = outcome(("## Tasks", "### New\n\n## Tasks"), scopes={"alpha": ["alpha", " alpha"]})
    assert not found.changes and "several scopes" in found.rest[0].why


def test_lines_of_a_description_that_were_not_edited_keep_every_byte():
    """What the page cannot show, blanks and line ends, is no part of an edit."""
    raw = "\n one\t\r\ntwo  \nthree\n"
    assert adopting._merged(raw, ["one", "two", "more"]) == "\n one\t\r\ntwo  \nmore\n"
