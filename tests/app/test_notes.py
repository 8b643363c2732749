"""What git keeps beside the branches: git-ai's notes and Entire's checkpoints, where a clone has them."""

from __future__ import annotations

import json

import pytest
from cli import assert_rebuild_is_equal, git, head, opened, save, sql, synced, with_two_files, write
from transcribed import changed, log, made

from mlos_sync.app import collecting, health, planning, why

BRANCH = "entire/checkpoints/v1"


@pytest.fixture
def repo(tmp_path):
    return with_two_files(tmp_path)


def note(*files, session="s-1", model="claude-opus-4-5"):
    """An authorship note in which one session wrote the first lines of each file."""
    about = {"agent_id": {"tool": "claude", "id": session, "model": model}, "human_author": "Ada"}
    attested = "".join(f"{path}\n  s_0123456789abcd::t_0123456789abcd 1-2\n" for path in files)
    records = {
        "schema_version": "authorship/3.0.0",
        "sessions": {"s_0123456789abcd": about},
        "prompts": {},
        "humans": {},
    }
    return f"{attested}---\n{json.dumps(records)}"


def annotate(repo, text, sha):
    git(repo, "notes", "--ref=ai", "add", "-f", "-m", text, sha)


def explained(repo, path, line=None):
    with opened(repo) as index:
        found = why.why_path(index, path, line)["sessions"]
    return [(one["session_id"], one["evidence"], one["commit"]) for one in found]


def test_a_note_declares_who_wrote_a_file(repo):
    """Of the files that it attests, not of the whole commit; the commit is the session's too."""
    write(repo, "src/app/new.py", "a\nb\n")
    write(repo, "docs/other.md", "x\n")
    sha = save(repo, "new")
    annotate(repo, note("src/app/new.py"), sha)
    synced(repo)
    assert explained(repo, "src/app/new.py") == [("s-1", "declared", sha)]
    assert explained(repo, "docs/other.md") == []
    with opened(repo) as index:
        (commit,) = why.why_path(index, "docs/other.md")["commits"]
        (session,) = health.transcripts(index)["sessions"]
    assert commit["sessions"] == ["s-1"]
    assert (session["tool"], session["model"], session["kept"]) == ("claude", "claude-opus-4-5", "git")
    assert_rebuild_is_equal(repo)


def test_notes_of_several_commits_add_to_one_session(repo):
    """Each note tells another part of it."""
    shas = []
    for name in ("one", "two"):
        write(repo, f"src/{name}.py", "a\nb\n")
        shas.append(save(repo, name))
        annotate(repo, note(f"src/{name}.py"), shas[-1])
    synced(repo)
    assert [explained(repo, f"src/{name}.py") for name in ("one", "two")] == [
        [("s-1", "declared", shas[0])],
        [("s-1", "declared", shas[1])],
    ]
    assert sql(repo, "SELECT count(*) FROM agents").strip() == "1"


def test_a_note_joins_a_commit_to_the_log_of_its_session(repo):
    """The id in the note is that of the agent's own log."""
    write(repo, "logs/s-1.jsonl", log("s-1", made("/w/p/src/app/new.py", "a\nb\n"), made("/w/p/docs/z.md", "z\n")))
    write(repo, "src/app/new.py", "a\nb\n")
    sha = save(repo, "new")
    annotate(repo, note("src/app/new.py"), sha)
    synced(repo)
    assert explained(repo, "src/app/new.py") == [("s-1", "proved", sha)]
    assert sql(repo, "SELECT count(*) FROM agents").strip() == "1"


def test_notes_are_read_once_and_follow_the_branch(repo):
    """Nothing new, nothing read; a note that changes, a commit that HEAD leaves, a ref that goes."""
    before = head(repo)
    write(repo, "src/app/new.py", "a\nb\n")
    sha = save(repo, "new")
    annotate(repo, note("src/app/new.py"), sha)
    synced(repo)
    with opened(repo) as index:
        assert not collecting.collect(index, planning.prepare(index))
    annotate(repo, note("src/app/new.py", session="s-2"), sha)
    synced(repo)
    assert [one[0] for one in explained(repo, "src/app/new.py")] == ["s-2"]
    git(repo, "reset", "-q", "--soft", before)
    synced(repo)
    assert explained(repo, "src/app/new.py") == []
    git(repo, "reset", "-q", "--soft", sha)
    synced(repo)
    assert [one[0] for one in explained(repo, "src/app/new.py")] == ["s-2"]
    git(repo, "update-ref", "-d", "refs/notes/ai")
    synced(repo)
    assert explained(repo, "src/app/new.py") == []
    assert_rebuild_is_equal(repo)


def test_a_broken_note_is_a_problem_and_no_more(repo):
    """What stands there is named; the others are read."""
    write(repo, "src/app/new.py", "a\nb\n")
    sha = save(repo, "new")
    annotate(repo, "nothing of the kind", sha)
    annotate(repo, note("docs/guide.md"), head(repo, "HEAD~1"))
    synced(repo)
    with opened(repo) as index:
        (problem,) = health.transcripts(index)["problems"]
    assert problem["file"] == f"refs/notes/ai:{sha}"
    assert [one[0] for one in explained(repo, "docs/guide.md")] == ["s-1"]


def checkpoint(repo, identity, session, text, created, ref=f"refs/heads/{BRANCH}"):
    """A checkpoint of a session, put on the branch beside those that are there."""
    folder = f"{identity[:2]}/{identity[2:]}"
    about = {"checkpoint_id": identity, "session_id": session, "agent": "Claude Code", "created_at": created}
    about |= {"files_touched": ["src/app/new.py"], "branch": "main"}
    index = {"GIT_INDEX_FILE": str(repo.parent / "checkpoints.index")}
    git(repo, "read-tree", "--empty", env=index)
    if git(repo, "rev-parse", "-q", "--verify", ref, check=False).returncode == 0:
        git(repo, "read-tree", ref, env=index)
    for name, data in (("0/metadata.json", json.dumps(about)), ("0/full.jsonl", text), ("metadata.json", "{}")):
        blob = git(repo, "hash-object", "-w", "--stdin", stdin=data).stdout.strip()
        git(repo, "update-index", "--add", "--cacheinfo", f"100644,{blob},{folder}/{name}", env=index)
    tree = git(repo, "write-tree", env=index).stdout.strip()
    git(repo, "update-ref", ref, git(repo, "commit-tree", tree, "-m", f"Checkpoint: {identity}").stdout.strip())


def test_checkpoints_hold_sessions_and_commits_name_them(repo):
    """The newest copy of a session is read; the commit that names an older one is its own too."""
    first = [made("/w/p/src/app/new.py", "a\n"), made("/w/p/docs/z.md", "z\n")]
    write(repo, "src/app/new.py", "a\n")
    one = save(repo, "new\n\nEntire-Checkpoint: 0123456789ab")
    session = "4555072a-e039-4937-b6ea-dcb86152dd55"
    checkpoint(repo, "0123456789ab", f"2026-02-16-{session}", log(session, *first), "2026-02-16T13:00:00Z")
    both = [*first, changed("/w/p/src/app/new.py", "a", "b", before="a\n")]
    write(repo, "src/app/new.py", "b\n")
    write(repo, "generated.txt", "by a command\n")
    two = save(repo, "more\n\nEntire-Checkpoint: ba9876543210")
    checkpoint(repo, "ba9876543210", session, log(session, *both), "2026-02-16T14:00:00Z")
    synced(repo)
    assert explained(repo, "src/app/new.py") == [(session, "proved", two)]
    assert explained(repo, "generated.txt") == [(session, "declared", two)]
    with opened(repo) as index:
        found = {commit["sha"]: commit["sessions"] for commit in why.why_path(index, "src/app/new.py")["commits"]}
        (only,) = health.transcripts(index)["sessions"]
    assert found == {one: [session], two: [session]}
    assert (only["session_id"], only["claims"]) == (session, 3)
    assert_rebuild_is_equal(repo)


def test_a_clone_reads_the_checkpoints_of_its_remote(repo, tmp_path):
    """A plain clone has the branch as a remote one."""
    checkpoint(
        repo, "0123456789ab", "s-1", log("s-1", made("/w/p/src/app/new.py", "a\n"), made("/w/p/docs/z.md", "z\n")),
        "2026-02-16T13:00:00Z", ref=f"refs/remotes/origin/{BRANCH}",
    )  # fmt: skip
    write(repo, "src/app/new.py", "a\n")
    save(repo, "new")
    synced(repo)
    assert [one[:2] for one in explained(repo, "src/app/new.py")] == [("s-1", "proved")]


def test_a_note_says_who_wrote_a_line(repo):
    """Two sessions in one commit, each with lines of its own; a line that a person wrote is nobody's session."""
    write(repo, "src/app/new.py", "a\nb\nc\nd\n")
    sha = save(repo, "new")
    both = {
        "s_0123456789abcd": {"agent_id": {"tool": "claude", "id": "s-1", "model": "m"}},
        "s_ba9876543210ff": {"agent_id": {"tool": "cursor", "id": "s-2", "model": "m"}},
    }
    attested = (
        "src/app/new.py\n  s_0123456789abcd::t_0123456789abcd 1\n  s_ba9876543210ff::t_0123456789abcd 2-3\n  h_01 4\n"
    )
    records = {
        "schema_version": "authorship/3.0.0",
        "sessions": both,
        "prompts": {},
        "humans": {"h_01": {"author": "A"}},
    }
    annotate(repo, f"{attested}---\n{json.dumps(records)}", sha)
    synced(repo)
    assert [sorted(one[0] for one in explained(repo, "src/app/new.py", line)) for line in (None, 1, 2, 3, 4)] == [
        ["s-1", "s-2"],
        ["s-1"],
        ["s-2"],
        ["s-2"],
        [],
    ]


def test_a_note_comes_back_with_its_commit(repo):
    """HEAD leaves the commit and comes back, with nothing but reading commands between."""
    before = head(repo)
    write(repo, "src/app/new.py", "a\nb\n")
    sha = save(repo, "new")
    annotate(repo, note("src/app/new.py"), sha)
    synced(repo)
    git(repo, "checkout", "-q", "-b", "other", before)
    with opened(repo) as index:
        health.transcripts(index)
    git(repo, "checkout", "-q", "main")
    assert explained(repo, "src/app/new.py") == [("s-1", "declared", sha)]
    synced(repo)
    assert_rebuild_is_equal(repo)
