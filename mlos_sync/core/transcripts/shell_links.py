"""A shell command taken apart: simple commands joined by `&&` or `|`, with literal words, redirections, here-documents.

Whatever a shell would expand, or run in another way, is not taken apart at all.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

# One piece of a word: 'literal', "text without expansion", an escaped character, or plain characters.
# The plain ones leave out what a shell may expand or end a word at: blanks $ ` * ? [ ] { } ~ ! # & ; | < > ( ) and quotes
_PIECE = re.compile(
    r"""'(?P<single>[^']*+)'|"(?P<double>(?:[^"\\$`]|\\.)*+)"|\\(?P<escaped>.)|(?P<plain>[^\s'"\\$`*?\[\]{}~!#&;|<>()]++)""",
    re.DOTALL,
)
_DOUBLE_ESCAPE = re.compile(r'\\(["\\$`])|\\\n')
_INNER = re.compile(r"[~#!]")  # stand for themselves inside a word, not at its beginning
_SPACE = re.compile(r"(?:[ \t]|\\\r?\n)++")
_REDIRECT = re.compile(r"&>>|&>|>>|>\||>&|>|<<<|<<-|<<|<")
_JOINT = re.compile(r"&&|\|(?![|&])")
_LINES = re.compile(r"[ \t\r\n]++")
_COMMENT = re.compile(r"#[^\n]*")
_MOST_LINKS = 20


@dataclass(frozen=True, slots=True)
class Link:
    """One simple command: its words, its redirections (descriptor, operator, target) and the text given to it."""

    words: tuple[str, ...]
    redirects: tuple[tuple[str, str, str], ...] = ()
    given: str | None = None
    expands: bool = False  # the given text may hold expansions
    piped: bool = False  # what it prints goes to the next


def links_of(command: str) -> list[Link] | None:
    """The simple commands that `&&` and `|` join; None for anything else than such a chain.

    `cat > a.py <<'EOF'` with its text, `cd x && git mv a b`, `a | b`; not `a; b`, `a || b`, `$(a)`, `a *.py`, `a &`.
    """
    links: list[Link] = []
    words: list[str] = []
    redirects: list[tuple[str, str, str]] = []
    position, length = _skip_lines(command, 0), len(command)
    while position < length and len(links) < _MOST_LINKS:
        position = _skip(command, position)
        character = command[position : position + 1]
        if character in ("\n", "\r", ";", ""):
            break
        joint = _JOINT.match(command, position)
        if joint is not None:
            links.append(Link(tuple(words), tuple(redirects), piped=joint[0] == "|"))
            words, redirects = [], []
            position = _skip_lines(command, joint.end())
            continue
        operator = _REDIRECT.match(command, position)
        if operator is None:
            word, end = _word(command, position)
            if word is None:
                return None
            position = end
            operator = (
                _REDIRECT.match(command, position) if word.isdigit() and word.isascii() and len(word) < 3 else None
            )
            if operator is None or operator[0][0] == "&":
                words.append(word)
                continue
        else:
            word = ""
        target, position = _word(command, _skip(command, operator.end()))
        if target is None:
            return None
        quoted = command[position - 1] in "'\"" or "\\" in command[operator.end() : position]
        redirects.append((word, operator[0] + ("'" if quoted else ""), target))
    links.append(Link(tuple(words), tuple(redirects)))
    return _ended(links, command, position)


def _ended(links: list[Link], command: str, position: int) -> list[Link] | None:
    """The chain with the here-documents that follow its line; None when anything else follows."""
    result: list[Link] = []
    rest = command[position:].lstrip("; \t\r")
    for link in links:
        documents = [item for item in link.redirects if item[1].startswith("<<")]
        others = tuple(item for item in link.redirects if not item[1].startswith("<<"))
        if len(documents) > 1 or not (link.words or link.redirects):
            return None
        if not documents:
            result.append(link)
            continue
        operator, word = documents[0][1], documents[0][2]
        if operator.startswith("<<<"):
            result.append(Link(link.words, others, word + "\n", piped=link.piped))
            continue
        text, rest = _document(rest, word, operator.startswith("<<-"))
        if text is None:
            return None
        expands = not operator.endswith("'") and bool(re.search(r"[$`\\]", text))
        result.append(Link(link.words, others, text, expands, link.piped))
    return result if not rest.strip() else None


def _document(rest: str, word: str, tabs: bool) -> tuple[str | None, str]:
    """The here-document at the beginning of a text, which the line `word` ends, and what follows it."""
    if not word or not rest.startswith("\n"):
        return None, rest
    taken: list[str] = []
    lines = rest[1:].split("\n")
    for index, line in enumerate(lines):
        line = line.lstrip("\t") if tabs else line
        if line.removesuffix("\r") == word:
            following = lines[index + 1 :]
            return "".join(text + "\n" for text in taken), "\n" + "\n".join(following) if following else ""
        taken.append(line)
    return None, rest


def _word(command: str, position: int) -> tuple[str | None, int]:
    """The literal word at a position and where it ends; None where it is none."""
    pieces: list[str] = []
    start = position
    while position < len(command):
        match = _PIECE.match(command, position)
        if match is None:
            if position > start and _INNER.match(command, position):
                pieces.append(command[position])
                position += 1
                continue
            break
        if match["escaped"] in ("\n", "\r"):
            break
        if match["double"] is not None:
            pieces.append(_DOUBLE_ESCAPE.sub(lambda found: found[1] or "", match["double"]))
        else:
            pieces.append(next(text for text in match.group("single", "escaped", "plain") if text is not None))
        position = match.end()
    ends = command[position : position + 1]
    if position == start or ends in ("$", "`", "*", "?", "[", "]", "{", "}", "(", ")", "|", "'", '"'):
        return None, position
    if ends == "&" and not command.startswith("&&", position):
        return None, position
    return "".join(pieces), position


def _skip(command: str, position: int) -> int:
    """Behind blanks, continued lines and a comment."""
    match = _SPACE.match(command, position)
    position = match.end() if match else position
    comment = _COMMENT.match(command, position)
    return comment.end() if comment else position


def _skip_lines(command: str, position: int) -> int:
    """Behind the line ends and comments that may stand before a command."""
    while True:
        match = _LINES.match(command, position)
        position = match.end() if match else position
        comment = _COMMENT.match(command, position)
        if comment is None:
            return position
        position = comment.end()
