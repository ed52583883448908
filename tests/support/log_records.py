"""What `logging` hands to the log's forms and handlers, and a secret that is not to be seen there."""

import logging

from gateway.secrets import Redactor, SecretValue

SECRET = 'se"cret-\\token'
redact = Redactor([SecretValue(SECRET)]).redact


def record(level: int = logging.INFO, name: str = "request", **fields: object) -> logging.LogRecord:
    made = logging.LogRecord("setpoint", level, "", 0, name, (), None)
    made.fields = fields
    return made
