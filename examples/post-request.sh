#!/bin/sh
# Posts a build request to Tidegate with amqp-publish (Debian: amqp-tools), and prints the answer.
#
#     TIDEGATE_BROKER=amqp://user:password@host:port/vhost  post-request.sh DISTRIBUTION
#
# Exit code: 0 accepted, 1 refused, 2 wrong usage, 3 no broker or no answer.
set -eu

if [ $# -ne 1 ] || [ -z "${TIDEGATE_BROKER:-}" ]; then
    sed -n '2,/^$/s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# The password goes into a file: arguments are everybody's to read.
rest=${TIDEGATE_BROKER#amqp://}
credentials=${rest%%@*} place=${rest#*@}
server=${place%%/*} vhost=$(printf %s "${place#*/}" | sed 's,%2[fF],/,g')
(umask 077 && printf 'username:%s\npassword:%s\n' "${credentials%%:*}" "${credentials#*:}" >"$scratch/auth")
set -- "$1" --server "${server%:*}" --port "${server##*:}" --vhost "$vhost" --authfile "$scratch/auth"
distribution=$1
shift

# The id is ours to choose: posting the same request again under it is posting it once.
id=$(cat /proc/sys/kernel/random/uuid)
request=$(printf '{"schema":1,"id":"%s","kind":"build","selector":{"distributions":["%s"]}}' "$id" "$distribution")

# A queue for this answer alone; it is deleted again below.
answers=$(amqp-declare-queue "$@" --queue '') || exit 3
amqp-publish "$@" --exchange tidegate.requests --routing-key build --persistent \
    --content-type application/json --reply-to "$answers" --body "$request" || exit 3
timeout 30 amqp-consume "$@" --queue "$answers" --count 1 cat >"$scratch/answer" || true
amqp-delete-queue "$@" --queue "$answers" >/dev/null || true

if [ ! -s "$scratch/answer" ]; then
    echo "no answer within 30 s to request $id" >&2
    exit 3
fi
cat "$scratch/answer"
echo
grep -q '"answer" *: *"accepted"' "$scratch/answer"
