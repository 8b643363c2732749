"""The rule of the guard: what a commit may not do to compiled views and to published events.

Owns the verdict and its words; which blobs are looked at is the hook's business, and `verify` asks the same functions.
The document is judged, not who staged it: a merge may bring the genuine recompile of the other side, a rename may bring
an edit. Standard library only.
"""

from __future__ import annotations

from mlos_sync.core import seal
from mlos_sync.core.split import split

EDITED = "edited"
STRIPPED = "stripped"
FORGED = "forged"
JOURNAL = "journal"

_CLAIMS = "this file claims to be a compiled view (compiled_at), but "
_CHANGE = "change the record:  mlos-sync need set ...   then   mlos-sync compile"

_SAFE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./+,=@%-")
_GLOB = frozenset("*?[\\")


class Finding:
    """One refused path: `kind` is edited, stripped, forged or journal; `fix` says what to type next, line by line."""

    __slots__ = ("fix", "kind", "message", "path")

    def __init__(self, path: str, kind: str, message: str, fix: str) -> None:
        self.path = path
        self.kind = kind
        self.message = message
        self.fix = fix

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Finding) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        return f"Finding(path={self.path!r}, kind={self.kind!r}, message={self.message!r}, fix={self.fix!r})"

    def _key(self) -> tuple[str, str, str, str]:
        return self.path, self.kind, self.message, self.fix


class Gone:
    """The views that a commit deletes, to tell of a new file which of them it was.

    Bodies are compared by their lines; blank ones and the ends of lines do not count, nor does the order."""

    __slots__ = ("_ids", "_lines", "_paths", "_sizes")

    def __init__(self) -> None:
        self._paths: list[str] = []
        self._sizes: list[int] = []
        self._ids: dict[bytes, str] = {}
        self._lines: dict[bytes, list[tuple[int, int]]] = {}

    def __bool__(self) -> bool:
        return bool(self._paths)

    def add(self, path: str, data: bytes) -> None:
        """One more deleted view."""
        lines = _lines(data)
        for line, count in lines.items():
            self._lines.setdefault(line, []).append((len(self._paths), count))
        self._paths.append(path)
        self._sizes.append(sum(lines.values()))
        for name in _ids(data):
            self._ids.setdefault(name, path)

    def name_of(self, data: bytes) -> str:
        """The view with the same `id:` line, or the same seal (which an edit leaves behind), or else the one that shares most
        lines, if more than half; empty if none."""
        known = (self._ids[name] for name in _ids(data) if name in self._ids)
        return next(known, "") or self._most_like(data, 1, 2)

    def body_of(self, data: bytes) -> str:
        """The view whose body this is, in more than three quarters of the lines of either; empty if none."""
        return self._most_like(data, 3, 4)

    def may_be(self, head: bytes) -> bool:
        """Whether more than half of the lines that a text begins with are those of one view: a look at the rest pays."""
        lines = _lines(head)
        return max(self._shared(lines), default=0) * 2 > sum(lines.values())

    def _most_like(self, data: bytes, part: int, whole: int) -> str:
        lines = _lines(data)
        size = sum(lines.values())
        shared = self._shared(lines)
        enough = [n for n, both in enumerate(shared) if both * whole > max(size, self._sizes[n]) * part]
        return self._paths[max(enough, key=shared.__getitem__)] if enough else ""

    def _shared(self, lines: dict[bytes, int]) -> list[int]:
        shared = [0] * len(self._paths)
        for line, count in lines.items():
            for number, there in self._lines.get(line, ()):
                shared[number] += min(count, there)
        return shared


def _lines(data: bytes) -> dict[bytes, int]:
    """The lines of a body, and how often each is there."""
    block = split(data)
    found: dict[bytes, int] = {}
    for line in data[block.body if block else 0 :].split(b"\n"):
        if stripped := line.rstrip():
            found[stripped] = found.get(stripped, 0) + 1
    return found


def _ids(data: bytes) -> list[bytes]:
    """The lines of a frontmatter that tell which view it is, the surest first."""
    block = split(data)
    lines = [line.rstrip() for line in block.text.split(b"\n")] if block else []
    return sorted(line for line in lines if line.startswith((b"id:", b"seal: sha256:")))


def judge(
    path: str, old: bytes | None, new: bytes | None, *, new_is_symlink: bool = False, prefix: str = ""
) -> Finding | None:
    """What is wrong with replacing `old` (HEAD's blob at the path) by `new`, or None. `prefix` is the folder in which the
    commands will be typed, from the top, where it is known: git's pathspecs do without, our own commands' paths do not.

    A valid seal is accepted whatever was there before, and so is a deletion (`new` is None). Either text may be cut
    after 64 KiB if its head does not claim `compiled_at`. Nothing but the two blobs decides.
    """
    if new is None:
        return None
    verdict = seal.Verdict(seal.ABSENT) if new_is_symlink else seal.check(new)
    if verdict.state == seal.VALID:
        return None
    was_sealed = old is not None and seal.check(old).state == seal.VALID
    if verdict.state == seal.ABSENT:
        return _stripped(path, new, new_is_symlink, prefix) if was_sealed else None
    if has_conflict_markers(new):
        return Finding(path, EDITED, "this compiled view still holds conflict markers", _recompile(path))
    if was_sealed:
        message = f"this compiled view was edited by hand: {verdict.reason}"
        return Finding(path, EDITED, message, _edit_the_record(path, prefix))
    return Finding(path, FORGED, _CLAIMS + verdict.reason, _forged(path, in_head=old is not None))


def moved(found: Finding, old_path: str) -> Finding:
    """What was found in a new file, told of the deleted view that it was: both names, and a way back that mends both."""
    if found.kind == FORGED:
        reason = found.message.removeprefix(_CLAIMS)
        message = f"this compiled view was renamed from {quoted(old_path)} and edited: {reason}"
        return Finding(found.path, EDITED, message, f"{_CHANGE}\n{_undo(old_path, found.path)}")
    message = f"{found.message}; it was renamed from {quoted(old_path)}"
    return Finding(found.path, found.kind, message, f"{found.fix}\n{_undo(old_path, found.path)}")


def moved_without_seal(path: str, old_path: str) -> Finding:
    """The finding of a new file that has the body of a deleted view, and claims nothing."""
    message = f"this compiled view was renamed from {quoted(old_path)} and stripped of its seal"
    own = "or make it yours:   commit the deletion by itself, then add this file"
    return Finding(path, STRIPPED, message, f"{_CHANGE}\n{_undo(old_path, path)}\n{own}")


def judge_segment(path: str, status: str, new: bytes | None = None) -> Finding | None:
    """What is wrong with a change of a published segment: anything but adding a whole one, or putting a whole one in the
    place of a damaged one. `status` is as git writes it, `new` the staged bytes of a file that is added or changed."""
    if status[:1] not in ("A", "M", "T", "D") or not is_segment(path):
        return None
    if new is not None and is_whole(path, new):
        return None
    if status[:1] == "A":
        if new is None or not _is_named_by_a_hash(path):
            return None
        message = "this file has the name of a journal segment and not its bytes: it was altered or cut"
        return Finding(path, JOURNAL, message, f"leave it out:       {_leave_out(path)}")
    done = {"M": "changed", "T": "replaced", "D": "deleted"}[status[:1]]
    message = f"this commit would leave a published journal segment {done}; segments are only ever added"
    return Finding(path, JOURNAL, message, f"put it back:        {restore(path)}")


def is_segment(path: str) -> bool:
    """Whether the path is one of `.mlos/journal/YYYY/MM/*.jsonl`."""
    parts = path.split("/")
    if len(parts) != 5 or parts[:2] != [".mlos", "journal"] or not parts[4].endswith(".jsonl"):
        return False
    year, month = parts[2], parts[3]
    return len(year) == 4 and len(month) == 2 and (year + month).isascii() and (year + month).isdigit()


def is_whole(path: str, data: bytes) -> bool:
    """Whether a segment's bytes are those that its name was made from."""
    import hashlib  # few commits change segments

    return path.endswith(f"/{hashlib.sha256(data).hexdigest()}.jsonl")


def _is_named_by_a_hash(path: str) -> bool:
    name = path.rpartition("/")[2].removesuffix(".jsonl")
    return len(name) == 64 and not set(name) - set("0123456789abcdef")


def has_conflict_markers(data: bytes) -> bool:
    """Whether lines begin as git begins both ends of a conflict."""
    return all(data.startswith(mark) or b"\n" + mark in data for mark in (b"<<<<<<< ", b">>>>>>> "))


def quoted(path: str) -> str:
    """The path for a message and a shell alike: ASCII, one word, no control character, the same bytes when pasted.

    Paths are bytes decoded with surrogateescape; what is not printable ASCII becomes an octal escape in `$'...'`.
    """
    if path and path[0] != "-" and _SAFE.issuperset(path):
        return path
    if path.isascii() and path.isprintable() and "'" not in path:
        return f"'{path}'"
    out = []
    for byte in path.encode("utf-8", "surrogateescape"):
        if byte in b"\\'":
            out.append("\\" + chr(byte))
        else:
            out.append(chr(byte) if 32 <= byte < 127 else f"\\{byte:03o}")
    return "$'" + "".join(out) + "'"


def pathspec(path: str) -> str:
    """The path for git, as a word for the shell: that one file and no other, from whatever folder it is typed in."""
    # After `:/` some characters would be more magic, and what they may be depends on git's version
    if path[:1].isascii() and (path[:1].isalnum() or path[:1] == ".") and _GLOB.isdisjoint(path):
        return f":/{quoted(path)}"
    return quoted(f":(top,literal){path}")


def restore(path: str) -> str:
    """The git command that gives back HEAD's version of a path, in the index and in the work tree."""
    return f"git restore --source=HEAD --staged --worktree -- {pathspec(path)}"


def _leave_out(path: str) -> str:
    """The git command that takes a new file out of the index and leaves the work tree alone. It is forced: git would refuse
    where the work tree has something else by now. `git restore --staged` needs a HEAD."""
    return f"git rm --cached -f -- {pathspec(path)}"


def _undo(old_path: str, new_path: str) -> str:
    return f"or undo the move:   {restore(old_path)} && {_leave_out(new_path)}"


def _edit_the_record(path: str, prefix: str) -> str:
    adopt = f"or take it over:    mlos-sync adopt {quoted(_seen_from(prefix, path))}"
    return f"{_CHANGE}\n{adopt}\nor drop the edit:   {restore(path)}"


def _seen_from(prefix: str, path: str) -> str:
    """The path relative to a folder, both from the top."""
    folders = prefix.rstrip("/").split("/") if prefix else []
    parts = path.split("/")
    common = 0
    while common < min(len(folders), len(parts) - 1) and folders[common] == parts[common]:
        common += 1
    return "../" * (len(folders) - common) + "/".join(parts[common:])


def resolve(path: str) -> str:
    """The commands that put a whole view in the place of one with conflict markers."""
    return f"mlos-sync compile --resolve   then   git add -- {pathspec(path)}"


def _recompile(path: str) -> str:
    return f"compile it again:   {resolve(path)}"


def _stripped(path: str, new: bytes, is_symlink: bool, prefix: str) -> Finding:
    if not is_symlink and has_conflict_markers(new):
        return Finding(path, EDITED, "this compiled view still holds conflict markers", _recompile(path))
    what = "replaced by a symlink" if is_symlink else "emptied" if not new else "stripped of its seal"
    fix = f"{_edit_the_record(path, prefix)}\nto do without it:   git rm -f -- {pathspec(path)}"
    return Finding(path, STRIPPED, f"this compiled view was {what}", fix)


def _forged(path: str, *, in_head: bool) -> str:
    drop = restore(path) if in_head else _leave_out(path)
    if path.endswith(".j2"):
        return f"if it is a template: begin it with a line {{# a comment #}}\nor leave it out:    {drop}"
    return (
        "if it is a view:    mlos-sync compile\n"
        "if it is yours:     take the line compiled_at out of its frontmatter\n"
        f"or leave it out:    {drop}"
    )
