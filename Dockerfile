# The program, and the libraries that it is linked with: no shell, nobody but a user without rights.
#
#     docker build --tag annal .
#
# compose.yaml runs a cluster of it; docs/packages.md says how.

FROM rust:1.95-slim-bookworm AS build
WORKDIR /source
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/source/target \
    cargo build --release --locked && \
    strip --strip-debug -o /annal target/release/annal && \
    mkdir --mode 700 /data

# glibc as where the program was measured, of the same Debian as above.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /annal /usr/local/bin/annal
COPY --from=build --chown=65532:65532 /data /var/lib/annal
USER 65532:65532
WORKDIR /var/lib/annal
VOLUME /var/lib/annal
ENTRYPOINT ["annal"]
CMD ["--help"]
