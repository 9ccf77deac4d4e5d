"""The `frontdesk` command. Results go to stdout, progress and logs to stderr; exit 0 done, 1 failed, 2 bad use."""

from __future__ import annotations


def main() -> None:
    """Entry point of the console script."""
