# A private S3 server: the testkit's own, or Garage where it is installed. It knows nothing of what is stored.

s3_prepare() {
    mkdir -p "$state/s3"
    if is_running s3; then
        [ -z "$s3_kind" ] || [ "$s3_kind" = "$S3_KIND" ] || die "s3 runs as $S3_KIND; end it first: ops/services down s3"
        return
    fi
    remember S3_KIND "${s3_kind:-${S3_KIND:-s3s}}"
    port S3_PORT
    "s3_prepare_$S3_KIND"
}

s3_start() { "s3_start_$S3_KIND"; }

s3_wait() {
    wait_for s3 60 "$state/s3/log" s3_healthy
    "s3_bucket_$S3_KIND"
}

# Any answer to a request without a signature: it refuses, but it is there.
s3_healthy() { [ -n "$(http_status "$S3_PORT" /)" ]; }

s3_address() { echo "127.0.0.1:${S3_PORT:--}${S3_KIND:+ ($S3_KIND)}"; }

s3_env() {
    local region=us-east-1
    [ "$S3_KIND" = garage ] && region=garage
    echo "export TIDEGATE_S3_ENDPOINT='http://127.0.0.1:$S3_PORT'"
    echo "export TIDEGATE_STORAGE='s3://tidegate'"
    echo "export TIDEGATE_TEST_S3_BUCKET='tidegate'"
    echo "export TIDEGATE_S3_REGION='$region'"
    echo "export AWS_REGION='$region'"
    echo "export AWS_ACCESS_KEY_ID='$S3_ACCESS_KEY'"
    echo "export AWS_SECRET_ACCESS_KEY='$S3_SECRET_KEY'"
}

s3_stop() { end s3 TERM 10; }

s3_wipe() { rm -rf "$state/s3"; }

s3_prepare_s3s() {
    secret S3_ACCESS_KEY
    secret S3_SECRET_KEY
    s3_build
    mkdir -p "$state/s3/data/tidegate"
}

# Tests that come with a server built already name it.
s3_build() {
    S3_SERVER=${TIDEGATE_S3_SERVER:-}
    [ -z "$S3_SERVER" ] || return 0
    command -v cargo >/dev/null || die "the S3 server is built by cargo: install Rust (https://rustup.rs), or use --s3 garage"
    say "building the S3 server (the first time takes minutes)"
    (cd "$repository" && cargo build --quiet -p testkit --bin s3-server 9>&-) || die "the S3 server does not build"
    local target
    target=$(cd "$repository" && cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
    S3_SERVER=$target/debug/s3-server
}

s3_start_s3s() {
    TIDEGATE_S3_ACCESS_KEY=$S3_ACCESS_KEY TIDEGATE_S3_SECRET_KEY=$S3_SECRET_KEY \
        setsid "$S3_SERVER" --listen "127.0.0.1:$S3_PORT" --root "$state/s3/data" </dev/null >"$state/s3/log" 2>&1 9>&- &
    own s3 $! || die "the S3 server did not start; see $state/s3/log"
}

s3_bucket_s3s() { :; }

s3_prepare_garage() {
    command -v garage >/dev/null || die "garage is not installed (cargo install garage); without --s3 garage another server is used"
    secret GARAGE_RPC_SECRET_HALF
    # Garage's form of keys: GK and 24 digits, 64 digits.
    [ -n "${S3_GARAGE_KEY:-}" ] || remember S3_GARAGE_KEY "GK$(od -An -N12 -tx1 /dev/urandom | tr -d ' \n')"
    remember S3_ACCESS_KEY "$S3_GARAGE_KEY"
    [ ${#S3_SECRET_KEY} = 64 ] 2>/dev/null || remember S3_SECRET_KEY "$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')"
    port S3_RPC_PORT
    (
        umask 077
        cat >"$state/s3/garage.toml" <<CONF
metadata_dir = "$state/s3/meta"
data_dir = "$state/s3/data"
db_engine = "sqlite"
replication_factor = 1
rpc_bind_addr = "127.0.0.1:$S3_RPC_PORT"
rpc_public_addr = "127.0.0.1:$S3_RPC_PORT"
rpc_secret = "$GARAGE_RPC_SECRET_HALF$GARAGE_RPC_SECRET_HALF"
[s3_api]
s3_region = "garage"
api_bind_addr = "127.0.0.1:$S3_PORT"
CONF
    )
}

s3_start_garage() {
    setsid garage -c "$state/s3/garage.toml" server </dev/null >"$state/s3/log" 2>&1 9>&- &
    own s3 $! || die "garage did not start; see $state/s3/log"
}

s3_bucket_garage() {
    local garage="garage -c $state/s3/garage.toml" node
    $garage bucket info tidegate >/dev/null 2>&1 && return
    node=$($garage node id -q 2>/dev/null | cut -d@ -f1)
    {
        $garage layout assign -z local -c 10G "$node"
        $garage layout apply --version 1
        $garage key import --yes -n tidegate "$S3_ACCESS_KEY" "$S3_SECRET_KEY"
        $garage bucket create tidegate
        $garage bucket allow --read --write --owner tidegate --key "$S3_ACCESS_KEY"
    } >>"$state/s3/log" 2>&1 || die "garage could not be set up; see $state/s3/log"
}
