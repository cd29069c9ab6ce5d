"""The benchmark compares like with like: every contestant delivers all rows. How long they take is not asserted."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

BENCHMARK = Path(__file__).parent / "benchmarks" / "writes.py"


def test_every_contestant_delivers_all_rows() -> None:
    ran = subprocess.run(
        [sys.executable, str(BENCHMARK), "--rows", "2000", "--rounds", "1"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert ran.returncode == 0, ran.stderr
    assert "2,000 rows a function, all arrived" in ran.stdout
    calls = re.findall(r"^  .*\b(operator|loop|bodies)\b.* (\d+) +(?:\d+ MB|\?)$", ran.stdout, re.MULTILINE)
    assert [contestant for contestant, _ in calls].count("operator") == 6
    assert [int(number) for _, number in calls] == [1] * 8 + [12] * 8
