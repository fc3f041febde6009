#!/usr/bin/env python3
"""Posts a build request to Tidegate with pika, and prints the answer.

    TIDEGATE_BROKER=amqp://user:password@host:port/vhost  post-request.py DISTRIBUTION…

Needs pika (Debian: python3-pika). Exit code: 0 accepted, 1 refused, 2 wrong usage, 3 no broker or no answer.
"""
import json
import os
import sys
import uuid

import pika

ANSWER_TIMEOUT_S = 30


def main():
    url = os.environ.get("TIDEGATE_BROKER")
    if not url or len(sys.argv) < 2:
        print(__doc__, file=sys.stderr)
        return 2
    # The id is ours to choose: posting the same request again under it is posting it once.
    request = {"schema": 1, "id": str(uuid.uuid4()), "kind": "build", "selector": {"distributions": sys.argv[1:]}}
    answer = ask(url, request)
    if answer is None:
        print(f"no answer within {ANSWER_TIMEOUT_S} s to request {request['id']}", file=sys.stderr)
        return 3
    print(json.dumps(answer, indent=2))
    return 0 if answer["answer"] == "accepted" else 1


def ask(url, request):
    connection = pika.BlockingConnection(pika.URLParameters(url))
    try:
        channel = connection.channel()
        channel.confirm_delivery()
        answers = channel.queue_declare(queue="", exclusive=True).method.queue
        properties = pika.BasicProperties(
            content_type="application/json", delivery_mode=2, reply_to=answers, correlation_id=request["id"]
        )
        # Raises if the broker does not confirm it, or has no queue for it.
        channel.basic_publish("tidegate.requests", "build", json.dumps(request), properties, mandatory=True)
        for method, came, body in channel.consume(answers, auto_ack=True, inactivity_timeout=ANSWER_TIMEOUT_S):
            if method is None:
                return None
            if came.correlation_id == request["id"]:
                return json.loads(body)
    finally:
        connection.close()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except pika.exceptions.AMQPError as error:
        print(f"the broker cannot be reached or refused: {error!r}", file=sys.stderr)
        sys.exit(3)
