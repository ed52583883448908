"""CEL without what only its own command needs."""

import subprocess
import sys


def test_conditions_do_not_import_libraries_for_terminals() -> None:
    script = (
        "import sys; from policies.conditions import compile_condition\n"
        "compile_condition('request.n > 1')\n"
        "unused = ('cel.cli', 'typer', 'prompt_toolkit', 'pygments', 'rich')\n"
        "print([m for m in unused if m in sys.modules])"
    )
    told = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    assert told == "[]\n"
