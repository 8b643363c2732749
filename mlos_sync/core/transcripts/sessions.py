"""A session: what a reader learns of it until it can be told as a whole, and its name where the file tells none."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from mlos_sync.core.transcripts.model import Session

# Words in the place of a model that name none: `<synthetic>` is Claude Code's own message, `default` Cursor's choice,
# `copilot/auto` VS Code's
NO_MODELS = ("", "<synthetic>", "default", "auto", "copilot/auto", "unknown")
_MOST_MODELS = 1000  # distinct words that are counted; no session has as many, a damaged file may
# `2025-03-04_06-17-fixing-a-bug.md` SpecStory
_DATED = re.compile(r"\d{4}-\d\d-\d\d(?!\d)", re.ASCII)


@dataclass(slots=True)
class Course:
    """One session as far as it has been read. Titles have a rank: one of a higher rank, or a later one, replaces."""

    session_id: str
    tool: str
    format: str
    settled: bool = False  # claims have been made in its name
    turns: int = 0
    subagent_turns: int = 0
    started_at: str | None = None
    ended_at: str | None = None
    title: str | None = None
    title_rank: int = -1
    version: str | None = None
    cwd: str | None = None
    branch: str | None = None
    base_commit: str | None = None
    parent: str | None = None
    part: str = ""
    models: dict[str, int] = field(default_factory=dict)
    subagent_models: dict[str, int] = field(default_factory=dict)

    def identified(self, identity: str | None) -> None:
        """The session has this id, unless it had one before, or claims were made in the name of its file."""
        if identity is not None and not self.settled:
            self.session_id, self.settled = identity, True

    def passed(self, at: str | None) -> None:
        """Something happened at this time. Times may go backwards: the earliest and the latest count."""
        if at is not None:
            self.started_at = at if self.started_at is None else min(self.started_at, at)
            self.ended_at = at if self.ended_at is None else max(self.ended_at, at)

    def spoke(self, model: str | None, subagent: bool = False) -> None:
        """A model spoke once."""
        count_model(self.subagent_models if subagent else self.models, model)

    def turned(self, subagent: bool) -> int:
        """A turn begins; its number within its thread (main or subagents), from 1."""
        if subagent:
            self.subagent_turns += 1
            return self.subagent_turns
        self.turns += 1
        return self.turns

    def turn(self, subagent: bool) -> int:
        """The number of the turn that goes on."""
        return self.subagent_turns if subagent else self.turns

    def titled(self, title: str | None, rank: int = 0) -> None:
        """The session has a title, of this weight."""
        if title is not None and rank >= self.title_rank:
            self.title, self.title_rank = title, rank

    def told(self) -> Session:
        """The session. Where it has no main thread, because the file is a subagent's, the subagent's model stands."""
        models = self.models if self.turns or self.models else self.subagent_models
        return Session(
            session_id=self.session_id,
            tool=self.tool,
            model=most_common(models),
            format=self.format,
            started_at=self.started_at,
            ended_at=self.ended_at,
            title=self.title,
            turns=self.turns,
            subagent_turns=self.subagent_turns,
            version=self.version,
            part=self.part,
            parent=self.parent,
            cwd=self.cwd,
            branch=self.branch,
            base_commit=self.base_commit,
        )


def stem_of(name: str, ending: str = ".md") -> str:
    """The name of a file without its folders, of Windows too, and without this ending."""
    return name.replace("\\", "/").rpartition("/")[2].removesuffix(ending)


def named_session(name: str) -> str:
    """The session of a file that names none: its stem where that begins with a date, else its path.

    `2025-03-04_06-17-fixing-a-bug.md` is the same session wherever the file lies; `untitled.md` may be anybody's.
    """
    return stem if _DATED.match(stem := stem_of(name)) else name


def count_model(counts: dict[str, int], model: str | None) -> None:
    """A model spoke once; a word that names none does not count."""
    if model is not None and model not in NO_MODELS and (model in counts or len(counts) < _MOST_MODELS):
        counts[model] = counts.get(model, 0) + 1


def most_common(counts: dict[str, int]) -> str | None:
    """The name counted most often, the first of several; None where there is none."""
    return max(counts, key=lambda name: counts[name]) if counts else None
