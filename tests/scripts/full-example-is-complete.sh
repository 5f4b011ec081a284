#!/bin/bash
# config/fieldgate.cfg shows every setting, and every kind of transport, framing, decoder and protocol, that the tables have.
set -euo pipefail
source=$2 build=$3
read -ra run <<<"${FG_TEST_WRAPPER-}"
run+=("$build/fieldgate-reference")
example=$source/config/fieldgate.cfg
result=0

reference=$("${run[@]}")
# shellcheck disable=SC2016 # the backticks are the page's
mapfile -t keys < <(sed -n 's/^| `\([a-z_]*\)` | [a-z].*/\1/p' <<<"$reference" | sort -u)
[ ${#keys[@]} -gt 40 ]
for key in "${keys[@]}"; do
    if ! grep -qE "(^|[[:space:]{])$key *[=:]" "$example"; then
        printf 'FAILED: %s is not in %s\n' "$key" "$example"
        result=1
    fi
done

# Headings such as "### decoder json".
mapfile -t kinds < <(sed -n 's/^##* \(framing\|decoder\|transport\|protocol\) \([a-z0-9-]*\)$/\2/p' <<<"$reference")
[ ${#kinds[@]} -gt 5 ]
for kind in "${kinds[@]}"; do
    if ! grep -q "type = \"$kind\"" "$example"; then
        printf 'FAILED: the type %s is not in %s\n' "$kind" "$example"
        result=1
    fi
done
exit "$result"
