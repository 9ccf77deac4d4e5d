"""The documentation is true: its tables come from the code, its blocks run, its links lead somewhere."""
