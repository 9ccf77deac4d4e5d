"""frontdesk: a self-hosted customer-support desk run by AI. Imports nothing; start reading at `cli` or `desk.desk`."""

__version__ = "0.1.0"
