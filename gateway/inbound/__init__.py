"""Other APIs that clients may speak to the gateway: translated at the edge, and the same chat behind it."""
