"""The gateway's version. `pyproject.toml` reads it here: looking up what was installed takes 15 ms."""

VERSION = "0.1.0"
