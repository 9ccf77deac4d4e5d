#!/bin/sh
# install.sh VENV LOCK: what a lock file names, into a virtual environment. Refuses whatever has not the hash that the lock file says.
# With uv, which downloads and unpacks side by side and takes seconds; with pip where uv cannot (no wheel of it for this system, an index
# that it does not reach). Without byte code: Python writes that of what is used at its first start, a third of the time.
set -eu
venv=$1
lock=$2
here=$(dirname "$0")
pip="$venv/bin/python -m pip --disable-pip-version-check"

[ -x "$venv/bin/uv" ] || $pip install --quiet --no-compile --require-hashes --only-binary :all: -r "$here/uv.txt" || true
if [ -x "$venv/bin/uv" ]; then
    # The index that pip was told to use is the one for uv too, which reads no settings of pip's.
    settings=$($pip config list 2>/dev/null || true)
    setting() { printf '%s\n' "$settings" | sed -n "s/^[^=]*\.$1='\(.*\)'\$/\1/p" | tail -n 1 | sed 's/\\n/ /g'; }
    told() { # NAME OPTION: exports what pip was told as NAME, unless NAME is set
        eval "was=\${$1:-}"
        value=$(setting "$2")
        if [ -z "$was" ] && [ -n "$value" ]; then export "$1=$value"; fi
    }
    told UV_DEFAULT_INDEX index-url
    told UV_INDEX extra-index-url
    told UV_FIND_LINKS find-links
    told SSL_CERT_FILE cert
    export UV_INDEX_STRATEGY="${UV_INDEX_STRATEGY:-unsafe-best-match}" # as pip does; the hashes say what is let in
    quiet=--quiet
    if [ -t 2 ]; then quiet=; fi
    if "$venv/bin/uv" pip install $quiet --python "$venv/bin/python" --require-hashes --only-binary :all: -r "$lock"; then
        exit 0
    fi
    echo "uv could not install $lock: pip tries, which takes a minute or two" >&2
fi
exec $pip install --quiet --progress-bar on --no-compile --require-hashes --only-binary :all: -r "$lock"
