# Installs what is missing on Debian and Ubuntu, without starting any system service. It knows no versions.

# install_missing SERVICE…
install_missing() {
    local service packages=""
    for service in "$@"; do
        case $service in
            rabbitmq)
                rabbitmq_scripts >/dev/null || packages="$packages rabbitmq-server"
                command -v amqp-publish >/dev/null || packages="$packages amqp-tools"
                # For examples/post-request.py.
                python3 -c 'import pika' 2>/dev/null || /usr/bin/python3 -c 'import pika' 2>/dev/null ||
                    packages="$packages python3-pika"
                ;;
            postgresql) postgresql_programs >/dev/null || packages="$packages postgresql" ;;
        esac
    done
    packages=$(echo $packages)
    [ -n "$packages" ] || return 0
    command -v apt-get >/dev/null || die "missing here: $packages. Install them by your system's package manager
  (their Debian names are given; only the programs are needed, no service has to run), then try again"
    local as_root=""
    if [ "$(id -u)" != 0 ]; then
        command -v sudo >/dev/null && sudo -n true 2>/dev/null ||
            die "missing here: $packages. Ask an administrator for: apt-get install $packages"
        as_root="sudo -n"
    fi
    say "installing $packages"
    $as_root bash -s -- $packages <<'ROOT' >&2 || die "could not install $packages"
set -e
# Packages start their service when installed unless this file says no; it is ours only while we need it.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi
export DEBIAN_FRONTEND=noninteractive
options="-q -y --no-install-recommends --no-upgrade -o DPkg::Lock::Timeout=300"
apt-get install $options "$@" || { apt-get update -q && apt-get install $options "$@"; }
ROOT
}
