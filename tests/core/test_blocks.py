"""Our block in other people's hook files: any file comes back byte for byte, whatever was changed around the block."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlos_sync.core import blocks

NAMES = ("pre-commit", "commit-msg", "pre-push", "post-rewrite")
SCRIPTS = st.binary(max_size=80).map(lambda rest: b"#!/bin/sh\n" + rest) | st.binary(max_size=80)


@given(SCRIPTS, st.sampled_from(NAMES), st.booleans())
def test_what_was_there_comes_back(text, name, husky):
    """In and out again is the file as it was; in twice is in once."""
    if blocks.find(text) is not None:
        return
    inside = blocks.with_block(text, name, husky=husky)
    assert blocks.without_block(inside) == text
    assert blocks.with_block(inside, name, husky=husky) == inside
    assert blocks.is_current(inside, name)


@pytest.mark.parametrize("text", [b"", b"#!/bin/sh", b"#!/bin/sh\n", b"echo a", b"#!/bin/bash\r\necho\r\n", b"\n\n"])
def test_odd_files_come_back(text):
    """Files without a line end, without a first line, with strange line ends."""
    assert blocks.without_block(blocks.with_block(text, "pre-commit")) == text


@pytest.mark.parametrize("name", NAMES)
def test_a_file_that_we_made_goes(name):
    """Nothing is left of it, unless somebody has added something: then that stays, and can still run."""
    made = blocks.with_block(None, name)
    assert blocks.without_block(made) is None
    assert blocks.without_block(made + b"npm test\n") == b"#!/bin/sh\nnpm test\n"


def test_changes_around_the_block_stay():
    """What was added before and after the block meanwhile is kept."""
    inside = blocks.with_block(b"#!/bin/sh\necho a\n", "pre-commit")
    changed = inside.replace(b"#!/bin/sh\n", b"#!/usr/bin/env bash\n# ours\n").replace(b"echo a", b"echo b")
    assert blocks.without_block(changed) == b"#!/usr/bin/env bash\n# ours\necho b\n"
    ended = blocks.with_block(b"#!/bin/sh", "pre-commit") + b"echo more\n"
    assert blocks.without_block(ended) == b"#!/bin/sh\necho more\n"


def test_an_older_block_is_replaced():
    """A block of another text is found, told as not current, and written anew."""
    old = b"#!/bin/sh\n# >>> mlos-sync: older words\ntrue\n# <<< mlos-sync\necho a\n"
    assert not blocks.is_current(old, "pre-commit")
    assert blocks.with_block(old, "pre-commit") == blocks.with_block(b"#!/bin/sh\necho a\n", "pre-commit")


def test_half_a_block_is_not_ours_to_cut():
    """Without its last mark nobody knows where it ends: nothing is taken away."""
    broken = blocks.with_block(b"#!/bin/sh\necho a\n", "pre-commit").replace(blocks.END, b"")
    assert blocks.find(broken) is None
    assert blocks.without_block(broken) == broken


@pytest.mark.parametrize(
    ("first", "shell"),
    [
        (b"#!/bin/sh", True),
        (b"#! /usr/bin/env bash", True),
        (b"#!/usr/local/bin/bash -eu", True),
        (b"#!/bin/dash", True),
        (b"npm test", True),
        (b"#!/usr/bin/env node", False),
        (b"#!/usr/bin/env python3", False),
        (b"#!/usr/bin/env ruby", False),
        (b"#!/usr/bin/fish", False),
        (b"#!/bin/sh\r", False),
        (b"\x7fELF\0", False),
    ],
)
def test_which_files_are_for_the_shell(first, shell):
    """sh and bash, by any path and through env; a file without a first line is for sh; nothing else is."""
    assert blocks.is_shell(first + b"\necho a\n") == shell


def test_first_means_first():
    """A command before the block means that starting the file would start somebody else's."""
    inside = blocks.with_block(b"#!/bin/sh\necho a\n", "pre-commit")
    assert blocks.comes_first(inside)
    assert blocks.comes_first(inside.replace(b"#!/bin/sh\n", b"#!/bin/sh\n# a comment\n\n"))
    assert not blocks.comes_first(inside.replace(b"#!/bin/sh\n", b"#!/bin/sh\necho before\n"))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_shells_can_parse_it(name, shell, tmp_path):
    """No shell is surprised by the text."""
    file = tmp_path / name
    file.write_bytes(blocks.with_block(None, name, husky=True))
    subprocess.run([shell, "-n", str(file)], check=True)
