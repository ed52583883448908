"""The table of docs/faults.md: every case, in both timing profiles, streamed and not.

python -m tests.faults.table           run them all and print it; exit code 1 if one is not survived
python -m tests.faults.table --write   write it into docs/faults.md
"""

import logging
import re
import sys
from pathlib import Path

from tests.faults.cases import CASES, Case, Result, run
from tests.faults.stage import PROFILES

PAGE = Path(__file__).parents[2] / "docs" / "faults.md"
_BETWEEN = re.compile(r"(?<=<!-- table -->\n).*?(?=<!-- end -->)", re.DOTALL)
_HEAD = (
    "| id | the provider ... | profile | what happened | attempts, streamed | attempts, whole | verdict |",
    "|---|---|---|---|---|---|---|",
)


def table() -> tuple[str, bool]:
    """As Markdown, and whether all was survived."""
    lines, survived = list(_HEAD), True
    for case in CASES:
        for profile in PROFILES:
            results = [_result(case, profile, stream=stream) for stream in (True, False)]
            problems = [result.problem for result in results if result.problem is not None]
            survived = survived and not problems
            what = dict.fromkeys(result.happened for result in results if not result.problem)
            verdict = "survived" if not problems else f"**failed**: {problems[0]}"
            attempts = " | ".join(result.attempts or "-" for result in results)
            name = (case.id, case.does) if profile == next(iter(PROFILES)) else ("", "")
            told = "; whole: ".join(what) or "-"
            lines.append(f"| {name[0]} | {name[1]} | {profile} | {told} | {attempts} | {verdict} |")
    return "\n".join(lines) + "\n", survived


def _result(case: Case, profile: str, *, stream: bool) -> Result:
    try:
        return run(case, profile, stream=stream)
    except AssertionError as exc:
        return Result(problem=str(exc).partition("\n")[0] or "an assertion does not hold")
    except TimeoutError:
        return Result(problem="it hangs")


def main() -> int:
    logging.disable(logging.CRITICAL)
    found, survived = table()
    print(found, end="")
    if sys.argv[1:] == ["--write"]:
        PAGE.write_text(_BETWEEN.sub(lambda _: found, PAGE.read_text("utf-8")), "utf-8")
    return 0 if survived else 1


if __name__ == "__main__":
    sys.exit(main())
