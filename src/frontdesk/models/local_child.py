"""The process in which llama.cpp runs: reads its configuration from stdin, serves on loopback, and ends with its parent. Never imported.

An assertion inside llama.cpp aborts the process it runs in; that is why it has one of its own. The key comes by stdin, not by the command
line, which every user of the machine can read.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

_NICENESS = 5
_PR_SET_PDEATHSIG = 1
_LOG_BYTES = 1_000_000
_VERBOSITY = 1  # errors; more would write customers' words to the log
_PROMPT_CACHE_MIB = 256


def main() -> None:
    """Serve until stdin closes, which it does when the parent ends in whatever way."""
    config = json.loads(sys.stdin.readline())
    _die_with(config["parent"])
    os.nice(_NICENESS)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    answer = os.fdopen(os.dup(1), "w")  # stdout itself goes to the log, since llama.cpp prints there
    _log_to(Path(config["log"]))
    print(time.strftime("%Y-%m-%d %H:%M:%S"), "llama.cpp starts, process", os.getpid(), file=sys.stderr, flush=True)  # noqa: T201
    server = _serve(config)
    answer.write(json.dumps({"url": server.listening_address}) + "\n")
    answer.close()
    sys.stdin.read()
    os._exit(0)  # nothing to save, and a running answer must not delay the end


def _serve(config: dict[str, Any]) -> Any:
    import xllamacpp  # after the priority is set and the log is open

    params = xllamacpp.CommonParams()
    params.model.path = config["model"]
    params.model_alias = {config["name"]}
    params.n_parallel = config["slots"]
    params.n_ctx = config["slots"] * config["context"]
    for cpu in (params.cpuparams, params.cpuparams_batch):
        cpu.n_threads = config["threads"]
        cpu.poll = 0  # a thread that waits for the others must not spin on a core that the desk needs
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [config["key"]]
    params.cors_origins = "http://127.0.0.1"  # no browser has business here
    params.ui = False
    params.endpoint_slots = False
    params.cont_batching = True
    params.cache_prompt = True
    params.cache_ram_mib = _PROMPT_CACHE_MIB
    params.verbosity = _VERBOSITY
    if config["adapters"]:
        # Loaded but off: each request names the scale of every one of them (see `LocalModel.chosen`).
        params.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(path, 0.0) for path in config["adapters"]]
        params.cache_ram_mib = 0  # kept prompts do not remember which adapter computed them
    return xllamacpp.Server(params)


def _die_with(parent: int) -> None:
    """Besides the end of stdin: another child of the parent may have inherited the pipe and keep it open."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before we asked
        os._exit(0)


def _log_to(path: Path) -> None:
    """Send stdout and stderr to the file, and keep it and one predecessor below the limit."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _reopen(path)
    threading.Thread(target=_keep_small, args=(path,), daemon=True).start()


def _reopen(path: Path) -> None:
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)


def _keep_small(path: Path) -> None:
    while True:
        time.sleep(5)
        try:
            if os.fstat(2).st_size > _LOG_BYTES:
                path.replace(path.with_suffix(".log.1"))
                _reopen(path)
        except OSError:  # a full disk or a folder that is gone: serving matters more than the log
            continue


if __name__ == "__main__":
    main()
