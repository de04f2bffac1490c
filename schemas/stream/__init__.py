"""The compressed stream: its header, its bytes."""
