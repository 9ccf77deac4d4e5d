"""The models the desk computes with: a registry that fetches them, a local llama.cpp child, one OpenAI-compatible client, embeddings."""
