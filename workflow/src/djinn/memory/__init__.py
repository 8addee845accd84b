"""Memory segments of the server: weights (Text), session arenas (Data), activations (Stack)."""
