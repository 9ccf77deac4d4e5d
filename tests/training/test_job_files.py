"""The same run for several GPUs, containers and clusters."""

from pathlib import Path

import pytest
import yaml

from frontdesk.errors import BadInput
from frontdesk.training import rendering, runfile

BASE = "name: shop-faq\ntenant: shop\nrecipe: faq\n"
FOLDER = Path("/data/runs/shop-faq")


def command(compute: str) -> list[str]:
    return rendering.command(runfile.parse(f"{BASE}compute: {compute}\n", "f"), FOLDER, python="py", cache=Path("/cache"))


def test_one_machine_without_gpus_runs_the_worker_itself() -> None:
    assert command("{}") == ["py", "-m", "frontdesk.training.worker", "/data/runs/shop-faq"]


def test_several_gpus_are_one_line_of_torchrun() -> None:
    assert command("{gpus: 4}")[:8] == ["py", "-m", "torch.distributed.run", "--nnodes", "1", "--nproc-per-node", "4", "--standalone"]


def test_accelerate_is_the_other_launcher() -> None:
    line = command("{gpus: 4, nodes: 2, launcher: accelerate}")
    assert line[:4] == ["py", "-m", "accelerate.commands.launch", "--multi_gpu"]
    assert line[line.index("--num_processes") + 1] == "8"


def test_an_image_runs_in_a_container_with_the_gpus_and_limits_of_the_file() -> None:
    line = command("{gpus: 2, image: 'registry/frontdesk:1', memory_gb: 64, cpus: 8}")
    assert line[:2] == ["docker", "run"]
    assert line[line.index("--gpus") + 1] == "2"
    assert line[line.index("--memory") + 1] == "64g"
    assert "registry/frontdesk:1" in line
    assert "/data/runs/shop-faq:/run/shop-faq" in line


def test_a_kubernetes_job_holds_the_run_file_its_gpus_and_one_pod_per_node() -> None:
    run = runfile.parse(f"{BASE}compute: {{gpus: 8, gpu_type: NVIDIA-H100, nodes: 2}}\nparameters: {{epochs: 3}}\n", "f")
    config, service, job = yaml.safe_load_all(rendering.render(run, "kubernetes"))
    again = runfile.parse(config["data"]["run.yaml"], "f")
    assert again == run
    pod = job["spec"]["template"]["spec"]
    assert (job["kind"], job["spec"]["completions"], service["spec"]["clusterIP"]) == ("Job", 2, "None")
    assert pod["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == 8
    assert pod["nodeSelector"] == {"nvidia.com/gpu.product": "NVIDIA-H100"}
    assert "--nnodes 2 --nproc-per-node 8" in pod["containers"][0]["command"][2]


def test_a_skypilot_task_names_the_accelerators() -> None:
    run = runfile.parse(f"{BASE}compute: {{gpus: 4, gpu_type: A100}}\n", "f")
    task = yaml.safe_load(rendering.render(run, "skypilot"))
    assert (task["resources"]["accelerators"], task["num_nodes"]) == ("A100:4", 1)
    assert "frontdesk.training.worker" in task["run"]


def test_another_cluster_is_refused() -> None:
    with pytest.raises(BadInput, match="kubernetes or skypilot"):
        rendering.render(runfile.parse(BASE, "f"), "slurm")
