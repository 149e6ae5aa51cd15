#!/usr/bin/env bash
# Installs what the benchmarks compare with, on Debian or Ubuntu, as root: services and peers by apt, mitmproxy, vcrpy and
# DeepDiff into Python virtual environments, clients of HTTP and of databases by pip, npm and Go, mountebank and
# jsondiffpatch by npm, WireMock and Hoverfly by Maven. Can be run again: what is there is left alone. Go, Node.js, nginx, Maven and the
# databases come with tests/install.sh as well.
#
# Environment: REGRESS_BENCH_TOOLS, the folder for everything that is not a package of the system
# (default: regress-bench in the user's cache folder; the benchmarks look there, too).
set -euo pipefail

tools=${REGRESS_BENCH_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/regress-bench}
packages=(nginx-light python3 python3-venv ruby puma php-cli php-curl php-pgsql php-mysql libapache2-mod-php php-fpm tcpdump strace
    postgresql mariadb-server)
wiremock=org.wiremock:wiremock-standalone:3.13.1
# Carries the program of Hoverfly 1.10.13.
hoverfly=io.specto:hoverfly-java:0.20.2

say() { printf 'install: %s\n' "$*"; }

# A note of what was asked for makes a second run quick, and a changed version a new install.
is_there() { [ "$(cat "$tools/$1/asked-for" 2>/dev/null)" = "${*:2}" ] && say "${*:2}: in $tools/$1"; }
note() { printf '%s' "${*:2}" >"$tools/$1/asked-for"; }

# FOLDER PACKAGE...
python_packages() {
    is_there "$@" && return
    say "Python packages ${*:2} into $tools/$1"
    rm -rf "${tools:?}/$1"
    /usr/bin/python3 -m venv "$tools/$1"
    "$tools/$1/bin/pip" install --quiet --disable-pip-version-check "${@:2}"
    note "$@"
}

# FOLDER PACKAGE...
node_packages() {
    is_there "$@" && return
    say "npm packages ${*:2} into $tools/$1"
    rm -rf "${tools:?}/$1"
    mkdir -p "$tools/$1"
    printf '{"private":true}\n' >"$tools/$1/package.json"
    (cd "$tools/$1" && npm install --silent --no-audit --no-fund --ignore-scripts "${@:2}")
    note "$@"
}

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

mkdir -p "$tools"
python_packages venv mitmproxy==11.0.2 vcrpy==7.0.0
python_packages diff-venv deepdiff==8.6.1
# Packages for services that the system's Python runs.
modules=(redis==5.2.1 'psycopg[binary,pool]==3.2.9' PyMySQL==1.1.1 SQLAlchemy==2.0.44 aiohttp==3.14.5 uvloop==0.23.0)
if ! is_there owners-python "${modules[@]}"; then
    say "Python packages ${modules[*]} into $tools/owners-python"
    rm -rf "$tools/owners-python"
    "$tools/venv/bin/pip" install --quiet --disable-pip-version-check --target "$tools/owners-python" "${modules[@]}"
    note owners-python "${modules[@]}"
fi
node_packages npm undici@6.29.1 axios@1.21.1 ioredis@5.4.1 pg@8.16.0 mysql2@3.12.0 mountebank@2.9.1
# Drivers for services in Go, which are built with this folder's go.mod.
drivers=(github.com/lib/pq@v1.10.9 github.com/go-sql-driver/mysql@v1.9.3 github.com/jackc/pgx/v5/stdlib@v5.7.6)
if ! is_there owners-go "${drivers[@]}"; then
    say "Go modules ${drivers[*]} into $tools/owners-go"
    rm -rf "$tools/owners-go"
    mkdir -p "$tools/owners-go"
    (cd "$tools/owners-go" && go mod init owners 2>/dev/null && go get "${drivers[@]}" 2>/dev/null)
    note owners-go "${drivers[@]}"
fi
# The same in Java.
jars=(org.slf4j:slf4j-api:2.0.17 org.slf4j:slf4j-nop:2.0.17 com.zaxxer:HikariCP:6.3.3 org.postgresql:postgresql:42.7.8
    org.mariadb.jdbc:mariadb-java-client:3.5.6)
if ! is_there owners-java "${jars[@]}"; then
    say "${jars[*]} into $tools/owners-java"
    rm -rf "$tools/owners-java"
    for jar in "${jars[@]}"; do
        mvn --quiet --batch-mode dependency:copy -Dartifact="$jar" -DoutputDirectory="$tools/owners-java"
    done
    note owners-java "${jars[@]}"
fi
node_packages diff-npm jsondiffpatch@0.7.7

jar=$tools/wiremock-standalone-${wiremock##*:}.jar
if [ ! -e "$jar" ]; then
    say "$wiremock into $tools"
    rm -f "$tools"/wiremock-standalone*.jar
    mvn --quiet --batch-mode dependency:copy -Dartifact="$wiremock" -DoutputDirectory="$tools"
else
    say "$wiremock is in $tools"
fi

if ! is_there hoverfly-java "$hoverfly"; then
    say "$hoverfly into $tools"
    mkdir -p "$tools/hoverfly-java"
    mvn --quiet --batch-mode dependency:copy -Dartifact="$hoverfly" -DoutputDirectory="$tools/hoverfly-java"
    jar=$tools/hoverfly-java/hoverfly-java-${hoverfly##*:}.jar
    /usr/bin/python3 -c 'import sys, zipfile; sys.stdout.buffer.write(zipfile.ZipFile(sys.argv[1]).read(sys.argv[2]))' \
        "$jar" "binaries/hoverfly_linux_$(dpkg --print-architecture)" >"$tools/hoverfly"
    chmod 755 "$tools/hoverfly"
    rm "$jar"
    note hoverfly-java "$hoverfly"
fi

say "done"
