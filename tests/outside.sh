#!/bin/sh
# Says that an installed pks4-bench works outside a checkout: sh tests/outside.sh PYTHON [SUITE]
# Lists its suites and runs a suite, smoke by default, from an empty folder that is removed.
set -eu
python=$(command -v "$1") || { echo "outside.sh: $1 is no Python; name one" >&2; exit 2; }
python=$(cd "$(dirname "$python")" && pwd)/$(basename "$python")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
run() { "$python" -P -c "import sys; sys.argv[0] = 'pks4-bench'; from pks4.cli import main; main()" "$@"; }
"$python" -P -c "import pks4; assert not pks4.__file__.startswith('$OLDPWD/pks4'), pks4.__file__"
run list suites
page=$(run run "${2:-smoke}" --jobs 1)
case $page in "$folder"/reports/*/report.html) ;; *) echo "outside.sh: report at $page" >&2; exit 1 ;; esac
test -s "$page"
echo "works outside a checkout: $("$python" -P -c 'import pks4; print(pks4.__version__, pks4.__file__)')"
