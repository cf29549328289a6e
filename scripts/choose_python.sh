#!/bin/sh
# Prints the one of the named Pythons to make environments with: the first that will do, unless it was built without
# optimisations, as pyenv does by default, and another one was not. Fanlight is a seventh faster with those.
#
#   sh scripts/choose_python.sh python3 /usr/bin/python3
set -eu

look='
import sys, sysconfig
if sys.version_info < (3, 11):
    sys.exit("it is Python %s.%s" % sys.version_info[:2])
try:
    import ensurepip, venv
except ImportError:
    sys.exit("it lacks ensurepip or venv: on Debian, install the package python3-venv")
# Debian builds with profiles and at link time, but not by this option.
print(sys.base_prefix == "/usr" or "--enable-optimizations" in (sysconfig.get_config_var("CONFIG_ARGS") or ""))
'

slow='' why=''
for name in "$@"; do
  if ! answer=$("$name" -c "$look" 2>&1); then
    why="$why
  $name: $(printf '%s\n' "$answer" | tail -n 1)"
  elif test "$answer" = True; then
    test -z "$slow" ||
      echo "$slow was built without optimisations, so $name is taken; else: make clean, and make PYTHON=$slow …" >&2
    echo "$name"
    exit
  else
    slow=${slow:-$name}
  fi
done
if test -n "$slow"; then
  echo "$slow"
  exit
fi
echo "Fanlight needs Python 3.11 or later, and found none that will do:$why" >&2
echo "Name another one: make PYTHON=/path/to/python …" >&2
exit 1
