"""The configuration of `gunicorn b24app.wsgi`. The environment sets WEB_CONCURRENCY (processes) and PORT."""

import os

bind = f"0.0.0.0:{os.environ['PORT']}" if "PORT" in os.environ else "127.0.0.1:8000"
worker_class = "gthread"
workers = int(os.environ.get("WEB_CONCURRENCY", "2"))
threads = 8  # a request may wait some seconds for a portal
timeout = 60  # seconds
graceful_timeout = 15  # seconds
keepalive = 75  # seconds; longer than the proxies in front of the app
control_socket_disable = True  # the configuration does not change at run time
