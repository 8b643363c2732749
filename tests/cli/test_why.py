"""`why`, `transcripts` and `log` as users meet them: both directions, on a terminal and in JSON."""

from __future__ import annotations

import pytest
from cli import add, link, need, run, save, synced, workspace, write
from copies import copied
from transcribed import edited, log, looked, made, markdown, wrote

HISTORY = ".specstory/history/2026-02-16_13-04-52Z-work.md"


@pytest.fixture
def repo(tmp_path):
    """A need with a task, a session that wrote a file for it, and the commit that took both."""
    return copied(with_a_session, tmp_path) / "repo"


def with_a_session(folder):
    repo = workspace(folder)
    write(repo, "src/app/main.py", "one\n")
    need(repo, "Say why", status="actionable")
    save(repo, "files")
    write(repo, "src/app/new.py", "first\nsecond\n")
    text = markdown("session-one", wrote("/w/p/src/app/new.py", "first\nsecond\n"), edited("/w/p/src/app/main.py"))
    write(repo, HISTORY, text)
    save(repo, "A new file\n\nTask: 1")
    synced(repo)


def test_a_file_tells_its_session_commit_task_and_need(repo):
    """The whole chain, each step with its evidence and where to look."""
    found = run(repo, "why", "src/app/new.py", "--json").json
    (session,) = found["sessions"]
    assert {name: session[name] for name in ("session_id", "tool", "model", "operations", "evidence", "transcript")} == {
        "session_id": "session-one", "tool": "Claude Code", "model": "claude-opus-4-6", "operations": ["create"],
        "evidence": "proved", "transcript": HISTORY,
    }  # fmt: skip
    assert session["first_at"] == session["last_at"] == "2026-02-16T13:04:52Z"
    assert session["commit"] == found["commits"][0]["sha"] and found["commits"][0]["sessions"] == ["session-one"]
    assert [one["status"] for one in found["tasks"]] == ["open"] and found["needs"][0]["title"] == "Say why"
    lines = run(repo, "why", "src/app/new.py").out.splitlines()
    told = "session Claude Code (claude-opus-4-6) session-one: create at 2026-02-16T13:04:52Z [proved]"
    assert " ".join(lines[1].split()) == told
    assert f"{HISTORY}:{session['line']}, turn 2; commit {session['commit'][:12]}" in lines[2]


def test_a_line_tells_the_session_whose_content_its_commit_took(repo):
    """Each line of a file may come from another session, or from none."""
    write(repo, "src/app/new.py", "first\nby hand\n")
    sha = save(repo, "By hand")
    synced(repo)
    first = run(repo, "why", "src/app/new.py:1", "--json").json
    second = run(repo, "why", "src/app/new.py:2", "--json").json
    assert [one["session_id"] for one in first["sessions"]] == ["session-one"]
    assert second["sessions"] == [] and [one["sha"] for one in second["commits"]] == [sha]
    assert "no session is known for this line" in run(repo, "why", "src/app/new.py:2").out


def test_a_session_tells_its_files_commits_tasks_and_needs(repo):
    """By its id or the beginning of it, or by the number of its agent."""
    found = run(repo, "why", "session:session", "--json").json
    assert found["artifacts"] == ["src/app/main.py", "src/app/new.py"]
    assert [(one["path"], one["evidence"], one["operations"]) for one in found["files"]] == [
        ("src/app/main.py", "matched", ["edit"]),
        ("src/app/new.py", "proved", ["create"]),
    ]
    assert [one["subject"] for one in found["commits"]] == ["A new file"]
    assert [one["title"] for one in found["needs"]] == ["Say why"] and len(found["tasks"]) == 1
    assert run(repo, "why", found["sessions"][0]["agent"], "--json").json["artifacts"] == found["artifacts"]
    assert run(repo, "why", "session:nobody", ok=False).code == 2


def test_a_need_a_task_and_a_commit_tell_files_and_sessions(repo):
    """The other directions."""
    sha = run(repo, "why", "src/app/new.py", "--json").json["commits"][0]["sha"]
    for ref in ("need:1", "task:1", f"commit:{sha}"):
        found = run(repo, "why", ref, "--json").json
        assert "src/app/new.py" in found["artifacts"], ref
        assert [one["session_id"] for one in found["sessions"]] == ["session-one"], ref
        assert [one["title"] for one in found["needs"]] == ["Say why"], ref


def test_several_sessions_that_begin_alike_are_ambiguous(repo):
    """Exit 4; the whole id always works."""
    write(
        repo, "logs/x.jsonl", log("session-two", made("/w/p/src/app/z.py", "z\n"), made("/w/p/src/app/main.py", "m\n"))
    )
    synced(repo)
    assert run(repo, "why", "session:session-", ok=False).code == 4
    assert run(repo, "why", "session:session-two").code == 0
    assert run(repo, "transcripts", "show", "session-", ok=False).code == 4


def test_a_manual_link_declares(repo):
    """An agent that somebody recorded and linked by hand."""
    add(repo, "agent", agent_type="ghostwriter")
    write(repo, "notes.txt", "x\n")
    synced(repo)
    link(repo, "agent:2", "produced", "artifact:notes.txt") if _has(repo, "agent:2") else link(
        repo, "agent:1", "produced", "artifact:notes.txt"
    )
    (session,) = run(repo, "why", "notes.txt", "--json").json["sessions"]
    assert (session["session_id"], session["tool"], session["evidence"]) == (None, "ghostwriter", "declared")
    assert "linked by hand" in run(repo, "why", "notes.txt").out


def _has(repo, ref):
    return run(repo, "agent", "show", ref, "--json", ok=False).json["row"]["agent_type"] == "ghostwriter"


def test_unknown_is_an_answer(repo):
    """Nobody is said to have written what nobody is known to have written."""
    write(repo, "plain.txt", "x\n")
    save(repo, "plain")
    synced(repo)
    done = run(repo, "why", "plain.txt")
    assert "unknown: no transcript here claims this file" in done.out and "human" not in done.out


def test_transcripts_lists_sessions_and_their_health(repo):
    """One row a session; what the health is, by numbers; JSON has it whole."""
    write(repo, ".specstory/history/copy.md", markdown("session-one", looked("/w/p/src/app/main.py")))
    write(repo, "logs/broken.jsonl", log("s-3", made("/w/p/src/gone.py", "g\n"))[:-30])
    save(repo, "more")
    run(repo, "sync", ok=False)
    found = run(repo, "transcripts", "--json").json
    assert [one["session_id"] for one in found["sessions"]] == ["s-3", "session-one"]
    assert found["sessions"][1]["files"] == [HISTORY, ".specstory/history/copy.md"]
    assert found["problems"][0]["file"] == "logs/broken.jsonl" and found["problems"][0]["line"] > 1
    health = found["health"]
    assert health["evidence"]["proved"] == 1 and health["evidence"]["matched"] == 1
    assert sum(month["commits"] for month in health["coverage"]) == 4
    out = run(repo, "transcripts").out
    assert "artifacts by evidence: 1 proved" in out and "sessions in several files: 1" in out


def test_one_session_shows_claim_by_claim(repo):
    """Turn, line, operation, path, success, evidence and commit of each."""
    found = run(repo, "transcripts", "show", "session-o", "--json").json
    assert [(one["operation"], one["path"], one["succeeded"], one["evidence"]) for one in found["claims"]] == [
        ("create", "src/app/new.py", True, "proved"),
        ("edit", "src/app/main.py", True, "matched"),
    ]
    assert found["claims"][0]["commit"] and found["claims"][1]["commit"] is None
    assert found["claims"][0]["raw_path"] == "/w/p/src/app/new.py"


def test_the_history_of_a_file_names_the_sessions_of_its_versions(repo):
    """Where the content of a version is proved, also of one that no commit holds."""
    write(repo, "src/app/new.py", "third\n")
    text = log("session-two", made("/w/p/src/app/new.py", "third\n"), made("/w/p/src/app/main.py", "m\n"))
    write(repo, "logs/x.jsonl", text)
    synced(repo)
    events = run(repo, "log", "src/app/new.py", "--json").json["events"]
    assert [one["sessions"] for one in events] == [["session-one"], ["session-two"]]
    assert "by session session-two" in run(repo, "log", "src/app/new.py").out


def test_a_commit_says_how_it_is_tied_to_a_session_and_only_for_its_files(repo):
    """Git proves what a commit changed; who did it is another matter, and of another file of the commit nobody is said."""
    write(repo, "bulk.txt", "x\n")
    write(repo, "src/app/new.py", "third\n")
    write(
        repo, "logs/x.jsonl", log("session-two", made("/w/p/src/app/new.py", "third\n"), made("/w/p/src/y.py", "y\n"))
    )
    save(repo, "Bulk")
    synced(repo)
    (bulk,) = run(repo, "why", "bulk.txt", "--json").json["commits"]
    assert (bulk["sessions"], bulk["evidence"]) == ([], "proved")
    last = run(repo, "why", "src/app/new.py", "--json").json["commits"]
    assert {one["subject"]: one["session_evidence"] for one in last} == {
        "Bulk": {"session-two": "proved"},
        "A new file": {"session-one": "proved"},
    }
    assert "of session session-two  [proved]" in run(repo, "why", "src/app/new.py").out


@pytest.mark.parametrize("line", ["0", "99"])
def test_a_line_that_is_not_there_is_an_error(repo, line):
    """With what lines are counted in."""
    done = run(repo, "why", f"src/app/new.py:{line}", ok=False)
    assert done.code == 2 and f"no line {line}" in done.err and "last commit" in done.err


def test_a_session_that_is_still_written_is_no_finding(repo):
    """Its last line is cut at each look; it is shown among the problems, and sync ends well."""
    write(
        repo, "logs/live.jsonl", log("s-3", made("/w/p/src/gone.py", "g\n"), made("/w/p/src/app/main.py", "m\n"))[:-30]
    )
    assert run(repo, "sync").code == 0
    assert [one["file"] for one in run(repo, "transcripts", "--json").json["problems"]] == ["logs/live.jsonl"]
