"""The HTTP/1.1 client: one `HttpTransport` an endpoint, callbacks all the way, no task per answer."""

from gateway.upstream.fetch import fetch
from gateway.upstream.pool import HttpTransport

__all__ = ["HttpTransport", "fetch"]
