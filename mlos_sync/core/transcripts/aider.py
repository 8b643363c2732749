"""Aider's chat history, `.aider.chat.history.md`: many sessions in one file, which aider appends to.

Seen from aider 0.37 (June 2024) to 0.86. Three voices share the file: `#### ` what the user
typed, `> ` what aider itself says, and bare text of the model, which may quote both of the others. What aider writes ends
with two blanks, and stands behind the start of a session, a line of the user's, or the count of tokens that follows each
answer; only there it is believed. Version 0.37 counted none, so that there its own words about edits must do.
Times are local without a zone, so that they name sessions but date nothing.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from mlos_sync.core.transcripts.lines import texts
from mlos_sync.core.transcripts.model import Claim, CommitMade, Fact, Problem, Replacement, Session
from mlos_sync.core.transcripts.sessions import count_model, most_common
from mlos_sync.core.transcripts.sound import encoded, sound_path, sound_text

LONGEST_MESSAGE = 1 << 26  # characters of one answer that are kept for the edits in it

# `# aider chat started at 2025-06-02 11:47:49`
_START = re.compile(r"# aider chat started at (?P<date>\d{4}-\d\d-\d\d) (?P<clock>\d\d:\d\d:\d\d)", re.ASCII)
# `> Aider v0.86.1`, `> Aider v0.85.2.dev10+gabc`
_VERSION = re.compile(r"Aider v(?P<version>\d[\w.+-]{0,40})")
# `> Main model: gpt-4o with diff edit format`, `> Model: o1 with architect edit format`,
# `> Models: gpt-4o with diff edit format, weak model gpt-3.5-turbo` 0.37
_MODEL = re.compile(r"(?:Main model|Models?): (?P<model>\S{1,200}) with (?P<format>[\w-]{1,40}) edit format.*")
# `> Editor model: gpt-4o with editor-whole edit format`: who edits for an architect
_EDITOR = re.compile(r"Editor model: \S{1,200} with (?P<format>[\w-]{1,40}) edit format.*")
# `> Tokens: 3.2k sent, 66 received. Cost: $0.0086 message, $0.0086 session.`, `> Tokens: 5k sent, 1k cache write, …`
_TOKENS = re.compile(r"Tokens: [\d.,]+[kM]? sent, .*")
# `> ^C again to exit`, `> ^C KeyboardInterrupt`: the answer before was interrupted, perhaps inside a fence
_INTERRUPTED = re.compile(r"\^C (?:again to exit|KeyboardInterrupt)")
# `> Applied edit to src/a b.py`
_APPLIED = re.compile(r"Applied edit to (?P<path>.+)")
# `> Create new file? (Y)es/(N)o [Yes]: y`, behind a line that is the file's name
_CREATE = re.compile(r"Create new file\?.*: [yY](?:es)?")
# `> Allow creation of new file src/a.ts? y` 0.37
_ALLOWED = re.compile(r"Allow creation of new file (?P<path>.+)\? [yY](?:es)?")
# How aider 0.37 goes on behind an answer, which it does not count: `> Committing a.py before applying edits.`,
# `> Allow edits to a.py which was not previously added to chat? y`, `> Skipping edits to a.py`
_UNCOUNTED = re.compile(
    r"Applied edit to \S|Commit [0-9a-f]{7} \S|Committing .+ before applying edits\.|Skipping edits to \S"
    r"|Allow (?:creation of new file|edits to) \S"
)
# 0.37 counts no tokens, 0.83 to 0.86 do, and those between were not seen: one that does shows it by doing so.
_COUNTED_SINCE = (0, 50)
# `> Commit abc1234 feat: a subject`
_COMMIT = re.compile(r"Commit (?P<sha>[0-9a-f]{7,40}) (?P<subject>.*)")
# `<<<<<<< SEARCH`, `=======`, `>>>>>>> REPLACE`: five to nine marks are accepted, as by aider
_SEARCH = re.compile(r"<{5,9} SEARCH>?\s*")
_DIVIDER = re.compile(r"={5,9}\s*")
_REPLACE = re.compile(r">{5,9} REPLACE\s*")
# `> # 1 SEARCH/REPLACE block failed to match!`, behind which each such block is quoted
_UNMATCHED = re.compile(r"# \d{1,6} SEARCH/REPLACE blocks? failed to match!")
# `## SearchReplaceNoExactMatch: This SEARCH block failed to exactly match lines in src/a.py`
_NO_MATCH = re.compile(r"## SearchReplaceNoExactMatch: This SEARCH block failed to exactly match lines in (?P<path>.+)")
# `# The other 2 SEARCH/REPLACE blocks were applied successfully.`
_OTHERS = re.compile(r"# The other (?P<count>\d{1,6}) SEARCH/REPLACE blocks? (?:was|were) applied successfully\.")
_FENCE = re.compile(r"(?P<run>`{3,})(?P<info>[^`]*)|<(?P<tag>source|code|pre|codeblock|sourcecode)>")


@dataclass(frozen=True, slots=True)
class _Shown:
    """A change that an answer shows for a file: a pair of SEARCH and REPLACE, or a fence with the whole of the file."""

    path: str
    old: str | None
    new: str


@dataclass(slots=True)
class _Answer:
    """The model's text since aider last spoke: the changes in it, and which fence is open."""

    shown: list[_Shown] = field(default_factory=list)
    by_path: dict[str, list[_Shown]] | None = None
    fence: str = ""
    path: str = ""  # what stands right before the open fence, perhaps the name of a file
    previous: str = ""
    old: list[str] | None = None
    new: list[str] | None = None
    whole: list[str] = field(default_factory=list)
    size: int = 0

    def take(self, line: str) -> None:
        """The next line of the text."""
        self.size += len(line) + 1
        if self.size > LONGEST_MESSAGE:
            return
        if self.new is not None and self.old is not None:
            if _REPLACE.fullmatch(line):
                self.shown.append(_Shown(self.path, _joined(self.old), _joined(self.new)))
                self.old = self.new = None
                self.previous = ""
            else:
                self.new.append(line)
        elif self.old is not None:
            if _DIVIDER.fullmatch(line):
                self.new = []
            else:
                self.old.append(line)
        elif _SEARCH.fullmatch(line):
            self.old = []
            named = self.previous.strip()
            self.path = _named(named) if named and not _FENCE.fullmatch(named) else self.path
        else:
            self._text(line)

    def changes_of(self, path: str) -> list[_Shown]:
        """What the whole answer shows for a file; asked again, nothing."""
        if self.by_path is None:
            self.by_path = {}
            for change in self.shown:
                self.by_path.setdefault(change.path, []).append(change)
        return self.by_path.pop(path, [])

    def _text(self, line: str) -> None:
        """A line outside of a pair: it may open or close a fence, and what stands in one may be a whole file."""
        match = _FENCE.fullmatch(line.rstrip()) if line[:1] in ("`", "<") and not self.fence else None
        if match is not None:  # a tag fences what holds backticks itself
            self.fence, self.path, self.whole = match["run"] or f"</{match['tag']}>", _named(self.previous), []
        elif self.fence and line.rstrip() == self.fence:
            if self.path and self.whole:
                self.shown.append(_Shown(self.path, None, _joined(self.whole)))
            self.fence, self.path, self.whole = "", "", []
            self.previous = ""
            return
        elif self.fence:
            self.whole.append(line)
        self.previous = line


@dataclass(slots=True)
class _Chat:
    """One session as far as it was read. `believed` tells whether the next `> ` line is aider's own.

    `refused` holds the changes that aider says it could not make, while it says so.
    """

    session_id: str
    started: str
    turns: int = 0
    version: str | None = None
    model: str | None = None
    edit_format: str = ""
    counted: bool = False
    models: dict[str, int] = field(default_factory=dict)
    believed: bool = True
    answered: bool = False
    open_message: bool = False
    said: str = ""
    created: set[str] = field(default_factory=set)
    answer: _Answer = field(default_factory=_Answer)
    refused: _Answer | None = None

    def session(self) -> Session:
        """The session; it begins and ends at times that are local to somebody."""
        return Session(
            session_id=self.session_id, tool="Aider", model=most_common(self.models) or self.model, format="aider",
            started_at=None, ended_at=None, title=None, turns=self.turns, version=self.version,
        )  # fmt: skip


def recognise(head: bytes) -> bool:
    """Whether the file begins as a chat history does: with the line that starts a session."""
    first = head[:1000].decode("utf-8", "replace").lstrip().partition("\n")[0]
    return _START.fullmatch(first.rstrip()) is not None


def read(lines: Iterable[bytes], name: str) -> Iterator[Fact]:
    """The facts of one chat history; each session behind its claims. `name` identifies nothing here.

    The id of a session is the time of its start, `aider-2025-06-02T11-47-49`, counted where two have the same.
    """
    broken: list[Problem] = []
    chat: _Chat | None = None
    starts: dict[str, int] = {}
    previous = ""
    for number, line in enumerate(texts(lines, broken), 1):
        line = line.removesuffix("\r")
        start = _START.fullmatch(line.rstrip()) if line[:8] == "# aider " and not previous.strip() else None
        if start is not None and _begins(start, chat):
            if chat is not None:
                yield chat.session()
            chat = _begin(start, starts)
        elif chat is not None:
            yield from _step(chat, number, line, previous)
        yield from broken
        broken.clear()
        previous = line
    if chat is not None:
        yield chat.session()


def _begins(start: re.Match[str], chat: _Chat | None) -> bool:
    """Whether this line really starts a session. One inside a fence of an answer is quoted, unless its time is later:
    an answer that was interrupted leaves its fence open."""
    return chat is None or not chat.answer.fence or f"{start['date']} {start['clock']}" > chat.started


def _begin(start: re.Match[str], starts: dict[str, int]) -> _Chat:
    identity = f"aider-{start['date']}T{start['clock'].replace(':', '-')}"
    starts[identity] = starts.get(identity, 0) + 1
    count = starts[identity]
    return _Chat(identity if count == 1 else f"{identity}-{count}", f"{start['date']} {start['clock']}")


def _step(chat: _Chat, number: int, line: str, previous: str) -> Iterator[Fact]:
    """One line of a session."""
    if not line.strip():
        if not chat.believed:
            chat.answer.take(line)
        elif chat.refused:
            chat.refused.take(line)
        return
    ends = line.endswith("  ")
    apart = not previous.strip()
    if line[:2] == "> " and ends and (chat.believed or (apart and _resumes(chat, line))):
        chat.open_message, chat.refused = False, None
        yield from _said(chat, number, line[2:].strip())
    elif line[:5] == "#### " and ends and (apart or chat.believed) and not chat.answer.fence:
        _asked(chat, previous)
    elif chat.believed and line[:2] == "> ":
        chat.open_message = True  # a message of several lines, the last of which ends with two blanks
        chat.refused = _Answer() if chat.answered and _UNMATCHED.fullmatch(line[2:].rstrip()) else None
        yield from _committed(chat, number, line[2:])
    elif chat.believed and (chat.open_message or not apart):
        quoted = chat.refused is not None and chat.refused.old is not None
        chat.open_message = chat.open_message and (quoted or not ends)
        if chat.refused:
            yield from _refused(chat, chat.refused, number, line)
    elif chat.believed:
        _answers(chat)
        chat.answer.take(line)
    else:
        chat.answer.take(line)


def _resumes(chat: _Chat, line: str) -> bool:
    """Whether aider speaks again behind the model's text: it counts the tokens of the answer, or was interrupted.

    An answer that quotes a history does so in a fence, so a count in an open one is the answer's own.
    """
    text = line[2:].strip()
    if chat.answer.fence:
        return _INTERRUPTED.fullmatch(text) is not None
    told = _TOKENS.fullmatch(text) or _INTERRUPTED.fullmatch(text)
    return told is not None or (not _counts(chat) and _UNCOUNTED.match(text) is not None)


def _counts(chat: _Chat) -> bool:
    """Whether this version counts the tokens of each answer."""
    return chat.counted or chat.version is None or _release(chat.version) >= _COUNTED_SINCE


def _release(version: str) -> tuple[int, int]:
    """`0.37.0` -> (0, 37)"""
    match = re.match(r"(\d{1,6})\.(\d{1,6})", version)
    return (int(match[1]), int(match[2])) if match else _COUNTED_SINCE


def _answers(chat: _Chat) -> None:
    """The model begins to speak; what aider said before it is over."""
    chat.believed = chat.answered = False
    chat.answer = _Answer()
    chat.created = set()
    chat.refused = None
    chat.turns += 1
    count_model(chat.models, chat.model)


def _asked(chat: _Chat, previous: str) -> None:
    """A line that the user typed; the lines of one prompt follow each other. What was said before is over."""
    if previous[:5] != "#### ":
        chat.turns += 1
    chat.believed = True
    chat.open_message, chat.refused = False, None


def _said(chat: _Chat, number: int, text: str) -> Iterator[Fact]:
    """One line of aider's own, behind the `> `."""
    said, chat.said = chat.said, text
    if _TOKENS.fullmatch(text):
        chat.believed = chat.answered = chat.counted = True
    elif not chat.believed and _UNCOUNTED.match(text):
        chat.believed = chat.answered = True
    if (applied := _APPLIED.fullmatch(text)) and chat.answered:
        yield from _applied(chat, number, applied["path"])
    elif _CREATE.fullmatch(text):
        chat.created.add(said)
    elif allowed := _ALLOWED.fullmatch(text):
        chat.created.add(allowed["path"])
    elif _INTERRUPTED.fullmatch(text):
        chat.believed, chat.answered = True, False
    elif version := _VERSION.fullmatch(text):
        chat.version = version["version"]
    elif model := _MODEL.fullmatch(text):
        chat.model, chat.edit_format = model["model"], model["format"]
    elif editor := _EDITOR.fullmatch(text):
        chat.edit_format = editor["format"]
    else:
        yield from _committed(chat, number, text)


def _committed(chat: _Chat, number: int, text: str) -> Iterator[CommitMade]:
    """The commit that a line tells of; its message may run over several lines, of which this has the first."""
    commit = _COMMIT.fullmatch(text.strip())
    if commit is not None:
        yield CommitMade(chat.session_id, chat.turns, number, None, commit["sha"], sound_text(commit["subject"]) or "")


def _applied(chat: _Chat, number: int, path: str) -> Iterator[Claim]:
    """The claim for a file that aider edited, with the changes that the answer before shows for that very name.

    Aider names a file once behind an answer, so that the changes belong to the first line that does.
    """
    if sound_path(path) is None:
        return
    shown = chat.answer.changes_of(path)
    pairs = [change for change in shown if change.old is not None]
    created = path in chat.created
    contents: tuple[bytes, ...] = ()
    replacements: tuple[Replacement, ...] = ()
    if chat.edit_format in ("whole", "editor-whole") and len(shown) == 1 and not pairs:
        contents = (encoded(shown[0].new),)
    elif created and len(pairs) == 1 and not pairs[0].old:
        contents = (encoded(pairs[0].new),)
    elif chat.answer.size <= LONGEST_MESSAGE:
        replacements = tuple(Replacement(encoded(pair.old or ""), encoded(pair.new)) for pair in pairs)
    yield Claim(
        session_id=chat.session_id, turn=chat.turns, line=number, at=None, operation="create" if created else "edit",
        tool="Applied edit", raw_path=path, succeeded=True, contents=contents, replacements=replacements,
    )  # fmt: skip


def _refused(chat: _Chat, refused: _Answer, number: int, line: str) -> Iterator[Claim]:
    """One line of the message that some blocks did not match: these changed nothing, the others were applied.

    Only here aider tells of what it applied without `Applied edit to`, and by number alone: the blocks of the answer
    but for those that failed, which the message repeats.
    """
    said = line.rstrip() if refused.old is None and not refused.fence else ""
    if told := _NO_MATCH.fullmatch(said):
        refused.path = told["path"]
        yield from _edit(chat, number, refused.path, False)
    elif told := _OTHERS.fullmatch(said):
        failed = Counter((change.old, change.new) for change in refused.shown)
        applied: dict[str, list[Replacement]] = {}
        shown, chat.answer.shown = chat.answer.shown, []  # which is told once
        for change in shown:
            pair = (change.old, change.new)
            if failed[pair]:
                failed[pair] -= 1
            elif change.old is not None:
                applied.setdefault(change.path, []).append(Replacement(encoded(change.old), encoded(change.new)))
        if not failed.total() and sum(map(len, applied.values())) == int(told["count"]):
            for path, replacements in applied.items():
                yield from _edit(chat, number, path, True, tuple(replacements))
    refused.take(line)


def _edit(
    chat: _Chat, number: int, path: str, succeeded: bool, replacements: tuple[Replacement, ...] = ()
) -> Iterator[Claim]:
    if sound_path(path) is not None:
        yield Claim(
            session_id=chat.session_id, turn=chat.turns, line=number, at=None,
            operation="create" if path in chat.created else "edit", tool="SEARCH/REPLACE", raw_path=path,
            succeeded=succeeded, replacements=replacements,
        )  # fmt: skip


def _named(line: str) -> str:
    """A line that may name a file, without the decoration that models give it: "`src/a.py`:", "**src/a.py**"."""
    return line.strip().removesuffix(":").strip("*`").strip()


def _joined(lines: list[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
