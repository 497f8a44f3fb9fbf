# Bailiff in a container. docker-compose.yml starts it with what it needs; docs/operations.md tells why it needs each.
# The first stage makes the Debian package, the second installs it: what runs in a container is what runs on a host.
FROM debian:bookworm-slim AS build
WORKDIR /src
COPY script script
RUN script/bootstrap build package
COPY . .
RUN script/build release && cd build/release && cpack

FROM debian:bookworm-slim
# Compilers and interpreters of the image "host". Others come with `bailiff image build`.
ARG PACKAGES="g++ python3"
COPY --from=build /src/build/release/bailiff_*.deb /tmp/
RUN apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends /tmp/bailiff_*.deb $PACKAGES \
  && rm -rf /var/lib/apt/lists/* /tmp/bailiff_*.deb
COPY packaging/container/entrypoint packaging/container/healthy /usr/lib/bailiff/
ENV BAILIFF_LISTEN=0.0.0.0:8080
EXPOSE 8080
VOLUME /var/lib/bailiff
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s CMD ["/usr/lib/bailiff/healthy"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/lib/bailiff/entrypoint"]
CMD ["bailiffd"]
