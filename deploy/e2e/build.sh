#!/usr/bin/env bash
# Builds what `make e2e` runs and no package of the system offers, from Go modules, once per pinned version: the
# Collector, Jaeger, and the Prometheus of the compose file. Binaries and Go's own caches live outside the tree.
# Prints E2E_OTELCOL=PATH and the like.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
store="${XDG_CACHE_HOME:-$HOME/.cache}/otel-loopblock/e2e"
builder=v0.155.0

command -v go >/dev/null || { echo "build.sh: Go is needed to build the Collector, Jaeger and Prometheus" >&2; exit 1; }
export GOFLAGS="-buildvcs=false -p=2" GOWORK=off
mkdir -p "$store"

otelcol="$store/otelcol-$(sha256sum <"$here/collector-builder.yaml" | cut -c1-12)"
if [ ! -x "$otelcol" ]; then
  echo "building the Collector ($builder)" >&2
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  sed "s#^dist:#dist:\n  output_path: $work/sources#" "$here/collector-builder.yaml" >"$work/builder.yaml"
  GOBIN="$work" nice go install "go.opentelemetry.io/collector/cmd/builder@$builder" >&2
  "$work/builder" --skip-compilation --config "$work/builder.yaml" >&2
  (cd "$work/sources" && nice go build -trimpath -ldflags='-s -w' -o "$otelcol.part" .) >&2
  mv "$otelcol.part" "$otelcol"  # by its name only when it is complete
fi
echo "E2E_OTELCOL=$otelcol"

# program NAME VARIABLE MODULE PACKAGE [FLAG ...]: a program of the module that $here/MODULE/go.mod pins.
program() {
  local name=$1 variable=$2 folder=$here/$3 package=$4 pins path
  shift 4
  pins=$(cat "$folder/go.mod" "$folder/go.sum" | sha256sum | cut -c1-12)
  path="$store/$name-$pins"
  if [ ! -x "$path" ]; then
    echo "building $name ($folder/go.mod)" >&2
    (cd "$folder" && nice go build -mod=readonly -trimpath -ldflags='-s -w' "$@" -o "$path.part" "$package") >&2
    mv "$path.part" "$path"
  fi
  echo "$variable=$path"
}

program jaeger E2E_JAEGER jaeger github.com/jaegertracing/jaeger/cmd/jaeger
# Without the service discovery of two dozen clouds, which is most of the work.
program prometheus E2E_PROMETHEUS prometheus github.com/prometheus/prometheus/cmd/prometheus -tags remove_all_sd
program promtool E2E_PROMTOOL prometheus github.com/prometheus/prometheus/cmd/promtool -tags remove_all_sd
