"""A hand edit of a view adopted: the records hold what the edit said, nothing else changed, and the view is sealed again."""

import itertools
import os
import pty
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from cli import quick, save, workspace
from copies import copied
from gitrepo import git
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from viewed import (
    NEED,
    OTHER,
    TASK,
    commit,
    compile_all,
    make_filled,
    make_workspace,
    opened,
    root,
    sql,
    template,
)

from mlos_sync.app import adopting, compiling
from mlos_sync.core import seal, views
from mlos_sync.core.vocabulary import NEED_STATUSES, OPEN_NEEDS, OPEN_TASKS, TASK_STATUSES
from mlos_sync.edge.workspace import find
from mlos_sync.errors import RefusedError, UsageError

PAGE = "PROBLEM.md"
LOOKALIKES = [
    "x · need-abcdef", "need-abcdef", "y · task-abcdef · open · high", "- [ ] box", "# heading", "> quote", "a ·", "· b",
    "&lt; &amp;", "__init__ snake_case", r"C:\dir\*", "○ ○ marks", "```", "---", "| a | `b` |", "two  blanks", "\x1b[31m",
    "漢 é \u202e", "line\nend",
]  # fmt: skip
MARKUP = r"#->|`*_~[]<>&;\ !1xé漢" + "\u200b\t"
hostile = st.one_of(st.sampled_from(LOOKALIKES), st.text(MARKUP, min_size=1, max_size=10)).filter(
    lambda one: views.md(one) and one.strip(" \t\n\v\f\r")
)
# What somebody writes for a new record must not look like one that has a name, nor like one with status and priority.
fresh = hostile.filter(lambda one: " · " not in one and not one.startswith("○"))
priorities = st.sampled_from([None, 1, 2, 3, 4, 5])
scopes = st.sampled_from([None, "alpha", "b *c*"])


@pytest.fixture
def place(tmp_path):
    return find(str(copied(with_views, tmp_path) / "repo"))


def with_views(folder):
    """Records and views of them, nothing of it committed."""
    compile_all(make_filled(folder))


def edit(place, *edits, path=PAGE):
    text = (root(place) / path).read_text()
    for old, new in edits:
        assert old in text, (old, text)
        text = text.replace(old, new, 1)
    (root(place) / path).write_text(text)


def proposed(place, path=PAGE):
    with opened(place) as index:
        return adopting.propose(index, path)


def adopted(place, path=PAGE):
    with opened(place) as index:
        proposal = adopting.propose(index, path)
        return proposal, adopting.accept(index, proposal)


def rows(place):
    """uid -> what a record says, needs and tasks alike, references as uids."""
    with opened(place) as index:
        return rows_in(index.db)


def rows_in(db):
    needs = db.execute(
        "SELECT n.uid, n.title, n.description, n.status, n.priority, n.scope, p.uid FROM needs n"
        " LEFT JOIN needs p ON p.id = n.parent_need_id"
    ).fetchall()
    tasks = db.execute(
        "SELECT t.uid, t.description, NULL, t.status, t.priority, NULL, n.uid FROM tasks t"
        " LEFT JOIN needs n ON n.id = t.need_id"
    ).fetchall()
    return {uid: tuple(values) for uid, *values in needs + tasks}


def assert_current(place, path=PAGE):
    """What stands on disk is sealed, and what a fresh compile writes."""
    with opened(place) as index:
        assert_current_in(index, path)


def assert_current_in(index, path):
    (one,) = compiling.plan(index, [path])
    assert one.state == compiling.CURRENT
    assert seal.check(one.on_disk).state == seal.VALID
    assert adopting.propose(index, path).edit is None


# --- any edit of any records


@st.composite
def worlds(draw):
    """Needs (title, description, status, priority, scope, parent) and tasks (text, status, priority, need)."""
    needs, tasks = [], []
    for n in range(draw(st.integers(0, 4))):
        parent = draw(st.sampled_from([None, *range(n)]))
        scope = draw(scopes) if parent is None else needs[parent][4]
        description = draw(st.one_of(st.none(), st.lists(st.one_of(hostile, st.just("")), max_size=3).map("\n".join)))
        needs.append((draw(hostile), description, draw(st.sampled_from(OPEN_NEEDS)), draw(priorities), scope, parent))
    for _ in range(draw(st.integers(0, 4))):
        need = draw(st.sampled_from([None, *range(len(needs))]))
        status = draw(st.sampled_from(OPEN_TASKS if need is None else TASK_STATUSES))
        tasks.append((draw(hostile), status, draw(priorities), need))
    return needs, tasks


def make(place, needs, tasks):
    world = next(WORLDS)
    sql(place, "DELETE FROM tasks", "UPDATE needs SET parent_need_id = NULL", "DELETE FROM needs")
    for n, (title, description, status, priority, scope, parent) in enumerate(needs):
        sql(place, (
            "INSERT INTO needs(uid, title, description, status, priority, scope, parent_need_id)"
            " SELECT ?, ?, ?, ?, ?, ?, (SELECT id FROM needs WHERE uid = ?)",
            (uid_of("a", n, world), title, description, status, priority, scope, uid_of("a", parent, world)),
        ))  # fmt: skip
    for n, (text, status, priority, need) in enumerate(tasks):
        sql(place, (
            "INSERT INTO tasks(uid, description, status, priority, need_id) SELECT ?, ?, ?, ?, (SELECT id FROM needs WHERE uid = ?)",
            (uid_of("b", n, world), text, status, priority, uid_of("a", need, world)),
        ))  # fmt: skip


WORLDS = itertools.count()  # the uid of a deleted record is never given again


def uid_of(digit, number, world):
    """Unlike each other in the first digits, and the tasks that needs get are unlike those made here."""
    return None if number is None else f"{digit}{number:05x}{world:026x}"


class Editor:
    """Somebody who edits the page, and knows what the records hold afterwards."""

    def __init__(self, text, before, data):
        self.lines, self.after, self.draw = text.split("\n"), dict(before), data.draw
        self.made = []  # what has no uid yet: its values, and the values of the need above it where that has none either

    def line_of(self, uid, kind):
        name = f"{kind}-{uid[:6]}"
        return next(
            n for n, line in enumerate(self.lines)
            if line.endswith(f" · {name}") or (line.startswith("- [") and f" · {name} · " in line)
        )  # fmt: skip

    def set(self, uid, **values):
        names = ("text", "description", "status", "priority", "scope", "above")
        old = dict(zip(names, self.after[uid], strict=True))
        self.after[uid] = tuple((old | values).values())

    def need(self, uid):
        title, description, *_ = self.after[uid]
        at, what = (
            self.line_of(uid, "need"),
            self.draw(st.sampled_from(["title", "status", "mark", "priority", "text", "add"])),
        )
        words = at + 2
        if what == "title":
            new = self.draw(hostile)
            head, name = self.lines[at].split(" ")[:2], self.lines[at].rpartition(" · ")[2]
            self.lines[at] = f"{head[0]} {head[1]} {views.md(new)} · {name}"
            self.set(uid, text=views.plain(views.md(new)) if views.md(new) != views.md(title) else title)
        elif what in ("status", "mark"):
            self.status(uid, at, what, self.draw(st.sampled_from(NEED_STATUSES)))
        elif what == "priority":
            new = self.draw(priorities)
            parts = self.lines[words].split(" · ")
            self.lines[words] = " · ".join([parts[0], views.priority(new), *parts[2:]])
            self.set(uid, priority=new)
        elif what == "text":
            self.describe(uid, words, description)
        else:
            text, box = self.draw(fresh), self.draw(st.sampled_from(["[ ]", "[x]"]))
            below = (n for n in range(words + 1, len(self.lines)) if self.lines[n] and self.lines[n][0] != ">")
            end = next(below, len(self.lines))
            self.lines[end:end] = ["", f"- {box} {views.md(text)}", ""]
            self.made.append(
                (views.plain(views.md(text)), None, "completed" if box == "[x]" else "open", None, None, uid)
            )

    def status(self, uid, at, what, new):
        title, _, status, priority, *_ = self.after[uid]
        if what == "mark":
            self.lines[at] = self.lines[at].replace(f" {views.mark(status)} ", f" {views.mark(new)} ", 1)
        else:
            parts = self.lines[at + 2].split(" · ")
            self.lines[at + 2] = " · ".join([views.words(new), *parts[1:]])
        if new == "deferred" or NEED_STATUSES.index(new) > NEED_STATUSES.index(status):
            self.set(uid, status=new)
            if new != "deferred" and status in NEED_STATUSES[:2] and NEED_STATUSES.index(new) >= 2:
                self.made.append((title, None, "open", priority, None, uid))  # an actionable need gets its task

    def describe(self, uid, words, description):
        new = self.draw(st.lists(hostile, min_size=1, max_size=3))
        end = words + 2
        while end < len(self.lines) and self.lines[end].startswith(">"):
            end += 1
        start = words + 2 if self.lines[words + 2 : end] else words + 1
        gap = [] if start > words + 1 else [""]
        self.lines[start : end if start > words + 1 else start] = [*gap, *(f"> {views.md(line)}" for line in new)]
        old = [views.md(line) for line in (description or "").split("\n")]
        shown = [views.md(line) for line in new]
        if "\n".join(old).strip("\n").split("\n") != shown:
            self.set(uid, description=("shown", shown))

    def task(self, uid):
        text, _, status, *_ = self.after[uid]
        at, what = self.line_of(uid, "task"), self.draw(st.sampled_from(["text", "status", "box", "priority"]))
        head, _, tail = self.lines[at].rpartition(f" · task-{uid[:6]} · ")
        name = f"task-{uid[:6]}"
        if what == "text":
            new = self.draw(hostile)
            self.lines[at] = f"{head[:5]} {views.md(new)} · {name} · {tail}"
            self.set(uid, text=views.plain(views.md(new)) if views.md(new) != views.md(text) else text)
        elif what == "priority":
            new = self.draw(priorities)
            self.lines[at] = f"{head} · {name} · {tail.split(' · ')[0]} · {views.priority(new)}"
            self.set(uid, priority=new)
        else:
            new = self.draw(st.sampled_from(TASK_STATUSES))
            if what == "status":
                self.lines[at] = f"{head} · {name} · {views.words(new)} · {tail.split(' · ')[1]}"
            else:
                self.lines[at] = f"- {views.box(new)}{self.lines[at][5:]}"
                new = status if views.box(new) == views.box(status) else "open" if views.box(new) == "[ ]" else new
            self.set(uid, status=new)

    def add_need(self, above):
        """A new need as the last child of another, or as the first below a heading."""
        if above is None:
            found = [line for line in self.lines if line.startswith("## ") and "Tasks without" not in line]
            head = self.draw(st.sampled_from(found or [next(line for line in self.lines if " open need" in line)]))
            at, level = self.lines.index(head) + 1, 3
            scope = {"## alpha": "alpha", r"## b \*c\*": "b *c*"}.get(head)
        else:
            at, scope = self.line_of(above, "need"), self.after[above][4]
            level = self.lines[at].index(" ") + 1
            if level > 6:
                return
            ends = (n for n in range(at + 1, len(self.lines)) if self.lines[n].startswith("#"))
            at = next(ends, len(self.lines))
        title, status, priority = self.draw(fresh), self.draw(st.sampled_from(OPEN_NEEDS[:2])), self.draw(priorities)
        self.lines[at:at] = ["", f"{'#' * level} {views.md(title)}", "", f"{status} · {views.priority(priority)}", ""]
        self.made.append((views.plain(views.md(title)), None, status, priority, scope, above))


def shown(values):
    """A description as a page shows it: what it was edited to is known line by line."""
    text, description, *others = values
    lines = description[1] if isinstance(description, tuple) else views.lines(description or "")
    return (text, "\n".join(lines), *others)


@pytest.fixture(scope="module")
def bench():
    """One workspace for all examples: its records are made anew each time."""
    with tempfile.TemporaryDirectory() as folder:
        yield make_workspace(Path(folder))


@pytest.mark.usefixtures("sealed")
@given(st.data(), worlds())
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_the_records_hold_what_the_edit_said_and_nothing_else_changed(bench, data, world):
    """Whatever records hold, and whatever of it was edited: old values stay to the byte, new ones are as written."""
    make(bench, *world)
    page = root(bench) / PAGE
    with opened(bench) as index:
        compiling.compile_views(index, [PAGE], discard=True)
        before = rows_in(index.db)
        editor = Editor(page.read_text(), before, data)
        for uid in data.draw(st.lists(st.sampled_from(sorted(before)), unique=True, max_size=4)) if before else ():
            (editor.need if uid[0] == "a" else editor.task)(uid)
        if data.draw(st.booleans()):
            editor.add_need(data.draw(st.sampled_from([None, *(uid for uid in before if uid[0] == "a")])))
        page.write_text("\n".join(editor.lines))
        proposal = adopting.propose(index, PAGE)
        if proposal.edit is not None and proposal.is_worth_it:
            done = adopting.accept(index, proposal)
            assert not done.refused
            assert Path(done.kept).read_text() == "\n".join(editor.lines)
            assert_current_in(index, PAGE)
        after = rows_in(index.db)
    for uid in before:
        wanted, found = editor.after[uid], after[uid]
        assert shown(found) == shown(wanted)
        assert found == wanted or isinstance(wanted[1], tuple)
    made = sorted(map(repr, (values for uid, values in after.items() if uid not in before)))
    assert made == sorted(map(repr, editor.made))


def test_no_edit_is_no_change(place):
    """Neither a current view nor a stale one has anything to adopt."""
    assert proposed(place).edit is None
    sql(place, "UPDATE needs SET title = 'Later' WHERE title = 'Unscoped'")
    assert proposed(place).edit is None


# --- what the page was made from


def test_an_edit_of_an_older_page_undoes_nothing(place):
    """The page was committed, then the records went on: only what was edited counts, and both at once is a conflict."""
    commit(place)
    sql(place, ("UPDATE needs SET title = 'Newer', priority = 1 WHERE uid = ?", (OTHER,)))
    edit(place, ("○ Child", "◔ Mine"))
    proposal = proposed(place)
    assert [(one.field, one.new) for one in proposal.changes] == [("status", "active")]
    assert ["conflict" in one.why for one in proposal.rest] == [True]
    adopted(place)
    assert rows(place)[OTHER][:4] == ("Newer", None, "active", 1)
    assert_current(place)


def test_a_page_that_was_never_committed_is_known_by_its_seal(place):
    """Compiled, the records went on, then edited: the records of that moment prove what it was made from."""
    sql(place, ("UPDATE needs SET title = 'Newer' WHERE uid = ?", (OTHER,)))
    edit(place, ("- [ ] Loose end", "- [x] Loose end"))
    proposal = proposed(place)
    assert (len(proposal.changes), proposal.rest, proposal.note) == (1, (), "")
    adopted(place)
    assert rows(place)[OTHER][0] == "Newer"


def test_an_edit_that_was_committed_is_known_by_its_seal_too(place):
    """`git commit --no-verify` took it: neither HEAD nor the staged version is what was compiled."""
    edit(place, ("- [ ] Loose end", "- [x] Loose end"))
    commit(place)
    sql(place, ("UPDATE needs SET title = 'Newer' WHERE uid = ?", (OTHER,)))
    proposal, _ = adopted(place)
    assert ([one.new for one in proposal.changes], proposal.rest, proposal.note) == (["completed"], (), "")
    assert rows(place)[OTHER][0] == "Newer"


def test_where_nothing_proves_what_it_was_made_from_that_is_said(place):
    """A frontmatter without seal: the version that git has stands for it."""
    commit(place)
    text = (root(place) / PAGE).read_text()
    (root(place) / PAGE).write_text("\n".join(line for line in text.split("\n") if not line.startswith("seal:")))
    edit(place, ("- [ ] Loose end", "- [x] Loose end"))
    proposal = proposed(place)
    assert "the version that git has" in proposal.note
    assert [one.new for one in proposal.changes] == ["completed"]
    assert ["frontmatter" in one.why for one in proposal.rest] == [True]


# --- doing it


def test_an_adoption_that_was_interrupted_is_not_done_twice(place, monkeypatch):
    """Killed after the records were written and before the page was: the same edit adds nothing again."""
    edit(place, ("## Tasks without", "### Fresh\n\n- [ ] deep\n\n## Tasks without"), ("○ Child", "○ Grown"))
    monkeypatch.setattr(compiling, "keep", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        adopted(place)
    monkeypatch.undo()
    between = rows(place)
    proposal = proposed(place)
    assert proposal.changes == ()
    assert ["already" in one.why for one in proposal.rest] == [True, True]
    assert rows(place) == between
    assert [values[0] for values in between.values()].count("Fresh") == 1


def test_a_refused_change_leaves_the_others(place):
    """What the database does not take is told with its rule; the rest is done, steps of a walk all or none."""
    sql(place, "CREATE TRIGGER no_long BEFORE UPDATE OF title ON needs WHEN length(NEW.title) > 9"
               " BEGIN SELECT RAISE(ABORT, 'needs.title is short here'); END")  # fmt: skip
    edit(place, ("○ Child", "◑ A title that is too long"), ("- [ ] Loose end", "- [x] Loose end"))
    proposal, done = adopted(place)
    assert list(done.refused.values()) == ["needs.title is short here"]
    assert proposal.changes[next(iter(done.refused))].field == "title"
    assert rows(place)[OTHER][:3] == ("Child", None, "actionable")
    assert_current(place)


def test_what_was_changed_after_it_was_shown_is_not_changed(place):
    """A record that moves on between the question and the answer keeps its value; a file that does stops it all."""
    edit(place, ("○ Child", "○ Mine"), ("- [ ] Loose end", "- [x] Loose end"))
    with opened(place) as index:
        proposal = adopting.propose(index, PAGE)
        sql(place, ("UPDATE needs SET title = 'Theirs' WHERE uid = ?", (OTHER,)))
        done = adopting.accept(index, proposal)
    assert [why for why in done.refused.values() if "meanwhile" in why]
    assert rows(place)[OTHER][0] == "Theirs"
    edit(place, ("○ Theirs", "○ Mine"))
    with opened(place) as index:
        proposal = adopting.propose(index, PAGE)
        edit(place, ("○ Mine", "○ Ours"))
        with pytest.raises(RefusedError, match="while it was adopted"):
            adopting.accept(index, proposal)
    assert rows(place)[OTHER][0] == "Theirs"
    assert "Ours" in (root(place) / PAGE).read_text()


def test_a_view_of_a_scope_makes_needs_in_it(place):
    """And no task without a need, which it would not show."""
    path = "views/alpha.md"
    with open(root(place) / path, "a") as file:
        file.write("\n### Fresh\n\n## Tasks without a need\n\n- [ ] adrift\n")
    proposal, _ = adopted(place, path)
    assert [(one.text, one.scope) for one in proposal.changes] == [("Fresh", "alpha")]
    assert [one.text for one in proposal.rest] == ["- [ ] adrift"]
    assert_current(place, path)


@pytest.mark.parametrize("path", [".mlos/INDEX.md", "views/pack.md"])
def test_other_kinds_of_views_are_told_line_by_line_and_left_alone(place, path):
    """Nothing of them is in a record: the file stays as it was edited."""
    with open(root(place) / path, "a") as file:
        file.write("\nmine\n")
    before = (root(place) / path).read_bytes()
    done = quick(place.root, "adopt", path, "--yes", "--json").json
    assert [(one["text"], one["line"]) for one in done["rest"]] == [("mine", before.decode().count("\n"))]
    assert (done["changes"], done["applied"], done["kept"]) == ([], False, None)
    assert (root(place) / path).read_bytes() == before


def test_line_ends_of_windows_and_a_mark_before_the_text_are_no_edits(place):
    """What an editor does to a whole file says nothing of a record."""
    page = root(place) / PAGE
    edit(place, ("- [ ] Loose end", "- [x] Loose end"))
    page.write_bytes(b"\xef\xbb\xbf" + page.read_bytes().replace(b"\n", b"\r\n"))
    proposal, done = adopted(place)
    assert (len(proposal.changes), proposal.rest, done.refused) == (1, (), {})
    assert_current(place)


def test_what_cannot_be_read_is_refused_with_the_way_out(place):
    """No view, no file, no text, a merge that is not settled."""
    page = root(place) / PAGE
    with pytest.raises(UsageError, match="no view"):
        proposed(place, "run.py")
    text = page.read_bytes()
    page.write_bytes(text + b"\xff")
    with pytest.raises(RefusedError, match="UTF-8"):
        proposed(place)
    page.write_bytes(text + b"<<<<<<< ours\n=======\n>>>>>>> theirs\n")
    with pytest.raises(RefusedError, match="conflict markers"):
        proposed(place)
    page.unlink()
    with pytest.raises(UsageError, match="there is no file"):
        proposed(place)


def test_a_template_that_may_not_run_here_stops_it(place):
    """What the page would be compiled to is not known then."""
    target = root(place) / ".mlos/templates/problem.md.j2"
    target.parent.mkdir(parents=True)
    target.write_text(template("problem"))
    commit(place)
    edit(place, ("○ Child", "○ Grown"))
    with pytest.raises(RefusedError, match="does not run"):
        proposed(place)
    git(root(place), "config", "mlos-sync.templates", "true")
    adopted(place)
    assert rows(place)[OTHER][0] == "Grown"


# --- the command


def test_the_command_shows_first_and_changes_on_yes(place):
    """Without a terminal and without --yes it only shows, and says what to type."""
    edit(place, ("○ Child", "◔ Grown \x1b[1m"), ("# Problem\n", "# Problem\n\nprose\n"))
    before = rows(place)
    told = quick(place.root, "adopt", PAGE)
    assert 'need-77aa11 title: "Child" -> "Grown \\u001b[1m"' in told.out
    assert "need-77aa11 status: identified -> active" in told.out
    assert "mlos-sync adopt PROBLEM.md --yes" in told.out and "\x1b" not in told.out
    asked = quick(place.root, "adopt", PAGE, "--json").json
    assert [(one["field"], one["new"]) for one in asked["changes"]] == [
        ("title", "Grown \x1b[1m"),
        ("status", "active"),
    ]
    assert [(one["line"], one["text"]) for one in asked["rest"]] == [(15, "prose")]
    assert (asked["applied"], rows(place)) == (False, before)
    done = quick(place.root, "adopt", PAGE, "--yes", "--json").json
    assert done["applied"] and "prose" in Path(done["kept"]).read_text()
    assert rows(place)[OTHER][:3] == ("Grown \x1b[1m", None, "active")
    assert_current(place)
    assert "nothing to adopt" in quick(place.root, "adopt", PAGE, "--yes").out


@pytest.mark.parametrize(("answer", "title"), [(b"y\n", "Grown"), (b"n\n", "Child"), (b"\n", "Child")])
def test_on_a_terminal_it_asks(place, answer, title):
    """Only a yes is one."""
    edit(place, ("○ Child", "○ Grown"))
    ours, theirs = pty.openpty()
    command = [sys.executable, "-I", "-m", "mlos_sync", "adopt", PAGE]
    os.write(ours, answer)
    done = subprocess.run(
        command, cwd=place.root, stdin=theirs, stdout=subprocess.PIPE, stderr=theirs, timeout=60, check=False
    )
    os.close(theirs)
    os.close(ours)
    assert done.returncode == 0
    assert rows(place)[OTHER][0] == title


def test_the_guard_and_compile_name_it(tmp_path):
    """Whoever runs into the seal is told this way out, and it leads to a commit."""
    repo = workspace(tmp_path)
    quick(repo, "need", "add", "First")
    quick(repo, "compile")
    save(repo, "views")
    page = repo / PAGE
    page.write_text(page.read_text().replace("○ First", "○ Second"))
    git(repo, "add", "-A")
    refused = git(repo, "commit", "-m", "edit", check=False)
    assert refused.returncode != 0
    line = next(one for one in refused.stderr.splitlines() if "or take it over:" in one)
    assert "mlos-sync adopt PROBLEM.md" in quick(repo, "compile", ok=False).err
    assert quick(repo, *line.split(":", 1)[1].split()[1:], "--yes").code == 0
    save(repo, "adopted")
    assert find(str(repo)) and "Second" in git(repo, "show", "HEAD:PROBLEM.md").stdout
    assert quick(repo, "verify").out == "ok\n"


def test_a_named_need_and_task_are_those_of_the_fixture(place):
    """The box of a task under a need, the description and the priority of a need."""
    edit(
        place, ("- [/] Add jitter", "- [x] Add more jitter"), ("> \\<b\\>third", "> fourth"), ("active · high", "active · low"),
    )  # fmt: skip
    _, done = adopted(place)
    assert not done.refused
    after = rows(place)
    assert after[TASK][:3] == ("Add more jitter", None, "completed")
    assert after[NEED][1:4] == ("First line\n\nfourth</b>", "active", 4)


def test_a_line_that_is_taken_out_deletes_nothing_and_is_named(place):
    """With the command that would."""
    text = (root(place) / PAGE).read_text()
    line = next(one for one in text.split("\n") if "· task-" in one)
    (root(place) / PAGE).write_text(text.replace(line + "\n", ""))
    before = rows(place)
    done = quick(root(place), "adopt", PAGE, "--yes")
    name = next(word for word in line.split(" ") if word.startswith("task-"))
    assert f"mlos-sync task delete {name}" in done.out + done.err
    assert rows(place) == before
