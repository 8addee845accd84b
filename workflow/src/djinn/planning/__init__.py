"""Memory planning: lifetimes of a trace's storages, offsets for them, and the cache of finished plans."""
