# The image of the controller, the proxies and the tutorial's application: one program, and nothing else that could be run.
#   docker build --tag registry.example/glooshot:0.1.0 .
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    cargo build --locked --release --package glooshot --package glooshot-loadgen --bins && \
    install -D --strip target/release/glooshot target/release/glooshot-loadgen --target-directory /out

# The C library that the programs were linked with, certificates of the web, and a user who is nobody.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /out/ /
USER 65532:65532
ENTRYPOINT ["/glooshot"]
