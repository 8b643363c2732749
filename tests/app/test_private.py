"""Transcripts that git ignores: read here, told to others as facts only where the workspace wants that."""

from __future__ import annotations

import json

import pytest
from cli import assert_rebuild_is_equal, clone, git, listed, opened, run, save, segments, sql, synced, workspace, write
from copies import copied
from transcribed import edited, log, made, markdown, wrote

from mlos_sync.app import collecting, health, planning, why
from mlos_sync.app.sharing import is_tellable, told_id, told_model, told_tool

ONE = "0b6f3f0e-52f0-4a6b-9a39-5a7f0f3c1d11"
NINE = "9b6f3f0e-52f0-4a6b-9a39-5a7f0f3c1d19"
PATH = ".specstory/history/2026-02-16_13-04-52Z-my-secret-plan.md"
SECRET = "ghp_" + "a1B2" * 9


@pytest.fixture
def repo(tmp_path):
    return copied(with_private_folders, tmp_path) / "repo"


def with_private_folders(folder):
    repo = workspace(folder)
    write(repo, ".gitignore", ".specstory/\nprivate/\n")
    write(repo, "src/app/main.py", "one\n")
    write(repo, "docs/guide.md", "guide\n")
    save(repo, "files")


def share(repo, text='share = "facts"'):
    config = repo / ".mlos/config.toml"
    config.write_text(config.read_text() + f"\n[transcripts]\n{text}\n")


def private(repo, *more):
    """A private transcript of a session that wrote a file and edited another."""
    text = markdown(ONE, wrote("/Users/ada/p/src/app/new.py", "new\n"), edited("/Users/ada/p/docs/guide.md"), *more)
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
    assert explained(repo, "src/app/new.py") == [(ONE, "Claude Code", "proved")]
    save(repo, "all")
    synced(repo)
    assert ONE not in journal_of(repo)
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
    assert explained(other, "src/app/new.py") == [(ONE, "Claude Code", "proved")]
    assert explained(other, "docs/guide.md") == [(ONE, "Claude Code", "matched")]
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
    assert explained(repo, "src/app/new.py") == [(ONE, "Claude Code", "proved")]
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
    (folder / "log.jsonl").write_text(log(NINE, *steps, cwd="/Users/ada/p"))
    (folder / "notes.txt").write_text("no transcript\n")
    git(repo, "config", "--add", "mlos-sync.transcripts", str(folder))
    write(repo, "src/app/new.py", "new\n")
    synced(repo)
    assert explained(repo, "src/app/new.py") == [(NINE, "Claude Code", "proved")]
    save(repo, "all")
    assert NINE in journal_of(repo) and str(tmp_path) not in journal_of(repo)
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
    share(repo, text)
    done = run(repo, "sync", ok=False)
    assert done.code == 2 and message in done.err


@pytest.mark.parametrize(
    "name",
    [
        "2026-02-16_13-04Z-裁员计划和张三的工资.md", "2026-02-16_13-04Z-layoffs.md", "2026-02-16_13-04Z-fire-bob.md", "notes.md",
    ],
)  # fmt: skip
def test_a_session_that_is_called_by_its_first_words_is_told_by_a_hash(repo, name):
    """Old formats have no id but the file's name. Here it keeps its name, and is one session."""
    share(repo)
    head = "<!-- Generated by SpecStory -->\n\n# Title (2025-05-01 10:00:00)\n\n_**User**_\n\nx\n\n_**Assistant**_\n\n"
    blocks = markdown(ONE, wrote("/w/p/src/app/new.py", "new\n"), edited("/w/p/docs/guide.md")).partition("<tool-use")
    write(repo, f".specstory/history/{name}", head + blocks[1] + blocks[2])
    write(repo, "src/app/new.py", "new\n")
    synced(repo)
    save(repo, "all")
    told = journal_of(repo)
    assert '"kind":"fact"' in told.replace(" ", "")
    for word in ("layoffs", "bob", "裁员", "\\u88c1", name.rpartition(".")[0]):
        assert word not in told, word
    with opened(repo) as index:
        assert len(health.transcripts(index)["sessions"]) == 1
    other = clone(repo, "other")
    synced(other)
    assert [one[2] for one in explained(other, "src/app/new.py")] == ["proved"]
    assert_rebuild_is_equal(repo)


@pytest.mark.parametrize(
    "path",
    [
        "file:/Users/ada/diary.md", "vscode-userdata:/Users/ada/Library/secretapp/settings.json", "$HOME/.ssh/bobskey",
        "untitled:Dear boss I quit", "private/salaries/bob-gets-90k.md", ".specstory/history/my-title.md", "/root/x.md",
        "backup/Users/ada/x.md", "/srv/clientX/acme-takeover/bid.md", "keys/sk_live_51HabcdefghijklmnopQ",
    ],
)  # fmt: skip
def test_only_files_that_git_has_or_would_take_are_told(repo, path):
    """Whatever else a session touched: other projects, ignored files, what is no path."""
    share(repo)
    private(repo, edited(path), edited("/Users/ada/p/src/app/main.py"))
    synced(repo)
    save(repo, "all")
    told = journal_of(repo)
    assert "src/app/main.py" in told
    for word in ("diary", "secretapp", "bobskey", "boss", "salaries", "my-title", "/root", "backup", "acme", "sk_live"):
        assert word not in told, word


def test_ids_tools_and_models_are_told_by_their_form():
    """Random ids as they are, tools that are known, models that look like one."""
    assert told_id(ONE) == ONE and told_id("ses_0b6f3f0e-52f0-4a6b-9a39-5a7f0f3c1d11").startswith("ses_")
    assert told_id("2025-03-04_06-17-fixing-a-bug").startswith("session-") and "bug" not in told_id("fixing-a-bug")
    assert told_tool("Claude Code") == "Claude Code" and told_tool("Ada Lovelace said hi") is None
    for model in ("claude-opus-4-6", "gpt-5.1-codex", "Gemini 3.5 Flash (Medium)", "minimaxai/minimax-m3"):
        assert told_model(model) == model
    for model in ("my secret model at acme-internal", "sk-abcdefghijklmnop1234567890", "", None, "x" * 100 + "1"):
        assert told_model(model) is None
    assert is_tellable("src/home/user.py") and not is_tellable("keys/ghp_" + "a1B2" * 9)


def test_two_clones_with_copies_of_different_length_come_to_rest(repo):
    """Each adds what the other did not know; then nobody writes any more."""
    share(repo)
    private(repo)
    synced(repo)
    save(repo, "all")
    other = clone(repo, "other")
    write(other, PATH, markdown(ONE, edited("/Users/ada/p/src/app/main.py"), edited("/Users/ada/p/docs/guide.md")))
    synced(other)
    save(other, "more")
    git(repo, "pull", "-q", str(other), "main")
    count = "SELECT count(*) FROM events WHERE kind = 'fact'"
    for one in (repo, other, repo, other):
        synced(one)
    before = (sql(repo, count), sql(other, count))
    save(repo, "rest")
    git(other, "pull", "-q", str(repo), "main")
    for one in (repo, other, repo, other):
        synced(one)
    assert (sql(repo, count), sql(other, count))[0] == before[0]


def test_a_private_transcript_that_was_only_touched_is_not_read_again(repo):
    """Its hash is as it was."""
    private(repo)
    synced(repo)
    (repo / PATH).write_bytes((repo / PATH).read_bytes())
    with opened(repo) as index:
        found = collecting.collect(index, planning.prepare(index))
    assert found.read == [] and list(found.touched) == [PATH]
    synced(repo)
    with opened(repo) as index:
        assert not collecting.collect(index, planning.prepare(index))


def test_a_folder_that_is_away_keeps_its_sessions(repo, tmp_path):
    """Named in this clone's config and not there now: said, exit 1, and nothing is forgotten."""
    folder = tmp_path / "logs"
    folder.mkdir()
    steps = [made("/w/p/src/app/new.py", "new\n"), made("/w/p/docs/guide.md", "guide\n")]
    (folder / "log.jsonl").write_text(log(NINE, *steps))
    git(repo, "config", "--add", "mlos-sync.transcripts", str(folder))
    write(repo, "src/app/new.py", "new\n")
    synced(repo)
    folder.rename(tmp_path / "away")
    report = synced(repo)
    assert str(folder) in report.skipped and explained(repo, "src/app/new.py") == [(NINE, "Claude Code", "proved")]
    (tmp_path / "away").rename(folder)
    assert not synced(repo).skipped
    (folder / "log.jsonl").unlink()
    synced(repo)
    assert explained(repo, "src/app/new.py") == []


@pytest.mark.parametrize("folder", ["/etc", "../x", "a/../../x", "~/x", "", "a\\u0000b"])
def test_a_committed_config_reads_nothing_outside(repo, folder):
    """Who has a clone must not be made to read a neighbour's files by whoever wrote the config."""
    share(repo, f'folders = ["{folder}"]')
    done = run(repo, "sync", ok=False)
    assert done.code == 2 and "mlos-sync.transcripts" in done.err


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
