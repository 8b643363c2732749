"""The hooks in real commits: what the guard stops, what it lets through, and that nothing else ever stops a commit."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import types
from pathlib import Path

import pytest
from copies import copied

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from gitrepo import ROOT, commit_file, env_of, git, make_interpreter, make_repo

import mlos_sync.app
from mlos_sync.core import seal
from mlos_sync.edge import shims
from mlos_sync.hooks import guard, main, pending, plumbing

DRAFT = b"---\ntitle: Problems\ncompiled_at: 2026-01-31T12:00:00Z\nseal: pending\n---\n\n# Problems\n\nNone.\n"
VIEW = seal.make(DRAFT)
NEWER = seal.make(DRAFT.replace(b"None.", b"One."))
EDITED = VIEW.replace(b"None.", b"Mine.")
BODY = VIEW.split(b"---\n", 2)[2]
SEGMENT = ".mlos/journal/2026/01/ab12.jsonl"


@pytest.fixture(scope="session")
def python(tmp_path_factory):
    return make_interpreter(tmp_path_factory.mktemp("venv"))


@pytest.fixture
def repo(tmp_path, python):
    """A repository with a sealed view, a note and a published segment, and our hooks."""
    repo = copied(with_view, tmp_path) / "repo"
    shims.install(str(repo / ".git" / "hooks"), str(ROOT / "hooks"), python)
    return repo


def with_view(folder: Path) -> None:
    """The same without the hooks."""
    repo = make_repo(folder)
    for path, content in {"PROBLEM.md": VIEW, "note.md": b"a note\n", SEGMENT: b"{}\n"}.items():
        commit_file(repo, path, content)


def run_hook(python: str, repo: Path, name: str = "pre-commit", **env: str) -> subprocess.CompletedProcess[str]:
    """The door of the shims, opened by hand: for states in which git itself would not commit."""
    command = [python, "-I", "-m", "mlos_sync.hooks.main", name]
    return subprocess.run(command, cwd=repo, env={**env_of(repo), **env}, capture_output=True, text=True)


def commit(repo: Path, form: str, path: str = "PROBLEM.md", **options) -> subprocess.CompletedProcess[str]:
    """Commit what was done to the path in one of the four forms."""
    literal = f":(literal){path}"
    if form in ("plain", "amend"):
        git(repo, "add", "-A", "--", literal)
    arguments = {"plain": [], "all": ["-a"], "path": ["--", literal], "amend": ["--amend"]}[form]
    return git(repo, "commit", "-q", "-m", "try", *arguments, check=False, **options)


def refused(done: subprocess.CompletedProcess[str], word: str = "") -> bool:
    assert done.returncode != 0, "it was committed"
    assert "mlos-sync: commit refused" in done.stderr, done.stderr
    assert word in done.stderr, done.stderr
    assert done.stderr.isascii()
    assert "Traceback" not in done.stderr
    return True


FORMS = ("plain", "all", "path", "amend")
BAD = {
    "body edited": (EDITED, "edited by hand"),
    "field edited": (VIEW.replace(b"title: Problems", b"title: Mine"), "edited by hand"),
    "byte order mark": (b"\xef\xbb\xbf" + EDITED, "edited by hand"),
    "byte order mark alone": (b"\xef\xbb\xbf" + VIEW, "edited by hand"),
    "CRLF and edited": (EDITED.replace(b"\n", b"\r\n"), "edited by hand"),
    "stripped": (b"# Problems\n\nMine.\n", "stripped"),
    "stripped, same body": (BODY, "stripped"),
    "emptied": (b"", "emptied"),
    "quoted key": (EDITED.replace(b"compiled_at", b'"compiled_at"'), "edited"),
    "flow mapping": (b"---\n{compiled_at: 2026-01-31T12:00:00Z}\n---\nMine.\n", "edited"),
    "key below line 5": (b"---\na: 1\nb: 2\nc: 3\nd: 4\ne: 5\nf: 6\n" + EDITED[4:], "edited"),
    "escaped key": (EDITED.replace(b"compiled_at", b'"compiled\\x5fat"'), "edited"),
    "conflict markers": (VIEW.replace(b"None.", b"<<<<<<< a\nx\n=======\ny\n>>>>>>> b"), "mlos-sync compile --resolve"),
    "seal pending": (DRAFT, "pending"),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("case", BAD)
def test_hand_edits_are_refused(repo, form, case):
    """A sealed view that is edited or stripped is refused in every form of commit, and the message names the file."""
    content, word = BAD[case]
    (repo / "PROBLEM.md").write_bytes(content)
    head = git(repo, "rev-parse", "HEAD").stdout
    done = commit(repo, form)
    assert refused(done, word)
    assert "PROBLEM.md" in done.stderr
    assert git(repo, "rev-parse", "HEAD").stdout == head


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("content", [NEWER, VIEW.replace(b"\n", b"\r\n")], ids=["recompiled", "CRLF"])
def test_genuine_views_pass(repo, form, content):
    """A valid seal passes in every form of commit, and so does a change of line endings alone."""
    (repo / "PROBLEM.md").write_bytes(content)
    assert commit(repo, form).returncode == 0


@pytest.mark.parametrize("form", FORMS)
def test_links_instead_of_views_are_refused(repo, form):
    """A view replaced by a symlink (status T) is refused."""
    (repo / "PROBLEM.md").unlink()
    (repo / "PROBLEM.md").symlink_to("note.md")
    assert refused(commit(repo, form), "symlink")


@pytest.mark.parametrize("form", FORMS)
def test_deletions_pass(repo, form):
    """Deleting a view is a decision, not an accident."""
    (repo / "PROBLEM.md").unlink()
    assert commit(repo, form).returncode == 0


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("how", ["changed", "deleted", "replaced"])
def test_published_segments_are_kept(repo, form, how):
    """A commit that changes, deletes or replaces a segment is refused in every form."""
    segment = repo / SEGMENT
    if how == "changed":
        segment.write_bytes(b"{}\n{}\n")
    else:
        segment.unlink()
    if how == "replaced":
        segment.symlink_to("elsewhere")
    assert refused(commit(repo, form, SEGMENT), "segment")


@pytest.mark.parametrize("form", ["plain", "amend"])
def test_new_segments_and_notes_pass(repo, form):
    """Adding a segment, a note that mentions the key, binary data and an empty file is no matter for the guard."""
    for path, content in {
        ".mlos/journal/2026/02/cd34.jsonl": b"{}\n",
        "explains.md": b"---\ntitle: what compiled_at means\n---\ncompiled_at: x\n",
        "data.bin": b"---\n\x00\xff\n---\n",
        "empty": b"",
    }.items():
        (repo / path).parent.mkdir(parents=True, exist_ok=True)
        (repo / path).write_bytes(content)
    assert commit(repo, form, ".").returncode == 0


@pytest.mark.parametrize("form", ["plain", "path", "amend"])
def test_new_files_that_claim_are_refused(repo, form):
    """A new file that says it was compiled must carry a valid seal."""
    (repo / "new.md").write_bytes(EDITED)
    git(repo, "add", "new.md")
    assert refused(commit(repo, form, "new.md"), "claims to be a compiled view")
    (repo / "new.md").write_bytes(NEWER)
    assert commit(repo, form, "new.md").returncode == 0


def test_staged_counts_not_the_work_tree(repo):
    """An edit that is staged and reverted on disk is refused; one that is only on disk is not looked at."""
    (repo / "PROBLEM.md").write_bytes(EDITED)
    git(repo, "add", "PROBLEM.md")
    (repo / "PROBLEM.md").write_bytes(VIEW)
    assert refused(git(repo, "commit", "-m", "x", check=False))
    git(repo, "reset", "-q")
    (repo / "PROBLEM.md").write_bytes(EDITED)
    (repo / "note.md").write_bytes(b"more\n")
    git(repo, "add", "note.md")
    assert git(repo, "commit", "-m", "x", check=False).returncode == 0


def test_the_index_of_this_commit_is_read(repo):
    """`git commit PATH` is judged by what it commits: a bad edit that is staged for later does not stop it."""
    (repo / "PROBLEM.md").write_bytes(EDITED)
    git(repo, "add", "PROBLEM.md")
    (repo / "note.md").write_bytes(b"more\n")
    assert commit(repo, "path", "note.md").returncode == 0
    assert refused(git(repo, "commit", "-m", "x", check=False))


def test_renames(repo):
    """A pure rename passes; a rename with an edit is refused under the new name."""
    git(repo, "mv", "PROBLEM.md", "docs.md")
    assert git(repo, "commit", "-m", "rename", check=False).returncode == 0
    git(repo, "mv", "docs.md", "again.md")
    (repo / "again.md").write_bytes(EDITED)
    git(repo, "add", "-A")
    done = git(repo, "commit", "-m", "rename and edit", check=False)
    assert refused(done, "again.md")
    assert "renamed from docs.md and edited" in done.stderr
    git(repo, "rm", "-q", "-f", "again.md")
    assert git(repo, "commit", "-m", "delete", check=False).returncode == 0


def typed(repo: Path, said: str, label: str, folder: str = ".") -> None:
    """The command that stands behind a label, typed into a shell."""
    command = next(line for line in said.splitlines() if label in line).split(":", 1)[1]
    (repo / folder).mkdir(exist_ok=True)
    subprocess.run(["bash", "-c", command], cwd=repo / folder, env=env_of(repo), check=True)


@pytest.mark.parametrize(
    "content", [EDITED, BODY, b"---\ntitle: mine\n---\n" + BODY], ids=["edited", "stripped", "other"]
)
@pytest.mark.parametrize("form", ["plain", "all"])
@pytest.mark.parametrize("new", ["REN.md", "[a b].md"])
def test_the_way_out_of_a_rename(repo, form, content, new):
    """Both names are told, and the printed command leaves neither the deletion nor the new name staged, nor loses the edit."""
    git(repo, "mv", "PROBLEM.md", new)
    (repo / new).write_bytes(content)
    done = commit(repo, form, new)
    assert refused(done, "renamed from PROBLEM.md and " + ("edited" if content == EDITED else "stripped"))
    typed(repo, done.stderr, "or undo the move:", "deep")
    assert git(repo, "diff", "--cached", "--name-only").stdout == ""
    assert (repo / "PROBLEM.md").read_bytes() == VIEW
    assert (repo / new).read_bytes() == content


def test_a_long_body_that_goes_on_without_its_seal(repo):
    """Also behind the first 64 KiB; a file that only begins alike is another document."""
    lines = b"".join(b"a line, the one of number %d\n" % number for number in range(6000))
    commit_file(repo, "long.md", seal.make(DRAFT + lines))
    git(repo, "rm", "-q", "long.md")
    (repo / "new.md").write_bytes(lines)
    assert refused(commit(repo, "plain", "new.md"), "renamed from long.md and stripped")
    (repo / "new.md").write_bytes(lines[:100_000] + b"mine\n" * 9000)
    assert commit(repo, "plain", "new.md").returncode == 0


def test_what_is_no_move_of_a_view(repo):
    """A deleted note beside a like file, a template made of a view, a deletion and another file, a move beside a new file."""
    commit_file(repo, "second.md", NEWER)
    git(repo, "mv", "note.md", "moved.md")
    (repo / "moved.md").write_bytes(b"a note\nmore\n")
    assert commit(repo, "plain", "moved.md").returncode == 0
    git(repo, "mv", "PROBLEM.md", "template.j2")
    (repo / "template.j2").write_bytes(b"{# mine #}\n" + BODY)
    (repo / "other.md").write_bytes(b"# Problems\n\nmany\nof\nmine\n")
    assert commit(repo, "plain", ".").returncode == 0
    git(repo, "mv", "second.md", "third.md")
    (repo / "copy.md").write_bytes(BODY)
    assert commit(repo, "plain", ".").returncode == 0


def test_a_merge_is_not_asked_about_moves_that_were_two_commits(repo):
    """The other side deleted a view, and later wrote a document of its own from it: its commits were judged one by one."""
    git(repo, "switch", "-q", "-c", "side")
    git(repo, "rm", "-q", "PROBLEM.md")
    assert git(repo, "commit", "-m", "delete", check=False).returncode == 0
    (repo / "mine.md").write_bytes(BODY)
    assert commit(repo, "plain", "mine.md").returncode == 0
    git(repo, "switch", "-q", "main")
    commit_file(repo, "other.md", b"x\n")
    assert git(repo, "merge", "--no-edit", "side", check=False).returncode == 0


def test_commits_without_deleted_views_read_nothing_more(here, monkeypatch):
    """Deletions alone, moves as they are, and new files alone: neither another process nor another blob."""
    started, asked = [], []
    start, contents = plumbing.Process.__init__, plumbing.contents
    monkeypatch.setattr(
        plumbing.Process, "__init__", lambda self, *words, **how: (started.append(words), start(self, *words, **how))[0]
    )
    monkeypatch.setattr(plumbing, "contents", lambda ids, *rest: (asked.append(len(ids)), contents(ids, *rest))[1])
    git(here, "rm", "-q", "PROBLEM.md")
    assert (guard.check(), len(started), asked) == ([], 2, [])
    git(here, "reset", "-q", "--hard")
    git(here, "mv", "PROBLEM.md", "moved.md")
    (here / "new.md").write_bytes(b"new\n")
    git(here, "add", "-A")
    assert (guard.check(), len(started), asked) == ([], 4, [2])
    git(here, "mv", "note.md", "moved-note.md")
    (here / "moved-note.md").write_bytes(EDITED)
    git(here, "add", "-A")
    assert len(guard.check()) == 1
    assert len(started) == 6, "a deleted note is read by the process that reads the rest"


ODD = [
    b"with space.md",
    b"it's.md",
    b"new\nline.md",
    b"caf\xc3\xa9.md",
    b"\xff\xfe.md",
    b"[ab].md",
    b":0:x.md",
    b"-rf.md",
    b"\x1b[31m.md",
]


@pytest.mark.parametrize("name", ODD, ids=ascii)
@pytest.mark.parametrize("form", FORMS)
def test_odd_paths_and_the_way_out(repo, name, form):
    """Any path is judged, shown in ASCII on one line, and the printed git command drops the edit."""
    path = os.fsdecode(name)
    commit_file(repo, path, VIEW)
    (repo / path).write_bytes(EDITED)
    done = commit(repo, form, path)
    assert refused(done)
    assert "\x1b" not in done.stderr
    typed(repo, done.stderr, "or drop the edit:", "deep")
    assert (repo / path).read_bytes() == VIEW
    (repo / "note.md").write_bytes(b"more\n")
    assert commit(repo, form, "note.md").returncode == 0


def test_the_way_out_of_a_lost_segment(repo):
    """The command printed for a deleted segment brings it back."""
    git(repo, "rm", "-q", SEGMENT)
    done = git(repo, "commit", "-m", "x", check=False)
    assert refused(done)
    typed(repo, done.stderr, "put it back:", "deep")
    assert (repo / SEGMENT).read_bytes() == b"{}\n"


@pytest.mark.parametrize("first", [True, False], ids=["first commit", "later"])
@pytest.mark.parametrize("on_disk", [EDITED, b"something else\n", None], ids=["the same", "changed", "gone"])
@pytest.mark.parametrize("name", [b"new.md", *ODD], ids=ascii)
def test_the_way_out_of_a_false_claim(repo, name, on_disk, first):
    """A new file is taken out of the index from any folder, whatever is on disk, and what is on disk stays."""
    if first:
        git(repo, "checkout", "-q", "--orphan", "fresh")
    path = os.fsdecode(name)
    (repo / path).write_bytes(EDITED)
    git(repo, "add", "--", f":(literal){path}")
    if on_disk is None:
        (repo / path).unlink()
    else:
        (repo / path).write_bytes(on_disk)
    done = git(repo, "commit", "-q", "-m", "try", check=False)
    assert refused(done)
    typed(repo, done.stderr, "or leave it out:", "deep")
    assert git(repo, "ls-files", "--", f":(literal){path}").stdout == ""
    assert ((repo / path).read_bytes() if on_disk else None) == on_disk
    assert git(repo, "commit", "-q", "--allow-empty", "-m", "try", check=False).returncode == 0


def test_adopt_is_named_from_the_folder_of_the_commit(repo):
    """`mlos-sync adopt` takes a path from where it is typed."""
    (repo / "deep").mkdir()
    (repo / "PROBLEM.md").write_bytes(EDITED)
    assert refused(git(repo / "deep", "commit", "-am", "x", check=False, env=env_of(repo)), "adopt ../PROBLEM.md\n")
    assert refused(git(repo, "commit", "-am", "x", check=False), "adopt PROBLEM.md\n")


@pytest.mark.parametrize("algorithm", ["sha1", "sha256"])
def test_the_first_commit(tmp_path, python, algorithm):
    """Before there is a HEAD all files are new, whatever the hash of the repository."""
    repo = make_repo(tmp_path, f"--object-format={algorithm}")
    shims.install(str(repo / ".git" / "hooks"), str(ROOT / "hooks"), python)
    (repo / "PROBLEM.md").write_bytes(EDITED)
    assert refused(commit(repo, "plain"), "git rm --cached -f")
    (repo / "PROBLEM.md").write_bytes(VIEW)
    assert commit(repo, "plain").returncode == 0
    (repo / "PROBLEM.md").write_bytes(EDITED)
    assert refused(commit(repo, "plain"), "edited by hand")
    git(repo, "checkout", "-q", "--detach")
    assert refused(commit(repo, "amend"), "edited by hand")
    git(repo, "checkout", "-q", "--orphan", "fresh")
    assert refused(commit(repo, "plain"), "claims to be")


def test_true_merges_pass_the_guard_of_merges(repo):
    """A merge that brings an edited view is stopped by pre-merge-commit; one that brings a genuine one is not."""
    git(repo, "switch", "-q", "-c", "side")
    commit_file(repo, "PROBLEM.md", EDITED)
    git(repo, "switch", "-q", "main")
    commit_file(repo, "other.md", b"x\n")
    assert refused(git(repo, "merge", "--no-edit", "side", check=False), "edited by hand")
    git(repo, "merge", "--abort")
    git(repo, "switch", "-q", "side")
    commit_file(repo, "PROBLEM.md", NEWER)
    git(repo, "switch", "-q", "main")
    assert git(repo, "merge", "--no-edit", "side", check=False).returncode == 0
    assert (repo / "PROBLEM.md").read_bytes() == NEWER


def test_merges_of_the_journal(repo):
    """A merge that adds a segment passes; so does one whose other side lost one (somebody reverted a commit): a pull is not
    stopped for it, and the next commit takes the segment again. One that would alter a segment does not."""
    git(repo, "switch", "-q", "-c", "side")
    commit_file(repo, ".mlos/journal/2026/02/cd34.jsonl", b"{}\n")
    git(repo, "switch", "-q", "main")
    commit_file(repo, "other.md", b"x\n")
    assert git(repo, "merge", "--no-edit", "side", check=False).returncode == 0
    git(repo, "switch", "-q", "side")
    git(repo, "rm", "-q", SEGMENT)
    git(repo, "commit", "-q", "--no-verify", "-m", "x")
    git(repo, "switch", "-q", "main")
    commit_file(repo, "third.md", b"x\n")
    assert git(repo, "merge", "--no-edit", "side", check=False).returncode == 0
    git(repo, "switch", "-q", "side")
    commit_file(repo, ".mlos/journal/2026/02/cd34.jsonl", b"altered\n")
    git(repo, "switch", "-q", "main")
    commit_file(repo, "fourth.md", b"x\n")
    assert refused(git(repo, "merge", "--no-edit", "side", check=False), "segment")


def test_resolutions_with_a_genuine_recompile(repo):
    """A conflict resolved with the other side's genuine view, or with a fresh one, is committed."""
    git(repo, "switch", "-q", "-c", "side")
    commit_file(repo, "PROBLEM.md", NEWER)
    git(repo, "switch", "-q", "main")
    commit_file(repo, "PROBLEM.md", seal.make(DRAFT.replace(b"None.", b"Two.")))
    assert git(repo, "merge", "side", check=False).returncode != 0
    assert refused(commit(repo, "plain"), "conflict markers")
    git(repo, "checkout", "-q", "side", "--", "PROBLEM.md")
    assert commit(repo, "plain").returncode == 0


def test_unmerged_entries_are_left_to_git(repo, python):
    """An index with a conflict in it does not upset the guard."""
    git(repo, "switch", "-q", "-c", "side")
    commit_file(repo, "PROBLEM.md", NEWER)
    git(repo, "switch", "-q", "main")
    commit_file(repo, "PROBLEM.md", seal.make(DRAFT.replace(b"None.", b"Two.")))
    git(repo, "merge", "side", check=False)
    done = run_hook(python, repo)
    assert (done.returncode, done.stderr) == (0, "")


def test_intent_to_add_is_nothing_yet(repo):
    """`git add -N` promises content, so there is none to judge, for a new path and for one that HEAD has."""
    (repo / "new.md").write_bytes(EDITED)
    git(repo, "add", "-N", "new.md")
    git(repo, "rm", "-q", "--cached", "PROBLEM.md")
    git(repo, "add", "-N", "PROBLEM.md")
    assert git(repo, "commit", "-m", "x", check=False).returncode == 0


def test_submodules_are_skipped(repo):
    """A commit id in the index is no blob: added, moved, and in place of a view."""
    one, two = (git(repo, "rev-parse", name).stdout.strip() for name in ("HEAD", "HEAD~1"))
    git(repo, "update-index", "--add", "--cacheinfo", f"160000,{one},sub")
    assert git(repo, "commit", "-m", "add", check=False).returncode == 0
    git(repo, "update-index", "--cacheinfo", f"160000,{two},sub")
    git(repo, "rm", "-q", "--cached", "PROBLEM.md")
    git(repo, "update-index", "--add", "--cacheinfo", f"160000,{one},PROBLEM.md")
    assert git(repo, "commit", "-m", "move", check=False).returncode == 0


def test_modes_are_no_content(repo):
    """Making a view executable passes, even one that an earlier commit broke past the guard."""
    commit_file(repo, "broken.md", EDITED)
    for path in ("PROBLEM.md", "broken.md"):
        git(repo, "update-index", "--chmod=+x", path)
    assert git(repo, "commit", "-m", "x", check=False).returncode == 0


def test_linked_worktrees_are_guarded(repo):
    """The shared hooks judge the index of the work tree in which the commit is made."""
    linked = repo.parent / "linked"
    git(repo, "worktree", "add", "-q", str(linked))
    (linked / "PROBLEM.md").write_bytes(EDITED)
    assert refused(commit(linked, "plain"))
    (linked / "PROBLEM.md").write_bytes(NEWER)
    assert commit(linked, "all").returncode == 0


def test_commits_from_a_subfolder(repo):
    """Where the commit is made from does not matter, with or without relative diffs."""
    (repo / "deep").mkdir()
    git(repo, "config", "diff.relative", "true")
    (repo / "PROBLEM.md").write_bytes(EDITED)
    assert refused(git(repo, "-C", "deep", "commit", "-am", "x", check=False))


def test_many_and_large_files(repo, python):
    """5,000 staged files, long ones between them, and one edit in the end of a long view: exactly that is found."""
    for number in range(5000):
        (repo / f"n{number:04d}.md").write_bytes(b"---\ntitle: %d\n---\n" % number)
    for number in (10, 11, 4000):
        (repo / f"n{number:04d}.md").write_bytes(b"---\ntitle: x\n---\n" + os.urandom(3 << 20))
    long = seal.make(DRAFT + b"a line\n" * 50000)
    (repo / "n2000.md").write_bytes(long)
    (repo / "n3000.md").write_bytes(long[:-2] + b"E\n")
    git(repo, "add", "-A")
    done = git(repo, "commit", "-qm", "x", check=False)
    assert refused(done, "n3000.md")
    assert "1 file cannot" in done.stderr
    (repo / "n3000.md").write_bytes(long)
    assert commit(repo, "all").returncode == 0


def test_many_findings_are_counted(repo):
    """A hundred bad files give a readable message."""
    for number in range(100):
        (repo / f"n{number}.md").write_bytes(EDITED)
    git(repo, "add", "-A")
    done = git(repo, "commit", "-qm", "x", check=False)
    assert refused(done, "100 files cannot")
    assert "and 80 more" in done.stderr


@pytest.mark.parametrize("hook", ["pre-commit", "pre-merge-commit"])
def test_nothing_of_the_machine_is_needed(repo, python, hook):
    """No HOME, a bare PATH, the C locale and closed streams: the same verdict, and no word that is not ASCII."""
    path = os.path.dirname(plumbing.git()) + ":/usr/bin:/bin"
    command = ["env", "-i", f"PATH={path}", "LC_ALL=C", "sh", "-c", f"exec .git/hooks/{hook} <&- >&- 2>&-"]
    (repo / "caf\u00e9.md").write_bytes(EDITED)
    assert subprocess.run(command, cwd=repo).returncode == 0
    git(repo, "add", "-A")
    assert subprocess.run(command, cwd=repo).returncode == 1
    shown = subprocess.run([*command[:-1], f"exec .git/hooks/{hook}"], cwd=repo, capture_output=True)
    assert shown.returncode == 1
    assert b"$'caf\\303\\251.md'" in shown.stderr


def test_nothing_of_the_workspace_is_run(repo, python):
    """Modules, a `git` on a relative PATH and an fsmonitor program that lie in the workspace stay data."""
    trap = repo / "trap"
    for name in ("hashlib.py", "os.py", "sqlite3.py", "sitecustomize.py", "mlos_sync.py"):
        (repo / name).write_text(f"open({str(trap)!r}, 'w')", "ascii")
    for name in ("git", "monitor"):
        (repo / name).write_text(f"#!/bin/sh\ntouch '{trap}'\n", "ascii")
        (repo / name).chmod(0o755)
    git(repo, "add", "-A")
    git(repo, "config", "core.fsmonitor", str(repo / "monitor"))
    done = run_hook(python, repo, PATH=f".::{os.environ['PATH']}")
    assert (done.returncode, done.stderr) == (0, "")
    assert not trap.exists()


@pytest.mark.parametrize("state", ["absent", "garbage", "folder", "empty", "locked"])
def test_the_state_of_our_database_does_not_matter(repo, state):
    """With any kind of index database the guard refuses what it must and lets the rest through."""
    database = repo / ".git" / "mlos" / "index.db"
    database.parent.mkdir()
    holder = None
    if state == "folder":
        database.mkdir()
    elif state == "garbage":
        database.write_bytes(b"garbage" * 1000)
    elif state == "empty":
        database.touch()
    elif state == "locked":
        holder = make_index(database)
        holder.execute("PRAGMA journal_mode=DELETE")
        holder.execute("BEGIN EXCLUSIVE")
    (repo / "note.md").write_bytes(b"more\n")
    assert commit(repo, "plain", "note.md").returncode == 0
    (repo / "PROBLEM.md").write_bytes(EDITED)
    assert refused(commit(repo, "plain"))
    if holder:
        holder.close()


def test_a_guard_that_cannot_look_stops_the_commit(repo, python):
    """If git itself fails, the guard says so in git's words and ours, and how to go on."""
    done = run_hook(python, repo, GIT_INDEX_FILE="note.md")
    assert done.returncode == 1
    assert "could not run" in done.stderr
    assert "git commit --no-verify" in done.stderr
    assert "fatal:" in done.stderr
    done = run_hook(python, repo, PATH="/nonexistent")
    assert done.returncode == 1
    assert "git is not on the PATH" in done.stderr


def test_missing_objects_stop_the_commit(repo, python):
    """What cannot be read cannot be judged: the object is named."""
    name = git(repo, "rev-parse", "HEAD:PROBLEM.md").stdout.strip()
    (repo / "PROBLEM.md").write_bytes(b"stripped\n")
    git(repo, "add", "PROBLEM.md")
    (repo / ".git" / "objects" / name[:2] / name[2:]).unlink()
    done = run_hook(python, repo)
    assert done.returncode == 1
    assert f"{name} is missing" in done.stderr


@pytest.mark.parametrize(("large", "word"), [("A.bin", "claims to be"), ("z.bin", "renamed from PROBLEM.md")])
def test_a_deleted_file_that_is_not_here_stops_nothing(repo, large, word):
    """A partial clone lacks old blobs. What a deleted file was matters only to the words; the rest is judged as ever."""
    commit_file(repo, large, b"old")
    name = git(repo, "rev-parse", "HEAD:" + large).stdout.strip()
    (repo / ".git" / "objects" / name[:2] / name[2:]).unlink()
    git(repo, "rm", "-q", large)
    (repo / "new.md").write_bytes(EDITED)
    git(repo, "rm", "-q", "PROBLEM.md")
    done = commit(repo, "plain", "new.md")
    assert refused(done, word)
    assert "fatal" not in done.stderr and "missing" not in done.stderr
    (repo / "new.md").write_bytes(b"mine\n")
    assert commit(repo, "plain", "new.md").stderr == ""
    assert git(repo, "ls-tree", "--name-only", "HEAD", "new.md").stdout


@pytest.mark.parametrize("kind", ["gone", "without mlos_sync"])
def test_the_interpreter_has_gone(repo, tmp_path, kind):
    """The guard's shims say so and stop the commit once; the other shims keep quiet and let it pass."""
    python = "/nonexistent/python" if kind == "gone" else make_interpreter(tmp_path / "bare", with_package=False)
    hooks = repo / ".git" / "hooks"
    shims.install(str(hooks), str(ROOT / "hooks"), python)
    git(repo, "switch", "-q", "-c", "side")
    commit_file(repo, "other.md", b"x\n")
    git(repo, "switch", "-q", "main")
    (repo / "note.md").write_bytes(b"more\n")
    first = commit(repo, "plain", "note.md")
    git(repo, "reset", "-q", "--hard")
    for done in (first, git(repo, "merge", "--no-ff", "--no-edit", "side", check=False)):
        assert done.returncode == 1
        assert "mlos-sync hooks install" in done.stderr
        assert "git commit --no-verify" in done.stderr or "git merge --no-verify" in done.stderr
    git(repo, "merge", "--abort")
    (repo / "note.md").write_bytes(b"more\n")
    assert commit(repo, "plain", "note.md").returncode == 1
    (repo / ".git" / "mlos").mkdir()
    (repo / ".git" / "mlos" / "repair").touch()
    (hooks / "pre-commit").unlink()
    git(repo, "add", "note.md")
    done = git(repo, "commit", "-q", "-m", "x\n\nTask: 12", check=False)
    assert (done.returncode, done.stderr) == (0, "")


def make_index(database: Path) -> sqlite3.Connection:
    """The two tables that the hook asks, in the mode that the product uses."""
    database.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(database, isolation_level=None)
    connection.executescript(
        "PRAGMA journal_mode=WAL; CREATE TABLE outbox(event TEXT); CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT);"
    )
    return connection


@pytest.fixture
def here(repo, monkeypatch):
    """This process stands in the repository, as a hook does."""
    for name in list(os.environ):
        if name.startswith("GIT_"):
            monkeypatch.delenv(name)
    for name, value in env_of(repo).items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(repo)
    return repo


def test_pending_is_asked_of_the_database(here):
    """Nothing, an outbox row, a pending count, a ledger of another size: false, true, true, true."""
    assert not pending.something_pending()
    index = make_index(here / ".git" / "mlos" / "index.db")
    assert not pending.something_pending()
    index.execute("INSERT INTO outbox VALUES ('x')")
    assert pending.something_pending()
    index.execute("DELETE FROM outbox")
    index.execute("INSERT INTO meta VALUES ('pending', '2')")
    assert pending.something_pending()
    index.execute("UPDATE meta SET value = '0'")
    assert not pending.something_pending()
    (here / ".git" / "mlos" / "ledger.jsonl").write_bytes(b"12345")
    assert pending.something_pending()
    index.execute("INSERT INTO meta VALUES ('ledger_seen', '5')")
    assert not pending.something_pending()
    index.close()
    assert not pending.something_pending()


def test_pending_in_a_linked_worktree(here, monkeypatch):
    """The database lies in the work tree's git directory, the ledger in the common one."""
    linked = here.parent / "linked"
    git(here, "worktree", "add", "-q", str(linked))
    monkeypatch.chdir(linked)
    folder = Path(git(linked, "rev-parse", "--git-path", "mlos").stdout.strip())
    index = make_index(folder / "index.db")
    assert not pending.something_pending()
    (here / ".git" / "mlos").mkdir()
    (here / ".git" / "mlos" / "ledger.jsonl").write_bytes(b"12345")
    assert pending.something_pending()
    monkeypatch.setenv("GIT_DIR", str(folder.parent))
    assert pending.something_pending()
    index.close()


def test_pending_under_an_odd_name(here, monkeypatch):
    """A git directory whose path means something in an address, or is no UTF-8, is found all the same."""
    odd = os.fsdecode(os.fsencode(here.parent) + b"/a?b#c%41 \xff")
    os.symlink(here / ".git", odd)
    monkeypatch.setenv("GIT_DIR", odd)
    index = make_index(here / ".git" / "mlos" / "index.db")
    index.execute("INSERT INTO outbox VALUES ('x')")
    index.close()
    assert pending.something_pending()


def test_pending_without_a_repository(here, monkeypatch):
    """Outside of any repository there is nothing to publish."""
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(here.parent.parent))
    monkeypatch.chdir(here.parent)
    assert not pending.something_pending()


def replace_app(monkeypatch, name: str, **functions) -> None:
    """A stand-in for a module of the application."""
    module = types.ModuleType(f"mlos_sync.app.{name}")
    for key, function in functions.items():
        setattr(module, key, function)
    monkeypatch.setitem(sys.modules, f"mlos_sync.app.{name}", module)
    monkeypatch.setattr(mlos_sync.app, name, module, raising=False)


def failing(*_):
    raise RuntimeError("the index\nis broken")


def test_publishing_comes_after_the_verdict(here, monkeypatch):
    """Pending events are published in a commit that the guard lets through, and in no other; nothing pending, no call."""
    calls = []
    replace_app(monkeypatch, "publishing", publish_for_commit=lambda: calls.append("published"))
    assert main.main(["pre-commit"]) == 0
    assert calls == []
    make_index(here / ".git" / "mlos" / "index.db").execute("INSERT INTO outbox VALUES ('x')").connection.close()
    assert main.main(["pre-merge-commit"]) == 0
    assert calls == []
    assert main.main(["pre-commit"]) == 0
    assert calls == ["published"]
    (here / "PROBLEM.md").write_bytes(EDITED)
    git(here, "add", "PROBLEM.md")
    assert main.main(["pre-commit"]) == 1
    assert calls == ["published"]


def test_everything_but_the_guard_fails_open(here, monkeypatch, capfd):
    """Publishing, resolving and repairing that fail print one line each and exit 0."""
    make_index(here / ".git" / "mlos" / "index.db").execute("INSERT INTO outbox VALUES ('x')").connection.close()
    replace_app(monkeypatch, "publishing", publish_for_commit=failing, repair=failing)
    replace_app(monkeypatch, "messages", resolve=failing)
    for name, argument in (("pre-commit", []), ("commit-msg", ["message"]), ("post-commit", []), ("commit-msg", [])):
        assert main.main([name, *argument]) == 0
        said = capfd.readouterr().err
        assert said.count("\n") == 1
        assert "git goes on" in said


def test_the_message_file_is_handed_on(here, monkeypatch):
    """commit-msg resolves the very file that git names, post-commit repairs."""
    calls = []
    replace_app(monkeypatch, "messages", Making=lambda *_: None, resolve=lambda path, _: calls.append(path))
    replace_app(monkeypatch, "publishing", repair=lambda: calls.append("repaired"))
    assert main.main(["commit-msg", ".git/COMMIT_EDITMSG"]) == 0
    assert main.main(["post-commit"]) == 0
    assert calls == [".git/COMMIT_EDITMSG", "repaired"]


def test_unknown_hooks(capfd):
    """A name that is no hook of ours is a usage error that lists them."""
    assert main.main(["pre-receive"]) == 2
    assert main.main([]) == 2
    assert "pre-merge-commit" in capfd.readouterr().err


def test_check_gives_findings(here):
    """The same check for other callers: findings with path, kind and fix."""
    assert guard.check() == []
    (here / "PROBLEM.md").write_bytes(EDITED)
    git(here, "add", "-A")
    (finding,) = guard.check()
    assert (finding.path, finding.kind) == ("PROBLEM.md", "edited")


def test_long_blobs_are_not_read_to_the_end(here):
    """Of a long blob only the head is given, unless it is wanted whole; the ones after it still come."""
    names = []
    for content in (b"a" * (3 << 20), b"b", b"c" * 70000, b"d" * (3 << 20)):
        (here / "x").write_bytes(content)
        names.append(git(here, "hash-object", "-w", "x").stdout.strip().encode())
    heads = list(plumbing.contents(names, lambda head: head.startswith(b"d")))
    assert [len(head) for head in heads] == [65536, 1, 65536, 3 << 20]
    with pytest.raises(plumbing.GitError, match="tree"):
        list(plumbing.contents([git(here, "rev-parse", "HEAD^{tree}").stdout.strip().encode()], bool))
