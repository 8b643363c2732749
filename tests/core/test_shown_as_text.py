"""What strangers wrote is shown by compiled views as text: every case of the public suites, in every place of every template.

Each page is made twice, with the cases and with a harmless word in the place of each, and both are read by a CommonMark
parser: the same headings, items, links and paragraphs, and in the place of each word the text of the case.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

import pytest
from borrowed import NAMES, cases
from markdown_it import MarkdownIt
from markdown_it.token import Token

from mlos_sync.core import seal, views
from mlos_sync.core.frontmatter import read
from mlos_sync.core.split import split
from mlos_sync.edge.workspace import shipped

# Tables, as forges show them, beside what the specification knows
MARKDOWN = MarkdownIt("commonmark").enable("table").enable("strikethrough")
FRONT = views.Front("an-id", "t", "2026-01-01", "2026-01-02", "d", "g", "s", "2026-01-02T00:00:00Z")
MINE = (
    "# a\n## b ##\n####### c", "a\n---\nb\n===\nc", "a\n--\nb\n=", "- a\n+ b\n1. c\n2) d\n-\n+\n3.", "#", "##", "a #", "a ##", "#######",
    "a\\#", "- - -", "--- -", "-----", ":-:\n:-:", "a\n:--", "| a |\n| - |", "a|b\n-|-", "1) x", "123456789. x", "1234567890. x", "[a]: b",
    "![a](b)", "[x] done", "    code", "\tcode", "~~~\nx", "```\nx", "a  \nb", "a\\\nb", "www.example.org", "<a@b.org>", "&#35; a", "é_x_",
    "=", "==\n==", "- ", "+", "-", "--", "1.", "a\r# b", "a\u2028# b", "a\x0b- b", "- [ ] a", "#\u00a0a", "-\u3000a",
)  # fmt: skip


def texts_of(suite: str) -> list[str]:
    found = list(MINE) if suite == "mine" else [case.text for case in cases(suite)]
    return [text for text in found if text.strip()]


def needs(texts: list[str], described: list[str]) -> tuple[views.NeedItem, ...]:
    """A need, its task and its files for each text. A path of several lines is shown and never linked."""
    found = []
    for text, lines in zip(texts, described, strict=True):
        task = views.TaskItem("task-1", text, "open", None)
        files = (views.Related("a.md", text, "references", True), views.Related(text, "", text, False))
        found.append(views.NeedItem("need-1", text, lines, "active", 2, text, "", 0, None, (task,), files))
    return tuple(found)


def pages(kind: str, texts: list[str], described: list[str]) -> object:
    items = needs(texts, described)
    front = FRONT._replace(title=texts[0])
    tasks = tuple(task for need in items for task in need.tasks)
    if kind == "problem":
        return views.ProblemPage("P.md", front, tuple(views.Group(need.title, (need,)) for need in items), tasks, 1, 1)
    if kind == "index":
        folders = (views.Folder(text, (views.FileItem(f"f/{text.strip()}", text, text, "document"),)) for text in texts)
        return views.IndexPage("I.md", front, tuple(folders), 1)
    if kind == "status":
        steps = tuple(
            views.Step(task, 1, ("need-1", task.text), (views.Reason("n", task.text, "active", "blocks", "this"),))
            for task in tasks
        )
        return views.StatusPage("S.md", front, steps, (), steps, ())
    entries = [
        views.PackEntry(text, target, text, text, "document", (text,), None, f"{long}\n" if target else None, "")
        for text, long in zip(texts, described, strict=True)
        for target in ("a.md", None)
    ]
    return views.PackPage("C.md", front, items, texts[0], tuple(entries))


def shape(tokens: list[Token], words: dict[str, str], paths: dict[str, str]) -> list[tuple[str, ...]]:
    """A document as blocks and texts: every word stands for what `words` says in a text, and `paths` in a link."""
    put = re.compile("q[0-9]+q").sub
    found: list[tuple[str, ...]] = []
    for token in tokens:
        if token.type == "inline":
            text = ""
            for child in token.children or ():
                if child.type in ("text", "text_special"):
                    text += child.content
                elif child.type == "softbreak":
                    text += "\n"
                else:
                    where = unquote(str(child.attrs.get("href", "")), errors="surrogateescape")
                    found.append((child.type, put(lambda match: paths.get(match[0], match[0]), where)))
            found.append(("text", put(lambda match: words.get(match[0], match[0]), text)))
        elif token.type == "fence":
            found.append(("fence", token.info))
        else:
            found.append((token.type, token.tag))
    return found


def harmless(texts: list[str]) -> tuple[list[str], list[str], dict[str, str], dict[str, str]]:
    """A word for each text, and for each line of it that shows something; what is seen and what is linked in their places."""
    titles, described, words, paths = [], [], {}, {}

    def word(text: str) -> str:
        name = f"q{len(words)}q"
        paths[name] = text.strip()
        words[name] = views._INVISIBLE.sub(views._visible, " ".join(text.split()))
        return name

    for text in texts:
        titles.append(word(text))
        described.append("\n".join(word(line) if line.strip() else "" for line in text.split("\n")))
    return titles, described, words, paths


@pytest.mark.parametrize("kind", ["problem", "index", "context_pack", "status"])
@pytest.mark.parametrize("suite", ["mine", *NAMES])
def test_every_case_is_shown_as_text(suite, kind):
    """No heading, item, rule, table, link or HTML comes from a title, a description, a scope or a path; all of it is seen."""
    texts = texts_of(suite)
    titles, described, words, paths = harmless(texts)
    made, expected = (
        MARKDOWN.parse(views.render_shipped(shipped("templates"), kind, page).decode("utf-8").split("\n---\n", 1)[1])
        for page in (pages(kind, texts, texts), pages(kind, titles, described))
    )
    left, right = shape(made, {}, {}), shape(expected, words, paths)
    different = [(one, two) for one, two in zip(left, right, strict=False) if one != two]
    assert different[:3] == []
    assert len(left) == len(right)


@pytest.mark.parametrize("suite", ["mine", *NAMES])
def test_every_case_as_a_title_is_read_back(suite):
    """A view with that title is sealed whole, and its frontmatter says the same title."""
    draft = "---\ntitle: {{ page | yaml }}\ncompiled_at: 2026-01-02T00:00:00Z\nseal: pending\n---\n# {{ page | md }}\n"
    made = views.environment().from_string(draft)
    for text in texts_of(suite):
        view = seal.make(made.render(page=text).encode("utf-8"))
        assert seal.check(view).state == seal.VALID
        block = split(view)
        assert block is not None and read(block.text)["title"] == views.clip(text), text
