"""AI customers rehearse the desk before real ones come."""
