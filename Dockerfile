# The bot, for `run` and `worker` alike: docker build --tag portal-activity .
# The Python is .python-version's, which the tests run on. To have the same image tomorrow, name the base by its digest.
FROM python:3.11-slim-bookworm AS build
COPY requirements.txt /build/
RUN python -m venv --without-pip /opt/bot \
    && pip --python /opt/bot/bin/python install --no-cache-dir --only-binary :all: --require-hashes \
        --requirement /build/requirements.txt
COPY manifest.yml /app/
COPY bot/ /app/bot/
RUN /opt/bot/bin/python -m compileall -q /app/bot

FROM python:3.11-slim-bookworm
RUN pip uninstall --yes --root-user-action ignore wheel setuptools pip \
    && useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin bot \
    && install --directory --owner 10001 --group 10001 --mode 0700 /data
COPY --from=build /opt/bot/ /opt/bot/
COPY --from=build /app/ /app/
# In Socket Mode the health pages are served because PORT is set.
ENV PATH=/opt/bot/bin:$PATH PYTHONUNBUFFERED=1 HOST=0.0.0.0 PORT=3000 DATA_DIR=/data
WORKDIR /app
USER 10001
EXPOSE 3000
# A worker serves no pages: switch the check off for it, as compose.yaml does.
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as web; web.urlopen(f'http://127.0.0.1:{os.environ[\"PORT\"]}/readyz', timeout=4)"]
ENTRYPOINT ["python", "-m", "bot"]
CMD ["run"]
