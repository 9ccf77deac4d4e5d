"""The pages that staff work with: figures, live conversations, the inbox, knowledge, rehearsals, training, settings."""
