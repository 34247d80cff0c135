"""The commands of `python -m dumbkv`."""
