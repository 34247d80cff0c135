"""A store in a Flask application, and the same store over HTTP for scrapes and other programs.

    python examples/beside_flask.py 5000

prints where the site is and where the store is, and serves both until Ctrl-C.
"""

import sys

from flask import Flask
from werkzeug.serving import make_server

import dumbkv
import dumbkv_http

app = Flask(__name__)
store = dumbkv.open(ordered=True)


@app.get("/")
def visit() -> str:
    return f"visit {store.incr(b'visits')}\n"


if __name__ == "__main__":
    site = make_server("127.0.0.1", int(sys.argv[1]), app, threaded=True)
    with store, dumbkv_http.serve(store) as service:
        print(f"http://127.0.0.1:{site.server_port}/ {service.url}", flush=True)
        site.serve_forever()
