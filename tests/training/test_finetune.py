"""The training loop on a tiny random Llama: what it learns, saves, survives. Skipped without the `train` extra."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="NOT TESTED: training needs torch (pip install 'frontdesk[train]')")
pytest.importorskip("peft", reason="NOT TESTED: training needs peft (pip install 'frontdesk[train]')")
pytestmark = pytest.mark.train

from safetensors.torch import load_file  # noqa: E402
from tests.training.tiny import make_base, make_samples  # noqa: E402

from frontdesk.errors import BadInput, TrainingFailed  # noqa: E402
from frontdesk.training.bases import base_folder  # noqa: E402
from frontdesk.training.finetune import Outcome, Parameters, fine_tune  # noqa: E402
from frontdesk.training.learner import Learner  # noqa: E402
from frontdesk.training.memory import estimate, require_disk  # noqa: E402
from frontdesk.training.packing import Sample, pack  # noqa: E402

FEW = Parameters(epochs=3, batch=4, rank=4, alpha=8, rate=5e-3, threads=1, dtype="float32", patience=9, save_every=2)
SAMPLES = make_samples(16)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(tmp_path_factory.mktemp("base"))


def run(base: Path, out: Path, parameters: Parameters = FEW, **more: object) -> Outcome:
    return fine_tune(base=base, samples=SAMPLES, held_out=SAMPLES[:4], parameters=parameters, out=out, **more)  # type: ignore[arg-type]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "adapter" / "adapter_model.safetensors")


def same(a: Path, b: Path) -> bool:
    one, two = weights(a), weights(b)
    return one.keys() == two.keys() and all(torch.equal(one[k], two[k]) for k in one)


def learner(base: Path, **more: object) -> Learner:
    values = {"method": "lora", "rank": 4, "alpha": 8, "dropout": 0.0, "dtype": "float32", "device": "cpu", "seed": 0, **more}
    return Learner(base, **values)  # type: ignore[arg-type]


def test_loss_falls_and_an_adapter_that_peft_loads_is_left(base: Path, tmp_path: Path) -> None:
    outcome = run(base, tmp_path)
    assert outcome.epochs[-1].held_out_loss < outcome.epochs[0].held_out_loss
    assert (outcome.ended, outcome.steps, outcome.best_epoch) == ("done", 12, 3)
    again = learner(base, adapter=outcome.adapter)
    assert again.losses(SAMPLES[:4])[0] == pytest.approx(outcome.epochs[-1].held_out_loss, rel=1e-4)
    config = json.loads((outcome.adapter / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"], config["peft_type"]) == (4, 8, "LORA")


def test_packed_rows_give_the_loss_of_each_sample_alone(base: Path) -> None:
    alone = learner(base)
    encoded = alone.encode(SAMPLES[:6], 512)
    rows = pack(encoded, row=200)
    assert len(rows) < 6
    assert rows[0].shared > 8
    packed = sum(float(alone.sums(group)[0]) for group in alone.groups(rows))
    single = 0.0
    for sample in encoded:
        ids = torch.tensor([sample.tokens])
        labels = torch.tensor([[t if learnt else -100 for t, learnt in zip(sample.tokens, sample.learnt, strict=True)]])
        with torch.no_grad():
            single += float(alone.model(input_ids=ids, labels=labels).loss) * sum(sample.learnt)
    assert packed == pytest.approx(single, rel=1e-4)


def test_quick_layers_give_pefts_gradients(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from frontdesk.training import learner as module

    def gradient() -> torch.Tensor:
        one = learner(base)
        one.put(one.vector() + 0.01 * torch.randn(one.trainable, generator=torch.Generator().manual_seed(1)))
        for group in one.groups(pack(one.encode(SAMPLES[:4], 512), row=200)):
            one.sums(group)[0].backward()
        return one.gradient()

    quick = gradient()
    monkeypatch.setattr(module, "quicken", lambda _model: 0)
    assert torch.allclose(quick, gradient(), atol=1e-4, rtol=1e-3)


def test_layers_that_do_not_learn_are_worked_out_once_and_change_nothing(base: Path) -> None:
    def gradient(keep: bool) -> torch.Tensor:
        one = learner(base, layers=1)
        rows = pack(one.encode(SAMPLES[:6], 512), row=200)
        assert not keep or one.keep(rows)
        one.put(one.vector() + 0.01 * torch.randn(one.trainable, generator=torch.Generator().manual_seed(1)))
        for _ in range(2):
            for group in one.groups(rows):
                one.learning_sums(group)[0].backward()
        return one.gradient()

    assert torch.allclose(gradient(True), gradient(False), atol=1e-4, rtol=1e-3)


def test_among_all_tokens_the_narrowed_loss_is_the_whole_one_and_among_few_it_is_less(base: Path) -> None:
    one = learner(base)
    encoded = one.encode(SAMPLES[:4], 512)
    group = pack(encoded, row=4096)
    whole = float(one.sums(group)[0])
    one.narrow(encoded, len(one.tokenizer) - 1)
    assert float(one.learning_sums(group)[0]) == pytest.approx(whole, rel=1e-2)
    one.narrow(encoded, 3)
    assert float(one.learning_sums(group)[0]) < 0.9 * whole
    assert float(one.sums(group)[0]) == pytest.approx(whole)


def test_a_run_whose_upper_layers_learn_can_be_cut_off_and_exports_those_alone(base: Path, tmp_path: Path) -> None:
    upper = dataclasses.replace(FEW, layers=1, commonest=50, per_group=1)
    run(base, tmp_path / "whole", upper)
    asked = iter([False] * 2 + [True])
    assert run(base, tmp_path / "parts", upper, stop=lambda: next(asked)).ended == "stopped"
    run(base, tmp_path / "parts", upper)
    assert same(tmp_path / "whole", tmp_path / "parts")
    assert {name.split(".layers.")[1][0] for name in weights(tmp_path / "whole")} == {"1"}


def test_an_anchor_holds_the_model_to_what_the_base_expects(base: Path, tmp_path: Path) -> None:
    anchor = Sample(pieces=(("The harbour lay quiet in the morning, and a dog began to bark.", True),), group="anchor", anchor=True)
    moved = {}
    for name, samples in (("without", SAMPLES), ("with", [*SAMPLES, *[anchor] * 8])):
        outcome = fine_tune(base=base, samples=samples, held_out=SAMPLES[:4], parameters=FEW, out=tmp_path / name)
        assert outcome.epochs[-1].held_out_loss < outcome.epochs[0].held_out_loss
        tuned = learner(base, adapter=outcome.adapter)
        rows = pack(tuned.encode([anchor], 512), row=200)
        tuned.keep(rows)
        moved[name] = float(tuned.learning_sums(rows)[0])
    assert moved["with"] < 0.5 * moved["without"]


def test_an_untrained_model_has_nothing_to_lose_by_an_anchor(base: Path) -> None:
    one = learner(base, layers=1)
    anchors = [Sample(pieces=((f"The harbour lay quiet, boat {n}.", True),), anchor=True) for n in range(3)]
    rows = pack(one.encode([*SAMPLES[:2], *anchors], 512), row=200)
    one.keep(rows)
    groups = list(one.groups(rows))
    assert [group[0].anchor for group in groups] == [False, True]
    loss, learnt = one.learning_sums(groups[1])
    assert (abs(float(loss)) < 1e-3, learnt) == (True, 0)


def test_a_hastened_second_matrix_moves_farther_from_the_same_start(base: Path, tmp_path: Path) -> None:
    moved = {}
    for times in (1.0, 8.0):
        first = dataclasses.replace(FEW, epochs=1, second_rate=times, weight_decay=0.0)
        run(base, tmp_path / str(times), first)
        moved[times] = sum(float(w.norm()) for name, w in weights(tmp_path / str(times)).items() if "lora_B" in name)
    assert moved[8.0] > 3 * moved[1.0]


def test_more_layers_than_there_are_are_refused(base: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="`layers` is 3, the model has 2"):
        run(base, tmp_path, dataclasses.replace(FEW, layers=3))


def test_a_stopped_and_resumed_run_ends_with_the_same_weights(base: Path, tmp_path: Path) -> None:
    run(base, tmp_path / "whole")
    asked = iter([False] * 6 + [True])
    stopped = run(base, tmp_path / "parts", stop=lambda: next(asked))
    assert (stopped.ended, stopped.steps) == ("stopped", 7)
    assert run(base, tmp_path / "parts").steps == 12
    assert same(tmp_path / "whole", tmp_path / "parts")
    curves = [json.loads(line) for line in (tmp_path / "parts/curves.jsonl").read_text().splitlines()]
    assert [c["step"] for c in curves if c["kind"] == "step"] == list(range(1, 13))


def test_kill_9_in_mid_epoch_loses_nothing(base: Path, tmp_path: Path) -> None:
    script = (
        "import sys, time\nfrom pathlib import Path\nfrom frontdesk.training.finetune import fine_tune\n"
        "from tests.training.test_finetune import FEW, SAMPLES\n"
        "fine_tune(base=Path(sys.argv[1]), samples=SAMPLES, held_out=SAMPLES[:4], parameters=FEW, out=Path(sys.argv[2]),\n"
        "          on_step=lambda s: time.sleep(60 if s.step == 7 else 0))"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", script, str(base), str(tmp_path / "killed")], env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    )
    curves = tmp_path / "killed/curves.jsonl"
    until = time.monotonic() + 90
    while not (curves.is_file() and '"step": 7' in curves.read_text()):
        assert time.monotonic() < until
        time.sleep(0.05)
    child.send_signal(signal.SIGKILL)
    child.wait()
    outcome = run(base, tmp_path / "killed")
    run(base, tmp_path / "whole")
    assert outcome.steps == 12
    assert same(tmp_path / "whole", tmp_path / "killed")


def test_resuming_with_other_parameters_is_refused(base: Path, tmp_path: Path) -> None:
    run(base, tmp_path, stop=lambda: True)
    with pytest.raises(BadInput, match="another rate"):
        run(base, tmp_path, dataclasses.replace(FEW, rate=1e-3))


def test_the_best_epoch_is_kept_and_patience_ends_a_run(base: Path, tmp_path: Path) -> None:
    scores = iter([0.5, 0.9, 0.7, 0.6, 0.5])
    outcome = run(base, tmp_path, dataclasses.replace(FEW, epochs=5, patience=2), on_epoch=lambda _learner, _epoch: next(scores))
    assert (outcome.best_epoch, len(outcome.epochs), outcome.ended) == (2, 4, "patience")
    other = iter([0.5, 0.9])
    run(base, tmp_path / "two", dataclasses.replace(FEW, epochs=5, target=0.9), on_epoch=lambda _learner, _epoch: next(other))
    assert same(tmp_path, tmp_path / "two")


def test_full_fine_tuning_leaves_a_whole_model(base: Path, tmp_path: Path) -> None:
    outcome = run(base, tmp_path, dataclasses.replace(FEW, method="full", epochs=1))
    assert (outcome.adapter / "config.json").is_file()
    assert learner(outcome.adapter, method="none").losses(SAMPLES[:4])[0] == pytest.approx(outcome.epochs[0].held_out_loss, rel=1e-4)


def test_a_loss_that_is_no_number_ends_the_run_with_a_remedy(base: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingFailed, match="lower `rate`"):
        run(base, tmp_path, dataclasses.replace(FEW, rate=0.99, clip=0.0, epochs=60, rank=32, alpha=100_000))


def test_replies_do_not_depend_on_what_else_is_asked(base: Path) -> None:
    one = learner(base)
    prompts = [
        "<|im_start|>user\nWhat?<|im_end|>\n<|im_start|>assistant\n",
        "<|im_start|>user\nA longer question, is it?<|im_end|>\n<|im_start|>assistant\n",
    ]
    assert one.reply(prompts, tokens=8) == [one.reply([p], tokens=8)[0] for p in prompts]


@pytest.mark.parametrize(
    ("change", "said"), [({"rate": 2.0}, "`rate` is 2.0"), ({"batch": 0}, "`batch` is 0"), ({"method": "dora"}, "lora or full")]
)
def test_a_parameter_out_of_range_is_refused(base: Path, tmp_path: Path, change: dict[str, object], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        run(base, tmp_path, dataclasses.replace(FEW, **change))  # type: ignore[arg-type]


def test_an_answer_longer_than_a_sample_may_be_is_refused_before_training(base: Path, tmp_path: Path) -> None:
    long = Sample(pieces=(("question", False), ("word " * 3000, True)))
    with pytest.raises(BadInput, match="more than the 1024 of `length`"):
        fine_tune(base=base, samples=[long], held_out=[], parameters=FEW, out=tmp_path)


def test_memory_is_estimated_before_anything_is_loaded(base: Path) -> None:
    assert 0 < estimate(base, FEW).needed < 2**30
    with pytest.raises(TrainingFailed, match=r"needs about .* lower `batch`"):
        estimate(base, FEW, available=1000)


@pytest.mark.timeout(300)
def test_two_processes_learn_what_one_does(base: Path, tmp_path: Path) -> None:
    script = tmp_path / "two.py"
    script.write_text(
        "import sys\nfrom pathlib import Path\nfrom frontdesk.training.finetune import fine_tune\n"
        "from tests.training.test_finetune import FEW, SAMPLES\n"
        "fine_tune(base=Path(sys.argv[1]), samples=SAMPLES, held_out=SAMPLES[:4], parameters=FEW, out=Path(sys.argv[2]))\n"
    )
    launcher = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        str(script),
        str(base),
        str(tmp_path / "two"),
    ]
    done = subprocess.run(
        launcher,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    run(base, tmp_path / "one")
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    assert all(torch.allclose(one[k], two[k], atol=2e-3) for k in one)


def test_a_gguf_of_another_family_is_refused(tmp_path: Path) -> None:
    gguf = pytest.importorskip("gguf")
    file = tmp_path / "other.gguf"
    writer = gguf.GGUFWriter(file, "mamba")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(BadInput, match="family 'mamba'"):
        base_folder(str(file), tmp_path)
    (tmp_path / "text.gguf").write_text("not a model")
    with pytest.raises(BadInput, match="no readable GGUF"):
        base_folder(str(tmp_path / "text.gguf"), tmp_path)


def test_a_full_disk_is_told_before_training(base: Path, tmp_path: Path) -> None:
    needed = estimate(base, FEW)
    require_disk(tmp_path, needed)
    with pytest.raises(TrainingFailed, match="free some space there"):
        require_disk(tmp_path, dataclasses.replace(needed, disk=2**60))
