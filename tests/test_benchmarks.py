"""The benchmarks compare like with like: every contestant delivers all rows. How long they take is not asserted."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def ran(half: str) -> str:
    """What a benchmark of 2,000 rows prints."""
    run = subprocess.run(
        [sys.executable, "-m", f"tests.benchmarks.{half}", "--rows", "2000", "--rounds", "1"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_every_write_delivers_all_rows() -> None:
    printed = ran("writes")

    assert "2,000 rows a function, all arrived" in printed
    calls = re.findall(r"^  .*\b(operator|loop|bodies)\b.* (\d+) +(?:\d+ MB|\?)$", printed, re.MULTILINE)
    assert [contestant for contestant, _ in calls].count("operator") == 6
    assert [int(number) for _, number in calls] == [1] * 8 + [12] * 8


def test_every_read_delivers_all_rows() -> None:
    printed = ran("reads")

    assert "2,000 rows a read, all arrived" in printed
    line = r"^  .* \d+\.\d{3} +[\d,]+ +(?:(\d+\.\d\d) +)?\d+\.\d{3} +(?:\d+ MB|\?)(.*)$"
    measured = re.findall(line, printed, re.MULTILINE)
    assert len(measured) == 21
    # Each contestant that is not ours is compared, and two of them with what was aimed at.
    assert sum(bool(rate) for rate, _ in measured) == 13
    assert [goal for _, goal in measured if goal] == ["  (to be 0.75 or more)", "  (to be 4 or more)"]
