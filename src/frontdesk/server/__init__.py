"""HTTP: the OpenAI-shaped face, the native API, the widget."""
