"""Transcripts that git ignores: read here, told to others as facts only where the workspace wants that."""

from __future__ import annotations

import json

import pytest
from cli import assert_rebuild_is_equal, clone, git, listed, opened, save, segments, sql, synced, workspace, write
from transcribed import edited, log, made, markdown, wrote

from mlos_sync.app import health, why
from mlos_sync.app.sharing import is_tellable

PATH = ".specstory/history/2026-02-16_13-04-52Z-my-secret-plan.md"
SECRET = "ghp_" + "a1B2" * 9


@pytest.fixture
def repo(tmp_path):
    repo = workspace(tmp_path)
    write(repo, ".gitignore", ".specstory/\nprivate/\n")
    write(repo, "src/app/main.py", "one\n")
    write(repo, "docs/guide.md", "guide\n")
    save(repo, "files")
    return repo


def share(repo, text='share = "facts"'):
    config = repo / ".mlos/config.toml"
    config.write_text(config.read_text() + f"\n[transcripts]\n{text}\n")


def private(repo, *more):
    """A private transcript of a session that wrote a file and edited another."""
    text = markdown("s-1", wrote("/Users/ada/p/src/app/new.py", "new\n"), edited("/Users/ada/p/docs/guide.md"), *more)
    write(repo, PATH, text.replace("Please go on.", f"My plan, and a key: {SECRET}"))
    write(repo, "src/app/new.py", "new\n")


def explained(repo, path):
    with opened(repo) as index:
        return [(one["session_id"], one["tool"], one["evidence"]) for one in why.why_path(index, path)["sessions"]]


def journal_of(repo):
    return b"".join(segments(repo).values()).decode()


def test_a_private_transcript_is_read_and_not_told(repo):
    """Without a word in the config the journal says nothing of it; here `why` knows."""
    private(repo)
    synced(repo)
    assert explained(repo, "src/app/new.py") == [("s-1", "Claude Code", "proved")]
    save(repo, "all")
    synced(repo)
    assert "s-1" not in journal_of(repo)
    other = clone(repo, "other")
    synced(other)
    assert explained(other, "src/app/new.py") == []
    assert_rebuild_is_equal(repo)


def test_a_clone_answers_from_facts(repo):
    """Session, tool, model, path, content and time travel with the next commit; nothing that was said does."""
    share(repo)
    private(repo)
    synced(repo)
    save(repo, "all")
    other = clone(repo, "other")
    synced(other)
    assert explained(other, "src/app/new.py") == [("s-1", "Claude Code", "proved")]
    assert explained(other, "docs/guide.md") == [("s-1", "Claude Code", "matched")]
    told = journal_of(other)
    for word in (SECRET, "My plan", "Users", "ada/", "my-secret-plan", "Please"):
        assert word not in told, word
    (agent,) = listed(other, "agent")
    assert (agent["agent_type"], agent["model"], agent["session_transcript"]) == (
        "Claude Code",
        "claude-opus-4-6",
        None,
    )
    assert_rebuild_is_equal(other)
    assert_rebuild_is_equal(repo)


def test_facts_are_written_when_they_change_and_only_then(repo):
    """A second sync adds no event; another edit in the same session adds one for its file."""
    share(repo)
    private(repo)
    synced(repo)
    count = "SELECT count(*) FROM events WHERE kind = 'fact'"
    assert sql(repo, count).strip() == "2"
    synced(repo)
    assert sql(repo, count).strip() == "2"
    private(repo, edited("/Users/ada/p/src/app/main.py"))
    synced(repo)
    assert sql(repo, count).strip() == "3"


def test_facts_outlive_the_transcript(repo):
    """The private file is gone, here too: what was told of it still answers."""
    share(repo)
    private(repo)
    synced(repo)
    (repo / PATH).unlink()
    synced(repo)
    assert explained(repo, "src/app/new.py") == [("s-1", "Claude Code", "proved")]
    with opened(repo) as index:
        (session,) = health.transcripts(index)["sessions"]
    assert session["kept"] == "journal"
    assert_rebuild_is_equal(repo)


def test_a_log_outside_of_the_workspace_is_named_in_this_clones_config(repo, tmp_path):
    """`git config mlos-sync.transcripts FOLDER`: an agent's own logs, told without the path that they lie at."""
    share(repo)
    folder = tmp_path / "agent logs"
    folder.mkdir()
    steps = [made("/Users/ada/p/src/app/new.py", "new\n"), made("/Users/ada/p/docs/guide.md", "guide\n")]
    (folder / "s-9.jsonl").write_text(log("s-9", *steps, cwd="/Users/ada/p"))
    (folder / "notes.txt").write_text("no transcript\n")
    git(repo, "config", "--add", "mlos-sync.transcripts", str(folder))
    write(repo, "src/app/new.py", "new\n")
    synced(repo)
    assert explained(repo, "src/app/new.py") == [("s-9", "Claude Code", "proved")]
    save(repo, "all")
    assert "s-9" in journal_of(repo) and str(tmp_path) not in journal_of(repo)
    assert listed(repo, "agent")[0]["session_transcript"] is None


def test_other_folders_are_named_in_the_config(repo):
    """`folders` replaces the default."""
    share(repo, 'folders = ["private/logs"]')
    steps = [made("/w/p/src/app/new.py", "new\n"), made("/w/p/docs/guide.md", "guide\n")]
    write(repo, "private/logs/s-2.jsonl", log("s-2", *steps))
    private(repo)
    synced(repo)
    assert explained(repo, "src/app/new.py") == [("s-2", "Claude Code", "proved")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('share = "all"', "transcripts.share"),
        ("folders = 3", "transcripts.folders"),
        ('shared = "x"', "shared"),
    ],
)
def test_a_wrong_config_is_refused(repo, text, message):
    """With the key that is wrong."""
    from cli import run

    share(repo, text)
    done = run(repo, "sync", ok=False)
    assert done.code == 2 and message in done.err


@pytest.mark.parametrize(
    "text",
    [
        SECRET, "x/AKIA" + "ABCDEFGH12345678", "/Users/ada/a.py", "c:\\Users\\ada\\a.py", "~/notes", "api_key=abcdef123",
        "sk-" + "ab12" * 8, "/home/ada",
    ],
)  # fmt: skip
def test_what_must_not_be_told(text):
    """Secrets, and paths of a home."""
    assert not is_tellable(text)


def test_what_may_be_told():
    """Ordinary paths, tools and models."""
    for text in ("src/home/user.py", "docs/Users/guide.md", "Claude Code", "gpt-5-codex", "tokens/secret.py", "", None):
        assert is_tellable(text)


def test_a_fact_that_another_program_wrote_is_validated_and_travels(repo):
    """Any door is a good door: a row typed in is an event like every other."""
    sql(
        repo,
        "INSERT INTO facts(uid, session_id, path, tool, operations) VALUES"
        f" ('{'ab' * 16}', 's-7', 'docs/guide.md', 'My agent', 'edit')",
    )
    synced(repo)
    assert explained(repo, "docs/guide.md") == [("s-7", "My agent", "matched")]
    save(repo, "all")
    assert json.dumps("s-7")[1:-1] in journal_of(repo)
