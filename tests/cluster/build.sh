#!/usr/bin/env bash
# Builds programs of the test bed from source, each once for its recipe, into the cache; prints the directory of each.
#   build.sh [hyperkube|coredns|kube-router|pod|prometheus|helm]...    all of them when none is named
set -euo pipefail
. "$(dirname "$0")/lib.sh"

# Static programs, from exactly the sources that go.sum names.
export CGO_ENABLED=0 GOFLAGS="-mod=readonly -trimpath -buildvcs=false" GOWORK=off

package_of() {
  case $1 in
    kube-router) echo github.com/cloudnativelabs/kube-router/v2/cmd/kube-router ;;
    prometheus) echo github.com/prometheus/prometheus/cmd/prometheus ;;
    helm) echo helm.sh/helm/v4/cmd/helm ;;
    *) echo . ;;
  esac
}

# Of the many ways in which Prometheus finds what to scrape, a bed needs one; the others are most of its code.
tags_of() {
  [ "$1" != prometheus ] || echo remove_all_sd,enable_kubernetes_sd
}

link_flags_of() {
  local version
  printf -- '-s -w'
  if [ "$1" = hyperkube ]; then
    # Without these it calls itself v0.0.0-master, and clients warn about the difference.
    version=$(awk 'NF == 2 && $1 == "k8s.io/kubernetes" { print $2 }' "$here/hyperkube/go.mod")
    [ -n "$version" ] || die "hyperkube/go.mod does not say which Kubernetes it is"
    for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
      printf -- ' -X %s.gitVersion=%s' "$package" "$version"
    done
  fi
}

# Where a program belongs: its recipe is its directory here, how it is compiled and linked, and the machine.
place_of() {
  local recipe
  recipe=$({ cat "$here/$1"/*; package_of "$1"; tags_of "$1"; link_flags_of "$1"; uname -m; } | sha256sum)
  echo "$cache/$1-${recipe:0:16}"
}

check_go() {
  local version
  command -v go >/dev/null || die "Go is needed to build the test bed, 1.21 or newer"
  version=$(go env GOVERSION)
  # From 1.21 on, Go fetches the release that a go.mod asks for.
  printf '1.21\n%s\n' "${version#go}" | sort --version-sort --check=quiet ||
    die "Go 1.21 or newer is needed to build the test bed; this is $version"
}

# What to expect on two cores, with nothing of it compiled before.
time_of() {
  case $1 in
    hyperkube) echo ' (7 minutes on two cores)' ;;
    coredns | kube-router | prometheus | helm) echo ' (3 minutes on two cores)' ;;
  esac
}

compile() {
  local name=$1 work=$2 started=$SECONDS
  say "building $name$(time_of "$name"), once"
  (cd "$here/$name" && go build -v -tags "$(tags_of "$name")" -ldflags "$(link_flags_of "$name")" -o "$work/$name" "$(package_of "$name")") 2>&1 |
    tee "$work/log" | awk '!/^go: / && ++compiled % 200 == 0 { print "  " compiled " packages"; fflush() }' >&2 ||
    { tail -n 20 "$work/log" >&2; die "$name cannot be built"; }
  rm "$work/log"
  [ "$name" != hyperkube ] || ln -s hyperkube "$work/kubectl"
  say "built $name in $((SECONDS - started)) s"
}

# In a subshell of its own, which holds the lock.
build() {
  local name=$1 place=$2
  mkdir -p "$cache"
  exec 9>"$cache/.$name.lock"
  if ! flock --nonblock 9; then
    say "waiting for another build of $name"
    flock 9
  fi
  [ ! -d "$place" ] || return 0
  check_go
  # In the cache, so that the rename below stays within one file system: the place has a whole program or none.
  work=$(mktemp -d -p "$cache" ".$name.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  compile "$name" "$work"
  chmod 755 "$work"
  mv -T "$work" "$place"
}

[ $# -gt 0 ] || set -- hyperkube coredns kube-router pod prometheus helm
for name; do
  [ -e "$here/$name/go.mod" ] || die "there is no program $name; there are: hyperkube coredns kube-router pod prometheus helm"
  place=$(place_of "$name")
  [ -d "$place" ] || (build "$name" "$place")
  echo "$place"
done
