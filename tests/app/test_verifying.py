"""Verifying: the guard's rules and a recompile, on committed trees alone."""

import os
import subprocess
from pathlib import Path

import pytest
from gitrepo import commit_file, git
from viewed import cloned, commit, compile_all, fill, make_compiled, make_workspace, opened, root, sql

from mlos_sync.app import compiling, verifying
from mlos_sync.core import seal
from mlos_sync.edge.workspace import find
from mlos_sync.errors import SurroundingsError, UsageError


@pytest.fixture
def place(tmp_path):
    return make_compiled(tmp_path)


def found(place, revision="HEAD"):
    return [(one.path, one.kind) for one in verifying.verify(place, revision)]


def put(place, path, data, message="a change"):
    commit_file(root(place), path, data, message)


def resealed(data):
    """What somebody who can run the program can make of an edit."""
    start = data.index(b"seal: ") + 6
    end = data.index(b"\n", start)
    return seal.make(data[:start] + b"pending" + data[end:])


def test_what_was_compiled_and_committed_is_clean(place):
    """Also in a full and a shallow clone without any database."""
    assert verifying.verify(place) == []
    for name, options in (("full", ()), ("shallow", ("--depth", "1"))):
        target = root(place).parent / name
        git(root(place), "clone", "-q", *options, f"file://{place.root}", str(target))
        assert verifying.verify(find(str(target))) == []


def test_the_work_tree_and_the_database_decide_nothing(place):
    """Edits that are not committed and a lost database change no finding."""
    (root(place) / "PROBLEM.md").write_text("edited")
    (root(place) / ".mlosignore").write_text("*\n")
    (root(place) / ".mlos/config.toml").write_text("broken")
    os.unlink(place.database)
    before = git(root(place), "status", "--porcelain").stdout
    assert verifying.verify(place) == []
    assert git(root(place), "status", "--porcelain").stdout == before


def test_a_repository_without_commits_is_clean(tmp_path):
    """Nothing is tracked, so nothing is wrong."""
    from gitrepo import make_repo

    from mlos_sync.app import setup

    assert verifying.verify(setup.initialise(str(make_repo(tmp_path))).workspace) == []


def test_a_hand_edit_is_found(place):
    """A view whose content does not match its seal is edited, in this commit and in later ones."""
    data = (root(place) / "PROBLEM.md").read_bytes()
    put(place, "PROBLEM.md", data + b"mine\n")
    assert found(place) == [("PROBLEM.md", "edited")]
    put(place, "run.py", b"print(2)\n")
    assert found(place) == [("PROBLEM.md", "edited")]
    assert "mlos-sync adopt PROBLEM.md" in verifying.verify(place)[0].fix


def test_a_recomputed_seal_is_found_by_recompiling(place):
    """Whoever makes a valid seal over an edit is found, because the journal says something else."""
    data = (root(place) / "PROBLEM.md").read_bytes()
    forged = resealed(data.replace(b"Add jitter", b"Add nothing"))
    assert seal.check(forged).state == seal.VALID
    put(place, "PROBLEM.md", forged)
    assert found(place) == [("PROBLEM.md", "stale")]


def test_a_view_without_its_seal_is_found(place):
    """A view of the config that claims nothing, is empty, or is a link was stripped."""
    put(place, "PROBLEM.md", b"# mine\n")
    assert found(place) == [("PROBLEM.md", "stripped")]
    put(place, "PROBLEM.md", b"")
    assert found(place) == [("PROBLEM.md", "stripped")]
    (root(place) / "PROBLEM.md").unlink()
    (root(place) / "PROBLEM.md").symlink_to("run.py")
    git(root(place), "add", "-A")
    git(root(place), "commit", "-q", "--no-verify", "-m", "link")
    assert found(place) == [("PROBLEM.md", "stripped")]


def test_conflict_markers_in_a_view_are_found(place):
    """A half-resolved merge of a view is an edit with its own message."""
    data = (root(place) / "PROBLEM.md").read_bytes()
    put(place, "PROBLEM.md", data + b"<<<<<<< HEAD\na\n=======\nb\n>>>>>>> side\n")
    (one,) = verifying.verify(place)
    assert (one.kind, "conflict markers" in one.message) == ("edited", True)


@pytest.mark.parametrize("path", ["notes/claim.md", "no ending", "x\ny `|`.txt", "weiß.py"])
def test_a_false_claim_is_found_at_any_path(place, path):
    """Any file that says compiled_at without a seal, under any name, however the key is spelled."""
    put(place, path, b'---\ntitle: x\n"compiled\\x5fat": 2026-01-01T00:00:00Z\n---\n')
    assert (path, "forged") in found(place)


@pytest.mark.parametrize("name", [b"caf\xe9.md", "\uefff.md".encode(), b"\x1b[31m.md", b"a 'b'.md"])
def test_the_way_out_names_the_very_bytes(place, name):
    """Whatever the name is: the git command that is printed takes the file out."""
    with open(os.path.join(os.fsencode(place.root), name), "wb") as file:
        file.write(b"---\ncompiled_at: x\n---\n")
    subprocess.run(["git", "add", "-A"], cwd=place.root, check=True)
    git(root(place), "commit", "-q", "--no-verify", "-m", "odd")
    (one,) = [one for one in verifying.verify(place) if one.kind == "forged"]
    command = next(line for line in one.fix.splitlines() if "leave it out" in line).split(":", 1)[1]
    subprocess.run(["bash", "-c", command], cwd=place.root, check=True, stdout=subprocess.DEVNULL)
    assert name not in subprocess.run(["git", "ls-files", "-z"], cwd=place.root, capture_output=True, check=True).stdout


def test_many_claims_are_read_by_few_processes(place, monkeypatch):
    """A process for each file that says compiled_at made a thousand of them a matter of minutes."""
    whole = (root(place) / "views/alpha.md").read_bytes()
    for number in range(200):
        (root(place) / f"copy{number}.md").write_bytes(whole + b"%d" % number)
    git(root(place), "add", "-A")
    git(root(place), "commit", "-q", "--no-verify", "-m", "copies")
    calls = []
    blobs = verifying.objects.blobs
    monkeypatch.setattr(verifying.objects, "blobs", lambda where, names: calls.append(1) or blobs(where, names))
    assert len([path for path, kind in found(place) if kind == "forged"]) == 200
    assert len(calls) < 30


def test_a_word_in_a_body_is_no_claim(place):
    """Talk about compiled_at, in a text or in the middle of a file, is nobody's business."""
    put(place, "run.py", b"# compiled_at: seal: pending\n")
    put(place, "big.txt", b"x" * 3_000_000 + b"\n---\ncompiled_at: x\n---\n")
    compile_all(place)
    commit(place)
    assert found(place) == []


def test_a_sealed_file_that_is_no_view_must_stay_whole(place):
    """A copy of a view keeps its seal or is found, also when the commit takes the claim away."""
    data = (root(place) / "views/alpha.md").read_bytes()
    put(place, "copy.txt", data)
    assert ("copy.txt", "forged") not in found(place)
    put(place, "copy.txt", b"plain\n")
    assert ("copy.txt", "stripped") in found(place)


def test_records_without_a_compile_are_stale(place):
    """A commit that publishes events and leaves the views as they were."""
    sql(place, "INSERT INTO needs(title) VALUES ('new')")
    commit(place)
    assert found(place) == [("PROBLEM.md", "stale")]
    compile_all(place)
    commit(place)
    assert found(place) == []


def test_a_title_that_changed_makes_the_index_stale(place):
    """An index shows contents of the same commit, not of the work tree."""
    put(place, "notes/plain.md", b"---\ntitle: Now titled\n---\n")
    assert found(place) == [(".mlos/INDEX.md", "stale")]


def test_what_the_trees_own_rules_ignore_is_not_indexed(place):
    """`.mlosignore` and `ignore` of the committed tree decide."""
    (root(place) / ".mlosignore").write_text("# talk\r\n/notes/deep/\n")
    git(root(place), "add", "-A")
    compile_all(place)
    commit(place)
    assert "data.bin" not in (root(place) / ".mlos/INDEX.md").read_text()
    assert found(place) == []


def test_an_untracked_view_is_missing_only_beside_tracked_ones(place):
    """Somebody who tracks no view at all does so on purpose."""
    git(root(place), "rm", "-q", "--cached", "PROBLEM.md")
    git(root(place), "commit", "-q", "--no-verify", "-m", "less")
    assert found(place) == [("PROBLEM.md", "missing")]
    git(root(place), "rm", "-q", "-r", "--cached", "views", ".mlos/INDEX.md")
    git(root(place), "commit", "-q", "--no-verify", "-m", "none")
    assert found(place) == []


def segment(place):
    return next((root(place) / ".mlos/journal").rglob("*.jsonl"))


def test_a_damaged_segment_is_found(place):
    """A byte that changed, with the place; and it stays found in later commits."""
    path = segment(place)
    path.write_bytes(path.read_bytes().replace(b"Add jitter", b"Add jotter"))
    relative = str(path.relative_to(root(place)))
    put(place, relative, path.read_bytes())
    kinds = found(place)
    assert kinds.count((relative, "journal")) == 2  # altered against its parent, and damaged in itself
    put(place, "run.py", b"print(3)\n")
    assert (relative, "journal") in found(place)


def test_a_repaired_segment_is_no_finding(place):
    """Putting the true bytes back is the way out, so it must verify."""
    path = segment(place)
    relative, whole = str(path.relative_to(root(place))), path.read_bytes()
    put(place, relative, whole[:-10])
    assert (relative, "journal") in found(place)
    put(place, relative, whole)
    assert found(place) == []


def test_a_deleted_segment_is_found_with_the_way_back(place):
    """The fix names the parent that still has it."""
    relative = str(segment(place).relative_to(root(place)))
    parent = git(root(place), "rev-parse", "HEAD").stdout[:12]
    git(root(place), "rm", "-q", relative)
    git(root(place), "commit", "-q", "--no-verify", "-m", "oops")
    one = next(one for one in verifying.verify(place) if one.kind == "journal")
    assert (one.path, f"--source={parent}" in one.fix) == (relative, True)


def test_a_merge_that_drops_the_other_sides_segments_is_found(place):
    """`merge -s ours` keeps a history whose events are gone from the tree."""
    git(root(place), "checkout", "-q", "-b", "side")
    sql(place, "INSERT INTO needs(title) VALUES ('theirs')")
    compile_all(place)
    commit(place, "side")
    git(root(place), "checkout", "-q", "main")
    git(root(place), "merge", "-q", "--no-verify", "-s", "ours", "-m", "merge", "side")
    assert [kind for _, kind in found(place)] == ["journal"]


def test_a_range_names_the_commit_of_each_finding(place):
    """Oldest first, and what a later commit mended still counts against the earlier one."""
    start = git(root(place), "rev-parse", "HEAD").stdout.strip()
    good = (root(place) / "PROBLEM.md").read_bytes()
    put(place, "PROBLEM.md", good + b"mine\n", "bad")
    bad = git(root(place), "rev-parse", "HEAD").stdout.strip()
    put(place, "PROBLEM.md", good, "mended")
    (one,) = verifying.verify_range(place, f"{start}..HEAD")
    assert (one.path, one.kind) == ("PROBLEM.md", "edited")
    assert one.message.startswith(f"commit {bad[:12]}: ")
    assert verifying.verify_range(place, "HEAD..HEAD") == []
    assert verifying.verify_range(place, "HEAD~1") != []


@pytest.mark.parametrize("text", ["nope..HEAD", "--all", "--output=x", ""])
def test_a_range_that_is_none_is_a_mistake_of_the_call(place, text):
    """No option gets through to git, and the message says how ranges are written."""
    with pytest.raises(UsageError, match="no range"):
        verifying.verify_range(place, text)


@pytest.mark.parametrize("text", ["nope", "--all", "HEAD~99"])
def test_an_unknown_revision_is_a_mistake_of_the_call(place, text):
    """Only an unborn HEAD passes."""
    with pytest.raises(UsageError, match="no commit"):
        verifying.verify(place, text)


def test_trees_before_init_and_after_uninstall_have_no_views(place):
    """Without a config there is nothing to compile; false claims are found all the same."""
    git(root(place), "rm", "-q", ".mlos/config.toml")
    put(place, "claim.md", b"---\ncompiled_at: x\n---\n", "no config")
    assert found(place) == [("claim.md", "forged")]


def test_a_config_that_cannot_be_read_is_found(place):
    """Fails closed: a broken config must not switch the check off."""
    put(place, ".mlos/config.toml", b"= no toml\n")
    assert (".mlos/config.toml", "missing") in found(place)


def test_a_view_that_cannot_be_compiled_is_found(place):
    """A config that names an unknown need does not end the check of the others."""
    config = root(place) / ".mlos/config.toml"
    put(place, ".mlos/config.toml", config.read_bytes().replace(b"need-3f9a2c", b"need-000000"))
    (one,) = [one for one in verifying.verify(place) if one.path == "views/pack.md"]
    assert (one.kind, "need-000000" in one.message) == ("stale", True)


def test_objects_that_are_not_here_stop_the_check(place):
    """Fails closed: a clone without the contents cannot vouch for them."""
    blob = git(root(place), "rev-parse", "HEAD:notes/plain.md").stdout.strip()
    os.unlink(root(place) / ".git/objects" / blob[:2] / blob[2:])
    with pytest.raises(SurroundingsError, match=blob[:12]):
        verifying.verify(place)


def test_a_repository_of_sha256_objects_verifies(tmp_path):
    """Object ids of 64 digits."""
    place = make_workspace(tmp_path, "--object-format=sha256")
    fill(place)
    compile_all(place)
    commit(place)
    assert verifying.verify(place) == []


def test_two_clones_that_merge_agree(place, tmp_path):
    """Both sides add, one merges and compiles, the other pulls: equal bytes, and each commit of the merge verifies."""
    other = cloned(place, tmp_path / "other")
    for one, title in ((place, "here"), (other, "there")):
        sql(one, ("INSERT INTO needs(title, priority) VALUES (?, 1)", (title,)))
        compile_all(one)
        commit(one, title)
    git(root(other), "fetch", "-q")
    git(root(other), "merge", "-q", "--no-commit", "origin/main", check=False)
    compile_all(other, resolve=True)
    commit(other, "merged")
    assert verifying.verify(other) == []
    git(root(place), "pull", "-q", str(root(other)), "main")
    with opened(place) as index:
        assert {one.state for one in compiling.plan(index)} == {"current"}


def test_bytes_that_are_no_utf8_in_a_name(place):
    """Names are bytes: the view links to them and verifies."""
    name = os.path.join(os.fsencode(place.root), b"caf\xe9.md")
    Path(os.fsdecode(name)).write_bytes(b"---\ntitle: Coffee\n---\n")
    subprocess.run(["git", "add", "-A"], cwd=place.root, check=True)
    compile_all(place)
    commit(place)
    assert "[Coffee](../caf%E9.md)" in (root(place) / ".mlos/INDEX.md").read_text()
    assert found(place) == []
