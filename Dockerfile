# The program on the CPU, for any user id:
#   docker build -t instrec-live .
#   docker run --rm -it -e TERM -e COLORTERM instrec-live --demo
#   docker run --rm -u $(id -u) -v "$PWD:/data" -w /data instrec-live --file concert.wav --json --pace max
FROM python:3.12-slim AS build
COPY . /src
RUN pip install --no-cache-dir --prefix=/install '/src[serve]'

FROM python:3.12-slim
RUN apt-get update && apt-get install -y --no-install-recommends libportaudio2 && rm -rf /var/lib/apt/lists/*
COPY --from=build /install /usr/local
# An arbitrary user id has no home: what the program keeps (which engine is fastest) goes where anybody may write.
ENV HOME=/tmp XDG_CACHE_HOME=/tmp/.cache PYTHONDONTWRITEBYTECODE=1
# Keys that write files (r, l, e, i) do so in the working directory.
WORKDIR /tmp
USER 10001
ENTRYPOINT ["instrec-live"]
CMD ["--demo"]
