"""CEL itself: the package `cel`, without its command line.

`import cel` imports that package's command too, and with it four libraries for terminals (typer,
prompt_toolkit, pygments, rich) that nothing here uses: 160 ms and 22 MB in each process. So an empty
module stands in for the command while `cel` is imported; whoever imports `cel.cli` later gets the real one.
"""

import sys
from types import ModuleType

_COMMAND = "cel.cli"

if "cel" in sys.modules:
    import cel
else:
    sys.modules[_COMMAND] = ModuleType(_COMMAND)
    try:
        import cel
    finally:
        del sys.modules[_COMMAND]

Context = cel.Context

__all__ = ["Context", "cel"]
