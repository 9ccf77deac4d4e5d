"""The same run for other machines: the command line for several GPUs, a container, a Kubernetes Job, a SkyPilot task. Runs nothing itself."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from frontdesk.errors import BadInput
from frontdesk.training.runfile import RunFile

IMAGE = "frontdesk-train:latest"
"""Image for cluster files when the run names none; `deploy/` shows how to build it."""
_WORKER = ("-m", "frontdesk.training.worker")


def command(run: RunFile, folder: Path, *, python: str = sys.executable, cache: Path | None = None) -> list[str]:
    """The process that does the run in `folder`: plain, through torchrun or accelerate for several GPUs, in a container when one is named."""
    if run.compute.image:
        return _container(run, folder, cache)
    return [*_launcher(run, python), *_WORKER, str(folder)]


def _launcher(run: RunFile, python: str) -> list[str]:
    compute = run.compute
    if compute.gpus * compute.nodes <= 1 and compute.nodes == 1:
        return [python]
    processes = max(1, compute.gpus)
    if compute.launcher == "accelerate":
        machines = ["--num_machines", str(compute.nodes), "--num_processes", str(processes * compute.nodes)]
        rank = (
            ["--machine_rank", "$NODE_RANK", "--main_process_ip", "$MASTER_ADDR", "--main_process_port", "29500"]
            if compute.nodes > 1
            else []
        )
        return [python, "-m", "accelerate.commands.launch", "--multi_gpu", "--mixed_precision", "no", *machines, *rank]
    nodes = ["--nnodes", str(compute.nodes), "--nproc-per-node", str(processes)]
    meet = (
        ["--node-rank", "$NODE_RANK", "--master-addr", "$MASTER_ADDR", "--master-port", "29500"] if compute.nodes > 1 else ["--standalone"]
    )
    return [python, "-m", "torch.distributed.run", *nodes, *meet]


def _container(run: RunFile, folder: Path, cache: Path | None) -> list[str]:
    compute = run.compute
    gpus = ["--gpus", str(compute.gpus)] if compute.gpus else []
    limits = [
        *(["--cpus", str(compute.cpus)] if compute.cpus else []),
        *(["--memory", f"{compute.memory_gb}g"] if compute.memory_gb else []),
    ]
    mounts = ["--volume", f"{folder}:/run/{run.name}"]
    if cache is not None:
        mounts += ["--volume", f"{cache}:/cache", "--env", "FRONTDESK_CACHE=/cache"]
    inner = [*_launcher(run, "python"), *_WORKER, f"/run/{run.name}"]
    return ["docker", "run", "--rm", "--init", "--ipc=host", *gpus, *limits, *mounts, compute.image, *inner]


def render(run: RunFile, kind: str) -> str:
    """A `kubernetes` Job or a `skypilot` task that does this run on a cluster. Raises BadInput for another kind."""
    if kind == "kubernetes":
        return "---\n".join(_dumped(part) for part in _kubernetes(run))
    if kind == "skypilot":
        return _dumped(_skypilot(run))
    raise BadInput(f"there is no cluster file of kind {kind!r}: write kubernetes or skypilot")


def _kubernetes(run: RunFile) -> Sequence[dict[str, Any]]:
    """The run file as a ConfigMap, and the Job: one pod per node, the first of them is where the others meet."""
    compute, name = run.compute, f"train-{run.name}"
    limits: dict[str, Any] = {}
    if compute.gpus:
        limits["nvidia.com/gpu"] = compute.gpus
    if compute.cpus:
        limits["cpu"] = str(compute.cpus)
    if compute.memory_gb:
        limits["memory"] = f"{compute.memory_gb}Gi"
    prepare = ["frontdesk", "train", "prepare", "-f", "/config/run.yaml", "--out", "/work/run"]
    work = " ".join([*_launcher(run, "python"), *_WORKER, "/work/run"])
    container = {
        "name": "train",
        "image": compute.image or IMAGE,
        "command": ["sh", "-c", f"{' '.join(prepare)} && exec {work}"],
        "env": [
            {
                "name": "NODE_RANK",
                "valueFrom": {"fieldRef": {"fieldPath": "metadata.annotations['batch.kubernetes.io/job-completion-index']"}},
            },
            {"name": "MASTER_ADDR", "value": f"{name}-0.{name}"},
            {"name": "FRONTDESK_CACHE", "value": "/work/cache"},
        ],
        "resources": {"limits": limits} if limits else {},
        "volumeMounts": [{"name": "config", "mountPath": "/config"}, {"name": "work", "mountPath": "/work"}],
    }
    pod: dict[str, Any] = {
        "restartPolicy": "OnFailure",
        "subdomain": name,
        "containers": [container],
        "volumes": [
            {"name": "config", "configMap": {"name": name}},
            {"name": "work", "persistentVolumeClaim": {"claimName": "frontdesk-train"}},
        ],
    }
    if compute.gpu_type:
        pod["nodeSelector"] = {"nvidia.com/gpu.product": compute.gpu_type}
    labels = {"app.kubernetes.io/name": "frontdesk", "frontdesk/run": run.name}
    spec = {
        "backoffLimit": 3,
        "completions": compute.nodes,
        "parallelism": compute.nodes,
        "completionMode": "Indexed",
        "template": {"metadata": {"labels": labels}, "spec": pod},
    }
    parts: list[dict[str, Any]] = [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": labels}, "data": {"run.yaml": as_yaml(run)}},
        {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name, "labels": labels}, "spec": spec},
    ]
    if compute.nodes > 1:
        service = {"clusterIP": "None", "selector": labels, "ports": [{"name": "meet", "port": 29500}]}
        parts.insert(1, {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "labels": labels}, "spec": service})
    return parts


def _skypilot(run: RunFile) -> dict[str, Any]:
    compute = run.compute
    resources: dict[str, Any] = {}
    if compute.gpus:
        resources["accelerators"] = f"{compute.gpu_type or 'A100'}:{compute.gpus}"
    if compute.cpus:
        resources["cpus"] = f"{compute.cpus}+"
    if compute.memory_gb:
        resources["memory"] = f"{compute.memory_gb}+"
    if compute.image:
        resources["image_id"] = f"docker:{compute.image}"
    work = " ".join([*_launcher(run, "python"), *_WORKER, "~/run"])
    meet = 'export NODE_RANK=$SKYPILOT_NODE_RANK MASTER_ADDR=$(echo "$SKYPILOT_NODE_IPS" | head -n1)'
    body = as_yaml(run)
    return {
        "name": f"train-{run.name}",
        "num_nodes": compute.nodes,
        **({"resources": resources} if resources else {}),
        "workdir": ".",
        "setup": "pip install 'frontdesk[train]'",
        "run": f"{meet}\ncat > ~/run.yaml <<'RUN'\n{body}RUN\nfrontdesk train prepare -f ~/run.yaml --out ~/run\n{work}\n",
    }


def as_yaml(run: RunFile) -> str:
    """The run as a run file again, defaults left out."""
    blank = RunFile(name="", recipe="")
    rows: dict[str, Any] = {}
    defaults = blank.to_json()
    for key, value in run.to_json().items():
        if key in ("folder", "task"):
            continue
        if isinstance(value, dict):
            value = {k: v for k, v in value.items() if v != defaults[key].get(k)}
            value.pop("image", None) if key == "compute" else None
        if value not in (defaults[key], {}, ()):
            rows[key] = list(value) if isinstance(value, tuple) else value
    return _dumped(rows)


class _Dumper(yaml.SafeDumper):
    """Writes each value out, and texts of several lines as blocks."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


_Dumper.add_representer(
    str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)
)


def _dumped(value: Any) -> str:
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=140)
