# One image for every role; docker-compose.yml says which role runs which command.
FROM python:3.11-slim

ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1

WORKDIR /app

# Before the code, so that a change of the code does not install everything again.
COPY requirements.txt .
RUN pip install --root-user-action=ignore --requirement requirements.txt

# Not root. /data holds credentials.json; a volume mounted there takes this owner.
RUN useradd --system --no-create-home --uid 10001 chatd \
    && install --directory --owner=chatd --group=chatd --mode=700 /data
ENV CHATD_DATA_DIR=/data

COPY . .

# Static files are served by the web process straight from the packages, by WhiteNoise (WHITENOISE_USE_FINDERS), so
# they need no collectstatic here.

USER chatd
EXPOSE 8000
CMD ["python", "-m", "uvicorn", "config.asgi:application", "--host", "0.0.0.0", "--port", "8000", \
     "--no-access-log", "--timeout-graceful-shutdown", "5", "--log-level", "warning"]
