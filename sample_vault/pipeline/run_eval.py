"""Nightly evaluation: ask Harbor every prompt, score the answers, write one report.

With --answers, the recorded answers of an earlier night are scored instead and no
server is needed.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import tomllib
from datetime import UTC, datetime
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from pipeline.retry import BusyError, call_politely
from pipeline.score import Answer, accuracy, by_suite


def ask(server: dict[str, Any], checkpoint: str, prompt: str) -> str:
    """One question to the model server."""
    timeout = server["timeout_seconds"]
    connection = HTTPConnection(server["host"], server["port"], timeout=timeout)
    try:
        question = json.dumps({"checkpoint": checkpoint, "prompt": prompt})
        connection.request("POST", server["path"], question)
        response = connection.getresponse()
        if response.status in (429, 503):
            wish = response.getheader("Retry-After", "")
            seconds = float(wish) if wish.isdigit() else None
            raise BusyError(f"the server said {response.status}", seconds)
        if response.status != 200:
            raise RuntimeError(f"the server said {response.status}")
        return str(json.loads(response.read())["answer"])
    finally:
        connection.close()


def from_server(
    config: dict[str, Any],
    checkpoint: str,
    prompts: list[dict[str, str]],
) -> dict[str, str]:
    """Answers by prompt id, asked one after the other and politely."""
    patience = config["retry"]
    answers: dict[str, str] = {}
    for row in prompts:
        answers[row["id"]] = call_politely(
            partial(ask, config["server"], checkpoint, row["prompt"]),
            attempts=patience["attempts"],
            base=patience["base_seconds"],
            cap=patience["cap_seconds"],
        )
    return answers


def read_rows(path: str) -> list[dict[str, str]]:
    with Path(path).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def evaluate(
    config: dict[str, Any],
    checkpoint: str,
    day: str,
    recorded: str | None,
) -> dict[str, Any]:
    """The report of one night, as described by schema/result.schema.json."""
    prompts = read_rows(config["run"]["prompts"])
    if recorded is None:
        given = from_server(config, checkpoint, prompts)
    else:
        given = {row["id"]: row["answer"] for row in read_rows(recorded)}
    answers = []
    for row in prompts:
        said = given.get(row["id"], "")
        answers.append(Answer(row["id"], row["suite"], row["expected"], said))
    share = accuracy(answers)
    return {
        "run_date": day,
        "model": config["run"]["model"],
        "checkpoint": checkpoint,
        "accuracy": share,
        "passed": share >= config["gate"]["min_accuracy"],
        "suites": by_suite(answers),
        "wrong": [answer.prompt_id for answer in answers if not answer.correct],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description="Evaluate one checkpoint of Harbor.")
    parser.add_argument("--config", default="config/eval.toml")
    parser.add_argument("--checkpoint", help="another one than the config names")
    parser.add_argument("--answers", help="CSV of recorded answers")
    parser.add_argument("--date", help="the day of the run (today in UTC)")
    options = parser.parse_args()

    config = tomllib.loads(Path(options.config).read_text(encoding="utf-8"))
    checkpoint = options.checkpoint or config["run"]["checkpoint"]
    day = options.date or datetime.now(UTC).date().isoformat()
    report = evaluate(config, checkpoint, day, options.answers)

    target = Path(config["run"]["reports"]) / f"{day}-{checkpoint}.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    sys.stdout.write(f"{target}: accuracy {report['accuracy']}\n")
    return 0 if report["passed"] else 1


if __name__ == "__main__":
    sys.exit(main())
