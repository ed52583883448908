"""`python -m gateway.cli`."""

import sys

from gateway.cli.program import main

sys.exit(main())
