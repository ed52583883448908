"""Everything that acts: the HTTP edge, the executor and relay, health, logs, metrics, the command line."""
