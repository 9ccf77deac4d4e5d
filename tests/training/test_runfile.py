"""The run file: read strictly, every problem with its line."""

from pathlib import Path

import pytest

from frontdesk.errors import BadInput
from frontdesk.training import runfile

GOOD = """
name: shop-faq
tenant: shop
recipe: faq
compute: {gpus: 8, gpu_type: H100, nodes: 2}
eval_prompts:
  - Where is my parcel?
parameters:
  epochs: 3
  rate: 2e-4
"""


def problems(text: str, *overrides: str) -> list[str]:
    with pytest.raises(BadInput) as caught:
        runfile.parse(text, "run.yaml", overrides)
    return str(caught.value).splitlines()


def test_a_run_file_is_read_with_defaults_and_numbers_as_people_write_them() -> None:
    run = runfile.parse(GOOD, "run.yaml")
    assert (run.task, run.compute.gpus, run.parameters.rate, run.parameters.batch) == ("instruction", 8, 2e-4, 16)
    assert run.eval_prompts == ("Where is my parcel?",)


def test_overrides_set_single_values_in_any_section() -> None:
    run = runfile.parse(GOOD, "run.yaml", ["parameters.epochs=5", "data.replay=0.2", "name=other"])
    assert (run.parameters.epochs, run.data.replay, run.name) == (5, 0.2, "other")


def test_what_is_stored_reads_back_as_the_same_run() -> None:
    run = runfile.parse(GOOD, "run.yaml", folder="/somewhere")
    assert runfile.from_json(run.to_json()) == run


def test_every_problem_is_told_at_once_with_its_line() -> None:
    found = problems("name: a\nrecip: faq\nparameters:\n  epoch: 3\n  rate: high\n")
    assert "run.yaml:2: there is no key `recip`; did you mean `recipe`?" in found
    assert "run.yaml:4: there is no key `parameters.epoch`; did you mean `epochs`?" in found
    assert "run.yaml:5: `parameters.rate` must be a number, not 'high'" in found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: A b\nrecipe: faq\ntenant: t\n", "run.yaml:1: the name 'A b' must be lower-case"),
        ("name: a\nrecipe: fak\n", "run.yaml:2: there is no recipe 'fak'"),
        ("name: a\nrecipe: faq\n", "run.yaml:1: the recipe faq needs `tenant`"),
        ("name: a\nrecipe: dialogue\n", "needs `data` with log, dataset or shards"),
        ("name: a\nname: b\nrecipe: faq\ntenant: t\n", "run.yaml:2: `name` stands here for the second time"),
        ("name: a\nrecipe: faq\ntenant: t\nparameters: {batch: 0}\n", "run.yaml:4: the parameter `batch` is 0"),
        ("name: a\nrecipe: faq\ntenant: t\ncompute: {gpus: two}\n", "run.yaml:4: `compute.gpus` must be a whole number"),
        ("name: a\nrecipe: faq\ntenant: t\ntask: embedding\n", "run.yaml:4: the recipe faq is for the task instruction"),
        ("name: [", "run.yaml:"),
        ("- a\n", "run.yaml:1: holds no run"),
        ("", "run.yaml:1: holds no run"),
    ],
)
def test_a_wrong_run_file_is_refused_with_a_remedy(text: str, said: str) -> None:
    assert any(said in line for line in problems(text))


def test_a_wrong_override_is_named_as_such() -> None:
    assert problems(GOOD, "parameters.epoch=3") == [
        "--override parameters.epoch=3: there is no key `parameters.epoch`; did you mean `epochs`?"
    ]
    assert problems(GOOD, "epochs") == ["--override epochs: write it as section.key=value"]


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"nothing\.yaml cannot be read"):
        runfile.read(tmp_path / "nothing.yaml")


ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("file", sorted((ROOT / "examples/training").glob("*.yaml")), ids=lambda p: p.name)
def test_the_run_files_that_ship_are_read(file: Path) -> None:
    assert runfile.read(file).name == file.stem


def test_the_run_files_of_the_guide_are_read() -> None:
    guide = (ROOT / "docs/how-to/train-on-your-faq.md").read_text(encoding="utf-8")
    blocks = guide.split("```yaml\n")[1:]
    assert [runfile.parse(b.split("```")[0], "guide").recipe for b in blocks] == ["faq", "dialogue"]
