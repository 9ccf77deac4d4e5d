#!/bin/sh
# Writes the lock files: every package with its hashes, one version for all supported Pythons and systems, no index named.
# dev.txt holds run.txt's versions and more, so that installing one over the other changes nothing.
set -eu
uv=${1:-uv}
cd "$(dirname "$0")/.."
locked() {
    "$uv" pip compile "$@" --quiet --universal --python-version 3.11 --fork-strategy fewest \
        --generate-hashes --no-annotate --no-header --no-emit-index-url --no-emit-find-links
}
resolve() {
    locked pyproject.toml requirements/build.in --constraint requirements/constraints.in "$@"
}
resolve --output-file requirements/run.txt
resolve --extra dev --constraint requirements/run.txt --output-file requirements/dev.txt
# What the broker's tests need beside dev.txt.
resolve --extra kafka --extra sinks --constraint requirements/dev.txt --output-file requirements/kafka.txt
# What a spoken call without an audio endpoint needs beside it.
resolve --extra voice --constraint requirements/dev.txt --output-file requirements/voice.txt
resolve --extra train --constraint requirements/run.txt --output-file requirements/train.txt
# What installs all of them.
locked requirements/uv.in --output-file requirements/uv.txt
