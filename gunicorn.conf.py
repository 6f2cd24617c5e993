"""How `gunicorn b24app.wsgi` serves. WEB_CONCURRENCY (processes) and PORT come from the environment, as usual."""

import os

bind = f"0.0.0.0:{os.environ['PORT']}" if "PORT" in os.environ else "127.0.0.1:8000"
worker_class = "gthread"
workers = int(os.environ.get("WEB_CONCURRENCY", "2"))
threads = 8  # a page may wait some seconds for its portal
timeout = 60  # seconds
graceful_timeout = 15  # seconds
keepalive = 75  # seconds; longer than the proxies in front of us
control_socket_disable = True  # nothing here is changed while it runs
