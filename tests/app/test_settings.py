"""What the user has set for git, or done to this clone alone, does not change what is read: the index is the same as without.

One history with merges, renames, a submodule, odd names, notes, a foreign encoding, and trailers; read anew under each
setting that changes what git prints.
"""

from __future__ import annotations

import pytest
from cli import add, dump, git_dir, head, need, opened, quick, save, synced, workspace, write
from gitrepo import git

from mlos_sync.app import dumping, why
from mlos_sync.edge import commits

SETTINGS = {
    "colours and names": "color.ui=always color.branch=always core.quotePath=true core.abbrev=4 advice.detachedHead=false",
    "comments begin with C": "core.commentChar=C",
    "comments begin with T": "core.commentChar=T",
    "core": "core.splitIndex=true core.untrackedCache=true core.precomposeUnicode=true core.protectHFS=true"
    " core.commitGraph=false core.logAllRefUpdates=false feature.manyFiles=true",
    "diff": "diff.noprefix=true diff.mnemonicPrefix=true diff.renameLimit=1 diff.relative=true diff.algorithm=patience"
    " diff.submodule=log diff.statGraphWidth=1 diff.context=0 diff.wordRegex=. diff.suppressBlankEmpty=true",
    "no renames": "diff.renames=false status.renames=false",
    "copies": "diff.renames=copies",
    "an order that is not there": "diff.orderFile=nowhere/order",
    "submodules are ignored": "diff.ignoreSubmodules=all",
    "one submodule is ignored": "submodule.sub.ignore=all",
    "submodules are entered": "submodule.recurse=true",
    "log": "log.mailmap=true log.date=relative log.decorate=full log.showSignature=true log.abbrevCommit=true"
    " log.initialDecorationSet=all format.pretty=oneline mailmap.file=map notes.displayRef=*",
    "log without its roots": "log.showRoot=false",
    "log follows": "log.follow=true",
    "merges are not told": "log.diffMerges=off",
    "merges are told by their first parent": "log.diffMerges=first-parent",
    "another encoding": "i18n.logOutputEncoding=ISO-8859-1 i18n.commitEncoding=ISO-8859-1",
    "trailers": "trailer.separators==% trailer.ifexists=replace",
    "status": "status.short=true status.branch=true status.showUntrackedFiles=no status.relativePaths=false",
    "blame": "blame.showEmail=true blame.blankBoundary=true blame.date=relative",
    "aliases": "alias.log=log\u00a0-1 alias.ls-files=version pager.log=cat versionsort.suffix=-",
}  # fmt: skip


@pytest.fixture(scope="module")
def before(tmp_path_factory):
    """The workspace, its dump and its commits, read with no settings at all."""
    repo = workspace(tmp_path_factory.mktemp("settings"))
    task = add(repo, "task", description="Close me")
    need(repo, "Know why")
    uid = task["uid"][:16]
    write(repo, "map", "Other <other@example.com> <ada@example.org>\nOther <other@example.com> <tester@example.com>\n")
    write(repo, ".mailmap", (repo / "map").read_bytes())
    text = "".join(f"line {number}\n" for number in range(40))
    for name in ("a.md", "b/caf\u00e9.md", 'q"uote\t.md', "n\newline.md"):
        write(repo, name, text + name)
    save(repo, f"files\n\nTask: task-{uid}\nSession: 0f1e2d3c")
    git(repo, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(repo), "sub")
    save(repo, "a submodule")
    git(repo, "switch", "-q", "-c", "side", "HEAD~1")
    git(repo, "mv", "a.md", "moved.md")
    write(repo, "moved.md", text + "more\n")
    save(repo, f"moved\n\nSome text.\n\nCloses: task-{uid}\nCo-authored-by: Eve <eve@example.com>")
    git(repo, "switch", "-q", "main")
    write(repo, "b/caf\u00e9.md", text + "changed\n")
    write(repo, "copy.md", text + "changed\n")
    encoded = {"GIT_AUTHOR_NAME": "Andr\u00e9"}
    save(repo, "Gr\u00fc\u00dfe", "--date", "2026-01-01T00:00:00+05:00")
    git(repo, "commit", "-q", "--allow-empty", "-m", "\u00e9t\u00e9", env=encoded)
    git(repo, "merge", "-q", "--no-ff", "--no-edit", "side")
    git(repo, "-C", "sub", "commit", "-q", "--allow-empty", "-m", "in the submodule")
    save(repo, "the submodule moved")
    git(repo, "notes", "add", "-m", "Closes: 1")
    git(repo, "branch", "-q", "-D", "side")
    return repo, read_anew(repo), list(plumbed(repo))


def plumbed(repo):
    """(name, parents, times, subject, changes) of each commit, ancestors first, by commands that heed no setting."""
    for sha in git(repo, "rev-list", "--reverse", "--date-order", "HEAD").stdout.split():
        header, _, message = git(repo, "cat-file", "commit", sha).stdout.partition("\n\n")
        told = [line.partition(" ")[::2] for line in header.split("\n")]
        parents = " ".join(value for key, value in told if key == "parent")
        times = [int(value.split(" ")[-2]) for key, value in told if key in ("author", "committer")]
        printed = git(repo, "diff-tree", "--root", "-r", "-z", "-M", "--no-commit-id", "--no-abbrev", sha).stdout
        fields, changes = iter(printed.split("\0")), []
        for about in filter(None, fields):
            new, status = about.split(" ")[3:5]
            old = next(fields)
            path = next(fields) if status[0] == "R" else old
            changes.append((path, status[0], None if status == "D" else new, old if path != old else None))
        yield (sha, parents, *times, message.split("\n")[0], changes)


def read_anew(repo):
    """The dump of an index that is made now."""
    for database in sorted(git_dir(repo).glob("mlos/index.db*")):
        database.unlink()
    synced(repo)
    return dump(repo)


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_changes_nothing_that_is_read(before, name):
    """The history under the setting, and who wrote a line."""
    repo, expected, plain = before
    settings = [one.replace("\u00a0", " ").partition("=") for one in SETTINGS[name].split(" ")]
    for key, _, value in settings:
        git(repo, "config", key, value)
    try:
        assert dumping.differences(expected, read_anew(repo)) == []
        read = [(*one[:4], one.subject, changes) for one, changes in commits.log(str(repo), "HEAD")]
        assert read == plain
        with opened(repo) as index:
            line = why.why_path(index, "moved.md", 41)["commits"]
        assert [one["subject"] for one in line] == ["moved"]
    finally:
        for key, _, _ in settings:
            git(repo, "config", "--unset", key)


def test_replaced_objects_and_grafts_change_nothing(before):
    """They are of this clone alone, and change without HEAD moving."""
    repo, expected, _ = before
    git(repo, "replace", "HEAD~1", "HEAD~3")
    git(repo, "replace", "--edit", "HEAD", env={"GIT_EDITOR": "sed -i s/moved/replaced/"})
    grafts = git_dir(repo) / "info" / "grafts"
    grafts.write_text(f"{head(repo)}\n")
    try:
        assert git(repo, "rev-list", "HEAD").stdout.count("\n") == 1
        assert dumping.differences(expected, read_anew(repo)) == []
    finally:
        grafts.unlink()
        git(repo, "replace", "-d", head(repo), head(repo, "HEAD~1"), check=False)


def test_what_git_cannot_tell_is_said_in_its_words(before):
    """A setting that stops git itself is no missing line."""
    repo, *_ = before
    git(repo, "config", "blame.ignoreRevsFile", "nowhere")
    try:
        done = quick(repo, "why", "moved.md:41", ok=False)
    finally:
        git(repo, "config", "--unset", "blame.ignoreRevsFile")
    assert done.code == 3 and "nowhere" in done.err
