import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", f"{__name__.rpartition('.')[0]}.settings")

from django.core.wsgi import get_wsgi_application

application = get_wsgi_application()
