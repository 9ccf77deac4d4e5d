"""Nothing that the models room loads leaves a trace of its own or reports to anybody."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def test_embedding_leaves_no_device_id_and_no_telemetry_store(minilm_folder: Path, tmp_path: Path) -> None:
    code = f"from pathlib import Path; from frontdesk.models.embedder import SentenceEncoder; SentenceEncoder(Path({str(minilm_folder)!r}), threads=1).close()"
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("ORT_", "XDG_"))}
    subprocess.run([sys.executable, "-c", code], env={**kept, "HOME": str(tmp_path)}, check=True)
    assert list(tmp_path.rglob("*")) == []
