#!/usr/bin/env bash
# src/hook/java/build.sh [--check]: makes hook.jar from the sources here and from those of ASM, with a JDK 17, Maven and the
# network; with --check only says whether the jar that is here is made of them.
set -euo pipefail
cd "$(dirname "$0")"
asm=org.ow2.asm:asm:9.9.1:jar:sources
case $(javac -version 2>&1) in
    'javac 17.'*) ;;
    *) echo "src/hook/java/build.sh needs the javac of JDK 17" >&2; exit 1 ;;
esac
folder=$(mktemp -d)
trap 'rm -r "$folder"' EXIT
mkdir "$folder/sources" "$folder/classes"

mvn --quiet dependency:copy -Dartifact=$asm -DoutputDirectory="$folder"
(cd "$folder/sources" && jar --extract --file "$folder"/asm-*-sources.jar org/objectweb/asm)
# Under a name of its own: services have an ASM, too. Signatures are not read.
mkdir "$folder/sources/regress" "$folder/sources/regress/hook"
mv "$folder/sources/org/objectweb/asm" "$folder/sources/regress/hook/asm"
rm -r "$folder/sources/regress/hook/asm/signature"
find "$folder/sources" -name '*.java' -exec sed -i 's/org\.objectweb\.asm/regress.hook.asm/g' {} +

sources=()
while read -r file; do sources+=("$file"); done < <(find "$folder/sources/regress" regress -name '*.java' | sort)
javac -g:source,lines -source 17 -target 17 -encoding UTF-8 -nowarn -Xlint:-options -XDignore.symbol.file \
    --add-exports java.base/sun.nio.ch=ALL-UNNAMED --add-exports java.base/jdk.internal.misc=ALL-UNNAMED \
    -d "$folder/classes" "${sources[@]}" 2> >(grep -v '^Note: ' >&2)
# The licence of ASM, which has to go with it, is the head of each of its files.
sed -n '/^\/\//!q; s#^// \{0,1\}##p' "$folder/sources/regress/hook/asm/ClassReader.java" \
    >"$folder/classes/regress/hook/asm/LICENSE.txt"
jar --create --file "$folder/hook.jar" --manifest manifest --date 1980-01-01T00:00:02Z -C "$folder/classes" .

if [ "${1:-}" != --check ]; then
    mv "$folder/hook.jar" hook.jar
    exit
fi
# By what is in it: how much it is compressed depends on the JDK's zlib.
mkdir "$folder/here"
(cd "$folder/here" && jar --extract --file "$OLDPWD/hook.jar")
(mkdir "$folder/made" && cd "$folder/made" && jar --extract --file "$folder/hook.jar")
if ! diff --recursive --brief --exclude MANIFEST.MF "$folder/here" "$folder/made"; then
    echo "src/hook/java/hook.jar is not made from its sources: run src/hook/java/build.sh" >&2
    exit 1
fi
