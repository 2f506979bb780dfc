"""Queues of messages and of tasks."""

from __future__ import annotations

from otel_loopblock.explain.advice.known import KnownCall
from otel_loopblock.explain.advice.table.words import IN_THREAD, THREAD, known_calls

_AIOKAFKA = "https://aiokafka.readthedocs.io/en/stable/"

ENTRIES: tuple[KnownCall, ...] = (
    *known_calls("kafka.*", "driver", "Use aiokafka: AIOKafkaProducer, AIOKafkaConsumer.", _AIOKAFKA),
    *known_calls(
        "confluent_kafka.*",
        "driver",
        "Use confluent_kafka.aio (AIOProducer, AIOConsumer) or aiokafka.",
        "https://github.com/confluentinc/confluent-kafka-python",
    ),
    *known_calls("pika.* amqp.* kombu.*", "driver", "Use aio-pika.", "https://docs.aio-pika.com/"),
    *known_calls("paho.mqtt.*", "driver", "Use aiomqtt.", "https://github.com/empicano/aiomqtt"),
    *known_calls("stomp.*", "driver", f"Use it in a thread: {IN_THREAD}.", THREAD),
    *known_calls(
        "celery.result.*",
        "driver",
        "Do not wait for a task in a handler; return its id, or wait in a thread.",
        "https://docs.celeryq.dev/en/stable/reference/celery.result.html",
    ),
    *known_calls("kazoo.*", "driver", f"Use it in a thread: {IN_THREAD}.", THREAD),
    *known_calls(
        "zmq.Socket.* zmq.sugar.* zmq.backend.*",
        "driver",
        "Use zmq.asyncio.Context().",
        "https://pyzmq.readthedocs.io/en/latest/api/zmq.asyncio.html",
    ),
)
