# What ops/services remembers: ports, secrets, and which processes are its own. It knows no service.

say() { echo "services: $*" >&2; }
die() { say "$*"; exit 1; }

# One invocation at a time works on a directory.
open_state() {
    mkdir -p "$state"
    state=$(cd "$state" && pwd)
    exec 9>"$state/lock"
    if command -v flock >/dev/null; then
        flock -w 300 9 || die "another ops/services has been at work in $state for five minutes"
    fi
    load_settings
}

load_settings() {
    [ -d "$state" ] && state=$(cd "$state" && pwd)
    # shellcheck disable=SC1091
    [ -f "$state/settings" ] && . "$state/settings"
    return 0
}

# remember NAME VALUE
remember() {
    (
        umask 077
        touch "$state/settings"
        grep -v "^$1=" "$state/settings" >"$state/settings.new" || true
        printf "%s='%s'\n" "$1" "$2" >>"$state/settings.new"
        mv "$state/settings.new" "$state/settings"
    )
    printf -v "$1" '%s' "$2"
}

# A secret that is made once.
secret() {
    [ -n "${!1:-}" ] || remember "$1" "$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')"
}

# A port that is free now, and stays the same: port NAME [WANTED]
port() {
    local candidate=${!1:-} tries=0
    if [ -n "$candidate" ] && is_free "$candidate"; then return; fi
    [ -z "$candidate" ] || say "port $candidate ($1) is taken by somebody else; choosing another"
    while :; do
        candidate=$((20000 + (RANDOM << 1 ^ RANDOM) % 12000))
        is_free "$candidate" && ! grep -qs "='$candidate'\$" "$state/settings" && break
        tries=$((tries + 1))
        [ $tries -lt 200 ] || die "found no free port between 20000 and 32000"
    done
    remember "$1" "$candidate"
}

is_free() { ! (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# Processes are known by pid and start time, so that a pid used again by somebody else is never taken for ours.
born() { sed 's/^.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20; }

# own NAME PID
own() {
    local since
    since=$(born "$2") || true
    [ -n "$since" ] || return 1
    echo "$2 $since" >"$state/$1.pid"
}

# Prints the pid if the process is ours and lives.
pid_of() {
    local pid since
    read -r pid since 2>/dev/null <"$state/$1.pid" || return 1
    [ -n "$pid" ] && [ "$(born "$pid")" = "$since" ] && is_alive "$pid" && echo "$pid"
}

process_state() { sed 's/^.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f1; }

is_running() { pid_of "$1" >/dev/null; }

# end NAME SIGNAL SECONDS: asks, waits, then insists.
end() {
    local pid waited=0
    pid=$(pid_of "$1") || { rm -f "$state/$1.pid"; return 0; }
    kill "-$2" "$pid" 2>/dev/null || true
    while is_running "$1"; do
        if [ $waited -ge $(($3 * 10)) ]; then
            say "$1 (pid $pid) did not end within $3 s; killing it"
            kill -KILL "$pid" 2>/dev/null || true
            sleep 0.5
            break
        fi
        sleep 0.1
        waited=$((waited + 1))
    done
    rm -f "$state/$1.pid"
}

# With its children, as if the power had gone.
kill_service() {
    local pid children
    pid=$(pid_of "$1") || die "$1 is not running"
    children=$(children_of "$pid")
    kill -KILL "$pid" $children 2>/dev/null || true
    while is_running "$1"; do sleep 0.05; done
    rm -f "$state/$1.pid"
}

children_of() {
    local status
    for status in /proc/[0-9]*/stat; do
        # Fields after the command's name: state, parent.
        sed -n "s/^\([0-9]*\) (.*) [A-Z] $1 .*/\1/p" "$status" 2>/dev/null || true
    done
}

# Neither gone nor waiting for its parent to notice that it is.
is_alive() {
    local process
    process=$(process_state "$1") || return 1
    [ -n "$process" ] && [ "$process" != Z ]
}

# wait_for NAME SECONDS LOGFILE CHECK…
wait_for() {
    local name=$1 seconds=$2 log=$3 waited=0
    shift 3
    until "$@"; do
        if ! is_running "$name" || [ $waited -ge $((seconds * 5)) ]; then
            tail -n 20 "$log" >&2 2>/dev/null || true
            die "$name did not come up; see $log"
        fi
        sleep 0.2
        waited=$((waited + 1))
    done
}

# The first bytes that a server answers to an HTTP request: http_status PORT PATH [HEADER]
http_status() {
    timeout 5 bash -c '
        exec 3<>"/dev/tcp/127.0.0.1/$1" && printf "GET %s HTTP/1.0\r\nHost: localhost\r\n%s\r\n" "$2" "$3" >&3 &&
        read -r _ code _ <&3 && echo "$code"' _ "$1" "$2" "${3:+$3$'\r\n'}" 2>/dev/null
}
