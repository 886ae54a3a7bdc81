# The image of the controller, the proxies and the tutorial's application: two programs, the C library they were linked with, and
# nothing else that could be run: no shell, no package manager, a user who is nobody.
#   docker build --tag registry.example/glooshot:0.1.0 .
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    benches/release.sh /released && \
    install -D --strip /released/glooshot /released/glooshot-loadgen --target-directory /image
# The libraries that the loader looks for, where it looks for them, and the certificates of the web.
RUN ldd /image/glooshot /image/glooshot-loadgen | grep --only-matching '/[^ ]*\.so[^ ]*' | sort --unique | \
    xargs cp --dereference --parents --target-directory /image && \
    cp --dereference --parents /etc/ssl/certs/ca-certificates.crt /image

FROM scratch
COPY --from=build /image/ /
USER 65532:65532
ENTRYPOINT ["/glooshot"]
