"""Every way in which git makes a commit, as a function of a work tree and of what is to be committed, and the rows of the
guard's table: what must be refused and what must pass, whichever way it comes.

A row is a path with what stands there before and after, and the finding that the change must give. All rows stand in one
commit, each at a path of its own, since the guard judges each path by itself.
"""

from __future__ import annotations

from pathlib import Path

from gitrepo import git

from mlos_sync.core import seal

LONG = b"".join(b"line %d\n" % number for number in range(60))
DRAFT = b"---\ntitle: Problems\ncompiled_at: 2026-01-31T12:00:00Z\nseal: pending\n---\n\n# Problems\n\nNone.\n" + LONG
VIEW = seal.make(DRAFT)
NEWER = seal.make(DRAFT.replace(b"None.", b"One."))
EDITED = VIEW.replace(b"None.", b"Mine.")
BODY = VIEW.split(b"---\n", 2)[2]
MARKED = VIEW.replace(b"None.", b"<<<<<<< a\nx\n=======\ny\n>>>>>>> b")
FLOW = b"---\n{compiled_at: 2026-01-31T12:00:00Z}\n---\nMine.\n"
BELOW = b"---\na: 1\nb: 2\nc: 3\nd: 4\ne: 5\nf: 6\n"
LINK = b"link:run.py"  # a symlink, not these bytes
NOTE = b"a note\n"

Change = dict[str, bytes | None]
Rows = dict[str, tuple[bytes | None, bytes | None, str]]  # path -> before, after, the finding that it must give

REFUSED: Rows = {
    "edited.md": (VIEW, EDITED, "edited"),
    "field.md": (VIEW, VIEW.replace(b"title: Problems", b"title: Mine"), "edited"),
    "mark.md": (VIEW, b"\xef\xbb\xbf" + EDITED, "edited"),
    "crlf.md": (VIEW, EDITED.replace(b"\n", b"\r\n"), "edited"),
    "stripped.md": (VIEW, b"# Problems\n\nMine.\n", "stripped"),
    "same body.md": (VIEW, BODY, "stripped"),
    "emptied.md": (VIEW, b"", "stripped"),
    "link.md": (VIEW, LINK, "stripped"),
    "old name.md": (VIEW, None, ""),
    "new name.md": (None, EDITED, "forged"),
    "claims.md": (None, DRAFT, "forged"),
    "quoted.md": (VIEW, EDITED.replace(b"compiled_at", b'"compiled_at"'), "edited"),
    "escaped.md": (VIEW, EDITED.replace(b"compiled_at", b'"compiled\\x5fat"'), "edited"),
    "flow.md": (VIEW, FLOW, "edited"),
    "below.md": (VIEW, BELOW + EDITED[4:], "edited"),
    "markers.md": (VIEW, MARKED, "edited"),
    "caf\u00e9.md": (VIEW, EDITED, "edited"),
    "\udcff.md": (VIEW, EDITED, "edited"),
    "new\nline.md": (None, EDITED, "forged"),
    "no ending": (VIEW, EDITED, "edited"),
}
ACCEPTED: Rows = {
    "recompiled.md": (VIEW, NEWER, ""),
    "endings.md": (VIEW, VIEW.replace(b"\n", b"\r\n"), ""),
    "mended.md": (EDITED, NEWER, ""),
    "deleted.md": (VIEW, None, ""),
    "old name.md": (VIEW, None, ""),
    "new name.md": (None, VIEW, ""),
    "fresh.md": (None, NEWER, ""),
    "mention.md": (NOTE, b"---\ntitle: what compiled_at means\n---\ncompiled_at: x\n", ""),
    "link.md": (NOTE, LINK, ""),
    "caf\u00e9 two.md": (VIEW, NEWER, ""),
}


def put(repo: Path, change: Change) -> None:
    """The change in the work tree."""
    for path, data in change.items():
        target = repo / path
        target.unlink(missing_ok=True)
        if data is not None and data.startswith(b"link:"):
            target.symlink_to(data[5:].decode())
        elif data is not None:
            target.write_bytes(data)


def save(repo: Path, change: Change, message: str = "past the guard") -> str:
    """The change committed past all hooks; the commit."""
    put(repo, change)
    git(repo, "add", "-A")
    git(repo, "commit", "-q", "--no-verify", "-m", message)
    return git(repo, "rev-parse", "HEAD").stdout.strip()


def before(rows: Rows) -> Change:
    return {path: row[0] for path, row in rows.items() if row[0] is not None}


def after(rows: Rows) -> Change:
    return {path: row[1] for path, row in rows.items()}


def staged(repo: Path, rows: Rows, *options: str):
    put(repo, after(rows))
    git(repo, "add", "-A")
    return git(repo, "commit", "-q", "-m", "try", *options, check=False)


def plain(repo, rows):
    return staged(repo, rows)


def amend(repo, rows):
    save(repo, {"note.md": b"tip\n"})
    return staged(repo, rows, "--amend")


def known(repo: Path, rows: Rows) -> list[str]:
    """The work tree changed and new files known to git; the paths."""
    put(repo, after(rows))
    git(repo, "add", "--intent-to-add", "-A")
    return [f":(literal){path}" for path in rows]


def with_all(repo, rows):
    known(repo, rows)
    return git(repo, "commit", "-q", "-a", "-m", "try", check=False)


def with_all_amended(repo, rows):
    save(repo, {"note.md": b"tip\n"})
    known(repo, rows)
    return git(repo, "commit", "-q", "-a", "--amend", "-m", "try", check=False)


def by_path(repo, rows):
    return git(repo, "commit", "-q", "-m", "try", "--", *known(repo, rows), check=False)


def only(repo, rows):
    put(repo, {"note.md": b"staged for later\n"})
    git(repo, "add", "note.md")
    return git(repo, "commit", "-q", "-m", "try", "--only", "--", *known(repo, rows), check=False)


def include(repo, rows):
    put(repo, {"note.md": b"staged as well\n"})
    git(repo, "add", "note.md")
    return git(repo, "commit", "-q", "-m", "try", "--include", "--", *known(repo, rows), check=False)


def on_disk_no_more(repo, rows):
    """Staged, and the work tree as it was before."""
    put(repo, after(rows))
    git(repo, "add", "-A")
    put(repo, {path: row[0] for path, row in rows.items()})
    return git(repo, "commit", "-q", "-m", "try", check=False)


def aside(repo: Path, rows: Rows, side: Change | None = None, main: Change | None = None) -> str:
    """The change in a commit of the branch `side`, and another commit on main; back on main. The side's commit."""
    git(repo, "switch", "-q", "-c", "side")
    made = save(repo, {**after(rows), **(side or {})})
    git(repo, "switch", "-q", "main")
    save(repo, main or {"other.md": NOTE})
    return made


CLASH = ({"run.py": b"theirs\n"}, {"run.py": b"ours\n"})


def settled(repo: Path) -> None:
    put(repo, {"run.py": b"both\n"})
    git(repo, "add", "-A")


def conclusion_with_an_edit(repo, rows):
    """A merge that brings nothing bad, and the change made while its conflict is settled."""
    aside(repo, {}, *CLASH)
    git(repo, "merge", "side", check=False)
    settled(repo)
    return staged(repo, rows)


def conclusion_of_theirs(repo, rows):
    """A merge with a conflict elsewhere, whose other side brings the change."""
    aside(repo, rows, *CLASH)
    git(repo, "merge", "side", check=False)
    settled(repo)
    return git(repo, "commit", "-q", "--no-edit", check=False)


def merge_continue(repo, rows):
    aside(repo, rows, *CLASH)
    git(repo, "merge", "side", check=False)
    settled(repo)
    return git(repo, "merge", "--continue", check=False)


def merge(repo, rows):
    aside(repo, rows)
    return git(repo, "merge", "-q", "--no-edit", "side", check=False)


def forward_made_a_merge(repo, rows):
    git(repo, "switch", "-q", "-c", "side")
    save(repo, after(rows))
    git(repo, "switch", "-q", "main")
    return git(repo, "merge", "-q", "--no-ff", "--no-edit", "side", check=False)


def pull(repo, rows):
    git(repo, "clone", "-q", "--no-local", ".", "../there")
    save(repo.parent / "there", after(rows))
    save(repo, {"other.md": NOTE})
    return git(repo, "pull", "-q", "--no-rebase", "--no-edit", "../there", "main", check=False)


def squash(repo, rows):
    aside(repo, rows)
    git(repo, "merge", "-q", "--squash", "side")
    return git(repo, "commit", "-q", "-m", "try", check=False)


def picked_and_committed(repo, rows):
    git(repo, "cherry-pick", "--no-commit", aside(repo, rows))
    return git(repo, "commit", "-q", "-m", "try", check=False)


def reverted_and_committed(repo, rows):
    save(repo, after(rows))
    good = save(repo, {path: row[0] for path, row in rows.items()})
    git(repo, "revert", "--no-commit", good)
    return git(repo, "commit", "-q", "-m", "try", check=False)


def stash(repo, rows):
    put(repo, after(rows))
    git(repo, "stash", "push", "-q", "--include-untracked")
    git(repo, "stash", "pop", "-q", "--index")
    return staged(repo, {})


STOPPED = {
    route.__name__.replace("_", " "): route
    for route in (
        plain, amend, with_all, with_all_amended, by_path, only, include, on_disk_no_more, conclusion_with_an_edit,
        conclusion_of_theirs, merge_continue, merge, forward_made_a_merge, pull, squash, picked_and_committed,
        reverted_and_committed, stash,
    )
}  # fmt: skip


def unverified(repo, rows):
    save(repo, after(rows))


def cherry_pick(repo, rows):
    git(repo, "cherry-pick", aside(repo, rows))


def revert(repo, rows):
    save(repo, after(rows))
    good = save(repo, {path: row[0] for path, row in rows.items()})
    git(repo, "revert", "--no-edit", good)


def rebase(repo, rows):
    aside(repo, rows)
    git(repo, "rebase", "-q", "main", "side")


def rebase_apply(repo, rows):
    aside(repo, rows)
    git(repo, "rebase", "-q", "--apply", "main", "side")


def am(repo, rows):
    made = aside(repo, rows)
    patch = git(repo, "format-patch", "--stdout", "--binary", "-1", made).stdout
    (repo.parent / "patch").write_text(patch, "utf-8", "surrogateescape", newline="")
    git(repo, "am", "-q", "--keep-cr", "../patch")


def fast_forward(repo, rows):
    git(repo, "switch", "-q", "-c", "side")
    save(repo, after(rows))
    git(repo, "switch", "-q", "main")
    git(repo, "merge", "-q", "--ff-only", "side")


def merged_by_the_server(repo, rows):
    """The merge button: trees and commits without a work tree, and no hook of ours anywhere near."""
    aside(repo, rows)
    git(repo, "clone", "-q", "--bare", ".", "../forge")
    forge = repo.parent / "forge"
    tree = git(forge, "merge-tree", "--write-tree", "main", "side").stdout.split()[0]
    made = git(forge, "commit-tree", "-p", "main", "-p", "side", "-m", "Merge", tree).stdout.strip()
    git(forge, "update-ref", "refs/heads/main", made)
    git(repo, "fetch", "-q", "../forge", "main")
    git(repo, "reset", "-q", "--hard", "FETCH_HEAD")


def squashed_by_the_server(repo, rows):
    """The other merge button: the side's tree on top of main."""
    aside(repo, rows)
    tree = git(repo, "merge-tree", "--write-tree", "main", "side").stdout.split()[0]
    git(repo, "reset", "-q", "--hard", git(repo, "commit-tree", "-p", "main", "-m", "Squash", tree).stdout.strip())


def edited_on_the_web(repo, rows):
    """A blob, a tree and a commit, pushed by somebody without our hooks and fetched by us."""
    git(repo, "clone", "-q", "--no-local", ".", "../there")
    git(repo, "init", "-q", "--bare", "../forge")
    there = repo.parent / "there"
    put(there, after(rows))
    git(there, "add", "-A")
    tree = git(there, "write-tree").stdout.strip()
    made = git(there, "commit-tree", "-p", "HEAD", "-m", "Update", tree).stdout.strip()
    git(there, "push", "-q", "../forge", f"{made}:refs/heads/main")
    git(repo, "fetch", "-q", "../forge", "main")
    git(repo, "merge", "-q", "--ff-only", "FETCH_HEAD")


PASSED = {
    route.__name__.replace("_", " "): route
    for route in (
        unverified, cherry_pick, revert, rebase, rebase_apply, am, fast_forward, merged_by_the_server, squashed_by_the_server,
        edited_on_the_web,
    )
}  # fmt: skip


def halfway(repo: Path, rows: Rows, *command: str):
    """A command that stops at a conflict, is settled together with the change, and goes on."""
    git(repo, *command, check=False)
    put(repo, after(rows))
    settled(repo)
    return git(repo, command[0], "--continue", check=False)


def pick_continue(repo, rows):
    return halfway(repo, rows, "cherry-pick", aside(repo, {}, *CLASH))


def revert_continue(repo, rows):
    made = save(repo, {"run.py": b"one\n"})
    save(repo, {"run.py": b"two\n"})
    return halfway(repo, rows, "revert", "--no-edit", made)


def rebase_continue(repo, rows):
    aside(repo, {}, *CLASH)
    git(repo, "switch", "-q", "side")
    return halfway(repo, rows, "rebase", "main")


def am_continue(repo, rows):
    patch = git(repo, "format-patch", "--stdout", "--full-index", "-1", aside(repo, {}, *CLASH)).stdout
    (repo.parent / "patch").write_text(patch, "utf-8")
    return halfway(repo, rows, "am", "-q", "--3way", "../patch")


# Whether git runs the guard here is up to its version.
SOMETIMES = {
    route.__name__.replace("_", " "): route for route in (pick_continue, revert_continue, rebase_continue, am_continue)
}
