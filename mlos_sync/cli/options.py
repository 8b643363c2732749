"""The columns of records as options: declared once, for `add`, `set` and `list` alike.

Each command that takes columns gets its parameters from here, so that no column is forgotten in one of them. Options
are named like the columns (`--source-transcript`), most with a shorter name before that (`--transcript`).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from mlos_sync.cli.common import Json
from mlos_sync.core.vocabulary import AGENT_STATUSES, ARTIFACT_TYPES, NEED_STATUSES, TASK_STATUSES

Ref = Annotated[str, typer.Argument(metavar="REF", help="A number, a uid prefix such as task-3f9a2c, or kind:number.")]
From = Annotated[str | None, typer.Option("--from", metavar="FILE|-", help="Add many, one JSON object a line.")]


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its option's short name if it has one, its help, the metavar, and whether it is an array."""

    name: str
    short: str | None
    help: str
    metavar: str = "TEXT"
    many: bool = False

    @property
    def flags(self) -> list[str]:
        """The names of its option."""
        long = "--" + self.name.replace("_", "-")
        return [f"--{self.short}", long] if self.short else [long]


def _status(words: tuple[str, ...]) -> Column:
    return Column("status", None, f"One of {', '.join(words)}.", "WORD")


_TRANSCRIPT = "Path of the transcript where it came up."
_TIMES = (
    Column("created_at", None, "When it came up.", "TIME"),
    Column("updated_at", None, "When it last changed; follows by itself unless set by hand.", "TIME"),
)
COLUMNS = {
    "need": (
        Column("title", None, "What is needed."),
        Column("description", None, "The full description."),
        _status(NEED_STATUSES),
        Column("priority", None, "1 (critical) to 5 (background).", "NUMBER"),
        Column("scope", None, "Domain, sprint or project."),
        Column("parent_need_id", "parent", "The need it is part of.", "REF"),
        Column("source_transcript", "transcript", _TRANSCRIPT, "PATH"),
        *_TIMES,
    ),
    "task": (
        Column("description", None, "What to do."),
        Column("need_id", "need", "The need it was derived from.", "REF"),
        _status(TASK_STATUSES),
        Column("priority", None, "1 (critical) to 5 (background); without one, its need's counts.", "NUMBER"),
        Column("assigned_agent_id", "agent", "The agent that works on it.", "REF"),
        Column("assigned_date", None, "Date of assignment.", "DATE"),
        Column("result", None, "The outcome."),
        Column("source_transcript", "transcript", _TRANSCRIPT, "PATH"),
        *_TIMES,
    ),
    "agent": (
        Column("agent_type", "type", "architect, researcher, janitor, …"),
        _status(AGENT_STATUSES),
        Column("model", None, "The model that runs it."),
        Column("kernel_version", None, "The kernel that was loaded."),
        Column("provisioned_artifacts", "artifact", "A file it was given; may repeat.", "PATH", many=True),
        Column("assigned_tasks", "task", "A task assigned to it; may repeat.", "REF", many=True),
        Column("monitored_needs", "need", "A need it monitors; may repeat.", "REF", many=True),
        Column("session_transcript", "transcript", "Path of the session's transcript.", "PATH"),
        Column("started_at", None, "When it started.", "TIME"),
        Column("completed_at", None, "When it ended.", "TIME"),
        Column("result_summary", "summary", "What it accomplished."),
    ),
    "artifact": (
        Column("title", None, "What the document is called."),
        Column("description", None, "What the document says of itself."),
        Column("file_path", "path", "A file, a folder, or a pattern such as '*.md'.", "PATH"),
        Column("artifact_type", "type", f"One of {', '.join(ARTIFACT_TYPES)}.", "WORD"),
        Column("content_hash", "hash", "SHA-256 of the content, or its first digits.", "HEX"),
        Column("source_transcript", "transcript", "Path of the transcript where it came up.", "PATH"),
        Column("created_at", None, "When it came up.", "TIME"),
        Column("updated_at", None, "When it last changed.", "TIME"),
    ),
}
_FILTERS = {
    "TIME": "such as 2026-11-20, 2026-11, or FROM..TO",
    "DATE": "such as 2026-11-20, 2026-11, or FROM..TO",
}
_SEARCHED = ("title", "description", "result", "result_summary")


def values(kind: str, leave: Sequence[str] = ()) -> list[inspect.Parameter]:
    """An option for each column, to set it."""
    made = []
    for column in COLUMNS[kind]:
        if column.name not in leave:
            option = typer.Option(*column.flags, metavar=column.metavar, help=column.help)
            made.append(keyword(column.name, list[str] if column.many else str, option))
    return made


def filters(kind: str) -> list[inspect.Parameter]:
    """An option for each column, to list by it. Each may repeat: then any of its values will do."""
    made = []
    for column in COLUMNS[kind]:
        about = column.help.removesuffix(".").removesuffix("; may repeat")
        if column.metavar in _FILTERS:
            about = f"{about.partition(';')[0]}: {_FILTERS[column.metavar]}"
        elif column.name in _SEARCHED:
            about = f"Text in it: {about[0].lower()}{about[1:]}"
        made.append(
            keyword(column.name, list[str], typer.Option(*column.flags, metavar=column.metavar, help=about + "."))
        )
    return made


def keyword(name: str, form: Any, option: Any) -> inspect.Parameter:
    """A parameter that may be left out."""
    annotation = Annotated[form | None, option]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def required(name: str, annotation: Any) -> inspect.Parameter:
    """A parameter that must be given."""
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation)


JSON = inspect.Parameter("as_json", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Json)
SOURCE = inspect.Parameter("source", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=From)
REF = required("ref", Ref)


def command(
    group: typer.Typer, name: str, about: str, parameters: Sequence[inspect.Parameter], run: Callable[..., None]
) -> None:
    """Hang a command on a group: `run` is called with the parameters by name."""

    def made(**given: Any) -> None:
        run(**given)

    made.__doc__ = about
    made.__name__ = name
    made.__signature__ = inspect.Signature(list(parameters))  # type: ignore[attr-defined]
    group.command(name)(made)
