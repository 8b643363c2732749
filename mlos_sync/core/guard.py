"""The rule of the guard: what a commit may not do to compiled views and to published events.

Owns the verdict and its words; which blobs are looked at is the hook's business, and `verify` asks the same functions.
The document is judged, not who staged it: a merge may bring the genuine recompile of the other side, a rename may bring
an edit. Standard library only.
"""

from __future__ import annotations

from mlos_sync.core import seal

EDITED = "edited"
STRIPPED = "stripped"
FORGED = "forged"
JOURNAL = "journal"

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


def judge(path: str, old: bytes | None, new: bytes | None, *, new_is_symlink: bool = False) -> Finding | None:
    """What is wrong with replacing `old` (HEAD's blob at the path) by `new`, or None.

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
        return _stripped(path, new, new_is_symlink) if was_sealed else None
    if has_conflict_markers(new):
        return Finding(path, EDITED, "this compiled view still holds conflict markers", _recompile(path))
    if was_sealed:
        message = f"this compiled view was edited by hand: {verdict.reason}"
        return Finding(path, EDITED, message, _edit_the_record(path))
    message = f"this file claims to be a compiled view (compiled_at), but {verdict.reason}"
    return Finding(path, FORGED, message, _forged(path, in_head=old is not None))


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
        return Finding(path, JOURNAL, message, f"leave it out:       {_git(path)} rm --cached -- {quoted(path)}")
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


def restore(path: str) -> str:
    """The git command that gives back HEAD's version of a path, in the index and in the work tree."""
    return f"{_git(path)} restore --source=HEAD --staged --worktree -- {quoted(path)}"


def _git(path: str) -> str:
    return "git --literal-pathspecs" if path.startswith(":") or not _GLOB.isdisjoint(path) else "git"


def _edit_the_record(path: str) -> str:
    change = "change the record:  mlos-sync need set ...   then   mlos-sync compile"
    adopt = f"or take it over:    mlos-sync adopt {quoted(path)}"
    return f"{change}\n{adopt}\nor drop the edit:   {restore(path)}"


def _recompile(path: str) -> str:
    return f"compile it again:   mlos-sync compile   then   git add -- {quoted(path)}"


def _stripped(path: str, new: bytes, is_symlink: bool) -> Finding:
    if not is_symlink and has_conflict_markers(new):
        return Finding(path, EDITED, "this compiled view still holds conflict markers", _recompile(path))
    what = "replaced by a symlink" if is_symlink else "emptied" if not new else "stripped of its seal"
    fix = f"{_edit_the_record(path)}\nto do without it:   {_git(path)} rm -f -- {quoted(path)}"
    return Finding(path, STRIPPED, f"this compiled view was {what}", fix)


def _forged(path: str, *, in_head: bool) -> str:
    drop = restore(path) if in_head else f"{_git(path)} rm --cached -- {quoted(path)}"
    if path.endswith(".j2"):
        return f"if it is a template: begin it with a line {{# a comment #}}\nor leave it out:    {drop}"
    return (
        "if it is a view:    mlos-sync compile\n"
        "if it is yours:     take the line compiled_at out of its frontmatter\n"
        f"or leave it out:    {drop}"
    )
