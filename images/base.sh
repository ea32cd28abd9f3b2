#!/bin/sh
# A Debian base with Python 3.11, for those whose builders reach no registry of images:
#   images/base.sh | podman import - localhost/levelseq-base:bookworm
# Arguments go to mmdebstrap: a mirror, or a snapshot of one.
set -eu
exec mmdebstrap --variant=minbase --include=ca-certificates,python3,python3-venv \
  --dpkgopt='path-exclude=/usr/share/man/*' \
  --dpkgopt='path-exclude=/usr/share/locale/*' \
  --dpkgopt='path-exclude=/usr/share/doc/*' \
  --dpkgopt='path-include=/usr/share/doc/*/copyright' \
  bookworm - "$@"
