"""`python -m gateway.openapi`."""

from gateway.openapi.description import document
from gateway.openapi.publication import publish

publish(document())
