#!/bin/sh
# One of several workers, by its number: each serves its health at a port of its own, counted up from the first one's.
number=$1
shift
case $number in
  *[!0-9]*) ;;
  *)
    if [ "${SPOTFSM_HEALTH_PORT:-0}" -gt 0 ]; then
      SPOTFSM_HEALTH_PORT=$((SPOTFSM_HEALTH_PORT + number - 1))
      export SPOTFSM_HEALTH_PORT
    fi
    ;;
esac
exec /opt/spotfsm/current/venv/bin/spotfsm worker "$@"
