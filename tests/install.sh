#!/usr/bin/env bash
# Installs what the integration tests need, on Debian or Ubuntu, as root: runtimes and services by apt; httpbin and
# clients into a Python virtual environment; verdaccio and clients by npm; clients by Go, Cargo and Maven. Can be run
# again: what is there is left alone.
#
# Environment: REGRESS_TEST_TOOLS, the folder for the virtual environment and the npm packages
# (default: regress-tests in the user's cache folder; the tests look there, too).
set -euo pipefail

tools=${REGRESS_TEST_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/regress-tests}
packages=(nginx-light php-cli php-curl php-fpm clang-14 llvm-14 libbpf-dev curl python3 python3-venv util-linux procps iproute2 openssl
    qemu-system-x86 busybox-static cpio kmod xz-utils chromium redis-server webdis prometheus-redis-exporter
    mariadb-server mariadb-client php-mysql adminer
    postgresql php-pgsql prometheus-postgres-exporter)
python=(httpbin==0.10.2 gunicorn==23.0.0 requests==2.32.3 httpx==0.28.1 redis==5.2.1 grpcio==1.85.3 PyMySQL==1.1.1
    'psycopg[binary,pool]==3.2.9' aiohttp==3.12.15 "moto[server]==5.2.5")
node=(verdaccio@6.1.6 ioredis@5.4.1 @grpc/grpc-js@1.14.7 mysql2@3.12.0 pg@8.16.0)

say() { printf 'install: %s\n' "$*"; }

# apt starts the services it installs unless this policy says no; an existing policy is put back.
policy=/usr/sbin/policy-rc.d
forbid_services() {
    if [ -e "$policy" ]; then mv "$policy" "$policy.before-regress"; fi
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
    trap allow_services EXIT
}
allow_services() {
    rm -f "$policy"
    if [ -e "$policy.before-regress" ]; then mv "$policy.before-regress" "$policy"; fi
}

missing_packages() {
    local package
    for package in "${packages[@]}"; do
        # shellcheck disable=SC2016 # ${Status} is for dpkg-query.
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q '^install ok installed$' || printf '%s\n' "$package"
    done
    command -v node >/dev/null || printf 'nodejs\n'
    command -v npm >/dev/null || printf 'npm\n'
    command -v go >/dev/null || printf 'golang-go\n'
    command -v javac >/dev/null || printf 'default-jdk-headless\n'
    command -v mvn >/dev/null || printf 'maven\n'
}

mapfile -t missing < <(missing_packages)
if [ ${#missing[@]} -gt 0 ]; then
    say "apt packages ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    forbid_services
    apt-get -qq update
    apt-get -qq install --yes --no-install-recommends "${missing[@]}" >/dev/null
    allow_services
    trap - EXIT
else
    say "apt packages are there"
fi

mkdir -p "$tools"

# A note of what was asked for makes a second run quick, and a changed version a new install.
if [ "$(cat "$tools/venv/asked-for" 2>/dev/null)" != "${python[*]}" ]; then
    say "Python packages ${python[*]} into $tools/venv"
    rm -rf "$tools/venv"
    # The system's Python: every user may run it, unlike one that lives in somebody's home.
    /usr/bin/python3 -m venv "$tools/venv"
    "$tools/venv/bin/pip" install --quiet --disable-pip-version-check "${python[@]}"
    printf '%s' "${python[*]}" >"$tools/venv/asked-for"
else
    say "Python packages are in $tools/venv"
fi

if [ "$(cat "$tools/node_modules/asked-for" 2>/dev/null)" != "${node[*]}" ]; then
    say "npm packages ${node[*]} into $tools/node_modules"
    rm -rf "$tools/node_modules" "$tools/package-lock.json"
    # One of its dependencies asks for node-fetch by a tag that not every registry mirror has.
    printf '{"private":true,"overrides":{"node-fetch":"^2.7.0"}}\n' >"$tools/package.json"
    (cd "$tools" && npm install --silent --no-audit --no-fund --ignore-scripts "${node[@]}")
    printf '%s' "${node[*]}" >"$tools/node_modules/asked-for"
else
    say "npm packages are in $tools/node_modules"
fi

# What the services in tests/services that are built need. They are built here as well, so that tests, which have other things to
# do at the same time, find it done.
services=$(dirname "$(realpath "$0")")/services

# The jars that a service's pom.xml asks for, into a folder of that name.
jars() {
    if cmp --silent "$services/$1/pom.xml" "$tools/$1/asked-for"; then
        say "jars of $1 are there"
        return
    fi
    say "jars of $1 into $tools/$1"
    rm -rf "${tools:?}/$1"
    mvn --quiet --batch-mode --file "$services/$1/pom.xml" \
        org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies \
        -DincludeScope=runtime "-DoutputDirectory=$tools/$1"
    cp "$services/$1/pom.xml" "$tools/$1/asked-for"
}
jars clients-java
jars grpc-java

say "services in Go"
for service in clients-go grpc-go; do
    (cd "$services/$service" && CGO_ENABLED=0 GOTOOLCHAIN=local go build -o /dev/null .)
done

say "services in Rust"
cargo build --quiet --locked --manifest-path "$services/clients-rust/Cargo.toml" --target-dir "$tools/clients-rust"
cargo build --release --quiet --locked --manifest-path "$services/grpc-tonic/Cargo.toml" --target-dir "$tools/grpc-tonic"
# It has no lock of its own: where nothing is installed it is built of what the tests are built of.
cargo build --release --quiet --manifest-path "$services/shop-tokio/Cargo.toml" --target-dir "$tools/shop-tokio"

say "done"
