#!/usr/bin/env bash
# Installs what the benchmarks compare with, on Debian or Ubuntu, as root: services and peers by apt, mitmproxy into a
# Python virtual environment, HTTP clients and mountebank by npm, WireMock by Maven. Can be run again: what is there is left alone. Go, Node.js and nginx
# come with tests/install.sh as well.
#
# Environment: REGRESS_BENCH_TOOLS, the folder for the virtual environment and the npm packages
# (default: regress-bench in the user's cache folder; the benchmarks look there, too).
set -euo pipefail

tools=${REGRESS_BENCH_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/regress-bench}
packages=(nginx-light python3 python3-venv ruby puma php-cli php-curl libapache2-mod-php php-fpm tcpdump strace)
mitmproxy=mitmproxy==11.0.2
clients=(undici@6.29.1 axios@1.21.1 mountebank@2.9.1)
wiremock=org.wiremock:wiremock-standalone:3.9.1

say() { printf 'install: %s\n' "$*"; }

missing=()
for package in "${packages[@]}"; do
    # shellcheck disable=SC2016 # ${Status} is for dpkg-query.
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q '^install ok installed$' || missing+=("$package")
done
command -v node >/dev/null || missing+=(nodejs)
command -v npm >/dev/null || missing+=(npm)
command -v go >/dev/null || missing+=(golang-go)
command -v java >/dev/null || missing+=(default-jre-headless)
command -v mvn >/dev/null || missing+=(maven)

# apt starts the services it installs unless this policy says no; an existing policy is left as it is.
policy=/usr/sbin/policy-rc.d
if [ ${#missing[@]} -gt 0 ]; then
    say "apt packages ${missing[*]}"
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
        trap 'rm -f "$policy"' EXIT
    fi
    export DEBIAN_FRONTEND=noninteractive
    apt-get -qq update
    apt-get -qq install --yes --no-install-recommends "${missing[@]}" >/dev/null
else
    say "apt packages are there"
fi

# A note of what was asked for makes a second run quick, and a changed version a new install.
if [ "$(cat "$tools/venv/asked-for" 2>/dev/null)" != "$mitmproxy" ]; then
    say "$mitmproxy into $tools/venv"
    rm -rf "$tools/venv"
    mkdir -p "$tools"
    /usr/bin/python3 -m venv "$tools/venv"
    "$tools/venv/bin/pip" install --quiet --disable-pip-version-check "$mitmproxy"
    printf '%s' "$mitmproxy" >"$tools/venv/asked-for"
else
    say "$mitmproxy is in $tools/venv"
fi

if [ "$(cat "$tools/npm/asked-for" 2>/dev/null)" != "${clients[*]}" ]; then
    say "npm packages ${clients[*]} into $tools/npm"
    rm -rf "$tools/npm"
    mkdir -p "$tools/npm"
    printf '{"private":true}\n' >"$tools/npm/package.json"
    (cd "$tools/npm" && npm install --silent --no-audit --no-fund --ignore-scripts "${clients[@]}")
    printf '%s' "${clients[*]}" >"$tools/npm/asked-for"
else
    say "npm packages are in $tools/npm"
fi

if [ "$(cat "$tools/wiremock.asked-for" 2>/dev/null)" != "$wiremock" ]; then
    say "$wiremock into $tools/wiremock-standalone.jar"
    mvn --quiet dependency:copy -Dartifact="$wiremock" -DoutputDirectory="$tools/maven" >/dev/null
    mv "$tools"/maven/wiremock-standalone-*.jar "$tools/wiremock-standalone.jar"
    rmdir "$tools/maven"
    printf '%s' "$wiremock" >"$tools/wiremock.asked-for"
else
    say "WireMock is in $tools"
fi

say "done"
