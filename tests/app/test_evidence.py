"""What ties sessions to files and commits: proved, declared, matched, unknown; raised and withdrawn as history changes."""

from __future__ import annotations

import pytest
from cli import assert_rebuild_is_equal, clone, git, head, opened, save, sql, synced, with_two_files, workspace, write
from transcribed import changed, edited, log, looked, made, markdown, ran, wrote

from mlos_sync.app import why

HISTORY = ".specstory/history/2026-02-16_13-04-52Z-work.md"


@pytest.fixture
def repo(tmp_path):
    return with_two_files(tmp_path)


def sessions(repo, path, line=None):
    """The sessions that explain a file, as (id, evidence, commit)."""
    with opened(repo) as index:
        found = why.why_path(index, path, line)["sessions"]
    return [(one["session_id"], one["evidence"], one["commit"]) for one in found]


def commits(repo, path):
    """The commits of a file with the sessions they are tied to."""
    with opened(repo) as index:
        return [(one["sha"], one["sessions"]) for one in why.why_path(index, path)["commits"]]


def test_a_written_file_is_proved_before_any_commit_and_by_the_one_that_takes_it(repo):
    """The content on disk proves it first; the commit that takes the content is named as soon as it is there."""
    write(repo, "src/app/new.py", "new\n")
    write(repo, HISTORY, markdown("s-1", wrote("/w/p/src/app/new.py", "new\n"), edited("/w/p/src/app/main.py")))
    synced(repo)
    assert sessions(repo, "src/app/new.py") == [("s-1", "proved", None)]
    sha = save(repo, "new")
    assert sessions(repo, "src/app/new.py") == [("s-1", "proved", sha)]
    assert commits(repo, "src/app/new.py") == [(sha, ["s-1"])]
    assert_rebuild_is_equal(repo)


def test_an_edit_without_its_text_is_matched_and_no_more(repo):
    """The path and the success are known, the content is not; the commit that changed the file next may have taken it."""
    write(repo, HISTORY, markdown("s-1", edited("/w/p/src/app/main.py"), edited("/w/p/docs/guide.md")))
    save(repo, "transcript")
    synced(repo)
    assert [row[:2] for row in sessions(repo, "src/app/main.py")] == [("s-1", "matched")]


def test_the_content_proves_whatever_came_later(repo):
    """A file that was changed since is still explained by the session whose content a commit took."""
    write(repo, "src/app/new.py", "new\n")
    write(repo, HISTORY, markdown("s-1", wrote("/w/p/src/app/new.py", "new\n"), edited("/w/p/src/app/main.py")))
    first = save(repo, "new")
    write(repo, "src/app/new.py", "by hand\n")
    save(repo, "by hand")
    synced(repo)
    assert sessions(repo, "src/app/new.py") == [("s-1", "proved", first)]
    assert [found for _, found in commits(repo, "src/app/new.py")] == [[], ["s-1"]]


def test_a_file_of_windows_is_proved_by_text_with_plain_line_ends(repo):
    """Transcripts show LF; what was written has CRLF, on disk and in git."""
    write(repo, "src/app/new.py", "one\r\ntwo\r\n")
    write(repo, HISTORY, markdown("s-1", wrote("/w/p/src/app/new.py", "one\ntwo\n"), edited("/w/p/src/app/main.py")))
    sha = save(repo, "new")
    synced(repo)
    assert sessions(repo, "src/app/new.py") == [("s-1", "proved", sha)]


def test_a_log_that_has_the_text_before_proves_its_edits(repo):
    """Claude Code's own log: the result of each edit is known, also of one that builds on the one before."""
    steps = [
        changed("/w/p/src/app/main.py", "one", "two", before="one\n"),
        changed("/w/p/src/app/main.py", "two", "three", before="two\n"),
    ]
    write(repo, "logs/s-2.jsonl", log("s-2", *steps, made("/w/p/src/app/util.py", "util\n")))
    write(repo, "src/app/main.py", "three\n")
    write(repo, "src/app/util.py", "util\n")
    sha = save(repo, "three")
    synced(repo)
    assert sessions(repo, "src/app/main.py") == [("s-2", "proved", sha)]
    assert sql(repo, "SELECT artifact_type FROM artifacts WHERE file_path = 'logs/s-2.jsonl'").strip() == "transcript"


def test_a_change_without_its_base_is_replayed_on_what_git_has(repo):
    """The log does not hold the text before: the blob that git has at that path does."""
    steps = [changed("/w/p/src/app/main.py", "one", "two", before=None), made("/w/p/docs/x.md", "x\n")]
    write(repo, "logs/s-3.jsonl", log("s-3", *steps, at="2099-01-01T00:00:00.000Z"))
    write(repo, "docs/x.md", "x\n")
    save(repo, "the log")
    synced(repo)
    assert [row[:2] for row in sessions(repo, "src/app/main.py")] == [("s-3", "matched")]
    write(repo, "src/app/main.py", "two\n")
    synced(repo)
    assert [row[:2] for row in sessions(repo, "src/app/main.py")] == [("s-3", "proved")]
    assert_rebuild_is_equal(repo)


def test_evidence_is_withdrawn_with_the_history_that_gave_it(repo):
    """A reset takes the commit away; what is on disk decides then."""
    write(repo, HISTORY, markdown("s-1", wrote("/w/p/src/app/new.py", "new\n"), edited("/w/p/src/app/main.py")))
    before = save(repo, "transcript")
    write(repo, "src/app/new.py", "new\n")
    save(repo, "new")
    synced(repo)
    assert sessions(repo, "src/app/new.py")[0][1] == "proved"
    git(repo, "reset", "-q", "--hard", before)
    write(repo, "src/app/new.py", "something else\n")
    synced(repo)
    assert sessions(repo, "src/app/new.py") == [("s-1", "matched", None)]
    assert_rebuild_is_equal(repo)


def test_a_transcript_that_goes_takes_its_edges_along(repo):
    """No file tells of the session any more, so nothing is said to be made by it."""
    write(repo, "src/app/new.py", "new\n")
    write(repo, HISTORY, markdown("s-1", wrote("/w/p/src/app/new.py", "new\n"), edited("/w/p/src/app/main.py")))
    save(repo, "new")
    synced(repo)
    (repo / HISTORY).unlink()
    synced(repo)
    assert sessions(repo, "src/app/new.py") == []
    assert sql(repo, "SELECT count(*) FROM agents").strip() == "0"
    assert sql(repo, "SELECT count(*) FROM artifacts WHERE made_in IS NOT NULL").strip() == "0"
    assert_rebuild_is_equal(repo)


def test_a_rename_is_followed(repo):
    """The session wrote the file under its old name; the file of today is explained."""
    write(repo, "src/app/new.py", "new and long enough to be told as a rename\n")
    text = markdown(
        "s-1",
        wrote("/w/p/src/app/new.py", "new and long enough to be told as a rename\n"),
        edited("/w/p/docs/guide.md"),
    )
    write(repo, HISTORY, text)
    sha = save(repo, "new")
    synced(repo)
    git(repo, "mv", "src/app/new.py", "src/app/named.py")
    save(repo, "renamed")
    synced(repo)
    assert sessions(repo, "src/app/named.py") == [("s-1", "proved", sha)]
    write(repo, "src/app/named.py", "by hand\n")
    save(repo, "by hand")
    synced(repo)
    assert sessions(repo, "src/app/named.py") == [("s-1", "proved", sha)]
    assert_rebuild_is_equal(repo)


def test_a_commit_is_not_tied_to_what_was_written_after_it(repo):
    """The same content, written again by a session of next year: it explains the file, not the commit of today."""
    write(repo, "src/app/new.py", "new\n")
    first = save(repo, "new, by hand")
    text = markdown(
        "s-late", wrote("/w/p/src/app/new.py", "new\n"), edited("/w/p/docs/guide.md"), at="2099-02-16 13:04:52Z"
    )
    write(repo, HISTORY, text)
    save(repo, "transcript")
    synced(repo)
    assert sessions(repo, "src/app/new.py") == [("s-late", "proved", None)]
    assert commits(repo, "src/app/new.py") == [(first, [])]


def test_frontmatter_declares_and_content_proves_more(repo):
    """`source_transcript` names a transcript by its path, its name or its session."""
    write(repo, HISTORY, markdown("s-1", wrote("/w/p/src/app/new.py", "new\n"), edited("/w/p/src/app/main.py")))
    for n, name in enumerate((HISTORY, HISTORY.rpartition("/")[2], "s-1", f"./{HISTORY}")):
        write(repo, f"docs/d{n}.md", f"---\nsource_transcript: {name}\n---\n\ntext\n")
    write(repo, "docs/other.md", "---\nsource_transcript: nowhere.md\n---\n\ntext\n")
    save(repo, "declared")
    synced(repo)
    for n in range(4):
        assert [row[:2] for row in sessions(repo, f"docs/d{n}.md")] == [("s-1", "declared")], n
    assert sessions(repo, "docs/other.md") == []
    write(repo, "docs/d0.md", "---\ntitle: no more\n---\n\ntext\n")
    synced(repo)
    assert sessions(repo, "docs/d0.md") == []
    assert_rebuild_is_equal(repo)


def test_a_name_that_two_transcripts_have_says_nothing(repo):
    """The file's name alone is enough for one transcript; with a second of that name it is nobody's, until one goes."""
    write(repo, HISTORY, markdown("s-1", edited("/w/p/src/app/main.py"), looked("/w/p/docs/guide.md")))
    write(repo, "docs/d.md", f"---\nsource_transcript: {HISTORY.rpartition('/')[2]}\n---\n\ntext\n")
    synced(repo)
    assert [row[0] for row in sessions(repo, "docs/d.md")] == ["s-1"]
    other = f"old/{HISTORY}"
    write(repo, other, markdown("s-2", edited("/w/p/src/app/main.py"), looked("/w/p/docs/guide.md")))
    synced(repo)
    assert sessions(repo, "docs/d.md") == []
    (repo / HISTORY).unlink()
    synced(repo)
    assert [row[0] for row in sessions(repo, "docs/d.md")] == ["s-2"]
    assert_rebuild_is_equal(repo)


def test_a_trailer_declares_the_commit_and_its_files(repo):
    """`Session: <id>` in a message: whatever that commit changed, somebody says, came from there."""
    write(repo, HISTORY, markdown("s-1", edited("/w/p/src/app/main.py"), looked("/w/p/docs/guide.md")))
    write(repo, "docs/by-shell.md", "generated\n")
    sha = save(repo, "Generate the docs\n\nSession: s-1")
    synced(repo)
    assert sessions(repo, "docs/by-shell.md") == [("s-1", "declared", sha)]
    assert commits(repo, "docs/by-shell.md") == [(sha, ["s-1"])]


def test_a_commit_that_the_session_made_is_its_own(repo):
    """The session's `git commit` printed the commit's name and subject: proved, as long as it is that commit."""
    write(repo, "src/app/main.py", "by sed\n")
    sha = save(repo, "Rewrite main")
    printed = ran("git commit -am 'Rewrite main'", f"[main {sha[:7]}] Rewrite main\n 1 file changed")
    other = ran("git commit -am 'Another subject'", f"[main {sha[:8]}] Another subject\n 1 file changed")
    write(repo, HISTORY, markdown("s-1", printed))
    write(repo, HISTORY.replace("work", "other"), markdown("s-2", other))
    synced(repo)
    assert (sha, ["s-1"]) in commits(repo, "src/app/main.py")
    assert sessions(repo, "src/app/main.py", line=1) == []  # the edges of a file need more than the commit
    git(repo, "commit", "-q", "--amend", "--no-verify", "-m", "Rewritten main")
    assert (head(repo), []) in commits(repo, "src/app/main.py") and len(commits(repo, "src/app/main.py")) == 2


def test_reading_is_consuming(repo):
    """What a session only read is no reason why it exists."""
    write(repo, HISTORY, markdown("s-1", edited("/w/p/src/app/main.py"), looked("/w/p/docs/guide.md")))
    synced(repo)
    assert sessions(repo, "docs/guide.md") == []
    assert sql(
        repo, "SELECT relationship_type, json_extract(metadata, '$.mode') FROM relationships ORDER BY 1"
    ).split() == [
        "consumed|read",
        "produced|",
    ]


def test_the_artifacts_source_is_the_session_that_made_it(repo):
    """`source_transcript` of the row: frontmatter first, else the session that created the file."""
    second = HISTORY.replace("work", "later")
    write(repo, "src/app/new.py", "new\n")
    write(repo, HISTORY, markdown("s-1", wrote("/w/p/src/app/new.py", "new\n"), edited("/w/p/src/app/main.py")))
    later = markdown("s-2", edited("/w/p/src/app/new.py"), edited("/w/p/src/app/main.py"), at="2026-03-01 10:00:00Z")
    write(repo, second, later)
    synced(repo)
    told = "SELECT source_transcript FROM artifacts WHERE file_path = 'src/app/new.py'"
    assert sql(repo, told).strip() == HISTORY
    write(repo, "src/app/new.py", "changed\n")
    synced(repo)
    assert sql(repo, told).strip() == HISTORY
    (repo / HISTORY).unlink()
    synced(repo)
    assert sql(repo, told).strip() == second
    assert_rebuild_is_equal(repo)


def test_a_clone_knows_the_same(repo, tmp_path):
    """Everything comes from the tree and its history."""
    write(repo, "src/app/new.py", "new\n")
    write(repo, HISTORY, markdown("s-1", wrote("/w/p/src/app/new.py", "new\n"), edited("/w/p/src/app/main.py")))
    save(repo, "new")
    synced(repo)
    other = clone(repo, "other")
    synced(other)
    assert sessions(other, "src/app/new.py") == sessions(repo, "src/app/new.py")
    assert sessions(other, "src/app/main.py") == sessions(repo, "src/app/main.py")


def test_what_is_not_clear_is_said(repo):
    """A path of another project that has a file of that name: no edge, and the choice is shown."""
    write(repo, "src/app/util.py", "x\n")
    ours = (edited("/w/p/src/app/main.py"), edited("/w/p/src/app/util.py"))
    write(repo, HISTORY, markdown("s-1", *ours, edited("/w/q/docs/guide.md")))
    synced(repo)
    from mlos_sync.app import health

    with opened(repo) as index:
        found = health.transcripts(index)["health"]
    assert sessions(repo, "docs/guide.md") == []
    assert found["ambiguous"] == [{"session_id": "s-1", "raw_path": "/w/q/docs/guide.md", "choices": ["docs/guide.md"]}]


def test_a_file_that_was_there_before_came_from_nowhere(repo):
    """Two tracked files of one content, one deleted: in an index made from nothing, too, that is no move."""
    write(repo, "docs/guide.md", "one\n")
    write(repo, HISTORY, markdown("s-1", edited("/w/p/src/app/main.py"), edited("/w/p/src/app/util.py")))
    save(repo, "two of one content")
    (repo / "src/app/main.py").unlink()
    synced(repo)
    assert sessions(repo, "docs/guide.md") == []
    assert_rebuild_is_equal(repo)


def test_a_repository_of_sha256_proves_too(tmp_path):
    """Git's names of contents are longer there."""
    repo = workspace(tmp_path, "--object-format=sha256")
    write(repo, "src/app/main.py", "one\n")
    save(repo, "files")
    steps = [changed("/w/p/src/app/main.py", "one", "two", before=None), made("/w/p/docs/x.md", "x\n")]
    write(repo, "logs/s-3.jsonl", log("s-3", *steps, at="2099-01-01T00:00:00.000Z"))
    write(repo, "docs/x.md", "x\n")
    write(repo, "src/app/main.py", "two\n")
    synced(repo)
    assert [row[:2] for row in sessions(repo, "src/app/main.py")] == [("s-3", "proved")]
    assert [row[:2] for row in sessions(repo, "docs/x.md")] == [("s-3", "proved")]


def dated(repo, path, text, at, message="by hand"):
    """A commit of one file, made at a time."""
    write(repo, path, text)
    git(repo, "add", "-A")
    when = {"GIT_AUTHOR_DATE": at, "GIT_COMMITTER_DATE": at}
    git(repo, "commit", "-q", "--no-verify", "-m", message, env=when)
    return head(repo)


def test_a_change_proves_nothing_on_a_content_that_was_gone(tmp_path):
    """Replayed on what the file held long before, it makes what somebody else committed, before or much later."""
    repo = workspace(tmp_path)
    dated(repo, "docs/guide.md", "guide\n", "2026-01-01T00:00:00Z")
    dated(repo, "src/app/main.py", "x=1\n", "2026-01-02T00:00:00Z")
    dated(repo, "src/app/main.py", "x=2\n", "2026-01-03T00:00:00Z")
    dated(repo, "src/app/main.py", "x=1\ny=1\n", "2026-01-04T00:00:00Z")
    steps = [
        changed("/w/p/src/app/main.py", "x=1", "x=2", before=None),
        changed("/w/p/docs/guide.md", "g", "G", before=None),
    ]
    write(repo, "logs/s-1.jsonl", log("s-1", *steps, at="2026-02-16T13:00:00.000Z"))
    dated(repo, "src/app/main.py", "x=2\n", "2026-03-20T00:00:00Z")
    synced(repo)
    assert sessions(repo, "src/app/main.py") == [("s-1", "matched", None)]
    dated(repo, "src/app/main.py", "x=2\ny=1\n", "2026-03-21T00:00:00Z")
    synced(repo)
    assert [row[:2] for row in sessions(repo, "src/app/main.py")] == [("s-1", "proved")]
    assert_rebuild_is_equal(repo)


def test_a_name_that_is_used_again_is_another_file(tmp_path):
    """The session's file was renamed; whoever has its name today came later."""
    repo = workspace(tmp_path)
    dated(repo, "src/app/main.py", "one, long enough to be told as a rename\n", "2026-01-01T00:00:00Z")
    dated(repo, "docs/guide.md", "guide\n", "2026-01-02T00:00:00Z")
    write(repo, HISTORY, markdown("s-1", edited("/w/p/src/app/main.py"), edited("/w/p/docs/guide.md")))
    dated(repo, "src/app/main.py", "one, long enough to be told as a rename\nand more\n", "2026-02-17T00:00:00Z")
    git(repo, "mv", "src/app/main.py", "src/app/named.py")
    dated(repo, "x.md", "x\n", "2026-02-18T00:00:00Z")
    dated(repo, "src/app/main.py", "quite another thing\n", "2026-03-01T00:00:00Z")
    synced(repo)
    assert [row[0] for row in sessions(repo, "src/app/named.py")] == ["s-1"]
    assert sessions(repo, "src/app/main.py") == []
    assert_rebuild_is_equal(repo)


def test_a_session_without_times_is_bounded_by_its_beginning(tmp_path):
    """What was committed years before it began was not taken from it."""
    repo = workspace(tmp_path)
    dated(repo, "src/app/new.py", "new\n", "2024-02-01T00:00:00Z")
    dated(repo, "src/app/new.py", "newer\n", "2024-02-02T00:00:00Z")
    dated(repo, "docs/guide.md", "guide\n", "2024-02-03T00:00:00Z")
    text = markdown("s-1", wrote("/w/p/src/app/new.py", "new\n"), edited("/w/p/docs/guide.md"))
    write(repo, HISTORY, text.replace("(claude-opus-4-6 2026-02-16 13:04:52Z)", "(claude-opus-4-6)"))
    synced(repo)
    assert sessions(repo, "src/app/new.py") == [("s-1", "matched", None)]


def test_a_file_that_was_moved_and_rewritten_is_a_new_one_once_a_commit_says_so(repo):
    """Until then the index knows where it came from; the commit tells a deletion and a new file."""
    write(repo, HISTORY, markdown("s-1", edited("/w/p/src/app/main.py"), edited("/w/p/docs/guide.md")))
    save(repo, "transcript")
    synced(repo)
    (repo / "src/app/main.py").rename(repo / "src/app/moved.py")
    synced(repo)
    assert [row[0] for row in sessions(repo, "src/app/moved.py")] == ["s-1"]
    write(repo, "src/app/moved.py", "quite another thing, and long enough to be no rename of anything\n" * 5)
    save(repo, "rewritten")
    synced(repo)
    assert_rebuild_is_equal(repo)
