"""Several processes that share one port, one set of limits and one control loop: `docs/workers.md`."""
