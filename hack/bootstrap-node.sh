#!/bin/bash
# Makes a node out of a machine with containerd: Glowplug in a prefix of its own, CRIU, the agent, the handler.
# For cloud-init, kubeadm and image builds, on Debian 12 and 13 and Ubuntu 24.04. Run again it changes only what
# is not as it should be; run from a newer checkout it upgrades, beside the version that is there.
#
#   hack/bootstrap-node.sh                  all of it
#   hack/bootstrap-node.sh --offline DIR    with no network: DIR as --download left it
#   hack/bootstrap-node.sh --download DIR   on a machine of the same kind: wheels, packages and CRIU into DIR
#
#   --prefix DIR      where to (/opt/glowplug)
#   --criu PROGRAM    this CRIU, 4.1 or newer, and no other
#   --no-handler      leave containerd's configuration as it is
#   -- ARGUMENTS      for `glowplug node install`: --no-restart in an image build, --restart-command COMMAND, …
case ${1:-} in -h | --help) sed -n '2,${/^#/!q;s/^# \{0,1\}//p}' "$0"; exit ;; esac
set -euo pipefail
cd "$(dirname "$0")/.."

PREFIX=/opt/glowplug
CONFIG=${GLOWPLUG_CONFIG:-/etc/glowplug/config.toml}
UNIT=glowplug-agent.service
SOCKET=/run/containerd/containerd.sock # Glowplug's own default

say() { echo "bootstrap-node: $*"; }

# Usage: wrong TEXT. For wrong input.
wrong() {
    echo "bootstrap-node: $*" >&2
    exit 2
}

fail() {
    echo "bootstrap-node: $*" >&2
    exit 1
}

offline=
download=
criu=
handler=yes
while [ $# -gt 0 ]; do
    case $1 in
    --prefix | --offline | --download | --criu)
        [ $# -gt 1 ] || wrong "$1: needs a path"
        [[ $2 = /* ]] || wrong "$1: expected an absolute path, got '$2'"
        case $1 in
        --prefix) PREFIX=${2%/} ;;
        --offline) offline=${2%/} ;;
        --download) download=${2%/} ;;
        --criu) criu=$2 ;;
        esac
        shift 2
        ;;
    --no-handler)
        handler=
        shift
        ;;
    --)
        shift
        break
        ;;
    *) wrong "expected --prefix, --offline, --download, --criu, --no-handler or --, got '$1'" ;;
    esac
done

[[ $PREFIX =~ ^(/[A-Za-z0-9._-]+)+$ ]] || wrong "--prefix: expected a directory of plain letters, got '$PREFIX'"
[ -z "$offline" ] || [ -z "$download" ] || wrong "expected --offline or --download, got both"
[ -z "$offline" ] || [ -d "$offline" ] || wrong "--offline: $offline is not a directory"
[ -z "$criu" ] || [ -x "$criu" ] || wrong "--criu: $criu is not a program"
# Ours, empty, or not there: `glowplug node uninstall --purge` removes all of it.
is_free() { [ ! -e "$1" ] || [ -e "$1/.glowplug-prefix" ] || [ -z "$(ls -A "$1")" ]; }
[ -n "$download" ] || is_free "$PREFIX" ||
    wrong "--prefix: $PREFIX holds files that are not Glowplug's: name a directory for Glowplug alone"
[ "$(id -u)" = 0 ] || wrong "must run as root (uid $(id -u))"
system=$(. /etc/os-release && echo "$ID ${VERSION_ID:-$VERSION_CODENAME}")
case $system in
"debian 12" | "debian 13" | "debian sid" | "ubuntu 24.04") ;;
*) wrong "expected Debian 12 or 13, or Ubuntu 24.04, got $system" ;;
esac
# Usage: containerd_of SOCKET. The process that listens there.
containerd_of() {
    /usr/bin/python3 -c 'import socket, struct, sys
connection = socket.socket(socket.AF_UNIX)
connection.connect(sys.argv[1])
print(struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0])' "$1" 2>/dev/null
}

# The socket of the containerd that runs here; a distribution's own before a plain one (node/makers.py).
containerd_socket() {
    local socket
    for socket in /run/k3s/containerd/containerd.sock /run/k0s/containerd.sock \
        /var/snap/microk8s/common/run/containerd.sock "$SOCKET"; do
        containerd_of "$socket" >/dev/null && echo "$socket" && return
    done
    true
}

# The PATH of that containerd, which its shims have: k3s and RKE2 bring a runc along that only theirs names.
containerd_path() {
    local socket
    socket=$(containerd_socket)
    [ -n "$socket" ] || return 0
    tr '\0' '\n' <"/proc/$(containerd_of "$socket")/environ" 2>/dev/null | sed -n 's/^PATH=//p'
}

if [ -n "$handler" ] && [ -z "$download" ] && ! command -v containerd >/dev/null && [ -z "$(containerd_socket)" ] &&
    [[ " $* " != *" --containerd "* ]]; then
    fail "there is no containerd: install it first (k3s, RKE2, k0s, MicroK8s: start it first), or give --no-handler"
fi

# Usage: require_writable PATH… Before anything is changed: on some systems these are the image's.
require_writable() {
    local path
    for path; do
        while [ ! -e "$path" ]; do path=$(dirname "$path"); done
        [ -w "$path" ] || fail "$path can't be written, its file system is read-only: on a system whose files are its" \
            "image's, Glowplug has to come with that image; --prefix names another place for /opt/glowplug"
    done
}
[ -n "$download" ] || require_writable "$PREFIX" "$(dirname "$CONFIG")" /etc/systemd/system

find_runc() { PATH=$(containerd_path):$PATH command -v runc; }

has_python() { /usr/bin/python3 -c 'import ctypes, ssl, venv' 2>/dev/null; }

missing_packages() {
    has_python && /usr/bin/python3 -c 'import ensurepip' 2>/dev/null || echo python3 python3-venv
    find_runc >/dev/null || echo runc
    [ -e /etc/ssl/certs/ca-certificates.crt ] || echo ca-certificates
}

# Usage: is_installed PACKAGE. Whatever is expected of it: one that is on hold is there, too.
is_installed() { [[ $(dpkg-query -W -f '${db:Status-Abbrev}' "$1" 2>/dev/null) = ?i* ]]; }

# Usage: install_offline GROUP. The packages of a directory of the bundle that this machine lacks; none is replaced.
install_offline() {
    local file packages=()
    for file in "$offline/$1"/*.deb; do
        [ -e "$file" ] || fail "$offline has no packages for $1, which this node lacks: make it with --download on such a system"
        is_installed "$(dpkg-deb -f "$file" Package)" || packages+=("$file")
    done
    [ ${#packages[@]} -gt 0 ] || return 0
    say "installs ${#packages[@]} packages of $offline/$1"
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends --no-remove \
        -o Dir::Etc::SourceList=/dev/null -o Dir::Etc::SourceParts=/dev/null -o APT::Sandbox::User=root \
        -o DPkg::Lock::Timeout=300 "${packages[@]}" </dev/null >/dev/null
}

# A package is taken only where what it brings is missing: Docker's containerd.io brings a runc and conflicts with
# Debian's, and a python3-venv fits one build of python3 alone (offline it is not needed: see make_version).
install_packages() {
    local missing
    if [ -n "$offline" ]; then
        has_python || install_offline python
        find_runc >/dev/null || install_offline runc
        # Not through a pipe: `grep -q` ends at its first line, and ldd's end by SIGPIPE would count (pipefail).
        if [ -z "$criu" ] && [[ $(ldd "$offline/criu" 2>&1) = *"not found"* ]]; then install_offline criu-libraries; fi
        has_python || fail "/usr/bin/python3 lacks a module of ctypes, ssl and venv: install all of this system's python3"
        return
    fi
    missing=$(missing_packages)
    [ -n "$missing" ] || return 0
    say "installs" $missing
    # shellcheck disable=SC2086 # names of packages
    hack/apt_install $missing
}

# Leaves $PREFIX/criu/bin/criu: the version that Glowplug is tested with, or the one that was chosen.
install_criu() {
    local target=$PREFIX/criu/bin/criu source=$criu found
    if [ -z "$source" ] && [ -n "$offline" ]; then
        source=$offline/criu
        [ -x "$source" ] || fail "no CRIU in $offline: make the directory with --download"
    elif [ -z "$source" ]; then
        if [ -x "$target" ] && [ "$(cat "$PREFIX/criu/works-on" 2>/dev/null)" = "$(uname -r)" ]; then
            return 0
        fi
        hack/setup_criu --pinned 2> >(sed 's/^setup:/bootstrap-node:/') ||
            fail "CRIU could not be had (above): give --criu PROGRAM, or --offline DIR"
        source=.build/criu/bin/criu
    fi
    mkdir -p "$PREFIX/criu/bin"
    if [ -L "$source" ]; then
        ln -sfn "$(readlink -f "$source")" "$target.new"
    else
        install -m 755 "$source" "$target.new"
    fi
    found=$({ "$target.new" --version || true; } | sed -n 's/^Version: //p')
    dpkg --compare-versions "${found:-0}" ge 4.1 || {
        rm "$target.new"
        fail "expected CRIU 4.1 or newer, got ${found:-none that runs} at $source"
    }
    mv -T "$target.new" "$target"
    uname -r >"$PREFIX/criu/works-on"
}

# A copy, since building a wheel writes into its source.
copy_source() {
    cp -r pyproject.toml README.md LICENSE shim runtime_config "$1"
    find "$1" \( -name __pycache__ -o -name '*.egg-info' \) -prune -exec rm -rf {} +
}

# The one that a virtual environment is made for: with another, as after an upgrade of the system, it is none.
python_series() { /usr/bin/python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])'; }

# One name for one content: the version, and a digest of what is installed, and Python's series.
version_of_source() {
    local version digest
    version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' shim/glowplug/__init__.py)
    digest=$(find pyproject.toml shim runtime_config -type f ! -path '*/__pycache__/*' ! -path '*.egg-info/*' -print0 |
        sort -z | xargs -0 sha256sum | sha256sum)
    echo "$version-${digest:0:12}-py$(python_series)"
}

version_offline() {
    local wheel
    wheel=$(ls "$offline"/glowplug-*.whl 2>/dev/null | tail -1)
    [ -n "$wheel" ] || fail "no wheel of glowplug in $offline: make the directory with --download"
    wheel=$(basename "$wheel" .whl) && wheel=${wheel#glowplug-}
    echo "${wheel%%-*}-$(cat "$offline"/*.whl | sha256sum | cut -c1-12)-py$(python_series)"
}

# Usage: make_version NAME. A virtual environment, beside the other versions.
make_version() {
    local directory=$PREFIX/versions/$1 source
    [ ! -e "$directory/.complete" ] || return 0
    say "installs Glowplug $1"
    rm -rf "$directory"
    mkdir -p "$PREFIX/versions"
    if [ -n "$offline" ]; then
        # pip runs from its own wheel: the node needs no ensurepip, which is of one build of Python alone.
        /usr/bin/python3 -m venv --without-pip "$directory"
        PYTHONPATH=$(ls "$offline"/pip-*.whl | tail -1) "$directory/bin/python" -m pip install -q \
            --disable-pip-version-check --no-index --find-links "$offline" 'glowplug[kubernetes]'
    else
        /usr/bin/python3 -m venv "$directory"
        source=$(mktemp -d)
        copy_source "$source"
        "$directory/bin/python" -m pip install -q --disable-pip-version-check "${source}[kubernetes]"
        rm -rf "$source"
    fi
    touch "$directory/.complete"
}

# Usage: require_settings NAME. An agent whose configuration has a key that its version does not know would not start.
require_settings() {
    [ -e "$CONFIG" ] || return 0
    "$PREFIX/versions/$1/bin/glowplug" config check "$CONFIG" >&2 ||
        fail "$CONFIG is not one of Glowplug $1 (see above): correct it, and run this again; what runs is left alone"
}

# Usage: switch_to NAME. Paths in $PREFIX/bin stay the same: running pods continue calling them. The version before
# stays too, for a restore that is under way; older ones go.
switch_to() {
    local before name
    before=$(readlink "$PREFIX/current" || true)
    mkdir -p "$PREFIX/bin"
    for name in glowplug glowplug-runtime; do
        ln -sfn "../current/bin/$name" "$PREFIX/bin/$name.new"
        mv -T "$PREFIX/bin/$name.new" "$PREFIX/bin/$name"
    done
    [ "$before" != "versions/$1" ] || return 0
    ln -sfn "versions/$1" "$PREFIX/current.new"
    mv -T "$PREFIX/current.new" "$PREFIX/current"
    for name in "$PREFIX"/versions/*; do
        [ "$name" = "$PREFIX/versions/$1" ] || [ "$name" = "$PREFIX/$before" ] || rm -rf "$name"
    done
}

# Usage: lasting FILE. By the name that an upgrade of k3s, RKE2 or MicroK8s keeps.
lasting() {
    "$PREFIX/current/bin/python" -c 'import sys; from glowplug.node.lasting import lasting; print(lasting(sys.argv[1]))' "$1"
}

# Usage: says KEY. Whether the configuration has it.
says() { grep -qs "^[[:space:]]*$1[[:space:]]*=" "$CONFIG"; }

# Where CRIU, runc and containerd are, unless the configuration says so: the defaults may be another node's. What is
# there stays as it is. `changed`: the agent has to read it again.
write_settings() {
    local socket file lines=()
    socket=$(containerd_socket)
    case $socket in "$SOCKET" | '') ;; *) says containerd_socket || lines+=("containerd_socket = \"$socket\"") ;; esac
    says runc || lines+=("runc = \"$(lasting "$(find_runc)")\"")
    says criu || lines+=("criu = \"$PREFIX/criu/bin/criu\"")
    [ ${#lines[@]} -gt 0 ] || return 0
    changed=yes
    file=$(readlink -m "$CONFIG")
    mkdir -p "$(dirname "$file")"
    [ ! -e "$file" ] || cp -p "$file" "$file.new"
    {
        printf '%s\n' "${lines[@]}"
        [ ! -e "$file" ] || cat "$file"
    } >"$file.new"
    mv "$file.new" "$file"
}

# `glowplug` in everybody's PATH; never in place of another file.
link_command() {
    [ -w /usr/local/bin ] || return 0
    [ -e /usr/local/bin/glowplug ] || [ -L /usr/local/bin/glowplug ] || ln -s "$PREFIX/bin/glowplug" /usr/local/bin/glowplug
}

# Usage: start_agent CHANGED. A new version of Glowplug needs a new agent.
start_agent() {
    local unit=/etc/systemd/system/$UNIT
    if ! command -v systemctl >/dev/null; then
        say "no systemd here: run the agent by other means: $PREFIX/bin/glowplug agent"
        return 0
    fi
    "$PREFIX/bin/glowplug" node render --prefix "$PREFIX" "systemd/$UNIT" >"$unit.new"
    if cmp -s "$unit.new" "$unit"; then
        rm "$unit.new"
    else
        mv "$unit.new" "$unit"
        set -- yes
    fi
    systemctl enable --quiet "$UNIT"
    [ -d /run/systemd/system ] || return 0
    systemctl daemon-reload
    if [ -n "$1" ]; then
        systemctl restart "$UNIT"
    else
        systemctl start "$UNIT"
    fi
}

# Usage: fetch_group DIRECTORY PACKAGE… With all that they depend on, as if nothing were installed.
fetch_group() {
    local directory=$download/$1
    shift
    mkdir -p "$directory/partial"
    apt-get install -qq -y --no-install-recommends --download-only -o APT::Sandbox::User=root \
        -o Dir::State::status=/dev/null -o Dir::Cache::archives="$directory" "$@" >/dev/null
    rm -rf "$directory/partial" "$directory/lock"
}

download_all() {
    local missing source libraries
    mkdir -p "$download"
    missing=$(missing_packages)
    # shellcheck disable=SC2086 # names of packages
    [ -z "$missing" ] || hack/apt_install $missing
    if [ -n "$criu" ]; then
        cp -L "$criu" "$download/criu"
    else
        hack/setup_criu --pinned 2> >(sed 's/^setup:/bootstrap-node:/')
        cp -L .build/criu/bin/criu "$download/criu"
    fi
    libraries=$(ldd "$download/criu" | sed -n 's/.*=> \(\/[^ ]*\).*/\1/p' | while read -r library; do
        dpkg -S "*/$(basename "$(readlink -f "$library")")" | cut -d: -f1 # in /lib or /usr/lib
    done | sort -u)
    say "fetches packages"
    apt-get update -qq
    fetch_group python python3
    fetch_group runc runc
    # shellcheck disable=SC2086 # names of packages
    fetch_group criu-libraries $libraries
    say "builds the wheels"
    source=$(mktemp -d)
    copy_source "$source"
    /usr/bin/python3 -m venv "$source/.venv"
    "$source/.venv/bin/python" -m pip wheel -q --disable-pip-version-check -w "$download" pip "${source}[kubernetes]"
    rm -rf "$source"
    say "$download holds $(ls "$download"/*.whl | wc -l) wheels, $(ls "$download"/*/*.deb | wc -l) packages and CRIU"
}

exec 9>/run/glowplug-bootstrap.lock || fail "can't lock /run/glowplug-bootstrap.lock"
flock -n 9 || fail "another bootstrap-node.sh is running; try again later"

if [ -n "$download" ]; then
    download_all
    exit 0
fi

install_packages
mkdir -p "$PREFIX"
touch "$PREFIX/.glowplug-prefix"
install_criu
if [ -n "$offline" ]; then
    version=$(version_offline)
else
    version=$(version_of_source)
fi
before=$(readlink "$PREFIX/current" || true)
make_version "$version"
require_settings "$version"
switch_to "$version"
changed=
[ "$before" = "versions/$version" ] || changed=yes
write_settings
if [ -n "$handler" ]; then
    "$PREFIX/bin/glowplug" node install --prefix "$PREFIX" "$@"
fi
start_agent "$changed"
link_command
say "Glowplug $version is in $PREFIX; see \`glowplug doctor\`"
