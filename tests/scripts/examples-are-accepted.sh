#!/bin/bash
# Every example in config/ is accepted by --check, and so is every complete configuration that README.md shows.
set -euo pipefail
source=$2
read -ra run <<<"${FG_TEST_WRAPPER-}"
run+=("$1")
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT

# The blocks of README.md between ```libconfig and ```.
awk -v to="$directory" '/^```libconfig/ { n++; inside = 1; next } /^```/ { inside = 0 }
    inside { print > (to "/README-" n ".cfg") }' "$source/README.md"

examples=("$source"/config/*.cfg)
shown=("$directory"/*.cfg)
[ ${#examples[@]} -ge 8 ] && [ -e "${shown[0]}" ]
result=0
for file in "${examples[@]}" "${shown[@]}"; do
    said=$("${run[@]}" --check -c "$file" 2>&1) && status=0 || status=$?
    printf '%s\n' "$said"
    # Before the last line stand the budgets of lines that are polled.
    if [ "$status" -ne 0 ] || [ "${said##*$'\n'}" != "$file: OK" ] ||
        grep -v '^port [a-z0-9]*: [0-9]* devices\?, [0-9]* % of the line, oldest value [0-9.]* s$' <<<"${said%"$file: OK"}" | grep .; then
        printf 'FAILED: %s is not accepted (exit status %d)\n' "$file" "$status"
        result=1
    fi
done
exit "$result"
