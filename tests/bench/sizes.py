"""How much the measurements ask for."""

import msgspec


class Sizes(msgspec.Struct, frozen=True, kw_only=True):
    """The whole bench takes some ten minutes with these."""

    rounds: int = 5
    requests: int = 3000
    """Not streamed, a round."""
    concurrency: int = 16
    tokens: int = 16
    """Of each answer that is not streamed."""
    streams: int = 200
    stream_s: int = 5
    """How long each of them runs, at 50 tokens a second."""
    single: int = 1000
    """Requests one after the other on one connection, a round."""
    many_streams: int = 2000
    many_s: int = 20
    """How long each of them runs, at 10 tokens a second."""
    idle_streams: int = 1000
    idle_rounds: int = 2
