# A private PostgreSQL cluster. It refuses to run as root, so root runs it as an unprivileged user.

postgresql_programs() {
    local found
    found=$(ls -d /usr/lib/postgresql/*/bin /usr/pgsql-*/bin 2>/dev/null | sort -V | tail -n 1)
    [ -n "$found" ] || found=$(dirname "$(command -v initdb || echo /)")
    [ -x "$found/initdb" ] && [ -x "$found/pg_ctl" ] && echo "$found"
}

postgresql_user() {
    if [ "$(id -u)" != 0 ]; then id -un; elif id postgres >/dev/null 2>&1; then echo postgres; else echo nobody; fi
}

postgresql_as() {
    local user
    user=$(postgresql_user)
    if [ "$(id -u)" = 0 ]; then
        (cd / && setpriv --reuid "$user" --regid "$(id -g "$user")" --clear-groups env HOME=/ "$@")
    else
        (cd / && "$@")
    fi
}

postgresql_prepare() {
    postgresql_programs >/dev/null || die "PostgreSQL is not installed (Debian: postgresql)"
    secret POSTGRESQL_PASSWORD
    is_running postgresql && return
    port POSTGRESQL_PORT
    postgresql_place
    [ -f "$POSTGRESQL_DIR/data/PG_VERSION" ] || postgresql_create
    postgresql_configure
}

# Root's own directories are often closed to the user that PostgreSQL runs as.
postgresql_place() {
    local user
    user=$(postgresql_user)
    [ -n "${POSTGRESQL_DIR:-}" ] && [ -d "$POSTGRESQL_DIR" ] && return
    POSTGRESQL_DIR=$state/postgresql
    mkdir -p "$POSTGRESQL_DIR"
    if [ "$(id -u)" = 0 ]; then
        chown "$user" "$POSTGRESQL_DIR"
        if ! postgresql_as test -w "$POSTGRESQL_DIR"; then
            rmdir "$POSTGRESQL_DIR"
            POSTGRESQL_DIR=$(mktemp -d "/var/tmp/tidegate-postgresql-XXXXXXXX")
            chown "$user" "$POSTGRESQL_DIR"
            say "$user cannot enter $state; PostgreSQL's data goes to $POSTGRESQL_DIR"
        fi
    fi
    chmod 700 "$POSTGRESQL_DIR"
    remember POSTGRESQL_DIR "$POSTGRESQL_DIR"
}

postgresql_create() {
    local log=$POSTGRESQL_DIR/initdb.log
    rm -rf "$POSTGRESQL_DIR/data"
    (umask 077 && postgresql_as tee "$POSTGRESQL_DIR/password" >/dev/null <<<"$POSTGRESQL_PASSWORD")
    postgresql_as "$(postgresql_programs)/initdb" --pgdata "$POSTGRESQL_DIR/data" --username tidegate \
        --auth scram-sha-256 --pwfile "$POSTGRESQL_DIR/password" --encoding UTF8 --no-locale \
        >"$log" 2>&1 || { tail -n 20 "$log" >&2; die "initdb failed; see $log"; }
    rm -f "$POSTGRESQL_DIR/password"
    postgresql_as tee -a "$POSTGRESQL_DIR/data/postgresql.conf" >/dev/null <<<"include_if_exists = 'tidegate.conf'"
}

postgresql_configure() {
    postgresql_as tee "$POSTGRESQL_DIR/data/tidegate.conf" >/dev/null <<CONF
listen_addresses = '127.0.0.1'
port = $POSTGRESQL_PORT
unix_socket_directories = ''
max_connections = 200
shared_buffers = 64MB
fsync = on
synchronous_commit = on
CONF
}

postgresql_start() {
    postgresql_forget_dead
    # The log belongs to the user that the server runs as.
    postgresql_as "$(postgresql_programs)/pg_ctl" start -s -w -t 60 -D "$POSTGRESQL_DIR/data" -l "$POSTGRESQL_DIR/log" \
        </dev/null >/dev/null 2>&1 9>&- || { tail -n 20 "$POSTGRESQL_DIR/log" >&2; die "PostgreSQL did not start; see $POSTGRESQL_DIR/log"; }
    own postgresql "$(head -n 1 "$POSTGRESQL_DIR/data/postmaster.pid")" || die "PostgreSQL ended; see $POSTGRESQL_DIR/log"
}

# A killed server leaves its lock file; PostgreSQL takes a process that nobody has reaped yet for a running one.
postgresql_forget_dead() {
    local lock=$POSTGRESQL_DIR/data/postmaster.pid pid
    [ -f "$lock" ] || return 0
    read -r pid <"$lock"
    if [ "$(process_state "$pid")" = Z ]; then rm -f "$lock"; fi
}

postgresql_wait() {
    wait_for postgresql 60 "$POSTGRESQL_DIR/log" postgresql_healthy
    [ "$(postgresql_sql "select 1 from pg_database where datname = 'tidegate'")" = 1 ] ||
        postgresql_sql "create database tidegate" >/dev/null
}

postgresql_sql() {
    PGPASSWORD=$POSTGRESQL_PASSWORD PGCONNECT_TIMEOUT=5 "$(postgresql_programs)/psql" -XAtq -v ON_ERROR_STOP=1 \
        -h 127.0.0.1 -p "$POSTGRESQL_PORT" -U tidegate -d postgres -c "$1" 2>>"$state/postgresql.err"
}

postgresql_healthy() { [ "$(postgresql_sql 'select 1')" = 1 ]; }

postgresql_address() { echo "127.0.0.1:${POSTGRESQL_PORT:--}"; }

postgresql_env() {
    echo "export TIDEGATE_DATABASE='postgres://tidegate:$POSTGRESQL_PASSWORD@127.0.0.1:$POSTGRESQL_PORT/tidegate'"
}

# SIGINT is PostgreSQL's fast shutdown.
postgresql_stop() { end postgresql INT 60; }

postgresql_wipe() {
    if [ -n "${POSTGRESQL_DIR:-}" ]; then rm -rf "$POSTGRESQL_DIR"; fi
    rm -f "$state/postgresql.err"
}
