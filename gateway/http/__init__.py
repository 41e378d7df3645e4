"""The HTTP listeners: health for whoever watches the process, metrics for Prometheus."""
