"""What the model may call: catalog, inline grammar, calling over HTTP."""
