"""The WSGI application, for gunicorn."""

import os

from django.core.wsgi import get_wsgi_application

from b24app import checks

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "b24app.settings")
checks.refuse_unsafe_settings()
application = get_wsgi_application()
