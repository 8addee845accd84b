"""The server process: owns all tensors and memory, executes operators and plans."""
