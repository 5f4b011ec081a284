#!/bin/bash
# The completions offer every command and every option that the programs' help tells, and load without a word.
set -euo pipefail
source=$2 build=$3
result=0

# complete_line PROGRAM WORD...: what is offered for the last word.
complete_line()
{
    bash -c '
        source "$1" || exit 1
        shift
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
        "_$1"
        printf "%s\n" "${COMPREPLY[@]}"' _ "$source/completions/bash/$1" "$@" 2>&1
}

expect()
{
    local said=$1 word
    shift
    for word in "$@"; do
        if ! grep -qxF -- "$word" <<<"$said"; then
            printf 'FAILED: %s is not offered, but:\n%s\n' "$word" "$said"
            result=1
        fi
    done
}

read -ra run <<<"${FG_TEST_WRAPPER-}"
for program in fieldgated fieldgatectl; do
    mapfile -t options < <("${run[@]}" "$build/$program" --help | grep -oE -- '--[a-z-]+' | sort -u)
    [ ${#options[@]} -ge 4 ]
    said=$(complete_line $program --)
    expect "$said" "${options[@]}"
done
mapfile -t commands < <("${run[@]}" "$build/fieldgatectl" --help | sed -n 's/^  \([a-z][a-z-]*\) .*/\1/p')
[ ${#commands[@]} -eq 7 ]
expect "$(complete_line fieldgatectl '')" "${commands[@]}"
expect "$(complete_line fieldgatectl log-level d)" debug
expect "$(complete_line fieldgated --event-model '')" reactor simulated-proactor proactor auto
cd "$source"
expect "$(complete_line fieldgatectl check LIC)" LICENSE
exit "$result"
