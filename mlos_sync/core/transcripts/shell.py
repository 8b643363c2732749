"""Shell commands -> the changes of files that they certainly make when they end well. Everything else: none.

A command is read only where no expansion can interfere: words are literal, quoted or not; a variable, a glob, a brace,
a subshell or a background job makes the whole command unknown. Links of an `&&` chain must all be known, since each
might change what another did; what a pipe joins must all be known to change nothing, since but the last may have failed.
The caller must know that the exit status was zero.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from mlos_sync.core.transcripts.patches import BEGIN, Change, changes
from mlos_sync.core.transcripts.shell_links import Link, links_of
from mlos_sync.core.transcripts.sound import encoded, sound_path

_SHELLS = ("bash", "sh", "zsh", "/bin/bash", "/bin/sh", "/bin/zsh", "/usr/bin/bash", "/usr/bin/zsh")
_SHELL_OPTIONS = ("-c", "-lc", "-ic", "-cl")
# Known to change no content of any file. `git commit` and `git add` belong to these, hooks aside.
_HARMLESS = ("cd", "mkdir", "ls", "pwd", "true", ":", "echo", "printf", "chmod", "head", "tail", "wc", "grep", "test")
_HARMLESS_GIT = ("add", "status", "diff", "log", "show", "commit", "push", "rev-parse", "branch")


def claimed(command: str) -> tuple[Change, ...]:
    """The changes that a command certainly made, if its exit status was zero; none when in doubt.

    `cat > P <<'EOF'`, `echo text > P`, `rm P`, `mv A B`, `cp A B`, `git mv`, `git rm`, `sed -i`, `apply_patch <<'EOF'`,
    any single command with `> P`; each may stand behind `cd D &&` and be wrapped in `bash -lc '…'`.
    """
    links = links_of(_script(command))
    if not links:
        return ()
    found: list[Change] = []
    directory = ""
    fed = False
    for link in links:
        made = _changes(link, alone=len(links) == 1)
        joined_by_pipe, fed = link.piped or fed, link.piped
        if made is None or (joined_by_pipe and (made or link.words[:1] == ("cd",))):
            return ()
        if link.words[:1] == ("cd",):
            directory = link.words[1] if link.words[1].startswith("/") else joined(directory, link.words[1])
        found += [replace(change, directory=directory) for change in made]
    return tuple(change for change in found if sound_path(change.path))


def patch_in(command: str) -> str:
    """The text of the patch that a command hands to `apply_patch`, whether or not it succeeded; empty if it does not."""
    links = links_of(_script(command)) if "apply_patch" in command or "applypatch" in command else None
    if links is None or any(link.piped for link in links):
        return ""
    return next((text for link in links if (text := _patch(link))), "")


def joined(directory: str, path: str) -> str:
    """A path below a directory, as text: nothing is resolved."""
    if not directory or path.startswith(("/", "\\")) or path[1:3] in (":\\", ":/"):
        return path
    return f"{directory.rstrip('/')}/{path}"


def located(change: Change, base: str | None) -> tuple[str, str | None]:
    """The raw path of a change and the directory that it is relative to, for a call that ran in `base`."""
    if not change.directory:
        return change.path, base
    if base is None and not change.directory.startswith("/"):
        return joined(change.directory, change.path), None
    return change.path, joined(base or "", change.directory)


def unquoted(words: Sequence[object]) -> str:
    """A command given as a list of words, as one string: the script behind `bash -lc`, or the words quoted."""
    texts = [word for word in words if isinstance(word, str)]
    if len(texts) == 3 and texts[0] in _SHELLS and texts[1] in _SHELL_OPTIONS:
        return texts[2]
    return " ".join("'" + text.replace("'", "'\\''") + "'" for text in texts)


def _script(command: str) -> str:
    """The command, or the script in it where it is `bash -lc '…'` and nothing else."""
    if not command.lstrip().startswith(_SHELLS):
        return command
    links = links_of(command)
    if links is None or len(links) != 1 or links[0].redirects or links[0].given is not None:
        return command
    words = links[0].words
    return words[2] if len(words) == 3 and words[0] in _SHELLS and words[1] in _SHELL_OPTIONS else command


def _changes(link: Link, alone: bool) -> tuple[Change, ...] | None:
    """What one command changes; None when that is unknown. A single unknown command still writes where it redirects."""
    written = list(_redirected(link))
    if None in written:
        return None
    name = link.words[0] if link.words else ":"
    reader = _READERS.get(name)
    own: tuple[Change, ...] | None = ()
    if reader is not None:
        own = reader(link)
    elif name == "cd":
        own = () if len(link.words) == 2 and sound_path(link.words[1]) and link.words[1] != "-" else None
    elif name not in _HARMLESS and not (alone and written and "=" not in name):
        own = None
    return None if own is None else own + tuple(change for change in written if change is not None)


def _redirected(link: Link) -> Iterator[Change | None]:
    """The files that redirections write, and None for one that is not understood."""
    seen: set[str] = set()
    for number, operator, target in link.redirects:
        operator = operator.rstrip("'")
        if operator == "<" or (operator == ">&" and target.isdigit()) or target.startswith("/dev/"):
            continue
        stream = "1" if operator.startswith("&") else number or "1"
        if operator == ">&" or stream in seen:
            yield None
            continue
        seen.add(stream)
        if operator in (">>", "&>>"):
            yield Change("edit", target)
            continue
        text = _output(link) if stream == "1" and operator in (">", ">|") else None
        yield Change("write", target, contents=() if text is None else (encoded(text),))


def _output(link: Link) -> str | None:
    """What a command prints, where that is certain: shells differ about backslashes in `echo`, so it must have none."""
    words = link.words
    if not words or words in ((":",), ("true",)):
        return ""
    if words in (("cat",), ("cat", "-")):
        return None if link.expands else link.given
    if words[0] == "echo":
        bare = words[1:2] == ("-n",)
        text = " ".join(words[2 if bare else 1 :])
        return None if "\\" in text or text.startswith("-") else text + ("" if bare else "\n")
    if words[0] == "printf" and len(words) > 1:
        if words[1] in ("%s", "%s\\n") and len(words) > 2:
            return "".join(word + ("\n" if words[1] == "%s\\n" else "") for word in words[2:])
        text = words[1].replace("\\n", "\n")
        return text if len(words) == 2 and "\\" not in text and "%" not in text else None
    return None


def _operands(words: Sequence[str], flags: str) -> tuple[str, ...] | None:
    """The words that are no options; None when an option is not among the single-letter `flags`."""
    operands: list[str] = []
    options = True
    for word in words:
        if not options or not word.startswith("-"):
            operands.append(word)
        elif word == "--":
            options = False
        elif len(word) < 2 or any(letter not in flags for letter in word[1:]):
            return None
    return tuple(operands)


def _removed(words: Sequence[str], flags: str = "fv") -> tuple[Change, ...] | None:
    """`rm a.py b.py`, `rm -f a.py`; not `rm -r`, whose target may be a directory."""
    operands = _operands(words, flags)
    if not operands or any(path.endswith("/") for path in operands):
        return None
    return tuple(Change("delete", path) for path in operands)


def _moved(words: Sequence[str]) -> tuple[Change, ...] | None:
    """`mv a.py b.py`, `mv a.py lib/`; not `mv a lib`, which may mean either."""
    pair = _pair(words, "fv")
    return None if pair is None else (Change("move", pair[1]), Change("delete", pair[0]))


def _copied(words: Sequence[str]) -> tuple[Change, ...] | None:
    """`cp a.py b.py`; what the copy holds is not known."""
    pair = _pair(words, "fvp")
    return None if pair is None else (Change("write", pair[1]),)


def _pair(words: Sequence[str], flags: str) -> tuple[str, str] | None:
    """The source and the target of a move or copy, where the target is certainly a file or certainly a directory.

    A name with a dot inside counts as a file's, and so does one without, below the same name: `mv x/Makefile y/Makefile`.
    """
    operands = _operands(words, flags)
    if operands is None or len(operands) != 2 or operands[0].endswith("/"):
        return None
    source, target = operands
    name, aimed = source.rpartition("/")[2], target.rpartition("/")[2]
    if name in ("", ".", ".."):
        return None
    if not aimed:
        return source, target + name
    return (source, target) if aimed == name or "." in aimed.strip(".") else None


def _sed(link: Link) -> tuple[Change, ...] | None:
    """`sed -i 's/a/b/' f`, `sed -i '' -e 's/a/b/' f`, `sed -i.bak …`; without `-i` nothing is changed."""
    files: list[str] = []
    words = list(link.words[1:])
    in_place, scripts, index = False, 0, 0
    while index < len(words):
        word = words[index]
        if re.fullmatch(r"-[Er]*i[.\w]*|--in-place(?:=\S*)?", word):
            in_place = True
            index += words[index + 1 : index + 2] == [""]
        elif word in ("-e", "--expression"):
            scripts += 1
            index += 1
        elif word.startswith("-"):
            if not re.fullmatch(r"-[Ernsu]+", word):
                return None
        else:
            files.append(word)
        index += 1
    files = files if scripts else files[1:]
    if not in_place:
        return ()
    return tuple(Change("edit", path) for path in files) if files else None


def _git(link: Link) -> tuple[Change, ...] | None:
    """`git mv a b`, `git rm a`; others known to leave the files alone."""
    verb = link.words[1] if len(link.words) > 1 else ""
    if verb == "mv":
        return _moved(link.words[2:])
    if verb == "rm":
        return _removed(link.words[2:], "fq")
    return () if verb in _HARMLESS_GIT else None


def _tee(link: Link) -> tuple[Change, ...] | None:
    """`tee a.py <<'EOF'`, `tee -a a.py <<'EOF'`."""
    operands = _operands(link.words[1:], "a")
    if not operands or link.given is None:
        return None
    if "-a" in link.words:
        return tuple(Change("edit", path) for path in operands)
    contents = () if link.expands else (encoded(link.given),)
    return tuple(Change("write", path, contents=contents) for path in operands)


def _patch(link: Link) -> str:
    """The patch given to `apply_patch`, as a here-document or as its argument."""
    if not link.words or link.words[0] not in ("apply_patch", "applypatch"):
        return ""
    text = link.given if len(link.words) == 1 else link.words[1] if len(link.words) == 2 else None
    return text if text is not None and BEGIN in text and not link.expands else ""


def _patched(link: Link) -> tuple[Change, ...] | None:
    text = _patch(link)
    return changes(text) if text else None


_READERS: dict[str, Callable[[Link], tuple[Change, ...] | None]] = {
    "rm": lambda link: _removed(link.words[1:]),
    "mv": lambda link: _moved(link.words[1:]),
    "cp": lambda link: _copied(link.words[1:]),
    "cat": lambda link: (),
    "sed": _sed,
    "git": _git,
    "tee": _tee,
    "apply_patch": _patched,
    "applypatch": _patched,
}
