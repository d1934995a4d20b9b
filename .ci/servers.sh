#!/usr/bin/env bash
# Unpacks Prometheus (with promtool) and Alertmanager (with amtool) from Debian packages; nothing is installed, no root is needed.
#
#   .ci/servers.sh [FOLDER]      default: .cache/servers beside this repository
#
# FOLDER/old/usr/bin holds the programs of this machine's own release, FOLDER/new/usr/bin those of a newer suite, if one can be had.
# A second run finds them there and does nothing.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
folder=${1:-$here/.cache/servers}
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
programs="prometheus promtool prometheus-alertmanager amtool"

say() { echo "servers: $*"; }

complete() {
    local program
    for program in $programs; do
        [ -x "$folder/$1/usr/bin/$program" ] || return 1
    done
}

# The machine's own sources, optionally with another suite; security and update pockets exist only for the machine's own.
sources() {
    local suite=$1 target=$2 file
    mkdir -p "$target"
    for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
        [ -f "$file" ] || continue
        if [ -z "$suite" ]; then
            cp "$file" "$target/"
        else
            sed -nE "s/^(deb +(\[[^]]*\] +)?[^ ]*\/debian\/? +)[a-z]+ /\1$suite /p" "$file" >"$target/$(basename "$file")"
        fi
    done
    for file in /etc/apt/sources.list.d/*.sources; do
        [ -f "$file" ] || continue
        if [ -z "$suite" ]; then
            cp "$file" "$target/"
        else
            sed '/^[[:space:]]*#/d' "$file" | awk -v suite="$suite" '
                BEGIN { RS = ""; ORS = "\n\n" }
                /\/debian\/?(\n|$)/ && !/-security/ { gsub(/\nSuites:[^\n]*/, "\nSuites: " suite); print }' >"$target/$(basename "$file")"
        fi
    done
}

# One apt-get that reads and writes only below the work folder.
private() {
    local work=$1
    shift
    mkdir -p "$work/lists/partial" "$work/archives/partial"
    "$1" -q -o Dir::Etc::SourceList=/dev/null -o Dir::Etc::SourceParts="$work/sources" -o Dir::State::Lists="$work/lists" \
        -o Dir::Cache="$work" -o Acquire::Languages=none -o Acquire::Retries=3 -o APT::Sandbox::User= "${@:2}"
}

# packages WORK: what of the four programs' packages this suite has (older prometheus packages contain promtool).
packages() {
    local work=$1 name
    for name in prometheus promtool prometheus-alertmanager; do
        if private "$work" apt-cache policy "$name" | grep 'Candidate: [0-9]' >/dev/null; then echo "$name"; fi
    done
}

fetch() {
    local series=$1 suite=$2 work root
    work=$(mktemp -d "$folder/work.XXXXXX")
    root=$work/root
    sources "$suite" "$work/sources"
    if private "$work" apt-get update >"$work/log" 2>&1 &&
        (cd "$work" && private "$work" apt-get download $(packages "$work")) >>"$work/log" 2>&1; then
        mkdir "$root"
        find "$work" -maxdepth 1 -name '*.deb' -exec dpkg -x {} "$root" \;
        # Debian's Alertmanager opens its built-in templates under /usr/share. A path of the same length, relative to the unpacked
        # tree, makes it run without being installed: start it with that tree as its working folder.
        LC_ALL=C sed -i 's#/usr/share/prometheus/alertmanager#usr//share/prometheus/alertmanager#g' "$root/usr/bin/prometheus-alertmanager"
        rm -rf "${folder:?}/$series"
        mv "$root" "$folder/$series"
    fi
    if ! complete "$series"; then tail -n 3 "$work/log" >&2; fi
    rm -rf "$work"
    complete "$series"
}

complete old || fetch old "" || { say "Prometheus and Alertmanager could not be unpacked from this machine's Debian packages" >&2; exit 1; }
say "old: $("$folder/old/usr/bin/promtool" --version 2>&1 | head -n 1) in $folder/old"

if ! complete new; then
    for suite in forky sid; do
        fetch new "$suite" 2>/dev/null && break
    done
fi
if complete new; then
    say "new: $("$folder/new/usr/bin/promtool" --version 2>&1 | head -n 1) in $folder/new"
else
    say "new: no newer suite could be read; the tests on the newer Prometheus are skipped"
fi
