# The server as a container. The store lies in the volume /app/.geophone; make it first:
#   docker build -t geophone .
#   docker run --rm -v geophone:/app/.geophone geophone run -q -P=project cli.ts pipeline
#   docker run -p 8000:8000 -v geophone:/app/.geophone -e GEOPHONE_API_KEY=… geophone
# Without a key the server refuses to listen on an address that others can reach.

FROM denoland/deno:2.9.6 AS packages
WORKDIR /app
COPY deno.json deno.lock ./
# onnxruntime-node brings the libraries of all systems, 220 MB that Linux does not load.
RUN deno install --frozen && \
    rm -rf /deno-dir/npm/*/onnxruntime-node/*/bin/*/darwin \
           /deno-dir/npm/*/onnxruntime-node/*/bin/*/win32

FROM denoland/deno:2.9.6
LABEL org.opencontainers.image.title="geophone" \
      org.opencontainers.image.description="An MLOps runtime for Deno" \
      org.opencontainers.image.licenses="Apache-2.0"
ENV DENO_NO_UPDATE_CHECK=1 DENO_NO_PROMPT=1
WORKDIR /app
COPY --from=packages --chown=deno:deno /deno-dir /deno-dir
COPY . .
RUN mkdir .geophone && chown deno:deno .geophone
# The user deno of the base image.
USER 1993
VOLUME /app/.geophone
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
  CMD ["deno", "eval", "Deno.exit((await fetch('http://127.0.0.1:8000/health')).ok ? 0 : 1)"]
# The permission set "serve" of deno.json, writing to the volume alone.
CMD ["run", "-q", "--cached-only", "--frozen", "-P=serve", "--allow-write=.geophone", "cli.ts", "serve", "--host", "0.0.0.0"]
