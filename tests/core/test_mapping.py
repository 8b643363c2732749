"""Foreign paths -> paths of the workspace: votes for a root, and None for whatever is not clear."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from linear import assert_linear

from mlos_sync.core.mapping import Known, Place, map_paths
from mlos_sync.core.transcripts import read, recognise
from mlos_sync.core.transcripts.model import gather

CORPUS = Path(__file__).resolve().parents[2].parent / "shared/corpus/specstory"
KNOWN = {"README.md", "src/app/main.py", "src/app/util.py", "docs/guide.md", "tests/test_main.py", "a b/c d.txt"}


def mapped(*raw: str, known: set[str] = KNOWN, base: str | None = "") -> list[str | None]:
    """What each raw path maps to, in their order."""
    result = map_paths([(path, None) for path in raw], Known(known), base)
    return [result[path, None].path for path in raw]


@pytest.mark.parametrize(
    "root",
    [
        "/Users/x/project",
        "/home/x/code/project",
        "/workspaces/project",
        "c:\\Users\\x\\project",
        "C:/Users/x/project",
        "/mnt/c/Users/x/project",
        "/c/Users/x/project",
        "/cygdrive/c/Users/x/project",
        "file:/Users/x/project",
        "\\\\wsl.localhost\\Ubuntu\\home\\x\\project",
        "\\\\wsl$\\Ubuntu\\home\\x\\project",
        "file:///Users/x/my%20project",
        "file:///c%3A/Users/x/project",
        "/c%3A/Users/x/project",
        "vscode-remote://wsl%2Bubuntu/home/x/project",
        "/Users/x/project/.claude/worktrees/fix-a",
        "/Users/x/.cursor/worktrees/project/abc",
        "~/project",
    ],
)
def test_a_foreign_root_maps_known_and_unknown_files(root):
    """Two known files vote; a deleted one keeps its path, a file at the top too."""
    slash = "\\" if "\\" in root else "/"
    raw = [
        root + slash + path.replace("/", slash) for path in ("src/app/main.py", "docs/guide.md", "old/gone.py", "top")
    ]
    assert mapped(*raw) == ["src/app/main.py", "docs/guide.md", "old/gone.py", "top"]


def test_spellings_of_one_windows_root_vote_together():
    """A drive in either case, by WSL and by URI is the same drive, and folders on it differ in case at will."""
    raw = (
        "c:\\Users\\X\\P\\src\\app\\main.py",
        "/mnt/c/users/x/p/new.py",
        "file:///C%3A/Users/X/P/n%C3%A9w.py",
        "C:/Users/X/P/docs/guide.md",
    )
    assert mapped(*raw) == ["src/app/main.py", "new.py", "néw.py", "docs/guide.md"]


def test_the_root_with_more_matched_components_wins():
    """A file of another project that looks like one of ours does not move the root."""
    ours = [f"/w/ours/{path}" for path in ("src/app/main.py", "src/app/util.py", "new/file.py")]
    other = ["/w/other/new/file.py", "/w/other/README.md"]
    found = mapped(*ours, "/w/other/docs/guide.md", *other)
    assert found == ["src/app/main.py", "src/app/util.py", "new/file.py", None, None, None]


def test_a_folder_of_the_workspace_is_not_taken_for_it():
    """A deleted copy in a sub-folder stays there, although its end is a known file."""
    raw = ("/w/p/src/app/main.py", "/w/p/docs/guide.md", "/w/p/packages/one/docs/guide.md")
    assert mapped(*raw) == ["src/app/main.py", "docs/guide.md", "packages/one/docs/guide.md"]


def test_of_two_roots_that_tie_the_outer_one_is_the_workspace():
    """Two matches each: the workspace is around its folder, while roots side by side stay without a winner."""
    ends = ("docs/guide.md", "src/app/main.py")
    raw = [f"/w/{root}/{end}" for root in ("p", "p/pkg") for end in ends]
    assert mapped(*raw, "/w/p/x") == [*ends, *(f"pkg/{end}" for end in ends), "x"]
    beside = [f"/w/{root}/{end}" for root in ("p", "q") for end in ends]
    assert mapped(*beside, "/w/p/x") == [None] * 5
    assert mapped("/w/p/docs/guide.md", "/w/q/tests/test_main.py") == [None, None]


def test_a_worktree_inside_the_workspace_is_the_workspace():
    """Files that exist in the worktree alone map like the others, unless the worktree itself is known."""
    raw = (
        "/w/p/src/app/main.py",
        "/w/p/.claude/worktrees/fix/docs/guide.md",
        "/w/p/.worktrees/fix/new.py",
        "/w/p/.worktrees/k/x.py",
    )
    assert mapped(*raw, known=KNOWN | {".worktrees/k/x.py"}) == [
        "src/app/main.py",
        "docs/guide.md",
        "new.py",
        ".worktrees/k/x.py",
    ]


def test_a_home_is_no_root_and_its_files_are_nobody_elses():
    """The settings in a home folder are not those of the workspace, however they are called."""
    known = {".claude/settings.json", "src/a.py"}
    raw = (
        "/Users/x/.claude/settings.json",
        "/Users/x/project/new.py",
        "c:\\Users\\x\\.claude\\settings.json",
        "/.claude/settings.json",
    )
    assert mapped(*raw, known=known) == [None, None, None, None]
    assert mapped("/Users/x/p/src/a.py", *raw[:2], known=known) == ["src/a.py", None, None]


def test_a_base_name_alone_counts_only_when_all_agree():
    """Two files that agree on one root for the whole session are accepted; with a second root, a path outside of it or
    an unknown one below it they are not, and one file alone is a choice."""
    known = KNOWN | {"package.json"}
    both = ("/w/p/README.md", "/w/p/package.json")
    assert mapped(*both, known=known) == ["README.md", "package.json"]
    for other in ("/w/p/src/new.py", "/w/q/new.py", "/w/q/README.md"):
        assert mapped(*both, other, known=known) == [None] * 3
    alone = ("/w/clientY/README.md", None)
    assert map_paths([alone], Known(KNOWN)) == {alone: Place(None, ("README.md",))}
    assert mapped("/w/p/README.md", "/w/q/README.md") == [None, None]


def test_a_base_name_in_the_folder_of_the_session_is_clear():
    """The session was told to be in the root that the base name speaks for; in another folder it says nothing."""
    raw = [("README.md", "/w/p"), ("/w/p/new.py", "/w/p"), ("/w/q/x.py", None)]
    result = map_paths(raw, Known(KNOWN))
    assert [result[one].path for one in raw] == ["README.md", "new.py", None]
    raw = [("/w/p/README.md", "/w/q")]
    assert map_paths(raw, Known(KNOWN))[raw[0]] == Place(None, ("README.md",))


def test_one_known_end_does_not_vote_a_root_in():
    """Other projects have a `src/index.ts` too: with an unknown file below that root it is a choice, and nothing maps."""
    raw = [("/srv/clientX/src/index.ts", None), ("/srv/clientX/src/secret.ts", None)]
    result = map_paths(raw, Known({"src/index.ts"}))
    assert [result[one] for one in raw] == [Place(None, ("src/index.ts",)), Place(None)]


def test_one_known_end_alone_is_clear():
    """A session with one single edit; files elsewhere do not matter as long as they support no other root."""
    assert mapped("/w/p/src/app/main.py") == ["src/app/main.py"]
    assert mapped("/w/p/src/app/main.py", "/etc/hosts") == ["src/app/main.py", None]
    assert mapped("/w/p/src/app/main.py", "/w/q/docs/guide.md") == [None, None]


def test_one_known_end_in_the_folder_of_the_session_is_enough():
    """The session was told to be in that root, so that its new files map too."""
    raw = [("/w/p/src/app/main.py", "/w/p"), ("/w/p/new.py", "/w/p"), ("other.py", "/w/p/src"), ("/w/q/x.py", "/w/p")]
    result = map_paths(raw, Known(KNOWN))
    assert [result[one].path for one in raw] == ["src/app/main.py", "new.py", "src/other.py", None]
    raw = [("src/app/main.py", "/w/p/.worktrees/fix"), ("new.py", "/w/p/.worktrees/fix")]
    result = map_paths(raw, Known(KNOWN))
    assert [result[one].path for one in raw] == ["src/app/main.py", "new.py"]


@pytest.mark.parametrize(("unknown", "clear"), [(4, True), (5, False)])
def test_several_known_files_are_a_third_of_those_below_their_root(unknown, clear):
    """Two of six map with the new ones; two of seven are another project's."""
    raw = ["/w/p/src/app/main.py", "/w/p/docs/guide.md", *(f"/w/p/new/{n}.py" for n in range(unknown))]
    assert mapped(*raw) == ([path.removeprefix("/w/p/") for path in raw] if clear else [None] * len(raw))


def test_known_files_are_counted_and_not_their_components():
    """One deep file does not outvote two others, however long its known end is."""
    known = {"a/b/c/d/e/f/g.py", "src/x.py", "src/y.py"}
    raw = ("/w/q/a/b/c/d/e/f/g.py", "/w/p/src/x.py", "/w/p/src/y.py", "/w/p/new.py")
    assert mapped(*raw, known=known) == [None, "src/x.py", "src/y.py", "new.py"]


def test_the_same_file_counts_once():
    """A file in two worktrees is one file: it alone does not let unknown ones in."""
    raw = ("/w/p/src/app/main.py", "/w/p/.worktrees/a/src/app/main.py", "/w/p/new.py")
    assert mapped(*raw) == [None, None, None]


def test_a_long_end_beside_the_root_is_a_choice():
    """Three components are no proof: another project has a `src/app/main.py` as well."""
    raw = [(f"/w/p/{path}", None) for path in ("src/app/util.py", "docs/guide.md")] + [
        ("/w/other/src/app/main.py", None)
    ]
    assert map_paths(raw, Known(KNOWN))[raw[-1]] == Place(None, ("src/app/main.py",))


def test_an_end_that_is_known_twice_is_not_clear_outside_of_the_root():
    """Both `b/c/d.py` and `c/d.py` exist: outside of the root nobody knows which is meant, below it the place tells."""
    known = {"b/c/d.py", "c/d.py", "src/x.py", "src/y.py"}
    raw = ("/w/p/src/x.py", "/w/p/src/y.py", "/elsewhere/deep/b/c/d.py", "/w/p/c/d.py")
    assert mapped(*raw, known=known) == ["src/x.py", "src/y.py", None, "c/d.py"]


def test_what_is_not_clear_names_its_choices():
    """Two ends that are known, or one that another project may have as well: said, not chosen."""
    known = {"b/c/d.py", "c/d.py", "src/x.py", "src/y.py"}
    raw = [("/w/p/src/x.py", None), ("/w/p/src/y.py", None), ("/deep/b/c/d.py", None), ("/w/q/src/x.py", None)]
    result = map_paths(raw, Known(known))
    assert result[raw[2]] == Place(None, ("b/c/d.py", "c/d.py"))
    assert result[raw[3]] == Place(None, ("src/x.py",))


def test_a_clone_beside_the_workspace_is_the_workspace_too():
    """A worktree in another folder: three quarters of its files are known here, so that its new files map as well."""
    ours = [f"/w/p/{path}" for path in ("src/app/main.py", "src/app/util.py", "docs/guide.md", "tests/test_main.py")]
    other = [f"/w/p-fix/{path}" for path in ("src/app/main.py", "src/app/util.py", "docs/guide.md", "new.py")]
    assert mapped(*ours, *other)[4:] == ["src/app/main.py", "src/app/util.py", "docs/guide.md", "new.py"]
    assert mapped(*ours, *other[1:])[4:] == [None] * 3, "two known files are too few"
    assert mapped(*ours, *other, "/w/p-fix/newer.py")[4:] == [None] * 5, "three of five are too few"


def test_a_resembling_project_is_not_the_workspace():
    """It has two files of ours by name and more that we do not have."""
    ours = ("/w/p/src/app/main.py", "/w/p/src/app/util.py", "/w/p/docs/guide.md")
    other = ("/w/q/docs/guide.md", "/w/q/tests/test_main.py", "/w/q/x.py", "/w/q/y.py", "/w/q/z/t.py")
    assert mapped(*ours, *other)[3:] == [None] * 5


def test_a_mac_has_one_folder_in_two_spellings():
    """In a home of macOS case makes no difference, neither in the root nor in the file's name."""
    raw = ("/Users/x/Source/P/src/app/main.py", "/Users/x/source/p/src/app/util.py", "/Users/x/source/P/readme.md")
    assert mapped(*raw) == ["src/app/main.py", "src/app/util.py", "README.md"]
    assert mapped("/home/x/P/src/app/main.py", "/home/x/p/src/app/util.py", "/home/x/P/readme.md")[1:] != [
        "src/app/util.py",
        "README.md",
    ]


def test_relative_paths_start_in_the_folder_they_are_told_with():
    """A session in a subfolder, and one that changes its folder; a folder elsewhere is another project's."""
    raw = [("src/app/main.py", "/w/p"), ("main.py", "/w/p/src/app"), ("../docs/guide.md", "/w/p/src"), ("x.py", "/w/q")]
    found = map_paths(raw, Known(KNOWN))
    assert [found[one].path for one in raw] == ["src/app/main.py", "src/app/main.py", "docs/guide.md", None]


def test_a_folder_around_the_workspace_is_not_the_workspace():
    """A file beside the workspace does not map into it."""
    raw = ("/w/all/p/src/app/main.py", "/w/all/p/src/app/util.py", "/w/all/docs/guide.md")
    assert mapped(*raw) == ["src/app/main.py", "src/app/util.py", None]


def test_relative_paths_are_themselves():
    """Normalised, known or not, with either slash, from the base when there is one; never out of the workspace."""
    raw = ("src/app/main.py", "./new//x.py", "a/../b.py", "src\\win.py", "../out.py", "a/../../out.py", ".", "", " ")
    assert mapped(*raw) == ["src/app/main.py", "new/x.py", "b.py", "src/win.py", None, None, None, None, None]
    assert mapped("./x.py", "../y.py", "../../z.py", base="cli") == ["cli/x.py", "y.py", None]


def test_without_a_base_relative_paths_have_no_place():
    """The transcript lies outside of the workspace: only what is told with an absolute folder can be placed."""
    assert mapped("src/app/main.py", "new.py", "odd\\name", known=KNOWN | {"odd\\name"}, base=None) == [None] * 3
    raw = [("app/main.py", "/w/p/src"), ("docs/guide.md", None), ("/w/p/src/app/util.py", None)]
    result = map_paths(raw, Known(KNOWN), None)
    assert [result[one].path for one in raw] == ["src/app/main.py", None, "src/app/util.py"]


def test_a_folder_of_one_letter_is_no_drive():
    """`/d/p` on Linux is a folder, in which case matters; `/mnt/c` and `/c/Users` are drives, where it does not."""
    assert mapped("/d/p/src/app/main.py", "/d/p/src/app/util.py", "/d/p/readme.md")[2] == "readme.md"
    assert mapped("/d/p/src/app/main.py", "/d/p/src/app/util.py", "/D/P/new.py")[2] is None
    assert mapped("d:/p/src/app/main.py", "d:/p/docs/guide.md", "/d/p/new.py")[2] is None
    for root in ("/mnt/d/p", "/cygdrive/d/p", "/d/Users/x/p"):
        assert mapped(f"{root}/src/app/main.py", f"{root}/docs/guide.md", f"{root}/readme.md")[2] == "README.md"


def test_a_known_name_with_a_backslash_is_itself():
    """On Linux a backslash may be part of a name, which only the workspace can tell."""
    assert mapped("odd\\name", known={"odd\\name"}) == ["odd\\name"]


def test_what_is_no_path_maps_to_nothing():
    """URLs, cells of notebooks, paths above their own root, endless ones and ones with NUL."""
    raw = (
        "https://example.org/src/app/main.py",
        "vscode-userdata:/Users/x/src/app/main.py",
        "untitled:Dear boss",
        "file:relative.py",
        "$HOME/src/app/main.py",
        "${HOME}/src/app/main.py",
        "$env:USERPROFILE\\src\\app\\main.py",
        "%USERPROFILE%\\src\\app\\main.py",
        "vscode-notebook-cell://x/docs/guide.md",
        "/..",
        "/a/../../src/app/main.py",
        "/",
        "x" * 5000,
        "a\0b",
    )
    assert set(mapped(*raw)) == {None}


def test_without_a_match_nothing_is_guessed():
    """Absolute paths without any known end stay unmapped."""
    assert mapped("/w/p/new.py", "c:\\w\\new.py", known=set()) == [None, None]


def test_many_known_paths_and_many_raw_ones():
    """A hundred thousand known paths and five thousand raw ones: look-ups only, no scans, or this would take minutes."""
    known = {f"pkg{n % 100}/mod{n % 1000}/file{n}.py" for n in range(100_000)}
    raw = [f"/Users/x/project/pkg{n % 100}/mod{n % 1000}/file{n}.py" for n in range(0, 200_000, 40)]
    result = mapped(*raw, known=known)
    assert result == [path.removeprefix("/Users/x/project/") for path in raw]


def test_many_roots_take_linear_time():
    """Each path in a project of its own: nothing is compared with everything."""
    known = {f"pkg{n}/mod/file.py" for n in range(2000)}
    assert_linear(
        lambda times: mapped(*(f"/w/p{n}/pkg{n % 2000}/mod/file.py" for n in range(times)), known=known), 2000
    )


NAMES = st.sampled_from(["a", "b", "src", "..", ".", "", "c:", "~", "Users", "x", ".claude", "worktrees", "%3A", "é"])
PATHS = st.builds(
    lambda lead, names, glue: lead + glue.join(names),
    st.sampled_from(["", "/", "//", "file:///", "c:\\", "/mnt/c/"]),
    st.lists(NAMES, max_size=6),
    st.sampled_from("/\\"),
)


@given(
    st.lists(PATHS | st.text(max_size=30), max_size=12),
    st.sets(st.sampled_from(["a", "a/b", "src/a", "src/x/b", "x/src/a"])),
)
def test_every_answer_lies_in_the_workspace(raw, known):
    """Whatever is asked, an answer is a normalised relative path; the order of the questions changes nothing."""
    result = map_paths([(path, None) for path in raw], Known(known))
    assert {path for path, _ in result} == set(raw)
    for path in filter(None, (place.path for place in result.values())):
        assert not path.startswith("/") and not {"..", ".", ""} & set(path.split("/"))
    assert map_paths([(path, None) for path in reversed(raw)], Known(known)) == result


@pytest.mark.corpus
def test_real_sessions_map_to_one_root_each():
    """The absolute paths of real sessions keep their place below the root that their own written files vote for."""
    if not CORPUS.is_dir():
        pytest.skip(f"CORPUS NOT PRESENT: {CORPUS} is missing, so that no real path was mapped")
    claims = defaultdict(set)
    for path in sorted(CORPUS.rglob("*.md")):
        data = path.read_bytes()
        reader = recognise(data)
        if reader is not None:
            found = gather(read(data.splitlines(keepends=True), path.name, reader))
            claims[path.parent.name] |= {claim.raw_path for claim in found.claims}
    root = "/Users/sean/Source/SpecStory/getspecstory/"
    raw = {path for path in claims["specstoryai__getspecstory"] if path.startswith("/Users/sean/Source/")}
    below = {path.removeprefix(root) for path in raw if path.startswith(root)}
    result = map_paths([(path, None) for path in raw], Known(sorted(below)[::2]))
    assert len(below) > 25
    assert all(result[root + path, None].path == path for path in below)


def test_a_log_of_this_machine_knows_where_the_workspace_is():
    """What lies there is the workspace; another project is none, whatever folder the session was told to be in."""
    ours = [("/home/x/p/new.py", None), ("src/app/main.py", "/home/x/p")]
    found = map_paths([*ours, ("/w/q/src/app/main.py", "/w/q")], Known(KNOWN), here="/home/x/p")
    assert [found[one].path for one in ours] == ["new.py", "src/app/main.py"]
    assert found["/w/q/src/app/main.py", "/w/q"].path is None
    foreign = [("/w/q/src/app/main.py", "/w/q"), ("/w/q/takeover/bid.md", "/w/q"), ("README.md", "/w/q")]
    assert {place.path for place in map_paths(foreign, Known(KNOWN), here="/home/x/p").values()} == {None}
