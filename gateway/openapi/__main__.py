"""`python -m gateway.openapi`."""

from gateway.openapi.publication import publish

publish()
