#!/bin/sh
# Makes accounts with one of everything and runs the fuzzer against ORIGIN. Needs `cargo xtask peers`.
# MAX_EXAMPLES (30) per operation and phase, SEED (1), PHASES (all four); further arguments go to the first run.
# One worker: with more, CPython 3.11 now and then loses count of its recursion.
set -eu
origin=$1
shift
here=$(cd "$(dirname "$0")" && pwd)
PATH="$here/../.venv/bin:$PATH"
export PATH SCHEMATHESIS_HOOKS="$here/hooks.py"

fuzz() {
    schemathesis --config-file "$here/schemathesis.toml" run "$origin/openapi.json" --url "$origin" \
        --checks all --max-examples "${MAX_EXAMPLES:-30}" --seed "${SEED:-1}" --generation-database none \
        --phases "${PHASES:-examples,coverage,fuzzing,stateful}" --workers 1 --no-color "$@"
}

# What ends the account or its key is fuzzed by itself: the rest would only see 401 afterwards.
eval "$(python "$here/accounts.py" "$origin")"
fuzz --exclude-operation-id delete_agent --exclude-operation-id delete_key \
    --exclude-operation-id rotate_key --exclude-operation-id regenerate_key "$@"
eval "$(python "$here/accounts.py" "$origin")"
fuzz --include-operation-id delete_agent --include-operation-id delete_key \
    --include-operation-id rotate_key --include-operation-id regenerate_key
