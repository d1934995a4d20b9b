#!/usr/bin/env bash
# Unpacks Prometheus (with promtool), Alertmanager (with amtool), VictoriaMetrics (with vmagent and vmalert) and kustomize from Debian
# packages; nothing is installed, no root is needed.
#
#   .ci/servers.sh [FOLDER]      default: .cache/servers beside this repository
#
# FOLDER/old/usr/bin holds the programs of this machine's own release, FOLDER/new/usr/bin those of a newer suite, if one can be had:
# VictoriaMetrics and kustomize are only there. A second run finds them and does nothing; one that finds some fetches what is missing.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
folder=${1:-$here/.cache/servers}
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
programs="prometheus promtool prometheus-alertmanager amtool"
victoria_programs="victoria-metrics vmagent vmalert"
new_programs="$victoria_programs kustomize"

say() { echo "servers: $*"; }

# has SERIES PROGRAM...
has() {
    local series=$1 program
    for program in "${@:2}"; do
        [ -x "$folder/$series/usr/bin/$program" ] || return 1
    done
}

complete() {
    if [ "$1" = old ]; then has old $programs; else has new $programs $new_programs; fi
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
        -o Dir::Cache="$work" -o Dir::Cache::pkgcache=packages.bin -o Acquire::Languages=none -o Acquire::Retries=3 -o APT::Sandbox::User= "${@:2}"
}

# packages WORK SERIES: what this suite has of the packages of the missing programs (older prometheus packages contain promtool).
packages() {
    local work=$1 series=$2 names=""
    has "$series" $programs || names="prometheus promtool prometheus-alertmanager"
    [ "$series" = old ] || has "$series" $victoria_programs || names="$names victoria-metrics"
    [ "$series" = old ] || has "$series" kustomize || names="$names kustomize"
    private "$work" apt-cache madison $names | awk '{ print $1 }' | sort -u
}

# unpack PACKAGE ROOT: VictoriaMetrics's has 200 MB more, behind the programs that are wanted: tar ends when it has them.
unpack() {
    case $(basename "$1") in
    victoria-metrics_*)
        mkdir -p "$2"
        dpkg-deb --fsys-tarfile "$1" 2>/dev/null | tar -x --occurrence=1 -C "$2" $(printf './usr/bin/%s ' $victoria_programs) || true
        ;;
    *) dpkg -x "$1" "$2" ;;
    esac
}

fetch() {
    local series=$1 suite=$2 work root package
    work=$(mktemp -d "$folder/work.XXXXXX")
    root=$work/root
    sources "$suite" "$work/sources"
    if private "$work" apt-get update >"$work/log" 2>&1 &&
        (cd "$work" && private "$work" apt-get download $(packages "$work" "$series")) >>"$work/log" 2>&1; then
        for package in "$work"/*.deb; do [ ! -e "$package" ] || unpack "$package" "$root"; done
        # Debian's Alertmanager opens its built-in templates under /usr/share. A path of the same length, relative to the unpacked
        # tree, makes it run without being installed: start it with that tree as its working folder.
        if [ -e "$root/usr/bin/prometheus-alertmanager" ]; then
            LC_ALL=C sed -i 's#/usr/share/prometheus/alertmanager#usr//share/prometheus/alertmanager#g' \
                "$root/usr/bin/prometheus-alertmanager"
        fi
        # The programs last, each in one step: one that is there is whole.
        if [ -d "$root/usr/bin" ]; then
            mkdir -p "$folder/$series/usr/bin"
            mv "$root/usr/bin" "$work/bin"
            cp -a "$root/." "$folder/$series/"
            mv -f "$work/bin"/* "$folder/$series/usr/bin/"
        fi
    fi
    if ! complete "$series"; then tail -n 3 "$work/log" >&2; fi
    rm -rf "$work"
    complete "$series"
}

# The two series at once: unpacking takes a processor longer than fetching does.
newer() {
    local suite
    for suite in forky sid; do
        complete new || fetch new "$suite" || true
    done
}

newer &
complete old || fetch old "" || { wait; say "Prometheus and Alertmanager could not be unpacked from this machine's Debian packages" >&2; exit 1; }
say "old: $("$folder/old/usr/bin/promtool" --version 2>&1 | head -n 1) in $folder/old"
wait
if has new $programs; then
    say "new: $("$folder/new/usr/bin/promtool" --version 2>&1 | head -n 1) in $folder/new"
else
    say "new: no newer suite could be read; the tests on the newer Prometheus are skipped"
fi
if has new $new_programs; then
    say "new: VictoriaMetrics, vmagent, vmalert and kustomize in $folder/new"
else
    say "new: VictoriaMetrics and kustomize could not both be unpacked from Debian's newer suites; the tests on them are skipped"
fi
