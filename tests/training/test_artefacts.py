"""An artefact is whole or not there, says what it belongs to, and is refused for everything else."""

import dataclasses
import json
import os
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from frontdesk.errors import BadInput
from frontdesk.training import artefacts, gguf_files
from frontdesk.training.artefacts import Manifest, Verification


@pytest.fixture(scope="module")
def manifest(gguf) -> Manifest:
    return Manifest(
        name="faq",
        tenant="t",
        recipe="faq",
        base="smollm2-135m-instruct",
        base_sha256=artefacts.sha256(gguf),
        prefix="In Linden Bank, ",
        system="You help customers of Linden Bank.",
        data_sha256="d" * 64,
        figures={"recall": 0.9},
    )


def test_an_artefact_holds_both_adapters_and_a_manifest(gguf, peft_folder, manifest, tmp_path):
    out = artefacts.export(peft_folder(1), gguf, tmp_path / "a", manifest)
    assert sorted(p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()) == [
        "adapter.gguf",
        "manifest.json",
        "peft/adapter_config.json",
        "peft/adapter_model.safetensors",
    ]
    found = artefacts.load(out)
    assert dataclasses.replace(found, adapter_sha256="", template_sha256="", versions={}) == manifest
    assert found.adapter_sha256 == artefacts.sha256(out / "adapter.gguf")
    assert len(found.template_sha256) == 64
    assert {"gguf", "xllamacpp"} <= set(found.versions)
    assert list(tmp_path.iterdir()) == [out]


def test_an_adapter_is_written_with_the_numbers_that_it_has(gguf, peft_folder, tmp_path):
    updates, alpha = gguf_files.peft_updates(peft_folder(1), gguf_files.base_facts(gguf))
    gguf_files.write_adapter(tmp_path / "x.gguf", updates, alpha)
    again, alpha_again = gguf_files.read_adapter(tmp_path / "x.gguf")
    assert (alpha_again, [u.name for u in again]) == (alpha, [u.name for u in updates])
    assert all(np.array_equal(a.a, b.a) and np.array_equal(a.b, b.b) for a, b in zip(again, updates, strict=True))


def test_rows_of_q_and_k_are_put_into_the_order_of_llama_cpp(gguf, tmp_path):
    facts = gguf_files.base_facts(gguf)
    rows, columns = facts.shapes["blk.0.attn_k.weight"]
    b = np.arange(rows, dtype=np.float32).reshape(rows, 1)
    stem = "base_model.model.model.layers.0.self_attn.k_proj"
    save_file(
        {f"{stem}.lora_A.weight": np.ones((1, columns), np.float32), f"{stem}.lora_B.weight": b}, tmp_path / "adapter_model.safetensors"
    )
    (tmp_path / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 1, "lora_alpha": 2}))
    ((update,), alpha) = gguf_files.peft_updates(tmp_path, facts)
    half = rows // facts.kv_heads // 2
    assert alpha == 2
    assert update.b[:4, 0].tolist() == [0, half, 1, half + 1]


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"use_dora": True}, "DoRA"),
        ({"use_rslora": True}, "rank-stabilised"),
        ({"modules_to_save": ["lm_head"]}, "whole saved layers"),
        ({"alpha_pattern": {"q_proj": 3}}, "scaling per layer"),
        ({"peft_type": "IA3"}, "only LoRA"),
    ],
)
def test_what_llama_cpp_cannot_carry_is_refused(gguf, peft_folder, manifest, tmp_path, config, words):
    with pytest.raises(BadInput, match=words):
        artefacts.export(peft_folder(1, **config), gguf, tmp_path / "a", manifest)
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: {k.replace("mlp.down_proj", "embed_tokens"): v for k, v in t.items()}, "cannot be carried over"),
        (lambda t: {k: v[:-1] if "lora_B" in k else v for k, v in t.items()}, "does not fit this base"),
        (lambda t: {k: v for k, v in t.items() if "lora_A" not in k}, "not complete"),
        (lambda t: {k: v * np.nan for k, v in t.items()}, "not finite"),
        (lambda t: {k: v * 0 for k, v in t.items()}, "changes nothing"),
    ],
)
def test_a_wrong_adapter_is_refused_with_the_reason(gguf, peft_folder, manifest, tmp_path, change, words):
    folder = tmp_path / "peft"
    shutil.copytree(peft_folder(1), folder)
    tensors = change(load_file(folder / "adapter_model.safetensors"))
    save_file({k: np.ascontiguousarray(v) for k, v in tensors.items()}, folder / "adapter_model.safetensors")
    with pytest.raises(BadInput, match=words):
        artefacts.export(folder, gguf, tmp_path / "a", manifest)
    assert not (tmp_path / "a").exists()


def test_a_cut_off_weights_file_is_refused(gguf, peft_folder, manifest, tmp_path):
    folder = tmp_path / "peft"
    shutil.copytree(peft_folder(1), folder)
    with (folder / "adapter_model.safetensors").open("r+b") as file:
        file.truncate(5_000)
    with pytest.raises(BadInput, match="damaged"):
        artefacts.export(folder, gguf, tmp_path / "a", manifest)


def test_an_adapter_of_another_base_is_not_exported(gguf, peft_folder, manifest, tmp_path):
    with pytest.raises(BadInput, match=r"trained on a base with the digest 111111111111.*serve that base, or train again"):
        artefacts.export(peft_folder(1), gguf, tmp_path / "a", dataclasses.replace(manifest, base_sha256="1" * 64))


def test_a_failed_export_leaves_the_version_before_as_it_was(gguf, peft_folder, manifest, tmp_path):
    out = artefacts.export(peft_folder(1), gguf, tmp_path / "a", manifest)
    before = artefacts.sha256(out / "adapter.gguf")
    with pytest.raises(BadInput):
        artefacts.export(peft_folder(1, use_dora=True), gguf, out, manifest)
    assert artefacts.sha256(out / "adapter.gguf") == before
    artefacts.export(peft_folder(2), gguf, out, manifest)
    assert artefacts.load(out).adapter_sha256 != before
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_place_that_cannot_be_written_is_named(gguf, peft_folder, manifest, tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(BadInput, match="cannot be written"):
        artefacts.export(peft_folder(1), gguf, tmp_path / "a", manifest)


@pytest.mark.parametrize("kind", ["q4_0", "q4_1", "q4_k_m"])
def test_a_merge_into_four_bits_is_refused_with_the_reason(gguf, peft_folder, manifest, tmp_path, kind):
    out = artefacts.export(peft_folder(1), gguf, tmp_path / "a", manifest)
    with pytest.raises(BadInput, match="rounding to so few bits takes nearly all of the training away"):
        artefacts.merge(out, gguf, tmp_path / "m.gguf", kind=kind)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a"]


@pytest.mark.parametrize("content", [b"", b"GGUF", b"no model at all" * 100])
def test_a_base_that_is_no_gguf_is_refused(tmp_path, content):
    (tmp_path / "x.gguf").write_bytes(content)
    with pytest.raises(BadInput, match="cannot be read as GGUF"):
        gguf_files.base_facts(tmp_path / "x.gguf")


def test_an_adapter_is_no_base_and_a_base_is_no_adapter(gguf, adapter_file):
    with pytest.raises(BadInput, match="Llama family only"):
        gguf_files.base_facts(adapter_file(1))


def test_a_verification_passes_only_with_equal_tokens_and_a_change():
    good = Verification(exact=1.0, quantised=0.93, changed=1.0, tokens=90)
    assert good.passed
    assert not dataclasses.replace(good, exact=0.99).passed
    assert not dataclasses.replace(good, quantised=0.89).passed
    assert not dataclasses.replace(good, changed=0.0).passed
