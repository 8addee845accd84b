"""Bytes to messages and back; no socket, thread or clock."""
