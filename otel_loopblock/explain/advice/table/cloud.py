"""Clients of cloud platforms and of services that are rented."""

from __future__ import annotations

from otel_loopblock.explain.advice.known import KnownCall
from otel_loopblock.explain.advice.table.words import IN_THREAD, THREAD, known_calls

ENTRIES: tuple[KnownCall, ...] = (
    *known_calls(
        "docker.*",
        "network",
        "Use aiodocker.",
        "https://aiodocker.readthedocs.io/en/latest/",
    ),
    *known_calls(
        "google.cloud.storage.*",
        "network",
        "Use gcloud-aio-storage, or call it in a thread: await asyncio.to_thread(...).",
        "https://github.com/talkiq/gcloud-aio",
    ),
    *known_calls(
        "google.cloud.pubsub* google.cloud.bigquery.*",
        "network",
        "Use the client's gcloud-aio counterpart, or call it in a thread: await asyncio.to_thread(...).",
        "https://github.com/talkiq/gcloud-aio",
    ),
    *known_calls(
        "boto3.* botocore.client.* botocore.endpoint.* botocore.httpsession.* s3transfer.*",
        "network",
        "Use aioboto3 or aiobotocore.",
        "https://aioboto3.readthedocs.io/en/latest/",
    ),
    *known_calls(
        "azure.storage.blob.*",
        "network",
        "Use the client of the same name from azure.storage.blob.aio.",
        "https://learn.microsoft.com/en-us/python/api/azure-storage-blob/azure.storage.blob.aio",
    ),
    *known_calls(
        "stripe.*",
        "network",
        "Use the methods that end in _async: await client.customers.retrieve_async(...).",
        "https://github.com/stripe/stripe-python",
    ),
    *known_calls(
        "slack_sdk.*",
        "network",
        "Use slack_sdk.web.async_client.AsyncWebClient.",
        "https://github.com/slackapi/python-slack-sdk",
    ),
    *known_calls(
        "twilio.*",
        "network",
        "Use AsyncTwilioHttpClient and the methods that end in _async.",
        "https://github.com/twilio/twilio-python",
    ),
    *known_calls("hvac.* consul.*", "network", f"Call it in a thread: {IN_THREAD}.", THREAD),
    *known_calls(
        "kubernetes.*", "network", "Use kubernetes_asyncio.", "https://github.com/tomplus/kubernetes_asyncio"
    ),
)
