"""What may be deployed, what may not and why, and that a running desk takes it up."""

import dataclasses
import json
import shutil

import pytest

from frontdesk import settings as configuration
from frontdesk.domain.tenancy import TenantId
from frontdesk.errors import BadInput
from frontdesk.models.client import ChatClient
from frontdesk.models.local import LocalModel
from frontdesk.models.tuned import TunedModels
from frontdesk.settings import Settings
from frontdesk.training import artefacts, pushing
from frontdesk.training.artefacts import Manifest
from frontdesk.training.comparing import Arm, judge
from frontdesk.training.deploying import Keeper, RemoteAdapters, deploy, find

PASSED = {"gates": {"recall": {"value": 0.9, "bar": 0.85, "passed": True}}}


@pytest.fixture
def settings(tmp_path) -> Settings:
    return Settings(data=tmp_path / "data", cache=configuration.load().cache)


@pytest.fixture
def artefact(gguf, peft_folder, tmp_path):
    """Exports an adapter; `seed` makes another one, `changes` another manifest."""

    def make(name="faq", tenant="", seed=1, **changes):
        manifest = Manifest(
            name=name, tenant=tenant, recipe="faq", base="smollm2-135m-instruct", base_sha256=artefacts.sha256(gguf), figures=PASSED
        )
        return artefacts.export(peft_folder(seed), gguf, tmp_path / f"{name}-{seed}", dataclasses.replace(manifest, **changes))

    return make


async def test_a_deployed_adapter_lies_whole_in_the_data_folder_and_stands_in_the_history(tenant_store, settings, artefact):
    done = await deploy(tenant_store, settings, artefact(tenant=tenant_store.tenant), actor="op")
    kept = settings.data / "adapters" / done.folder
    assert artefacts.load(kept).adapter_sha256[:12] in done.adapter
    assert done.adapter.startswith(f"{tenant_store.tenant}.faq.")
    assert [d.state for d in await tenant_store.deployments.all()] == ["serving"]
    assert [e.action for e in await tenant_store.desk.audit_trail()] == ["models.deploy"]


async def test_another_tenants_adapter_is_refused(tenant_store, settings, artefact):
    with pytest.raises(BadInput, match="trained on the data of somebody-else and may serve nobody else"):
        await deploy(tenant_store, settings, artefact(tenant="somebody-else"), actor="op")
    assert await tenant_store.deployments.all() == []


async def test_an_adapter_of_another_base_is_refused(tenant_store, settings, artefact):
    folder = artefact()
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "base_sha256": "0" * 64}))
    with pytest.raises(BadInput, match="was trained on a base with the digest 000000000000"):
        await deploy(tenant_store, settings, folder, actor="op")


async def test_failed_gates_and_no_gates_are_refused_unless_somebody_insists(tenant_store, settings, artefact):
    failed = {"gates": {"recall": {"value": 0.2, "bar": 0.85, "passed": False}, "leak": {"passed": True}}}
    with pytest.raises(BadInput, match=r"failed its gates \(recall\)"):
        await deploy(tenant_store, settings, artefact(name="weak", figures=failed), actor="op")
    with pytest.raises(BadInput, match="was not evaluated"):
        await deploy(tenant_store, settings, artefact(name="unknown", figures={}), actor="op")
    assert (await deploy(tenant_store, settings, artefact(name="weak", figures=failed), actor="op", despite_gates=True)).version == 1


async def test_what_is_not_whole_is_refused(tenant_store, settings, artefact):
    cut, bare, damaged = artefact(name="cut"), artefact(name="bare"), artefact(name="damaged")
    with (cut / "adapter.gguf").open("r+b") as file:
        file.truncate(10_000)
    (bare / "manifest.json").unlink()
    (damaged / "manifest.json").write_text("{")
    for folder, words in ((cut, "not the file that its manifest names"), (bare, "is no artefact"), (damaged, "is damaged")):
        with pytest.raises(BadInput, match=words):
            await deploy(tenant_store, settings, folder, actor="op")
    assert not (settings.data / "adapters").exists()


async def test_what_llama_cpp_cannot_load_is_not_deployed(tenant_store, settings, artefact):
    folder = artefact()
    (folder / "adapter.gguf").write_bytes(b"GGUF" + bytes(100))
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["adapter_sha256"] = artefacts.sha256(folder / "adapter.gguf")
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BadInput, match=r"llama\.cpp cannot load this adapter"):
        await deploy(tenant_store, settings, folder, actor="op")
    assert await tenant_store.deployments.all() == []


async def test_a_running_desk_takes_up_a_new_version_and_a_rollback(store, tenant_store, settings, artefact, gguf):
    local = LocalModel(gguf, threads=1, slots=1, context=256, data=settings.data, drain_seconds=0.1)
    client = ChatClient(
        lambda: local.url, lambda: local.key, "base", first_token=30, between_tokens=30, total=60, slots=1, queue=4, adapters=local.chosen
    )
    models = TunedModels(client)
    keeper = Keeper(store=store, settings=settings, tenants=[tenant_store.tenant, TenantId("other")], models=models, local=local)
    await local.start()
    try:
        await keeper.refresh()
        assert models.of(tenant_store.tenant, "c") is None
        replies = {}
        for seed in (1, 2):
            await deploy(tenant_store, settings, artefact(seed=seed), actor="op")
            await keeper.refresh()
            model = models.of(tenant_store.tenant, "c")
            replies[model.name] = "".join([p async for p in model.stream("What is the capital of France?", max_tokens=8)])
        assert list(replies) == ["base+faq@1", "base+faq@2"]
        assert len(set(replies.values())) == 2
        assert models.of(TenantId("other"), "c") is None
        await tenant_store.deployments.rollback()
        await keeper.refresh()
        assert models.of(tenant_store.tenant, "c").name == "base+faq@1"
        await tenant_store.deployments.rollback()
        await keeper.refresh()
        assert models.of(tenant_store.tenant, "c") is None
    finally:
        await client.close()
        await local.stop()


async def test_a_vllm_server_is_told_of_the_adapter_and_chooses_it_by_name(tenant_store, tmp_path, artefact, lora_server):
    settings = Settings(data=tmp_path / "data", llm_url=lora_server.url, llm_model="smollm2-135m-instruct", llm_adapters="/shared")
    done = await deploy(tenant_store, settings, artefact(), actor="op")
    assert lora_server.bodies == [{"lora_name": done.adapter, "lora_path": f"/shared/{done.folder}/peft"}]
    remote = RemoteAdapters(settings)
    await remote.load({done.adapter: done.folder})
    assert (remote.chosen(done.adapter), remote.chosen("")) == ({"model": done.adapter}, {})
    lora_server.status = 404
    with pytest.raises(BadInput, match="--enable-lora"):
        await RemoteAdapters(settings).load({"x": "y"})


async def test_an_adapter_for_another_served_model_is_refused(tenant_store, tmp_path, artefact):
    settings = Settings(data=tmp_path / "data", llm_url="http://127.0.0.1:9", llm_model="llama-3-8b")
    with pytest.raises(BadInput, match="belongs to smollm2-135m-instruct, and the model server serves llama-3-8b"):
        await deploy(tenant_store, settings, artefact(), actor="op")


def test_an_artefact_is_found_by_its_folder_or_its_run(tmp_path, artefact):
    folder = artefact()
    shutil.copytree(folder, tmp_path / "d" / "runs" / "mine" / "export")
    assert find(str(folder), tmp_path / "d") == folder
    assert find("mine", tmp_path / "d") == tmp_path / "d" / "runs" / "mine" / "export"
    with pytest.raises(BadInput, match="no artefact 'other'"):
        find("other", tmp_path / "d")


def test_a_copy_in_a_folder_is_whole(tmp_path, artefact):
    where = pushing.push(artefact(), str(tmp_path / "shelf"))
    assert artefacts.load(tmp_path / "shelf" / where.rsplit("/", 1)[-1]).name == "faq"


@pytest.mark.parametrize(
    ("target", "words"), [("ftp://x/y", "no place"), ("s3://", "names no bucket"), ("hf://justname", "names no repository")]
)
def test_a_target_that_cannot_be_meant_is_refused(artefact, target, words):
    with pytest.raises(BadInput, match=words):
        pushing.push(artefact(), target)


def test_a_missing_library_is_named(artefact):
    with pytest.raises(BadInput, match="pip install boto3"):
        pushing.push(artefact(), "s3://bucket/path")


def arm(**values):
    return Arm(**{"label": "x", "conversations": 100, "turns": 200, "worded": 100, **values})


@pytest.mark.parametrize(
    ("canary", "verdict"),
    [
        (arm(conversations=29), "wait"),
        (arm(), "promote"),
        (arm(handed_off=6), "roll back"),
        (arm(unanswered=11), "roll back"),
        (arm(failed=20), "roll back"),
        (arm(objected=10), "roll back"),
        (arm(objected=4, handed_off=4), "promote"),
    ],
)
def test_a_canary_is_promoted_when_nothing_is_worse_and_only_with_enough_conversations(canary, verdict):
    assert judge(arm(), canary)[0] == verdict
