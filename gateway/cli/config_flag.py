"""Where the configuration is: `--config`, or a variable."""

import argparse
import os
from pathlib import Path

CONFIG_VARIABLE = "SETPOINT_CONFIG"


def add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-c",
        "--config",
        type=Path,
        default=os.environ.get(CONFIG_VARIABLE),
        metavar="FILE",
        help=f"setpoint.yaml; ${CONFIG_VARIABLE} if not given; without either, a simulated llm-d",
    )


def config_path(arguments: argparse.Namespace) -> Path | None:
    """None for the built-in configuration."""
    return Path(arguments.config) if arguments.config else None
