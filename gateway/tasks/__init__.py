"""Tasks: work that is handed in, watched, cancelled and fetched."""
