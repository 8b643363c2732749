"""Lines of a view, read backwards: what they come from. The views are rendered by the shipped templates."""

from pathlib import Path

from mlos_sync.core import sections, views

TEMPLATES = Path(__file__).resolve().parents[2] / "templates"
FRONT = views.Front("p", "Problem", "2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z", "", "", "", "2026-01-01T00:00:00Z")
TASK = views.TaskItem("task-5d0c9e", "Add · task-ffffff · open · low", "in_progress", None)
NEED = views.NeedItem(
    "need-3f9a2c", "Be polite · need-eeeeee", "one\n### ○ x · need-dddddd\n- [ ] y · task-cccccc · open · low",
    "in_progress", 2, tasks=(TASK,), related=(views.Related("notes/a b).md", "A [x](y)", "blocks", True),),
)  # fmt: skip
LOOSE = views.TaskItem("task-be705a", "Loose", "open", None)


def problem() -> str:
    page = views.ProblemPage("PROBLEM.md", FRONT, (views.Group("alpha", (NEED,)),), (LOOSE,), 1, 2)
    return views.render((TEMPLATES / "problem.md.j2").read_text("utf-8"), page).decode()


def at(text: str, part: str, new: str = "") -> sections.Line:
    number = sections.changed_line(text, part, new)
    assert number is not None
    return sections.lines(text)[number]


def test_each_line_of_a_problem_view_knows_its_record():
    text = problem()
    assert sections.records(text) == ["need-3f9a2c", "task-5d0c9e", "task-be705a"]
    for part, record, kind in (
        ("Be polite", "need-3f9a2c", "title"),
        ("in progress · high", "need-3f9a2c", "facts"),
        ("> one", "need-3f9a2c", "description"),
        ("need-dddddd", "need-3f9a2c", "description"),
        ("task-cccccc", "need-3f9a2c", "description"),
        ("Add ·", "task-5d0c9e", "task"),
        ("Loose", "task-be705a", "task"),
        ("(blocks)", "need-3f9a2c", "links"),
        ("# Problem", "", ""),
        ("## Tasks without a need", "", ""),
    ):
        found = at(text, part)
        assert (found.record, found.part) == (record, kind), part


def test_each_line_of_an_index_knows_its_file():
    item = views.FileItem("notes/a ]b(.md", "A ] [title](x)", "what · it is", "document")
    page = views.IndexPage(".mlos/INDEX.md", FRONT, (views.Folder("notes", (item,)),), 1)
    text = views.render((TEMPLATES / "index.md.j2").read_text("utf-8"), page).decode()
    assert sections.records(text) == []
    assert at(text, "what · it is").link == "../notes/a%20%5Db%28.md"
    assert at(text, "1 file.").link == ""


def test_each_entry_of_a_pack_knows_its_file_and_its_text_is_no_section():
    entry = views.PackEntry(
        "n.md",
        "n.md",
        "N",
        "",
        "document",
        ("need-3f9a2c references",),
        "0" * 64,
        "### ○ x · need-dddddd\n- [y](z)\n",
        "",
    )
    page = views.PackPage("views/pack.md", FRONT, (NEED,), None, (entry,))
    text = views.render((TEMPLATES / "context_pack.md.j2").read_text("utf-8"), page).decode()
    assert sections.records(text) == ["need-3f9a2c", "task-5d0c9e"]
    assert at(text, "○ x · need-dddddd\n- [y](z)").link == "../n.md"
    assert at(text, "- SHA-256").link == "../n.md"
    assert at(text, "> one").record == "need-3f9a2c"


def test_each_line_of_a_status_view_knows_its_task():
    wait = views.Reason("need-77aa11", "Child", "identified", "blocks", "task-5d0c9e")
    steps = [views.Step(TASK, 2, ("need-3f9a2c", "Polite")), views.Step(LOOSE, 1, None, (wait,))]
    page = views.StatusPage("STATUS.md", FRONT, tuple(steps[:1]), (), tuple(steps[1:]), ())
    text = views.render((TEMPLATES / "status.md.j2").read_text("utf-8"), page).decode()
    assert sections.records(text) == ["task-5d0c9e", "task-be705a", "need-77aa11"]
    assert (at(text, "Loose").record, at(text, "Child").record) == ("task-be705a", "need-77aa11")


def test_the_line_that_changes_is_the_first_that_differs():
    text = "a\r\nb\r\nc\r\n"
    assert sections.changed_line(text, "a\nb", "a\nx") == 1
    assert sections.changed_line(text, "b", "b\nnew") == 1
    assert sections.changed_line(text, "b", "") == 1
    assert sections.changed_line(text, "nowhere", "x") is None
    assert sections.changed_line(text, "", "x") is None


def test_long_lines_take_linear_time():
    sections.lines("### " + " · need-" * 50_000)
    sections.lines("- [" + "\\" * 100_000)
    sections.lines("- [ ] " + " · task-aaaaaa" * 20_000 + "\n" + "- [" + "a](" * 50_000)
