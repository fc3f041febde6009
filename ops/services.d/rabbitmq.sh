# A private RabbitMQ node with its own epmd. The server's own scripts are run, not Debian's wrappers, which change the user.

# How the server is detached; its tools are not.
rabbitmq_session=""

rabbitmq_scripts() {
    local found
    found=$(ls -d /usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin /opt/rabbitmq/sbin /usr/local/lib/rabbitmq/sbin 2>/dev/null | tail -n 1)
    [ -n "$found" ] && [ -x "$found/rabbitmq-server" ] && command -v epmd >/dev/null && echo "$found"
}

rabbitmq_prepare() {
    rabbitmq_scripts >/dev/null || die "RabbitMQ is not installed (Debian: rabbitmq-server)"
    mkdir -p "$state/rabbitmq/log" "$state/rabbitmq/plugins"
    secret RABBITMQ_PASSWORD
    is_running rabbitmq && return
    # What a killed node leaves behind.
    end epmd TERM 5
    port RABBITMQ_PORT
    port RABBITMQ_DIST_PORT
    port RABBITMQ_EPMD_PORT
    port RABBITMQ_HTTP_PORT
    # The data belongs to the node's name, which therefore outlives a change of port.
    [ -n "${RABBITMQ_NODE:-}" ] || remember RABBITMQ_NODE "tidegate-$RABBITMQ_PORT"
    rabbitmq_configure
}

rabbitmq_configure() {
    (
        umask 077
        cat >"$state/rabbitmq/rabbitmq.conf" <<CONF
listeners.tcp.1 = 127.0.0.1:$RABBITMQ_PORT
management.tcp.ip = 127.0.0.1
management.tcp.port = $RABBITMQ_HTTP_PORT
default_user = tidegate
default_pass = $RABBITMQ_PASSWORD
default_vhost = tidegate
default_user_tags.administrator = true
log.console = false
log.file.level = info
disk_free_limit.absolute = 50MB
# Quorum queues: the default write-ahead log is half a gigabyte.
raft.wal_max_size_bytes = 16777216
management_agent.disable_metrics_collector = true
collect_statistics_interval = 60000
CONF
        echo '[rabbitmq_management].' >"$state/rabbitmq/enabled_plugins"
        : >"$state/rabbitmq/rabbitmq-env.conf"
    )
}

# Becomes one of the server's scripts, with everything set to this node's own: call it in a subshell.
rabbitmq_exec() {
    local script=$1 home=$state/rabbitmq
    shift
    exec env HOME="$home" \
        RUNNING_UNDER_SYSTEMD=true \
        RABBITMQ_NODENAME="$RABBITMQ_NODE@localhost" \
        RABBITMQ_NODE_IP_ADDRESS=127.0.0.1 \
        RABBITMQ_NODE_PORT="$RABBITMQ_PORT" \
        RABBITMQ_DIST_PORT="$RABBITMQ_DIST_PORT" \
        RABBITMQ_MNESIA_BASE="$home/mnesia" \
        RABBITMQ_MNESIA_DIR="$home/mnesia/node" \
        RABBITMQ_FEATURE_FLAGS_FILE="$home/mnesia/feature_flags" \
        RABBITMQ_QUORUM_DIR="$home/mnesia/node/quorum" \
        RABBITMQ_GENERATED_CONFIG_DIR="$home/config" \
        RABBITMQ_ADVANCED_CONFIG_FILE="$home/advanced.config" \
        RABBITMQ_PLUGINS_EXPAND_DIR="$home/plugins" \
        RABBITMQ_LOG_BASE="$home/log" \
        RABBITMQ_LOGS="$home/log/rabbitmq.log" \
        RABBITMQ_PID_FILE="$home/pid" \
        RABBITMQ_CONFIG_FILE="$home/rabbitmq.conf" \
        RABBITMQ_ENABLED_PLUGINS_FILE="$home/enabled_plugins" \
        RABBITMQ_CONF_ENV_FILE="$home/rabbitmq-env.conf" \
        RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="-kernel inet_dist_use_interface {127,0,0,1} -start_epmd false +sbwt none +sbwtdcpu none +sbwtdio none" \
        ERL_EPMD_PORT="$RABBITMQ_EPMD_PORT" \
        ERL_EPMD_ADDRESS=127.0.0.1 \
        ERL_CRASH_DUMP_SECONDS=0 \
        $rabbitmq_session "$(rabbitmq_scripts)/$script" "$@"
}

rabbitmq_start() {
    setsid epmd -address 127.0.0.1 -port "$RABBITMQ_EPMD_PORT" </dev/null >"$state/rabbitmq/log/epmd" 2>&1 9>&- &
    own epmd $! || die "epmd did not start; see $state/rabbitmq/log/epmd"
    # Before the node, which would start an epmd of its own that nobody ends.
    wait_for epmd 10 "$state/rabbitmq/log/epmd" eval '! is_free "$RABBITMQ_EPMD_PORT"'
    rabbitmq_session=setsid rabbitmq_exec rabbitmq-server </dev/null >"$state/rabbitmq/log/start" 2>&1 9>&- &
    own rabbitmq $! || die "RabbitMQ did not start; see $state/rabbitmq/log/start"
}

rabbitmq_wait() {
    wait_for rabbitmq 120 "$state/rabbitmq/log/rabbitmq.log" rabbitmq_healthy
}

# It answers an AMQP client, and knows our user.
rabbitmq_healthy() {
    timeout 5 bash -c '
        exec 3<>"/dev/tcp/127.0.0.1/$1" && printf "AMQP\x00\x00\x09\x01" >&3 && [ -n "$(head -c 1 <&3 | od -An -tx1)" ]
    ' _ "$RABBITMQ_PORT" 2>/dev/null || return 1
    [ "$(http_status "$RABBITMQ_HTTP_PORT" /api/vhosts/tidegate "$(rabbitmq_authorization)")" = 200 ]
}

rabbitmq_authorization() { echo "Authorization: Basic $(printf 'tidegate:%s' "$RABBITMQ_PASSWORD" | base64 -w0)"; }

rabbitmq_address() { echo "127.0.0.1:${RABBITMQ_PORT:--}"; }

rabbitmq_env() {
    echo "export TIDEGATE_BROKER='amqp://tidegate:$RABBITMQ_PASSWORD@127.0.0.1:$RABBITMQ_PORT/tidegate'"
    echo "export TIDEGATE_TEST_BROKER_MANAGEMENT='http://tidegate:$RABBITMQ_PASSWORD@127.0.0.1:$RABBITMQ_HTTP_PORT'"
}

rabbitmq_stop() {
    end rabbitmq TERM 60
    end epmd TERM 5
}

rabbitmq_wipe() { rm -rf "$state/rabbitmq"; }
