"""What Holdfast tells systems that watch it: metrics, traces, logs. A leaf: the engine counts, this shows.

Each needs its own extra and is imported by its own name: `holdfast.telemetry.prometheus` (``holdfast[metrics]``),
`holdfast.telemetry.opentelemetry` (``holdfast[otel]``), `holdfast.telemetry.logs` (none).
"""
