#!/bin/bash
# cmake --install puts everything where the unit and the manual look for it, and systemd takes the unit and finds it hardened.
set -euo pipefail
build=$3
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT

DESTDIR=$directory cmake --install "$build" >/dev/null
prefix=$directory$(sed -n 's/^CMAKE_INSTALL_PREFIX:PATH=//p' "$build/CMakeCache.txt")
result=0
for file in sbin/fieldgated bin/fieldgatectl lib/systemd/system/fieldgated.service lib/sysusers.d/fieldgate.conf \
    share/man/man8/fieldgated.8 share/man/man5/fieldgate.cfg.5 share/man/man1/fieldgatectl.1 \
    share/bash-completion/completions/fieldgated share/bash-completion/completions/fieldgatectl \
    share/zsh/site-functions/_fieldgated share/zsh/site-functions/_fieldgatectl \
    share/fieldgate/examples/fieldgate.cfg; do
    if [ ! -s "$prefix/$file" ]; then
        printf 'FAILED: %s is not installed\n' "$file"
        result=1
    fi
done

unit=$prefix/lib/systemd/system/fieldgated.service
program=$(sed -n 's/^ExecStart=\([^ ]*\).*/\1/p' "$unit")
read -ra run <<<"${FG_TEST_WRAPPER-}"
run+=("$directory$program")
if ! "${run[@]}" --version | grep -q '^fieldgated [0-9]'; then
    printf 'FAILED: ExecStart= names %s, which does not run\n' "$program"
    result=1
fi

# verify wants the programs and man pages that the unit names to be there, so it is shown a unit that names ours.
# It prints what it does not know and exits 0: any output is a failure.
if command -v systemd-analyze >/dev/null; then
    sed -i "s,^ExecStart=,ExecStart=$directory," "$unit"
    said=$(systemd-analyze verify --man=no --recursive-errors=no "$unit" 2>&1) || result=1
    if [ -n "$said" ]; then
        printf 'FAILED: systemd-analyze verify: %s\n' "$said"
        result=1
    fi
    # In tenths; older systemd looks at running units only.
    if systemd-analyze --help | grep -q -e --threshold &&
        ! systemd-analyze security --no-pager --offline=true --threshold=16 "$unit" >"$directory/security" 2>&1; then
        grep -v '✓' "$directory/security"
        printf 'FAILED: systemd-analyze security: more than 1.6\n'
        result=1
    fi
fi
exit "$result"
