"""The client side: connections, the embedded server process, and the current session."""
