"""The models the desk computes with: a registry that fetches them, a local llama.cpp child, one OpenAI-compatible client, embeddings."""

from frontdesk.settings import refuse_telemetry

refuse_telemetry()  # before ONNX Runtime is imported, which else keeps a device id and reports to its maker
