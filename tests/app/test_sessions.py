"""Sessions: read once, one row each however many files render them, joined with what somebody recorded."""

from __future__ import annotations

import pytest
from cli import (
    add,
    assert_rebuild_is_equal,
    change,
    git,
    listed,
    opened,
    run,
    save,
    sql,
    synced,
    with_two_files,
    workspace,
    write,
)
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from transcribed import changed, edited, log, looked, made, markdown, ran, wrote

from mlos_sync.app import collecting, health, planning, sessions
from mlos_sync.core import transcripts

HISTORY = ".specstory/history"


@pytest.fixture
def repo(tmp_path):
    return with_two_files(tmp_path)


def two(*more):
    """Two edits that say where the workspace was."""
    return (edited("/w/p/src/app/main.py"), edited("/w/p/docs/guide.md"), *more)


def to_read(repo):
    """The transcripts that a sync would read now."""
    with opened(repo) as index:
        return [one.path for one in collecting.collect(index, planning.prepare(index)).read]


def health_of(repo):
    with opened(repo) as index:
        return health.transcripts(index)


def test_a_transcript_is_read_when_it_changes_and_only_then(repo):
    """Not for another file, not for a commit, not for a move, not for a touch."""
    path = f"{HISTORY}/2026-02-16_13-04-52Z-a.md"
    write(repo, path, markdown("s-1", *two()))
    assert to_read(repo) == [path]
    synced(repo)
    assert to_read(repo) == []
    write(repo, "other.md", "x\n")
    save(repo, "all")
    (repo / path).touch()
    assert to_read(repo) == []
    synced(repo)
    git(repo, "mv", path, f"{HISTORY}/2026-02-16_13-04-52Z-renamed.md")
    assert to_read(repo) == []
    synced(repo)
    (session,) = health_of(repo)["sessions"]
    assert session["files"] == [f"{HISTORY}/2026-02-16_13-04-52Z-renamed.md"]
    write(repo, session["files"][0], markdown("s-1", *two(looked("/w/p/docs/guide.md"))))
    assert to_read(repo) == session["files"]
    assert_rebuild_is_equal(repo)


def test_another_version_of_the_reader_reads_again(repo):
    """What an older reader read is read anew, once."""
    path = f"{HISTORY}/a.md"
    write(repo, path, markdown("s-1", *two()))
    synced(repo)
    with opened(repo) as index:
        index.db.execute("UPDATE transcripts SET reader = ?", (transcripts.READER_VERSION - 1,))
    assert to_read(repo) == [path]
    synced(repo)
    assert to_read(repo) == []


def test_several_files_of_one_session_are_one_session(repo):
    """The fullest speaks; the others are counted as copies, the shorter as cut."""
    write(repo, f"{HISTORY}/a.md", markdown("s-1", *two()))
    write(repo, f"{HISTORY}/b.md", markdown("s-1", *two(looked("/w/p/docs/guide.md"))))
    write(repo, f"{HISTORY}/c.md", markdown("s-2", *two(), tool="Codex CLI"))
    synced(repo)
    found = health_of(repo)
    assert [(one["session_id"], one["tool"], one["claims"], one["files"]) for one in found["sessions"]] == [
        ("s-1", "Claude Code", 3, [f"{HISTORY}/a.md", f"{HISTORY}/b.md"]),
        ("s-2", "Codex CLI", 2, [f"{HISTORY}/c.md"]),
    ]
    assert [one["session_id"] for one in found["health"]["duplicates"]] == ["s-1"]
    assert len(listed(repo, "agent")) == 2
    (repo / HISTORY / "b.md").unlink()
    synced(repo)
    assert [one["claims"] for one in health_of(repo)["sessions"]] == [2, 2]
    assert_rebuild_is_equal(repo)


def test_a_shorter_copy_is_named(repo):
    """An older snapshot of a session beside the whole."""
    text = markdown("s-1", *two())
    longer = text + "---\n\n_**User (2026-02-16 14:00:00Z)**_\n\nMore.\n"
    write(repo, f"{HISTORY}/a.md", text)
    write(repo, f"{HISTORY}/b.md", longer)
    synced(repo)
    assert health_of(repo)["health"]["truncated"] == [
        {"session_id": "s-1", "file": f"{HISTORY}/a.md", "turns": 2, "of": 3, "fullest": f"{HISTORY}/b.md"}
    ]


def test_the_log_and_its_rendering_are_one_session(repo):
    """Claude Code's own log has more in it than SpecStory's page of the same session."""
    write(repo, f"{HISTORY}/a.md", markdown("s-1", *two()))
    steps = [changed("/w/p/src/app/main.py", "one", "two", before="one\n"), made("/w/p/src/x.py", "x\n")]
    write(repo, "logs/s-1.jsonl", log("s-1", *steps, changed("/w/p/docs/guide.md", "guide", "g", before="guide\n")))
    synced(repo)
    (session,) = health_of(repo)["sessions"]
    assert session["files"] == [f"{HISTORY}/a.md", "logs/s-1.jsonl"] and session["claims"] == 3
    assert session["version"] == "2.1.7"


def test_subagents_in_files_of_their_own_belong_to_the_session(repo):
    """They are parts, not copies: what each did counts."""
    main = log("s-1", changed("/w/p/src/app/main.py", "one", "two", before="one\n"), made("/w/p/src/x.py", "x\n"))
    write(repo, "logs/s-1.jsonl", main)
    lines = log("s-1", made("/w/p/docs/sub.md", "sub\n")).splitlines()
    part = "".join(line[:-1] + ', "isSidechain": true, "agentId": "abc123"}\n' for line in lines)
    write(repo, "logs/agent-abc123.jsonl", part)
    write(repo, "docs/sub.md", "sub\n")
    synced(repo)
    (session,) = health_of(repo)["sessions"]
    assert session["claims"] == 3
    assert (
        sql(repo, "SELECT evidence FROM relationships WHERE relationship_type = 'produced'").split().count("proved")
        == 1
    )
    assert_rebuild_is_equal(repo)


def test_an_agent_that_somebody_recorded_is_the_session(repo):
    """By its transcript or by its id: its own fields win, what it does not say is filled in, and nothing of that is
    journaled."""
    path = f"{HISTORY}/a.md"
    agent = add(repo, "agent", agent_type="reviewer", session_transcript=path)
    other = add(repo, "agent", agent_type="writer", session_transcript="s-2", model="my-model")
    write(repo, path, markdown("s-1", *two()))
    write(repo, f"{HISTORY}/b.md", markdown("s-2", *two()))
    save(repo, "all")
    synced(repo)
    rows = {row["uid"]: row for row in listed(repo, "agent")}
    assert set(rows) == {agent["uid"], other["uid"]}
    assert (rows[agent["uid"]]["agent_type"], rows[agent["uid"]]["model"]) == ("reviewer", "claude-opus-4-6")
    assert rows[other["uid"]]["model"] == "my-model"
    assert [one["agent"] for one in health_of(repo)["sessions"]] == ["agent:1", "agent:2"]
    assert_rebuild_is_equal(repo)
    change(repo, "agent", "agent:1", status="completed")
    rows = {row["uid"]: row for row in listed(repo, "agent")}
    assert rows[agent["uid"]]["model"] == "claude-opus-4-6" and rows[agent["uid"]]["completed_at"]
    assert "claude-opus-4-6" not in str(run(repo, "log", "agent:1", "--json").json["events"])
    change(repo, "agent", "agent:1", session_transcript=None)
    rows = {row["uid"]: row for row in listed(repo, "agent")}
    assert rows[agent["uid"]]["model"] is None and len(rows) == 3
    assert_rebuild_is_equal(repo)


def test_a_folder_that_cannot_be_read_keeps_its_sessions(repo, as_user):
    """Absence is not deletion: neither a sync nor an index made anew forgets what its transcripts told."""
    write(repo, f"{HISTORY}/a.md", markdown("s-1", *two()))
    save(repo, "all")
    synced(repo)
    before = [one["session_id"] for one in health_of(repo)["sessions"]]
    (repo / HISTORY).chmod(0o000)
    try:
        for command in ("sync", "rebuild"):
            run(repo, command, ok=False, before=as_user)
            told = run(repo, "why", "src/app/main.py", "--json", before=as_user).json["sessions"]
            assert [one["session_id"] for one in told] == before == ["s-1"], command
    finally:
        (repo / HISTORY).chmod(0o755)
    assert_rebuild_is_equal(repo)


def test_what_is_malformed_is_named_with_its_line(repo):
    """A broken line of a log, a block that never closes: the rest is read."""
    text = log("s-1", made("/w/p/src/x.py", "x\n"), made("/w/p/docs/y.md", "y\n"))
    lines = text.splitlines(keepends=True)
    write(repo, "logs/s-1.jsonl", "".join([*lines[:2], '{"type": "user", broken\n', *lines[2:]]))
    synced(repo)
    found = health_of(repo)
    assert [(one["file"], one["line"]) for one in found["problems"]] == [("logs/s-1.jsonl", 3)]
    assert found["sessions"][0]["claims"] == 2
    assert run(repo, "sync", ok=False).code == 1


PIECES = [
    edited("/w/p/src/app/main.py"),
    edited("/w/p/docs/guide.md"),
    *(wrote(f"/w/p/{path}", f"{path} 1\n") for path in ("src/app/new.py", "docs/guide.md", "moved/new.py")),
    looked("/w/p/src/app/main.py"),
    edited("/w/q/src/app/main.py"),
    ran("git commit -m x", "[main abc1234] x"),
]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["transcript", "file", "commit", "remove", "move", "reset", "log", "branch", "agent", "touch"]),
        st.integers(0, 7),
        st.integers(0, 7),
    ),
    min_size=4,
    max_size=14,
)
FILES = ["src/app/main.py", "docs/guide.md", "src/app/new.py", "moved/new.py", "README.md", "q/src/app/main.py"]


@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(steps=STEPS)
@example(steps=[("transcript", 0, 0), ("agent", 0, 1), ("transcript", 1, 0)])  # the record's session became another
@example(steps=[("transcript", 0, 0), ("commit", 0, 1), ("commit", 0, 0)])  # a commit that changes nothing names one
@example(steps=[("transcript", 0, 0), ("log", 0, 1), ("log", 0, 0)])  # the session that made a file went away
@example(steps=[("log", 0, 0), ("commit", 0, 0), ("log", 0, 0), ("commit", 0, 0)])  # two commits name one session
@example(steps=[("transcript", 0, 1), ("transcript", 1, 2), ("commit", 1, 0)])  # a file of the commit was not seen yet
@example(steps=[("file", 0, 0), ("move", 0, 5), ("reset", 0, 0), ("log", 0, 5)])  # named after its move was taken back
def test_whatever_happens_a_rebuild_knows_the_same(tmp_path_factory, steps):
    """Transcripts, files and commits come and go in any order, with syncs and commands between them: what stands is what
    an index made from nothing would have."""
    repo = workspace(tmp_path_factory.mktemp("walk"))
    for path in FILES[:2]:  # of two files of one content, an index made anew cannot tell which was moved
        write(repo, path, f"{path} 0\n")
    save(repo, "files")
    for what, one, other in steps:
        step(repo, what, one, other)
        if other % 2:
            synced(repo, accept_deletes=True)
        else:
            health_of(repo)
    synced(repo, accept_deletes=True)
    assert_rebuild_is_equal(repo)


def as_committed(repo, path):
    """Whether HEAD has the file as it is: where another content moves, only the index that saw it knows from where."""
    return (
        (repo / path).exists()
        and git(repo, "diff", "--quiet", "HEAD", "--", path, check=False).returncode == 0
        and (git(repo, "cat-file", "-e", f"HEAD:{path}", check=False).returncode == 0)
    )


def step(repo, what, one, other):
    """One thing that happens to a workspace."""
    path, target = FILES[one % len(FILES)], FILES[other % len(FILES)]
    if what == "transcript":
        text = markdown(f"s-{one % 3}", *PIECES[other % 4 :: 2], *two()[: one % 3])
        write(repo, f"{HISTORY}/t{other % 3}.md", text)
    elif what == "log":
        steps = [changed(f"/w/p/{path}", " 0", " 2", before=None), made(f"/w/p/{target}", f"{target} 1\n")]
        write(repo, f"logs/{one % 2}.jsonl", log(f"s-{other % 4}", *steps))
    elif what in ("file", "touch"):
        write(repo, path, f"{path} {other % 4}\n")
    elif what == "commit":
        save(repo, f"c {one}\n\nSession: s-{other % 3}")
    elif what == "remove" and (repo / path).exists():
        (repo / path).unlink()
    elif what == "move" and as_committed(repo, path) and not (repo / target).exists():
        (repo / target).parent.mkdir(parents=True, exist_ok=True)
        (repo / path).rename(repo / target)
    elif what == "reset":
        git(repo, "reset", "-q", "--hard", "HEAD~1", check=False)
    elif what == "branch":
        git(repo, "checkout", "-q", "-f", "-B", f"b{one % 2}", check=False)
    elif what == "agent":
        add(repo, "agent", agent_type="a", session_transcript=f"{HISTORY}/t{one % 3}.md")


def test_speaking_is_chosen_once(repo):
    """Of equal copies the first by path, so that it is the same on each clone."""
    for name in "cab":
        write(repo, f"{HISTORY}/{name}.md", markdown("s-1", *two()))
    synced(repo)
    with opened(repo) as index:
        assert sessions.speaking(index.db)["s-1"].transcript == f"{HISTORY}/a.md"
