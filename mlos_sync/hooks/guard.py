"""Which blobs of the commit being made the guard looks at.

Owns the reading of what is staged; the verdict is in `core.guard`. It needs git's objects and nothing else: neither the
work tree nor our database, so their state cannot block a commit, and an edit that is not staged does not matter.
"""

from __future__ import annotations

import os

from mlos_sync.hooks import plumbing

TYPE_CHECKING = False  # type checkers know the name; importing typing for it would cost every commit 6 ms
if TYPE_CHECKING:
    from mlos_sync.core.guard import Finding, Gone

SYMLINK = b"120000"
FILE = b"100"  # 100644, 100755, and the 100664 of old repositories

# --no-renames: a renamed and edited view must show up as a new file. --ita-invisible-in-index: `git add -N` promises a
# file that the commit will not hold. A relative path or a submodule's state would only be noise.
_DIFF = (
    *("diff-index", "--cached", "--raw", "-z", "-r", "--no-abbrev", "--no-renames", "--no-ext-diff", "--no-textconv"),
    *("--no-relative", "--ignore-submodules=all", "--ita-invisible-in-index"),
)


class Entry:
    """One staged change, as `git diff-index --raw` tells it. An id that does not matter is empty. `gone` is what a deleted
    file was: a deletion breaks no rule, but a new file may be what it became."""

    __slots__ = ("gone", "new", "new_is_symlink", "old", "path", "status")

    def __init__(
        self, path: bytes, status: str, old: bytes, new: bytes, new_is_symlink: bool, gone: bytes = b""
    ) -> None:
        self.gone = gone
        self.path = path
        self.status = status
        self.old = old
        self.new = new
        self.new_is_symlink = new_is_symlink

    @property
    def ids(self) -> list[bytes]:
        """The blobs to read, new one first."""
        return [name for name in (self.new, self.old) if name]


class Look:
    """The two git processes of a check, started before they are needed: they get ready while we import and ask SQLite.

    On a repository of 100,000 files that hides half of the time that git takes to read the index.
    """

    __slots__ = ("blobs", "diff", "sealed")

    def __init__(self) -> None:
        self.sealed: list[str] = []  # staged files with a whole seal, once they were looked at
        self.diff = plumbing.Process(*_DIFF, "HEAD", "--", quiet=True)
        self.blobs = plumbing.reader()


def check(look: Look | None = None, *, merging: bool = False) -> list[Finding]:
    """Everything in the index of this commit, or of this merge, that must not be committed.

    Raises GitError if git cannot tell.
    """
    look = look or Look()
    from mlos_sync.core import guard  # loaded while git reads the index

    try:
        staged_entries = entries_of(staged(look.diff))
    except BaseException:
        look.blobs.close()
        raise
    entries = []
    segments = []
    lost = []
    for entry in staged_entries:
        path = entry.path.decode("utf-8", "surrogateescape")
        if guard.is_segment(path):
            segments.append((path, entry))
        elif entry.ids:
            entries.append((path, entry))
        elif entry.gone:
            lost.append((path, entry))
    findings = _judge_segments(segments, merging=merging)
    if not entries:
        look.blobs.close()
        return findings
    return findings + _judge_files(look, entries, _not_kept(lost, entries), merging=merging)


def _not_kept(lost: list[tuple[str, Entry]], entries: list[tuple[str, Entry]]) -> list[tuple[str, Entry]]:
    """The deleted files that a new one might be: none without a new one that is no mere move, and none that was moved."""
    if not lost:
        return []
    new = {entry.new for _, entry in entries if entry.status == "A"}
    gone = {entry.gone for _, entry in lost}
    return [(path, entry) for path, entry in lost if entry.gone not in new] if new - gone else []


def _judge_files(
    look: Look, entries: list[tuple[str, Entry]], lost: list[tuple[str, Entry]], *, merging: bool
) -> list[Finding]:
    """One git process reads them all: first what the deleted files were, then the new and the old blobs of the others.

    That a new file has the body of a deleted view is no finding in a merge: the other side may have deleted the view in one
    commit and made a document of its own in the next."""
    from mlos_sync.core import guard, seal

    gone = guard.Gone()
    prefix = os.environ.get("GIT_PREFIX", "")
    ids = [name for _, entry in entries for name in entry.ids]
    before = [entry.gone for _, entry in lost]

    def wanted(head: bytes) -> bool:
        return seal.may_claim(head) or (bool(gone) and gone.may_be(head))

    blobs = plumbing.contents(before + ids, wanted, look.blobs)
    findings = []
    try:
        try:
            for path, _ in lost:
                data = next(blobs)
                if seal.check(data).state == seal.VALID:
                    gone.add(path, data)
        except plumbing.GitError:  # a partial clone: what a deleted file was is no reason to stop a commit
            blobs = plumbing.contents(ids, wanted)
        for path, entry in entries:
            new = next(blobs) if entry.new else b""
            old = next(blobs) if entry.old else None
            finding = guard.judge(path, old, new, new_is_symlink=entry.new_is_symlink, prefix=prefix)
            if gone and entry.status == "A" and entry.new:
                finding = _moved(gone, path, new, finding, merging=merging)
            if finding is not None:
                findings.append(finding)
            elif entry.new and not entry.new_is_symlink and seal.check(new).state == seal.VALID:
                look.sealed.append(path)
    finally:
        blobs.close()
    return findings


def _moved(gone: Gone, path: str, new: bytes, finding: Finding | None, *, merging: bool) -> Finding | None:
    """The verdict on a new file, in the light of the views that are deleted. A template may be made of a view."""
    from mlos_sync.core import guard, seal

    if path.endswith(".j2"):
        return finding
    if finding is not None:
        name = gone.name_of(new)
        return guard.moved(finding, name) if name else finding
    if merging or seal.check(new).state != seal.ABSENT:
        return None
    name = gone.body_of(new)
    return guard.moved_without_seal(path, name) if name else None


def _judge_segments(segments: list[tuple[str, Entry]], *, merging: bool) -> list[Finding]:
    """Segments are only ever added. A merge may bring that the other side lost some (somebody reverted a commit): no reason
    to stop a pull, for their events count all the same, and the next commit takes them again."""
    from mlos_sync.core import guard

    blobs = plumbing.contents([entry.new for _, entry in segments if entry.new], lambda _: True) if segments else None
    found = []
    for path, entry in segments:
        if merging and entry.status == "D":
            continue
        new = next(blobs) if entry.new and blobs is not None else None
        finding = guard.judge_segment(path, entry.status, new)
        if finding is not None:
            found.append(finding)
    if blobs is not None:
        blobs.close()
    return found


def staged(diff: plumbing.Process) -> bytes:
    """What `git diff-index --raw -z` says about the index against HEAD, or against nothing before the first commit."""
    code, said = plumbing.finish(diff)
    if code == 0:
        return said
    code, _ = plumbing.output("rev-parse", "--quiet", "--verify", "HEAD", quiet=True)
    # On failure once more and aloud: git's own words are the best message
    code, said = plumbing.output(*_DIFF, _empty_tree() if code else "HEAD", "--")
    if code != 0:
        raise plumbing.GitError(f"git diff-index failed with exit code {code}")
    return said


def _empty_tree() -> str:
    code, said = plumbing.output("hash-object", "-t", "tree", "--stdin")
    if code != 0:
        raise plumbing.GitError(f"git hash-object failed with exit code {code}")
    return said.decode("ascii").strip()


def entries_of(raw: bytes) -> list[Entry]:
    """The entries that can break a rule: added, modified, of another type, deleted. Unmerged ones cannot be committed.

    `:100644 100644 <old id> <new id> M`, NUL, path, NUL: ids have 40 or 64 digits, paths any bytes.
    """
    fields = raw.split(b"\0")
    found = (entry_of(header, path) for header, path in zip(fields[0::2], fields[1::2], strict=False))
    return [entry for entry in found if entry is not None]


def entry_of(header: bytes, path: bytes) -> Entry | None:
    """One of them; None if it cannot break a rule."""
    old_mode, new_mode, old, new, status = header[1:].split(b" ")
    if status[:1] not in (b"A", b"M", b"T", b"D"):
        return None
    untouched = old == new and old_mode.startswith(FILE) and new_mode.startswith(FILE)
    is_symlink = new_mode == SYMLINK
    relevant = not untouched and (is_symlink or new_mode.startswith(FILE))
    return Entry(
        path,
        status[:1].decode("ascii"),
        old if relevant and old_mode.startswith(FILE) else b"",
        new if relevant and not is_symlink else b"",
        is_symlink,
        old if status[:1] == b"D" and old_mode.startswith(FILE) else b"",
    )
