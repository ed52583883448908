"""The fake llm-d: a pure engine model, deterministic text, and thin bodies (in process, HTTP) around them."""
