#!/bin/sh
# Any command of spotfsm as the worker would run it: its user, its settings, its directories. Another user's files
# would be in the worker's way. For root: /opt/spotfsm/current/spotfsm doctor
exec systemd-run --quiet --collect --wait --pty --pipe \
  --property=DynamicUser=yes --property=User=spotfsm --property=StateDirectory=spotfsm \
  --property=StateDirectoryMode=0700 --property=RuntimeDirectory=spotfsm --property=RuntimeDirectoryMode=0700 \
  --property=RuntimeDirectoryPreserve=yes --property=EnvironmentFile=-/etc/spotfsm/worker.env \
  --property=WorkingDirectory=/opt/spotfsm/current/app --setenv=HOME=/var/lib/spotfsm \
  --setenv=SPOTFSM_CONFIG=/opt/spotfsm/current/spotfsm.toml \
  /opt/spotfsm/current/venv/bin/spotfsm "$@"
