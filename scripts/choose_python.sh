#!/bin/sh
# Prints the one of the named Pythons to make environments with: the first that will do, unless it was built without
# optimisations, as pyenv does by default, and another one was not. Fanlight is a seventh faster with those.
#
#   sh scripts/choose_python.sh python3 /usr/bin/python3
set -eu

look='
import ensurepip, sys, sysconfig, venv
if sys.version_info < (3, 11):
    sys.exit(1)
# Debian builds with profiles and at link time, but not by this option.
print(sys.base_prefix == "/usr" or "--enable-optimizations" in (sysconfig.get_config_var("CONFIG_ARGS") or ""))
'

slow=
for name in "$@"; do
  optimised=$("$name" -c "$look" 2>/dev/null) || continue
  if test "$optimised" = True; then
    test -z "$slow" || echo "$slow was built without optimisations: $name is taken; make PYTHON=$slow … to have it otherwise" >&2
    echo "$name"
    exit
  fi
  slow=${slow:-$name}
done
if test -n "$slow"; then
  echo "$slow"
  exit
fi

echo "Fanlight needs Python 3.11 or later, with its module ensurepip (on Debian: the package python3-venv)." >&2
for name in "$@"; do
  ! version=$("$name" -V 2>&1) || echo "$name is $version." >&2
done
echo "Name another one: make PYTHON=python3.12 …" >&2
exit 1
