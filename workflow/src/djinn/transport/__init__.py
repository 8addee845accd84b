"""Frames over sockets, for both ends of a connection."""
