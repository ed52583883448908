"""The brain: everything that decides. Values in, values out; no clock, no socket, no randomness of its own."""
