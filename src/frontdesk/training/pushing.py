"""Copies of an artefact elsewhere: a folder, an S3-style bucket, the Hugging Face Hub. Libraries for the latter two are used when present."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from frontdesk.errors import BadInput, Unavailable
from frontdesk.training import artefacts


def push(folder: Path, target: str, *, token: str = "") -> str:
    """Copy a whole artefact; gives where it is now.

    `target`: a folder, `s3://BUCKET/PATH`, or `hf://OWNER/NAME`. Raises BadInput for a target that cannot be meant and without the library
    that it takes, Unavailable when the other side cannot be reached.
    """
    manifest = artefacts.load(folder)
    if target.startswith("s3://"):
        return _to_s3(folder, target, manifest)
    if target.startswith("hf://"):
        return _to_hub(folder, target, manifest, token)
    if "://" in target:
        raise BadInput(f"{target} is no place that can be pushed to: give a folder, s3://BUCKET/PATH or hf://OWNER/NAME")
    out = Path(target)
    if out.exists() and not out.is_dir():
        raise BadInput(f"{out} is a file: give a folder")
    return str(artefacts.copy(folder, out / folder_name(manifest)))


def folder_name(manifest: artefacts.Manifest) -> str:
    """What the copy is called: the name with the digest of the adapter."""
    return f"{manifest.name}-{manifest.adapter_sha256[:12]}"


def _to_s3(folder: Path, target: str, manifest: artefacts.Manifest) -> str:
    bucket, _, key = target.removeprefix("s3://").partition("/")
    if not bucket:
        raise BadInput(f"{target} names no bucket: write s3://BUCKET/PATH")
    boto3, errors = _library("boto3", "pip install boto3"), _library("botocore.exceptions", "pip install boto3")
    root = "/".join(part for part in (key.strip("/"), folder_name(manifest)) if part)
    client = boto3.client("s3")
    # The manifest goes last: a copy without it is not taken for whole.
    files = sorted((f for f in folder.rglob("*") if f.is_file()), key=lambda f: f.name == artefacts.MANIFEST)
    try:
        for file in files:
            client.upload_file(str(file), bucket, f"{root}/{file.relative_to(folder).as_posix()}")
    except (errors.BotoCoreError, errors.ClientError, boto3.exceptions.Boto3Error) as error:
        raise Unavailable(f"{target} cannot be written ({error}): check the bucket, its region and your credentials") from error
    return f"s3://{bucket}/{root}"


def _to_hub(folder: Path, target: str, manifest: artefacts.Manifest, token: str) -> str:
    repo = target.removeprefix("hf://").strip("/")
    if repo.count("/") != 1:
        raise BadInput(f"{target} names no repository: write hf://OWNER/NAME")
    hub, errors = (
        _library("huggingface_hub", "pip install huggingface_hub"),
        _library("huggingface_hub.errors", "pip install huggingface_hub"),
    )
    api = hub.HfApi(token=token or None)
    try:
        api.create_repo(repo, private=True, exist_ok=True)
        api.upload_folder(repo_id=repo, folder_path=str(folder), commit_message=f"{manifest.name} {manifest.adapter_sha256[:12]}")
    except (errors.HfHubHTTPError, OSError, ValueError) as error:
        first = " ".join(str(error).split())[:200]
        raise Unavailable(
            f"{target} cannot be written ({first}): check the name, your token (FRONTDESK_HUB_TOKEN) and the network"
        ) from error
    return target


def _library(name: str, remedy: str) -> Any:
    try:
        return import_module(name)
    except ImportError:
        raise BadInput(f"this takes a package that is not installed: {remedy}") from None
