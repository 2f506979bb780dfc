#!/usr/bin/env bash
# Builds the Collector and Jaeger that `make e2e` runs, from their Go modules, once per pinned version:
# the binaries and Go's own caches live outside the tree. Prints `E2E_OTELCOL=PATH` and `E2E_JAEGER=PATH`.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
store="${XDG_CACHE_HOME:-$HOME/.cache}/otel-loopblock/e2e"
builder=v0.155.0

command -v go >/dev/null || { echo "build.sh: Go is needed to build the Collector and Jaeger" >&2; exit 1; }
# The build is a guest on the machine that runs it, and takes a name of its own until it is complete.
export GOFLAGS="-buildvcs=false -p=2" GOWORK=off
mkdir -p "$store"

otelcol="$store/otelcol-$(sha256sum <"$here/collector-builder.yaml" | cut -c1-12)"
if [ ! -x "$otelcol" ]; then
  echo "building the Collector ($builder)" >&2
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  sed "s#^dist:#dist:\n  output_path: $work/sources#" "$here/collector-builder.yaml" >"$work/builder.yaml"
  GOBIN="$work" nice -n 15 go install "go.opentelemetry.io/collector/cmd/builder@$builder" >&2
  "$work/builder" --skip-compilation --config "$work/builder.yaml" >&2
  (cd "$work/sources" && nice -n 15 go build -trimpath -ldflags='-s -w' -o "$otelcol.part" .) >&2
  mv "$otelcol.part" "$otelcol"
fi
echo "E2E_OTELCOL=$otelcol"

jaeger="$store/jaeger-$(cat "$here/jaeger/go.mod" "$here/jaeger/go.sum" | sha256sum | cut -c1-12)"
if [ ! -x "$jaeger" ]; then
  echo "building Jaeger (as jaeger/go.mod says)" >&2
  (cd "$here/jaeger" && nice -n 15 go build -mod=readonly -trimpath -ldflags='-s -w' -o "$jaeger.part" \
    github.com/jaegertracing/jaeger/cmd/jaeger) >&2
  mv "$jaeger.part" "$jaeger"
fi
echo "E2E_JAEGER=$jaeger"
