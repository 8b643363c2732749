"""Compiled views: what one shows, as frozen values, and how values become sealed markdown. Pure; the home of Jinja2.

A view must have the same bytes on every clone, whatever its Python: nothing here asks which characters are printable
(that changes with the Unicode version), the ranges are written out. Values come from strangers (titles of files,
descriptions of needs), so a template never runs them: they pass through `yaml`, `md` or `link`, or stand in a fence.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

from mlos_sync.core import seal
from mlos_sync.core.paths import to_bytes

if TYPE_CHECKING:
    from jinja2 import Environment, Template

PRIORITIES = {1: "critical", 2: "high", 3: "normal", 4: "low", 5: "background"}
NEED_MARKS = {"identified": "○", "active": "◔", "actionable": "◑", "in_progress": "◕", "resolved": "●", "deferred": "◌"}
TASK_BOXES = {"completed": "[x]", "in_progress": "[/]", "failed": "[!]", "cancelled": "[-]"}
TEXT_LIMIT = 65_536  # bytes of a file that a context pack still takes in
FIELD_LIMIT = 2_000  # characters of a frontmatter value: all of them together stay below the limit of a frontmatter

# C0 and C1 controls, soft hyphen, marks of direction, line and paragraph ends, invisible operators, surrogates, the
# private range in which bytes of file names stand (core/paths), noncharacters, tags. Joiners stay: scripts need them.
_UNSEEN = (
    "\x00-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\uef80-\uefff"
    "\ufeff\ufff9-\ufffb\ufffe\uffff\U000e0000-\U000e0fff"
)
_INVISIBLE = re.compile(f"[{_UNSEEN}]")
_BLANKS = re.compile("[\\s\x85\u2028\u2029]+")
# Nothing of all that, as in most titles: told by one look instead of three. A letter begins no block.
_PLAIN = re.compile(r"(?:[A-Za-z][0-9A-Za-z .,:;!?()/=+-]*(?<! ))?")
_MARKUP = re.compile(
    r"[\\`|\[\]<>*~]"
    r"|(?<![0-9A-Za-z])_|_(?![0-9A-Za-z])"  # snake_case is no emphasis, __init__ is
    r"|&(?=#?[0-9A-Za-z]+(?:;|$))"  # a semicolon may follow in the template
    # What makes a block of the line that it begins: a heading, an item, a rule or an underline, a row under a table's head
    r"|^#(?=#{0,5}(?: |$))|^[-+](?=(?: |$))|^-(?=[- ]*$)|^=(?==*$)|^:(?=-+:?$)|^-(?=-*:$)"
    r"|(?:(?<= )|^)#(?=#*$)"  # at the end of a heading these would be its other fence
)
_NUMBER = re.compile(r"^([0-9]{1,9})([.)])(?= |$)")

_ESCAPED = re.compile(r"\\([!-/:-@\[-`{-~])")  # as markdown has it: a backslash before ASCII punctuation


class Front(NamedTuple):
    """The frontmatter of a view: the seed's keys, in its order. Times are UTC texts."""

    id: str
    title: str
    created: str
    updated: str
    desc: str
    tags: str
    source_transcript: str
    compiled_at: str


class TaskItem(NamedTuple):
    """A task as one line."""

    name: str
    text: str
    status: str
    priority: int | None


class Related(NamedTuple):
    """A file that an edge joins with a need. `here` is false when no tracked file stands at the path."""

    path: str
    title: str
    relation: str
    here: bool


class NeedItem(NamedTuple):
    """A need with what belongs to it. `depth` counts the needs above it that are shown; `part_of` names one that is not."""

    name: str
    title: str
    description: str
    status: str
    priority: int | None
    scope: str | None = None
    source_transcript: str = ""
    depth: int = 0
    part_of: str | None = None
    tasks: tuple[TaskItem, ...] = ()
    related: tuple[Related, ...] = ()


class Group(NamedTuple):
    """Needs under one heading; None for no heading."""

    title: str | None
    needs: tuple[NeedItem, ...]


class ProblemPage(NamedTuple):
    """PROBLEM.md: what is needed. `path` is where the view stands, for its links."""

    path: str
    front: Front
    groups: tuple[Group, ...]
    loose: tuple[TaskItem, ...]  # open tasks that no need asked for
    needs: int
    tasks: int


class FileItem(NamedTuple):
    """A file in an index."""

    path: str
    title: str
    description: str
    kind: str


class Folder(NamedTuple):
    """The files of one folder; the title of the workspace's own is None."""

    title: str | None
    files: tuple[FileItem, ...]


class IndexPage(NamedTuple):
    """An index of files."""

    path: str
    front: Front
    folders: tuple[Folder, ...]
    files: int


class PackEntry(NamedTuple):
    """An artifact in a context pack: `target` is where its file stands, `note` says why its text is not shown."""

    path: str
    target: str | None
    title: str
    description: str
    kind: str
    edges: tuple[str, ...]
    sha256: str | None
    text: str | None
    note: str


class PackPage(NamedTuple):
    """What an agent is given: needs with their tasks, and the artifacts that the needs name."""

    path: str
    front: Front
    needs: tuple[NeedItem, ...]
    agent: str | None
    entries: tuple[PackEntry, ...]


class Reason(NamedTuple):
    """What a task waits for: an unfinished need or task, by an edge of `type` from it to `holder` (the task itself, its
    need, or one above)."""

    name: str
    text: str
    status: str
    type: str
    holder: str


class Step(NamedTuple):
    """A task that is to be done: `priority` is its own or inherited, `need` the name and title of what it is for."""

    task: TaskItem
    priority: int | None
    need: tuple[str, str] | None
    waits: tuple[Reason, ...] = ()


class StatusPage(NamedTuple):
    """STATUS.md: what is ready, running and blocked, and circles of things that wait for each other."""

    path: str
    front: Front
    ready: tuple[Step, ...]
    running: tuple[Step, ...]
    blocked: tuple[Step, ...]
    circles: tuple[tuple[str, ...], ...]


def render(template_text: str, context: object) -> bytes:
    """The sealed document that a template (its frontmatter holds `seal: pending`) makes of `context`, its `page`, in Jinja's
    immutable sandbox.

    Raises ValueError where it cannot be sealed, and jinja2.TemplateError for a template that names what is not there.
    """
    return _sealed(environment().from_string(template_text), context)


class Cache(NamedTuple):
    """A folder of ours for compiled templates, which take longer to compile than most pages to render; `grows` where this
    command may write files."""

    folder: str
    grows: bool


def render_shipped(folder: str, kind: str, context: object, cache: Cache | None = None) -> bytes:
    """The same by the template that we ship in `folder` for a kind of view: outside the sandbox, which takes three times as
    long."""
    return _sealed(_shipped(folder, cache).get_template(f"{kind}.md.j2"), context)


def _sealed(template: Template, context: object) -> bytes:
    return seal.make(template.render(page=context).encode("utf-8"))


@lru_cache(maxsize=4)
def _shipped(folder: str, cache: Cache | None) -> Environment:
    from jinja2 import FileSystemBytecodeCache, FileSystemLoader
    from jinja2.bccache import Bucket

    class Kept(FileSystemBytecodeCache):
        def load_bytecode(self, bucket: Bucket) -> None:
            try:
                super().load_bytecode(bucket)
            except Exception:  # a file cut short raises whatever pickle and marshal meet; it is compiled anew
                bucket.reset()

        def dump_bytecode(self, bucket: Bucket) -> None:
            if cache and cache.grows:
                super().dump_bytecode(bucket)

    made = environment(trusted=True)
    made.loader = FileSystemLoader(folder)
    made.bytecode_cache = Kept(cache.folder) if cache else None
    return made


def environment(*, trusted: bool = False) -> Environment:
    """Jinja as our templates know it: with our filters, strict about names."""
    from jinja2 import Environment, StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    # No escaping for HTML: markdown has other dangers, and every value passes a filter of ours.
    made = (Environment if trusted else ImmutableSandboxedEnvironment)(
        undefined=StrictUndefined, autoescape=False, keep_trailing_newline=True, trim_blocks=True, lstrip_blocks=True,
        finalize=None if trusted else _printable,
    )  # fmt: skip
    for name in ("lipsum", "joiner", "cycler"):  # what differs from run to run has no place in a view
        del made.globals[name]
    del made.filters["random"]
    made.filters.update(
        yaml=yaml,
        md=md,
        link=link,
        lines=lines,
        fence=fence,
        mark=mark,
        box=box,
        priority=priority,
        words=words,
        task=task,
        step=step,
        quoted=quoted,
    )
    return made


def _printable(value: object) -> object:
    """What a template prints; an object would print its address, which is another in each process."""
    from jinja2 import Undefined

    if value is not None and not isinstance(value, str | int | Undefined):
        raise TypeError(f"a template prints texts and numbers, not {type(value).__name__}")
    return value


def yaml(value: str) -> str:
    """A text as a JSON string, which every YAML reads as the same text; long ones are cut."""
    return _INVISIBLE.sub(_json_escape, json.dumps(clip(value), ensure_ascii=False))


def _json_escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def clip(value: str, limit: int = FIELD_LIMIT) -> str:
    """The text, or its beginning and an ellipsis."""
    return value if len(value) <= limit else value[: limit - 1] + "…"


@lru_cache(maxsize=16_384)
def md(value: str) -> str:
    """A text as part of one markdown line, table cell or link text: what is markup is escaped (also where the text begins
    the line), what cannot be seen is shown as an escape, any run of blanks and line ends becomes one blank."""
    if _PLAIN.fullmatch(value) and "  " not in value:
        return value
    flat = _BLANKS.sub(" ", value).strip()
    return _NUMBER.sub(r"\1\\\2", _MARKUP.sub(_escaped, _INVISIBLE.sub(_visible, flat)))


def _escaped(match: re.Match[str]) -> str:
    return "\\" + match[0]


def plain(markdown: str) -> str:
    """The text that a part of a markdown line shows, blanks flattened: `md` of it gives the same line again. What `md` made
    visible stays the escape that it shows."""
    return _BLANKS.sub(" ", _ESCAPED.sub(r"\1", markdown)).strip()


def _visible(match: re.Match[str]) -> str:
    code = ord(match[0])
    if 0xEF80 <= code <= 0xEFFF:
        return f"\\x{code - 0xEF80 + 0x80:02x}"
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def link(path: str, page: str) -> str:
    """A workspace path as a link from the page at another: relative, percent-encoded, so it ends at no bracket."""
    target, start = path.split("/"), page.split("/")[:-1]
    common = 0
    while common < min(len(start), len(target) - 1) and start[common] == target[common]:
        common += 1
    relative = [".."] * (len(start) - common) + target[common:]
    return "/".join(quote(to_bytes(part), safe="") for part in relative)


def lines(value: str) -> list[str]:
    """A text's lines, each fit for markdown; no blank ones at either end."""
    return "\n".join(md(line) for line in value.split("\n")).strip("\n").split("\n") if value.strip() else []


def fence(value: str) -> str:
    """A line of backticks that no line of the text can end."""
    return "`" * max(3, 1 + max((len(run) for run in re.findall("`+", value)), default=0))


def mark(status: str) -> str:
    """A sign for a need's status."""
    return NEED_MARKS.get(status, "?")


def box(status: str) -> str:
    """The checkbox of a task's status."""
    return TASK_BOXES.get(status, "[ ]")


def priority(number: int | None) -> str:
    """A priority in words."""
    return PRIORITIES.get(number or 0, "no priority")


def task(item: TaskItem, number: int | None = None) -> str:
    """A task as one line, its checkbox first; `number` is a priority that it inherits. One call for what five lookups and
    four filters would say, of thousands of tasks."""
    status, urgency = item.status, priority(item.priority if number is None else number)
    return f"{box(status)} {md(item.text)} · {item.name} · {words(status)} · {urgency}"


def step(one: Step) -> str:
    """A step as one line: its task, and what it is for."""
    line = task(one.task, one.priority)
    return f"{line} · for {one.need[0]} {md(one.need[1])}" if one.need else line


def quoted(value: str) -> str:
    """A text as a quotation, a blank line before it; nothing for blank text."""
    return "".join(f"\n>{' ' if line else ''}{line}" for line in lines(value)) + "\n" if value.strip() else ""


def words(status: str) -> str:
    """`in_progress` as people write it."""
    return status.replace("_", " ")
