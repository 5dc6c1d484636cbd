#!/bin/bash
# Installs, upgrades or removes one version of a packaged worker, as root and without a network. Whatever it does may be
# done again, and may be cut short at any point: the next run completes it.
#
#   /opt/spotfsm/versions/X.Y.Z   a version: its environment, its jobs, its settings, its units and this script
#   /opt/spotfsm/current          a link to the one that runs, replaced atomically
#   /var/lib/spotfsm              what workers keep; goes with the last version, unless it is to be kept
set -euo pipefail
umask 022
export LC_ALL=C

# The packager replaces these four.
readonly version=0.0.0
readonly python=3.11
readonly architecture=x86_64
readonly units=1

readonly root=/opt/spotfsm
readonly versions=$root/versions
readonly home=$versions/$version
readonly current=$root/current
readonly state=/var/lib/spotfsm
readonly keep=$state/keep
readonly systemd=/etc/systemd/system
readonly single=spotfsm-worker.service
readonly template=spotfsm-worker@.service

usage() {
  cat <<'USAGE'
orchestrate.sh -i [PACKAGE]     install this version, or upgrade or go back to it; the package is the archive, or what
                                lies unpacked beside this script
orchestrate.sh -u [--keep-data] remove this version; with the one that runs goes all there is, but for /var/lib/spotfsm
                                if it is to be kept, for which a file /var/lib/spotfsm/keep speaks as well
USAGE
}

say() { echo "spotfsm $version: $*"; }

fail() {
  echo "error: $*" >&2
  exit 1
}

main() {
  case "${1:-}" in
    -i) [ $# -le 2 ] || { usage >&2; exit 2; } ;;
    -u) [ $# -eq 1 ] || [ "$*" = '-u --keep-data' ] || { usage >&2; exit 2; } ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
  esac
  [ "$(id -u)" = 0 ] || fail "this needs root: sudo bash $0 $*"
  [ -d /run/systemd/system ] || fail "systemd does not run here"
  exec 9<"$systemd"
  flock 9 # whoever else installs or removes is waited for
  case "$1" in
    -i) install_version "${2:-$(dirname "$(readlink -f "$0")")}" ;;
    -u) remove_version "${2:-}" ;;
  esac
}

# -- installing --------------------------------------------------------------------------------------------------------

install_version() {
  local interpreter before
  interpreter=$(find_interpreter)
  before=$(readlink "$current" || true)
  if [ "$(readlink -f "$1")" = "$home" ] && [ -e "$home/.installed" ]; then
    say "going back to it"
  else
    unpack "$1"
    if [ -e "$home/.installed" ] && cmp -s "$stage/SHA256SUMS" "$home/SHA256SUMS"; then
      say "it is installed already"
    else
      build "$interpreter"
    fi
  fi
  switch
  local other
  for other in "$versions"/*; do # the one before stays, to go back to
    case "$other" in "$home" | "$before") ;; *) rm -rf "$other" ;; esac
  done
  say "in place"
}

# The Python that the wheels are for.
find_interpreter() {
  local found
  [ "$(uname -m)" = "$architecture" ] ||
    fail "this package is for $architecture, and the VM is $(uname -m): package with --architecture $(uname -m)"
  for found in "python$python" python3; do
    if "$found" -c "import sys, venv; sys.exit('%d.%d' % sys.version_info[:2] != '$python')" 2>/dev/null; then
      command -v "$found"
      return
    fi
  done
  found=$(python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null || echo none)
  fail "this package is for Python $python, and the VM has $found: package with --python-version, or install python$python"
}

# Into a directory that is removed again if anything goes wrong, and whole, or not at all.
unpack() {
  mkdir -p "$versions"
  rm -rf "$versions"/.stage.* # of a run that was cut short: nobody else runs
  stage=$(mktemp -d "$versions/.stage.XXXXXX")
  trap 'rm -rf "$stage"' EXIT
  chmod 755 "$stage"
  if [ -d "$1" ]; then
    [ -f "$1/SHA256SUMS" ] || fail "$1 holds no package: name the archive, or unpack it there"
    sed 's/^[0-9a-f]*  //' "$1/SHA256SUMS" | tar -C "$1" -cf - --files-from=- SHA256SUMS | tar -C "$stage" -xf - --no-same-owner
  else
    tar -C "$stage" -xzf "$1" --no-same-owner || fail "$1 cannot be unpacked"
  fi
  (cd "$stage" && sha256sum --check --quiet --strict SHA256SUMS) || fail "$1 is damaged: copy it again"
}

build() {
  if [ "$(readlink "$current" || true)" = "$home" ]; then # the same version with other contents
    say "stopping the workers, which run what is replaced"
    stop_workers
  fi
  rm -rf "$home"
  mv "$stage" "$home"
  say "installing into $home"
  # pip comes along as a wheel and runs from it: images have Python, and not always pip.
  if ! { "$1" -m venv --without-pip "$home/venv" &&
    "$home/venv/bin/python" "$(echo "$home"/wheels/pip-*.whl)/pip" --isolated --no-input install --quiet --no-index \
      --no-cache-dir --disable-pip-version-check --root-user-action=ignore --require-hashes \
      --find-links "$home/wheels" --requirement "$home/requirements.txt"; }; then
    rm -rf "$home"
    fail "the wheels cannot be installed"
  fi
  rm -rf "$home/wheels"
  touch "$home/.installed"
}

# Let this version run: the link first, then each worker drains and is started anew, one after the other.
switch() {
  local unit wanted
  for unit in "$single" "$template"; do
    cmp -s "$home/units/$unit" "$systemd/$unit" || install -m 644 "$home/units/$unit" "$systemd/$unit"
  done
  ln -sfn "$home" "$root/.current"
  mv -T "$root/.current" "$current"
  systemctl daemon-reload
  wanted=" $(wanted | tr '\n' ' ')"
  for unit in $(enabled); do
    case "$wanted" in *" $unit "*) ;; *) systemctl disable --quiet --now "$unit" ;; esac
  done
  for unit in $wanted; do
    systemctl enable --quiet "$unit"
    if runs_another "$unit"; then
      say "draining and restarting $unit"
      systemctl restart "$unit"
    else
      systemctl start "$unit"
    fi
  done
}

# A worker stays in the directory of the version that it was started from.
runs_another() {
  local process
  process=$(systemctl show --property MainPID --value "$1")
  [ "$process" != 0 ] && [ "$(readlink "/proc/$process/cwd")" != "$home/app" ]
}

wanted() {
  if [ "$units" = 1 ]; then
    echo "$single"
  else
    seq -f "${template%.service}%g.service" "$units"
  fi
}

# All at once; as patterns, which may match none.
stop_workers() { systemctl stop "${single%.service}[.]service" "${template%.service}*.service"; }

# By their links, which outlive the unit files.
enabled() {
  local link
  for link in "$systemd/multi-user.target.wants/${single%.service}"*.service; do
    if [ -L "$link" ]; then basename "$link"; fi
  done
}

# -- removing ----------------------------------------------------------------------------------------------------------

remove_version() {
  local running unit
  running=$(readlink "$current" || true)
  if [ -n "$running" ] && [ "$running" != "$home" ]; then
    rm -rf "$home"
    say "removed; ${running##*/} runs on"
    return
  fi
  say "draining the workers"
  for unit in $(enabled); do
    systemctl disable --quiet "$unit"
  done
  stop_workers
  rm -f "${systemd:?}/$single" "$systemd/$template"
  systemctl daemon-reload
  systemctl reset-failed "${single%.service}*" 2>/dev/null || true
  rm -rf "$versions" "$current" "$root/.current" /run/spotfsm /run/private/spotfsm
  if [ -d "$root" ]; then rmdir --ignore-fail-on-non-empty "$root"; fi # what else lies there is not ours
  if [ "$1" = --keep-data ] || [ -e "$keep" ]; then
    say "removed; $state is kept"
  else
    rm -rf "$state" /var/lib/private/spotfsm
    say "removed"
  fi
}

main "$@"
