"""One turn of the desk; read desk.py first: it is the diagram."""
