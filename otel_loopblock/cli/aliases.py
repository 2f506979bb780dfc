"""Other names of what the table knows: how a package is installed, how a module is usually abbreviated."""

from __future__ import annotations

import re
from typing import Final

ABBREVIATIONS: Final = {
    "da": "dask.array",
    "dd": "dask.dataframe",
    "ddb": "duckdb",
    "gpd": "geopandas",
    "lgb": "lightgbm",
    "np": "numpy",
    "nx": "networkx",
    "ort": "onnxruntime",
    "pa": "pyarrow",
    "pd": "pandas",
    "pl": "polars",
    "plt": "matplotlib.pyplot",
    "sa": "sqlalchemy",
    "sf": "soundfile",
    "sm": "statsmodels.api",
    "sp": "scipy",
    "tf": "tensorflow",
    "xgb": "xgboost",
    "xr": "xarray",
}
"""As in ``import numpy as np``."""

PACKAGES: Final = {
    "argon2-cffi": "argon2",
    "beautifulsoup4": "bs4",
    "cassandra-driver": "cassandra",
    "databricks-sql-connector": "databricks.sql",
    "dnspython": "dns",
    "faiss-cpu": "faiss",
    "faiss-gpu": "faiss",
    "gitpython": "git",
    "google-api-python-client": "googleapiclient",
    "grpcio": "grpc",
    "kafka-python": "kafka",
    "llama-cpp-python": "llama_cpp",
    "mysql-connector-python": "mysql.connector",
    "mysqlclient": "MySQLdb",
    "openai-whisper": "whisper",
    "opencv-contrib-python": "cv2",
    "opencv-python": "cv2",
    "opencv-python-headless": "cv2",
    "opensearch-py": "opensearchpy",
    "paho-mqtt": "paho.mqtt",
    "pillow": "PIL",
    "psycopg-binary": "psycopg",
    "psycopg2-binary": "psycopg2",
    "psycopg-pool": "psycopg_pool",
    "pycryptodome": "Crypto",
    "pycryptodomex": "Cryptodome",
    "pyjwt": "jwt",
    "pynacl": "nacl",
    "pyserial": "serial",
    "python-consul": "consul",
    "python-dateutil": "dateutil",
    "python-docx": "docx",
    "python-jose": "jose",
    "python-ldap": "ldap",
    "python-memcached": "memcache",
    "python-pptx": "pptx",
    "python-rapidjson": "rapidjson",
    "pyyaml": "yaml",
    "pyzmq": "zmq",
    "redis-py-cluster": "rediscluster",
    "scikit-learn": "sklearn",
    "setuptools": "pkg_resources",
    "snowflake-connector-python": "snowflake.connector",
    "stomp-py": "stomp",
    "supabase-auth": "supabase_auth",
    "weaviate-client": "weaviate",
    "websocket-client": "websocket",
}
"""The name that ``pip install`` takes, in lower case with hyphens, to the name of the module."""


def spellings(call: str) -> tuple[str, ...]:
    """How the table may know what a user calls ``call``: as given, unabbreviated, as the module of a package.

    Args:
        call: ``np.dot``, ``psycopg2-binary``, ``google-cloud-storage``, ``Requests.get``.
    """
    root, dot, rest = call.partition(".")
    package = re.sub(r"[-_.]+", "-", call).lower()
    found = [call]
    if root in ABBREVIATIONS:
        found.append(f"{ABBREVIATIONS[root]}{dot}{rest}")
    if package in PACKAGES:
        found.append(PACKAGES[package])
    hyphened = PACKAGES.get(root.lower())
    if hyphened is not None:
        found.append(f"{hyphened}{dot}{rest}")
    if "-" in call:
        found += [call.replace("-", "."), call.replace("-", "_")]
    if root != root.lower():
        found.append(f"{root.lower()}{dot}{rest}")
    return tuple(dict.fromkeys(found))
