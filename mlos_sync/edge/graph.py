"""The graph of commits, asked of git: what reaches what, what refs and reflogs name."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from subprocess import Popen

from mlos_sync.edge.git import attempt, run, stream


def ref_tips(root: str) -> list[str]:
    """The commits that branches, tags and remote refs name, each once, sorted."""
    out = run(
        root,
        "for-each-ref",
        "--format=%(objecttype) %(objectname) %(*objectname)",
        "refs/heads",
        "refs/tags",
        "refs/remotes",
    )
    tips = set()
    for line in out.decode().split("\n"):
        words = line.split()
        if words:
            tips.add(words[2] if words[0] == "tag" and len(words) > 2 else words[1])
    return sorted(tips)


def unreached(root: str, commit: str, head: str | None) -> list[str] | None:
    """Commits that are reachable from `commit` and not from `head`, newest first; None when git cannot tell (one of them
    has gone)."""
    done = attempt(root, "rev-list", commit, *([f"^{head}"] if head else []))
    return None if done.returncode else done.stdout.decode().split()


def lineage(
    root: str, wanted: Iterable[str], unwanted: Iterable[str], *options: str
) -> Iterator[tuple[str, list[str]]]:
    """(commit, parents) of what is reachable from the first commits and not from the others, ancestors first; names that
    this repository does not have are passed over. `options` are `rev-list`'s. Git begins at once, and walks while the caller
    does something else; the caller reads to the end."""
    names = "".join([*(f"{one}\n" for one in wanted), *(f"^{one}\n" for one in unwanted)])
    process = stream(
        root, "rev-list", "--parents", "--reverse", "--topo-order", "--ignore-missing", *options, "--stdin", data=names.encode()
    )  # fmt: skip
    return _links(process)


def _links(process: Popen[bytes]) -> Iterator[tuple[str, list[str]]]:
    with process:
        assert process.stdout is not None  # noqa: S101 - told by PIPE
        for line in process.stdout:
            sha, *parents = line.decode("ascii", "replace").split()
            yield sha, parents


def is_ancestor(root: str, commit: str, other: str) -> bool:
    """Whether `commit` is `other` or before it; False where git cannot tell."""
    return attempt(root, "merge-base", "--is-ancestor", commit, other).returncode == 0


def made_anew(root: str, commits: Collection[str]) -> set[str]:
    """Those of the commits that HEAD's reflog says were committed, neither amended nor replayed."""
    out = run(
        root, "log", "--walk-reflogs", "--no-show-signature", "--no-color", "--format=%H %gs", "HEAD", "--", check=False
    )
    found = (line.partition(" ") for line in out.decode("utf-8", "replace").split("\n"))
    return {sha for sha, _, told in found if sha in commits and told.startswith(("commit:", "commit (initial):"))}
