"""Queues of messages and of tasks."""

from __future__ import annotations

from otel_loopblock.explain.advice.known import KnownCall
from otel_loopblock.explain.advice.table.words import IN_THREAD, THREAD, known_calls

ENTRIES: tuple[KnownCall, ...] = (
    *known_calls(
        "kafka.*",
        "driver",
        "Use aiokafka.AIOKafkaProducer: await producer.send_and_wait(topic, value).",
        "https://aiokafka.readthedocs.io/en/stable/",
        "2026-11",
    ),
    *known_calls(
        "confluent_kafka.*",
        "driver",
        "Use confluent_kafka.aio.AIOProducer and AIOConsumer, or aiokafka.AIOKafkaProducer.",
        "https://github.com/confluentinc/confluent-kafka-python",
        "2026-11",
    ),
    *known_calls(
        "confluent_kafka.Producer.flush confluent_kafka.cimpl.Producer.flush",
        "driver",
        "Do not flush for each message; use confluent_kafka.aio.AIOProducer, or flush(timeout) in a "
        "thread at shutdown.",
        "https://github.com/confluentinc/confluent-kafka-python",
        "2026-11",
    ),
    *known_calls(
        "pika.* amqp.* kombu.*",
        "driver",
        "Use await aio_pika.connect_robust(url).",
        "https://docs.aio-pika.com/",
        "2026-11",
    ),
    *known_calls(
        "paho.mqtt.*",
        "driver",
        "Use aiomqtt.Client: await client.publish(topic, payload).",
        "https://github.com/empicano/aiomqtt",
        "2026-11",
    ),
    *known_calls("stomp.*", "driver", f"Use it in a thread: {IN_THREAD}.", THREAD, "2026-11"),
    *known_calls(
        "celery.result.* celery.result.AsyncResult.*",
        "driver",
        "Do not wait for a task in a handler; return its id, or wait in a thread.",
        "https://docs.celeryq.dev/en/stable/reference/celery.result.html",
        "2026-11",
    ),
    *known_calls(
        "celery.app.task.Task.* celery.app.base.Celery.send_task celery.canvas.*",
        "driver",
        "Send tasks in a thread: await asyncio.to_thread(task.delay, ...); the broker may be slow.",
        "https://docs.celeryq.dev/en/stable/userguide/calling.html",
        "2026-11",
    ),
    *known_calls(
        "rq.*",
        "driver",
        f"Enqueue in a thread: {IN_THREAD}; do not wait for a job in a handler.",
        "https://python-rq.org/docs/",
        "2026-11",
    ),
    *known_calls(
        "dramatiq.*",
        "driver",
        f"Send in a thread: {IN_THREAD}; do not wait for a result in a handler.",
        "https://dramatiq.io/guide.html",
        "2026-11",
    ),
    *known_calls(
        "huey.*",
        "driver",
        f"Enqueue in a thread: {IN_THREAD}; do not wait for a result in a handler.",
        "https://huey.readthedocs.io/en/latest/",
        "2026-11",
    ),
    *known_calls(
        "huey.api.Result.*",
        "driver",
        "Use await huey.contrib.asyncio.aget_result(result).",
        "https://huey.readthedocs.io/en/latest/asyncio.html",
        "2026-11",
    ),
    *known_calls("kazoo.*", "driver", f"Use it in a thread: {IN_THREAD}.", THREAD, "2026-11"),
    *known_calls(
        "zmq.Socket.* zmq.sugar.* zmq.backend.*",
        "driver",
        "Use zmq.asyncio.Context(): await socket.recv().",
        "https://pyzmq.readthedocs.io/en/latest/api/zmq.asyncio.html",
        "2026-11",
    ),
)
