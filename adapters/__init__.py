"""Each backend's dialect (bytes to events and back, sans-IO), SSE framing, and the fake llm-d."""
