"""The desk learns. Needs the `train` extra; nothing below this room imports it."""
