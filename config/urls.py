"""Which path goes where. The stream is not here: `config/asgi.py` hands it to its own application."""

from django.contrib import admin
from django.urls import path
from django.views.generic import RedirectView

from chat.api import api
from chat.health import healthz, readyz
from chat.metrics import metrics

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/", admin.site.urls),
    path("api/v1/", api.urls),
    path("healthz", healthz),
    path("readyz", readyz),
    path("metrics", metrics),
]
