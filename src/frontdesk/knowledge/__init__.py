"""A tenant's FAQ and documents, findable by meaning and by word."""
