"""DumbKV over HTTP: `serve(store)` in your process, or `python -m dumbkv_http`.

>>> import dumbkv, dumbkv_http
>>> with dumbkv.open() as store, dumbkv_http.serve(store) as service:
...     service.url.startswith("http://127.0.0.1:")
True
"""

try:
    import prometheus_client as _  # noqa: F401 - only to say what is missing
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "dumbkv_http needs prometheus-client: pip install 'dumbkv[http]'", name=error.name
    ) from error

from dumbkv_http._access_log import AccessLog
from dumbkv_http._client_errors import ServiceError
from dumbkv_http.app import App
from dumbkv_http.client import Client
from dumbkv_http.limits import Limits
from dumbkv_http.server import Server
from dumbkv_http.service import Service, serve
from dumbkv_http.tls import server_context
from dumbkv_http.tokens import Tokens, read_tokens

__all__ = [
    "AccessLog",
    "App",
    "Client",
    "Limits",
    "Server",
    "Service",
    "ServiceError",
    "Tokens",
    "read_tokens",
    "serve",
    "server_context",
]
