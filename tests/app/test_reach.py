"""A sync that looks at some paths alone comes to what a walk of everything would say of them."""

from __future__ import annotations

import os
import random
import shutil

import naive
import pytest
from cli import workspace
from gitrepo import commit_file, git
from watched import indexed

from mlos_sync.app import opening
from mlos_sync.app.planning import survey
from mlos_sync.app.sync import reach_of, sync
from mlos_sync.core.changes import EVERYWHERE, FEW, Reach
from mlos_sync.edge import git as plumbing
from mlos_sync.edge import hashing
from mlos_sync.errors import RefusedError, UsageError


@pytest.fixture
def repo(tmp_path):
    """A committed workspace with some folders, one of them ignored, and a repository inside."""
    made = workspace(tmp_path)
    (made / ".gitignore").write_text("build/\n*.tmp\n")
    for folder in ("a", "a/b", "c", "build", "c/build"):
        (made / folder).mkdir()
        for number in range(3):
            (made / folder / f"{number}.md").write_text(f"{folder} {number}\n")
    (made / "build" / "tracked.md").write_text("tracked all the same\n")
    (made / "sub").mkdir()
    git(made / "sub", "init", "-q")
    (made / "sub" / "x.md").write_text("not ours\n")
    git(made, "add", "--all", ":!sub")
    git(made, "add", "-f", "build/tracked.md")
    git(made, "commit", "-q", "-m", "first")
    return made


@pytest.fixture
def index(repo):
    """Its index, current."""
    found = opening.open_index(str(repo))
    sync(found)
    yield found
    found.db.close()


def at(*paths):
    """As a watcher names them: it hears of all that happens."""
    return Reach(frozenset(paths), beside=False, heard=True)


@pytest.mark.parametrize("seed", range(25))
def test_it_equals_a_walk(repo, index, seed):
    """Whatever happens to files and folders: told the names that a watcher hears of, a sync finds all of it."""
    dice = random.Random(seed)
    for _ in range(8):
        touched = {changed for _ in range(dice.randrange(1, 5)) if (changed := mutate(repo, dice))}
        touched = {path for pair in touched for path in pair}
        sync(index, at(*touched), accept_deletes=True)
        assert indexed(repo) == naive.files(repo), f"seed {seed}: {sorted(touched)}"
    assert not sync(index, accept_deletes=True).changes


def mutate(repo, dice):
    """Something happens; the names of what came or went, as events tell them."""
    folders = [path for path in repo.rglob("*") if is_folder(path) and not {".git", ".mlos", "sub"} & set(path.parts)]
    files = [path for folder in [repo, *folders] for path in folder.iterdir() if path.is_file() and path.name[0] != "."]
    folder = dice.choice([repo, *folders])
    new = folder / f"{dice.choice('uvw')}{dice.randrange(3)}{dice.choice(['.md', '.tmp', ''])}"
    old = dice.choice([*files, *folders]) if files or folders else repo / "none"
    what = dice.randrange(8)
    done = ()
    if what == 0 and not new.is_dir() and not new.is_symlink():
        new.write_text(str(dice.randrange(3)))
        done = (new,)
    elif what == 1 and not os.path.lexists(new):
        (new / "deep").mkdir(parents=True)
        (new / "deep" / "f.md").write_text("f\n")
        done = (new,)
    elif what == 2 and old.exists():
        shutil.rmtree(old) if is_folder(old) else old.unlink()
        done = (old,)
    elif what == 3 and old.exists() and not os.path.lexists(new) and old not in [new, *new.parents]:
        old.rename(new)
        done = (old, new)
    elif what == 4 and not os.path.lexists(new):
        new.symlink_to("nowhere")
        done = (new,)
    elif what == 5 and old.is_file():
        old.unlink()
        old.mkdir()
        (old / "was-a-file.md").write_text("x\n")
        done = (old,)
    elif what >= 6 and folder != repo and folder.parent / "real" != folder:
        inside = [path for path in files if folder in path.parents][:1]
        for path in inside:
            path.write_text("edited before\n")
        done = (*inside, folder, *dice.choice(OTHERS)(repo, folder))
    return tuple(str(path.relative_to(repo)) for path in done)


def is_folder(path):
    return path.is_dir() and not path.is_symlink()


def begun(repo, folder):
    """A repository of its own, where it stands. (What happens to its `.git` is told of the folder.)"""
    git(repo, "init", "-q", "--template=", str(folder))
    return ()


def cloned(repo, folder):
    """A clone in its place: files of the same names, and a repository of its own."""
    refilled(folder)
    return begun(repo, folder)


def linked(repo, folder):
    """Moved beside its place, and a link there."""
    real = folder.parent / "real"
    if os.path.lexists(real):
        return ()
    folder.rename(real)
    folder.symlink_to(real.name)
    return (real,)


def ruled(repo, folder):
    """Made anew, with rules of its own: a folder that is new tells nothing of what is in it."""
    refilled(folder)
    (folder / ".gitignore").write_text("*\n")
    return ()


def opened(repo, folder):
    """A repository of its own no more, and without rules of its own: as a folder that another one replaced."""
    shutil.rmtree(folder / ".git", ignore_errors=True)
    (folder / ".gitignore").unlink(missing_ok=True)
    return ()


OTHERS = (begun, cloned, linked, ruled, opened)


def refilled(folder):
    """Another folder in its place, with files of the same names and of other contents."""
    names = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file() and ".git" not in path.parts]
    shutil.rmtree(folder)
    folder.mkdir()
    for name in names:
        (folder / name.parent).mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"another {name}\n")


@pytest.mark.parametrize("committed", [True, False])
@pytest.mark.parametrize("becomes", [begun, cloned, linked, ruled])
def test_a_known_file_told_with_its_folder(repo, index, becomes, committed):
    """The folder is another one by now: whether what was known in it counts still is for git to say, not for the index."""
    if not committed:
        git(repo, "rm", "-q", "-r", "--cached", "a")
    (repo / "a" / "0.md").write_text("edited before\n")
    others = [str(path.relative_to(repo)) for path in becomes(repo, repo / "a")]
    sync(index, at("a/0.md", "a", *others), accept_deletes=True)
    assert indexed(repo) == naive.files(repo)
    assert (b"a/0.md" in indexed(repo)) == (committed and becomes is not linked)
    assert not sync(index, accept_deletes=True).changes


def test_an_edit_of_known_files_starts_no_git(repo, index, monkeypatch):
    """What a watcher sees most is answered from the index and by a look at each file."""
    for path in ("a/0.md", "a/b/1.md", "new.md"):
        (repo / path).write_text("edited\n")
    started = []
    attempt = plumbing.attempt
    monkeypatch.setattr(
        plumbing, "attempt", lambda root, *words, **more: started.append(words) or attempt(root, *words)
    )
    assert survey(index, at("a/0.md", "a/b/1.md"))[1].suspect == ["a/0.md", "a/b/1.md"] and started == []
    assert survey(index, at("a/0.md", "new.md"))[1].suspect == ["a/0.md", "new.md"] and len(started) == 2


@pytest.mark.parametrize("becomes", [begun, cloned, linked, ruled])
def test_a_known_file_that_a_user_names_alone(repo, index, becomes):
    """Nobody told of what happened above it: git is asked whether it counts still, and of nothing else."""
    git(repo, "rm", "-q", "-r", "--cached", "a")
    becomes(repo, repo / "a")
    assert sync(index, reach_of(index, ("a/b/0.md",))).changes.deleted == ("a/b/0.md",)
    assert {b"a/0.md", b"a/b/1.md"} <= indexed(repo).keys() and b"a/b/0.md" not in naive.files(repo)


def test_a_known_file_that_rules_exclude_by_now(repo, index):
    """The same where it is the rules that are others."""
    git(repo, "rm", "-q", "-r", "--cached", "a")
    (repo / ".gitignore").write_text("0.md\n")
    assert sync(index, reach_of(index, ("a/0.md", "c/0.md"))).changes.deleted == ("a/0.md",)  # git tracks the other


def test_new_files_of_a_repository_that_stands_in_a_tracked_folder(repo, index):
    """Git goes into it for the files that it tracks there, and finds the others, too: also where one alone is asked for."""
    begun(repo, repo / "a")
    for path in ("a/new.md", "a/new/deep/f.md", "sub/new/deep/f.md"):
        (repo / path).parent.mkdir(parents=True, exist_ok=True)
        (repo / path).write_text("new\n")
        sync(index, at(path))
        assert indexed(repo) == naive.files(repo)
    assert b"a/new/deep/f.md" in indexed(repo)


@pytest.mark.parametrize("reach", [EVERYWHERE, at("docs"), at("docs/deep/f.md", "docs/deep"), at("docs/deep/f.md")])
def test_what_git_tracks_behind_a_link_is_gone(repo, index, tmp_path, reach):
    """A folder of the workspace is a link to one outside by now, with a file of the same name: git calls the file deleted, and
    nothing outside is read, neither then nor when it changes there."""
    commit_file(repo, "docs/deep/f.md", b"---\ntitle: ours\n---\n")
    assert sync(index).changes.added == ("docs/deep/f.md",)
    shutil.copytree(repo / "docs", tmp_path / "outside")
    shutil.rmtree(repo / "docs")
    (repo / "docs").symlink_to(tmp_path / "outside")
    for text in ("---\ntitle: ours\n---\n", "---\ntitle: secret\n---\n"):
        (tmp_path / "outside" / "deep" / "f.md").write_text(text)
        assert sync(index, reach).skipped == {}
        assert git(repo, "diff-files", "--name-status").stdout == "D\tdocs/deep/f.md\n"
        assert b"docs/deep/f.md" not in indexed(repo)
    sync(index)
    assert indexed(repo) == naive.files(repo)


def test_a_folder_that_becomes_a_link_before_its_files_are_read(repo, index, monkeypatch):
    """It went meanwhile, as any other file may; nothing is read behind the link, and nothing is told of it."""
    (repo / "a" / "b" / "0.md").write_text("edited before\n")
    hash_files = hashing.hash_files

    def late(root, paths, *more):
        assert paths == ["a/b/0.md"]
        linked(repo, repo / "a")
        return hash_files(root, paths, *more)

    monkeypatch.setattr(hashing, "hash_files", late)
    done = sync(index, at("a/b/0.md"))
    assert (done.skipped, bool(done.changes)) == ({}, False)
    monkeypatch.undo()
    sync(index)
    assert indexed(repo) == naive.files(repo)


def test_paths_of_any_spelling(repo, index):
    """Names that git would take for patterns or options, that are no UTF-8, or that hold line ends."""
    names = [b"-x.md", b":(glob)y.md", b"*.md", b"[a].md", b"caf\xe9.md", b"two\nlines.md", b"\xee\xbe\x80.md"]
    for name in names:
        (repo / "a" / name.decode("utf-8", "surrogateescape")).write_text("x\n")
    walked = opening.open_index(str(repo))
    sync(index, at("a"))
    found = indexed_bytes(index)
    assert {b"a/" + name for name in names} <= found
    assert not sync(walked).changes
    walked.db.close()
    for name in names:
        (repo / "a" / name.decode("utf-8", "surrogateescape")).unlink()
    from mlos_sync.core.paths import from_bytes

    sync(index, at(*(from_bytes(b"a/" + name) for name in names)))
    assert not {b"a/" + name for name in names} & indexed_bytes(index)


def indexed_bytes(index):
    from mlos_sync.core.paths import to_bytes

    rows = index.db.execute("SELECT file_path FROM artifacts WHERE file_path IS NOT NULL")
    return {to_bytes(path) for (path,) in rows}


def test_more_names_than_an_argument_list_holds(repo, index):
    """As many as are looked at one by one, each nearly as long as a path may be: they come, change, and go."""
    folder = "/".join("d" * 250 for _ in range(12))
    names = [f"{folder}/{'n' * 200}{number}" for number in range(FEW)]
    assert sum(map(len, names)) > 3 << 20  # Linux gives a program 2 MB of arguments, unless somebody gives it more
    (repo / folder).mkdir(parents=True)
    for name in names:
        (repo / name).write_text(f"{name[-3:]}\n")
    assert len(sync(index, at(*names)).changes.added) == FEW
    git(repo, "add", "d" * 250)
    for name in names:
        (repo / name).unlink()
    (repo / names[0]).write_text("stays\n")
    done = sync(index, at(*names), accept_deletes=True).changes
    assert (done.modified, len(done.deleted)) == ((names[0],), FEW - 1)
    assert indexed(repo) == naive.files(repo)


def test_what_is_skipped_elsewhere_stays_told(repo, index):
    """An observation of another place is neither forgotten nor made twice."""
    (repo / "c" / "0.md").unlink()
    os.mkfifo(repo / "c" / "0.md")
    assert sync(index).skipped == {"c/0.md": "not a regular file"}
    (repo / "a" / "0.md").write_text("new\n")
    assert sync(index, at("a/0.md")).skipped == {"c/0.md": "not a regular file"}
    (repo / "c" / "0.md").unlink()
    assert sync(index, at("c/0.md")).skipped == {}


def test_a_mass_disappearance_is_refused_here_too(repo, index):
    """Half of all files and more than fifty, through a few names."""
    for number in range(70):
        (repo / "a" / f"m{number}.md").write_text(f"{number}\n")
    sync(index, at("a"))
    shutil.rmtree(repo / "a")
    with pytest.raises(RefusedError, match="disappeared"):
        sync(index, at("a"))
    assert b"a/m1.md" in indexed(repo)


def test_a_mass_disappearance_holds_up_nothing_else_in_the_background(repo, index):
    """Nobody is there to be asked: it is told until it is over, and all else is recorded."""
    for number in range(70):
        (repo / "a" / f"m{number}.md").write_text(f"{number}\n")
    sync(index)
    shutil.move(repo / "a", repo.parent / "a")
    (repo / "c" / "0.md").write_text("changed\n")
    (repo / "new.md").write_text("new\n")
    done = sync(index, in_background=True)
    assert (done.changes.added, done.changes.modified, done.changes.deleted) == (("new.md",), ("c/0.md",), ())
    assert "disappeared" in done.skipped["."] and "--accept-deletes" in done.skipped["."]
    assert b"a/m1.md" in indexed(repo)
    (repo / "c" / "0.md").write_text("again\n")
    assert "." in sync(index, at("c/0.md"), in_background=True).skipped
    (repo / "a").mkdir()  # they come back piece by piece, as from a backup
    shutil.copy(repo.parent / "a" / "m1.md", repo / "a")
    assert "." in sync(index, at("a"), in_background=True).skipped and b"a/m2.md" in indexed(repo)
    for number in range(2, 60):
        shutil.copy(repo.parent / "a" / f"m{number}.md", repo / "a")
    assert "." in sync(index, in_background=True).skipped and b"a/m69.md" in indexed(repo)
    shutil.copytree(repo.parent / "a", repo / "a", dirs_exist_ok=True)
    assert sync(index, in_background=True).skipped == {}
    shutil.rmtree(repo / "a")
    sync(index, in_background=True)
    done = sync(index, accept_deletes=True)
    assert len(done.changes.deleted) >= 70 and done.skipped == {} and b"a/m1.md" not in indexed(repo)


def test_what_a_user_names(index):
    """Paths that are nowhere are refused; the root is everything."""
    assert reach_of(index, ()) == reach_of(index, ("a", "")) == EVERYWHERE
    assert reach_of(index, ("a/", "c")) == Reach(frozenset(("a", "c")))
    with pytest.raises(UsageError, match="there is no nowhere"):
        reach_of(index, ("nowhere",))
